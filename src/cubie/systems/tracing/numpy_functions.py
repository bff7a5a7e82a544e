"""NumPy functions that make arrays or look at values, for code that is being traced."""

from typing import Any

import numpy as np

from cubie.systems.drivers.recognised import table_of
from cubie.systems.errors import NeedsConstants, Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arrays import (
    UNSET,
    TracedArray,
    adopt,
    as_numbers,
    dot,
    elementwise,
    has_complex,
    has_masks,
    of_entries,
    traced,
)
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Complex, fixed_under, is_complex, operand

NUMBER_KINDS = "fcO"


def _is_traced_dtype(dtype):
    return dtype is None or np.dtype(dtype).kind in NUMBER_KINDS


def _counts(shape) -> Any:
    """Return a shape with parameters that were given as ints taken as ints."""
    if isinstance(shape, Expr):
        return shape.__index__()
    if isinstance(shape, (tuple, list)):
        return tuple(_counts(n) for n in shape)
    return shape


def _filled(entry, native):
    def make(shape, dtype=None, order="C", **options):
        shape = _counts(shape)
        if not _is_traced_dtype(dtype):
            return native(shape, dtype=dtype, order=order, **options)
        return traced(np.full(shape, entry, dtype=object))

    return make


def _filled_like(entry, native):
    def make(prototype, dtype=None, order="K", subok=True, shape=None, **options):
        if not _is_traced_dtype(dtype):
            return native(np.empty(np.shape(prototype)), dtype=dtype, **options)
        shape = np.shape(prototype) if shape is None else _counts(shape)
        return traced(np.full(shape, entry, dtype=object))

    return make


def full(shape, fill_value, dtype=None, order="C", **options):
    """np.full."""
    entries = np.empty(_counts(shape), dtype=object)
    entries[...] = np.asarray(fill_value, dtype=object)
    return traced(entries if dtype is None else as_numbers(entries))


def full_like(prototype, fill_value, dtype=None, **options):
    """np.full_like."""
    return full(np.shape(prototype), fill_value)


def array(data, dtype=None, **options):
    """np.array and np.asarray; an array of plain numbers stays one."""
    if dtype is not None and not _is_traced_dtype(dtype):
        return np.array(data, dtype=dtype, **options)
    if isinstance(data, np.ndarray) and data.dtype != object:
        return np.array(data, dtype=dtype)
    options.pop("copy", None)
    result = np.array(data, **options)
    if result.dtype != object:
        return np.array(data, dtype=dtype, **options)
    return traced(result if dtype is None else as_numbers(result))


def asarray(data, dtype=None, **options):
    """np.asarray: a traced array is returned itself, so writing to it is seen."""
    if isinstance(data, TracedArray) and _is_traced_dtype(dtype):
        return data if dtype is None or not has_masks(data) else data.astype(dtype)
    return array(data, dtype)


def where(condition, *branches):
    """np.where with three arguments."""
    if not branches:
        raise Untraceable("np.where(condition) finds indices, which depend on the states")
    return elementwise(ex.select, condition, *branches)


def choose_first(conditions, choices, default=0):
    """np.select."""
    result = default
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        result = where(condition, choice, result)
    return result


# Of more samples than these a table is looked up: each of few costs one choice.
FEW_SAMPLES = 8


def interp(x, xp, fp, left=None, right=None, period=None):
    """np.interp; over more than a few samples they must be plain numbers of all runs.

    Raises
    ------
    NeedsConstants
        Where samples are parameters of all runs.
    """
    if period is not None or len(xp) > FEW_SAMPLES:
        symbols = [a for a in (*xp, *fp, left, right, period) if isinstance(a, Expr)]
        table = None if symbols else table_of(xp, fp, left, right, period)
        if table is not None:
            return elementwise(lambda x: _looked_up(x, table), x)
        constants = fixed_under(symbols)
        if constants:
            raise NeedsConstants(constants)
        if symbols:
            graph = symbols[0].graph
            graph.most_choices = max(graph.most_choices, len(xp))
    if period is not None:
        raise Untraceable("np.interp with a period, of values that depend on states or parameters")
    knots = [operand(knot) for knot in xp]
    values = [operand(value) for value in fp]

    def at(x):
        result = values[0] if left is None else left
        for i in range(len(knots) - 1):
            slope = ex.div(ex.sub(values[i + 1], values[i]), ex.sub(knots[i + 1], knots[i]))
            line = ex.add(values[i], ex.mul(slope, ex.sub(x, knots[i])))
            result = ex.select(ex.compare(">=", x, knots[i]), line, result)
        edge = values[-1]
        if right is not None:
            edge = ex.select(ex.compare(">", x, knots[-1]), right, edge)
        within = ex.select(ex.compare(">=", x, knots[-1]), edge, result)
        return ex.select(ex.compare("!=", x, x), x, within)

    return elementwise(at, x)


def _looked_up(x, table):
    if not isinstance(x, Expr):
        return table(x)
    # The same table, met on another path, is the same driver.
    return x.graph.call_driver(x.graph.tables.setdefault(table.label, table), 0, x)


def clip(x, *bounds, **options):
    """np.clip with scalar or array bounds, or None."""
    from cubie.systems.tracing.operations import clip as clip_one

    lowest = bounds[0] if bounds else options.get("a_min", options.get("min"))
    highest = bounds[1] if len(bounds) > 1 else options.get("a_max", options.get("max"))
    if lowest is not None:
        x = elementwise(lambda a, b: clip_one(a, lowest=b), x, lowest)
    return x if highest is None else elementwise(lambda a, b: clip_one(a, highest=b), x, highest)


def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """np.nan_to_num with plain numbers as replacements; a new array in any case."""
    from cubie.systems.tracing.operations import nan_to_num as replace_one

    if not copy and isinstance(x, np.ndarray):
        raise Untraceable("np.nan_to_num(..., copy=False) is used; assign what it returns")
    return elementwise(lambda a: replace_one(a, nan, posinf, neginf), x)


def sinc(x):
    """np.sinc."""

    def at(x):
        angle = ex.mul(np.pi, x)
        return ex.select(ex.compare("==", x, 0.0), 1.0, ex.div(ex.call("sin", angle), angle))

    return elementwise(at, x)


def count_nonzero(x):
    """np.count_nonzero of conditions."""
    return np.sum(elementwise(lambda a: ex.number(ex.mask(a)), x))


def real(x):
    """np.real."""
    return of_entries("real_part", x)


def imag(x):
    """np.imag."""
    return of_entries("imaginary_part", x)


def angle(z, deg=False):
    """np.angle."""
    radians = of_entries("angle", z)
    return np.degrees(radians) if deg else radians


def iscomplexobj(x):
    """np.iscomplexobj: of an array whether it holds complex numbers."""
    if isinstance(x, np.ndarray) and x.dtype == object:
        return has_complex(x)
    return is_complex(x) or np.iscomplexobj(x)


# Keyed by the function itself: `from numpy import zeros as z` is found all the same.
CREATORS = {
    np.empty: _filled(UNSET, np.empty),
    np.zeros: _filled(0.0, np.zeros),
    np.ones: _filled(1.0, np.ones),
    np.full: full,
    np.array: array,
    np.asarray: asarray,
    np.asanyarray: asarray,
    np.ascontiguousarray: asarray,
}
REPLACED = {
    np.empty_like: _filled_like(UNSET, np.empty_like),
    np.zeros_like: _filled_like(0.0, np.zeros_like),
    np.ones_like: _filled_like(1.0, np.ones_like),
    np.full_like: full_like,
    np.where: where,
    np.dot: dot,
    np.select: choose_first,
    np.interp: interp,
    np.clip: clip,
    np.nan_to_num: nan_to_num,
    np.sinc: sinc,
    np.count_nonzero: count_nonzero,
    np.real: real,
    np.imag: imag,
    np.angle: angle,
    np.iscomplexobj: iscomplexobj,
    np.isrealobj: lambda x: not iscomplexobj(x),
    np.copy: lambda x, **_: adopt(np.array(x, dtype=object)),
    np.isscalar: lambda x: isinstance(x, (Expr, Complex)) or np.isscalar(x),
}
