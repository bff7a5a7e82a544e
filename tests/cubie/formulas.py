"""Random formulas of everything that can be traced, and what Python and NumPy make of them.

A formula is the text of an expression of ``t``, ``y`` (two states) and the parameters ``p`` and
``q``. `python_value` is Python's own answer in double precision. `Spread` says which other answers
rounding excuses: it evaluates the formula in another precision, or with the result of each inexact
operation moved at random by as much as it may be off.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import random

import numpy as np
from hypothesis import strategies as st

LEAVES = (
    *("t", "y[0]", "y[0]", "y[1]", "y[1]", "p", "q", "p"),
    *("0.0", "1.0", "-1.5", "2", "0.25", "-0.7", "1e8", "1e-30", "3"),
    *("np.pi", "math.inf", "math.nan"),
)
ONE = (
    *("-({a})", "abs({a})", "+({a})", "({a}) ** 2", "({a}) ** 3", "({a}) ** -1", "({a}) ** -2"),
    *("({a}) ** 0.5", "abs({a}) ** 1.5", "abs({a}) ** 0.3", "2.0 ** ({a})", "float({a})"),
    *("math.sqrt({a})", "math.exp({a})", "math.log({a})", "math.sin({a})", "math.fabs({a})"),
    *("math.tanh({a})", "math.atan({a})", "math.log2({a})", "math.log10({a})", "math.asinh({a})"),
    *("np.sqrt({a})", "np.exp({a})", "np.log({a})", "np.cos({a})", "np.tan({a})", "np.cbrt({a})"),
    *("np.log2({a})", "np.log10({a})", "np.log1p({a})", "np.expm1({a})", "np.exp2({a})"),
    *("np.arcsin({a})", "np.arccos({a})", "np.arctan({a})", "np.sinh({a})", "np.cosh({a})"),
    *("np.tanh({a})", "np.arcsinh({a})", "np.arccosh({a})", "np.arctanh({a})"),
    *("np.sign({a})", "np.heaviside({a}, 0.5)", "np.floor({a})", "np.ceil({a})", "np.trunc({a})"),
    *("np.fix({a})", "np.square({a})", "np.reciprocal(1.0 * ({a}))", "np.absolute({a})"),
    *("np.nan_to_num({a})", "np.nan_to_num({a}, nan=2.0, posinf=3.0, neginf=-4.0)"),
    *("np.deg2rad({a})", "np.degrees({a})", "np.sinc({a})", "np.clip({a}, -1.0, 2.0)"),
    *("np.clip({a}, None, 0.5)", "np.interp({a}, [-1.0, 0.0, 2.0], [1.0, -1.0, 3.0])"),
    *("({a}) % 0.7", "({a}) % -0.7", "({a}) // 0.3", "({a}) // -0.3", "({a}) % 1"),
    *("0 * ({a})", "0.0 / ({a})", "1 / ({a})", "max({a}, 0.0)", "max(0.0, {a})"),
    *("min({a}, 1.0)", "min(1.0, {a})", "np.maximum({a}, 0.0)", "np.minimum(1.0, {a})"),
    *("np.fmax({a}, 0.0)", "np.fmin(1.0, {a})", "math.floor({a})", "np.positive({a})"),
)
TWO = (
    *("({a}) + ({b})", "({a}) - ({b})", "({a}) * ({b})", "({a}) / ({b})") * 3,
    *("({a}) % ({b})", "({a}) // ({b})", "np.fmod({a}, {b})", "math.fmod({a}, {b})"),
    *("np.remainder({a}, {b})", "np.floor_divide({a}, {b})", "abs({a}) ** ({b})"),
    *("np.power({a}, 1.0 * ({b}))", "math.pow({a}, {b})", "np.arctan2({a}, {b})"),
    *("np.copysign({a}, {b})", "math.copysign({a}, {b})", "np.logaddexp({a}, {b})"),
    *("min({a}, {b})", "max({a}, {b})", "np.minimum({a}, {b})", "np.maximum({a}, {b})"),
    *("np.fmin({a}, {b})", "np.fmax({a}, {b})", "np.clip({a}, {b}, 1.0)", "max({a}, {b}, 0.0)"),
    *("np.where({a} > 0, {a}, {b})", "(({a}) < ({b})) * ({a})", "({b}) * (({a}) >= 0)"),
)
CONDITIONS = (
    *("({a}) < ({b})", "({a}) <= ({b})", "({a}) > ({b})", "({a}) >= ({b})", "({a}) == ({b})"),
    *("({a}) != ({b})", "np.isnan({a})", "np.isfinite({a})", "np.isinf({a})"),
    *("~np.isnan({a})", "(({a}) < ({b})) & (({b}) > 0)", "(({a}) < 0) | (({b}) >= 1)"),
    *("np.logical_and(({a}) > 0, ({b}) > 0)", "np.logical_not(({a}) > ({b}))"),
    *("(({a}) > 0) ^ (({b}) > 0)", "np.greater({a}, {b})", "np.not_equal({a}, {b})"),
)
CHOICES = (
    *("np.where({c}, {a}, {b})", "(({a}) if ({c}) else ({b}))", "({c}) * ({a})"),
    *("np.select([{c}], [{a}], {b})", "({a}) * ({c}) + ({b}) * (1 - ({c}))"),
    *("np.where({c}, np.nan, {a})", "(({a}) if not ({c}) else ({b}))"),
)
# Values of (t, y0, y1, p, q): states of a run that goes on are finite, parameters may not be.
FINITE = (0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 7.0, 0.5, 1e-30, -1e30, 77.0, 1e8, 1e-300, 1e300)
ANYTHING = (*FINITE, math.inf, -math.inf, math.nan)


@st.composite
def formulas(draw, depth=3):
    """A formula as text."""
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind == 0:
        return draw(st.sampled_from(LEAVES))
    a = draw(formulas(depth=depth - 1))
    if kind <= 4:
        return draw(st.sampled_from(ONE)).format(a=a)
    b = draw(formulas(depth=depth - 1))
    if kind <= 7:
        return draw(st.sampled_from(TWO)).format(a=a, b=b)
    left, right = (draw(formulas(depth=max(0, depth - 2))) for _ in "lr")
    condition = draw(st.sampled_from(CONDITIONS)).format(a=left, b=right)
    return draw(st.sampled_from(CHOICES)).format(c=condition, a=a, b=b)


def points(count: int, seed: int) -> np.ndarray:
    """Return values of (t, y0, y1, p, q) as columns, all finite ones fit for single precision."""
    random_ = random.Random(seed)
    columns = []
    for _ in range(count):
        finite = [random_.choice((*FINITE, random_.gauss(0, 3))) for _ in range(3)]
        rest = [random_.choice((*ANYTHING, random_.gauss(0, 3))) for _ in range(2)]
        columns.append([0.75, *finite[1:], *rest])
    return np.array(columns).T


class Raised(Exception):
    """Python raises where compiled code has NaN or an infinity."""


def python_value(function, column) -> float:
    """Return what ``function(t, y, p, q)`` gives for NumPy's double precision numbers."""
    t, y0, y1, p, q = map(np.float64, column)
    try:
        return float(function(t, np.array([y0, y1]), p, q))
    except (ValueError, ArithmeticError, TypeError) as error:  # TypeError: of huge ints
        raise Raised from error


# How far off the results of functions may be, in units of the last place.
OFF = {"power": 64.0, "exp2": 1500.0, "cbrt": 300.0, "sinc": 16.0, "logaddexp": 64.0}
SMALL_ERROR = 8.0
EXACT = frozenset(
    {"fabs", "absolute", "sqrt", "floor", "ceil", "trunc", "fix", "sign", "heaviside", "copysign",
     "fmod", "remainder", "floor_divide", "minimum", "maximum", "fmin", "fmax", "nan_to_num",
     "clip", "positive", "isnan", "isfinite", "isinf", "greater", "not_equal", "logical_and",
     "logical_not", "negative"}
)  # fmt: skip
ROUNDED = frozenset(
    {"add", "subtract", "multiply", "divide", "true_divide", "square", "reciprocal"}
)


class Spread:
    """Evaluates formulas with errors put in.

    Parameters
    ----------
    dtype : float32 or float64
    rounding : float
        How far off sums and products may be, in units of the last place.
    functions : float
        Factor on the errors of functions; 0 for none.
    """

    def __init__(self, dtype, rounding: float, functions: float, seed: int = 0):
        self.dtype = np.dtype(dtype).type
        self.rounding, self.functions = rounding, functions
        self.random = random.Random(seed)
        self.namespace = {
            "np": _Module(self, np),
            "math": _Module(self, math),
            "float": _float,
            "min": lambda *values: self.of_run(min(values), values),
            "max": lambda *values: self.of_run(max(values), values),
            "choose": self.choose,
            "of_run": lambda constant: Number(self, self.dtype(constant)),
        }

    def value(self, text: str, column, rounds_constants: bool = False) -> float:
        """Return one possible value of a formula; its constants may be rounded to the dtype."""
        t, y0, y1, p, q = (Number(self, self.dtype(v)) for v in column)
        names = self.namespace | {"t": t, "y": (y0, y1), "p": p, "q": q}
        with np.errstate(all="ignore"):
            result = eval(_prepared(text, rounds_constants), names)
        return float(result.value if type(result) is Number else self.dtype(result))

    def wrap(self, name: str, result):
        if isinstance(result, (bool, np.bool_)):
            return result
        with np.errstate(all="ignore"):
            result = self.dtype(result)
            off = self.rounding if name in ROUNDED else 0.0
            if name not in ROUNDED and name not in EXACT:
                off = self.functions * OFF.get(name, SMALL_ERROR)
            if self.rounding and np.isinf(result) and name in ("multiply", "square", "power"):
                # Fused with a sum, a product does not overflow.
                largest = np.copysign(np.finfo(self.dtype).max, result)
                result = self.random.choice((result, self.dtype(largest)))
            if off and np.isfinite(result):
                spacing = np.finfo(self.dtype).eps * off
                result = self.dtype(result * self.dtype(1.0 + self.random.uniform(-1, 1) * spacing))
                if name == "power" and abs(result) < np.finfo(self.dtype).tiny:
                    # One over a power that overflows.
                    result = self.random.choice((result, self.dtype(0.0)))
        return Number(self, result)

    def of_run(self, result, operands):
        """Return a constant that was chosen by a run's number as one of the run's numbers."""
        chosen = any(type(a) is Number or isinstance(a, np.bool_) for a in operands)
        return Number(self, self.dtype(result)) if chosen and type(result) is float else result

    def choose(self, condition, a, b):
        """Return ``a if condition else b``."""
        return self.of_run(a if condition else b, (condition,))

    def zero(self, result):
        """Return the result with a sign of zero that is anyone's guess."""
        if result.value == 0.0:
            result.value = self.dtype(self.random.choice((0.0, -0.0)))
        return result


class _Prepare(ast.NodeTransformer):
    def __init__(self, rounds_constants: bool):
        self.rounds_constants = rounds_constants

    def visit_Constant(self, node):
        return self._of_run(node) if type(node.value) is float else node

    def visit_Attribute(self, node):
        return self._of_run(node) if node.attr in ("pi", "inf") else node

    def visit_List(self, node):
        return node  # knots

    def visit_keyword(self, node):
        return node

    def _of_run(self, node):
        if not self.rounds_constants:
            return node
        return ast.Call(ast.Name("of_run", ast.Load()), [node], [])

    def visit_IfExp(self, node):
        self.generic_visit(node)
        name = ast.Name("choose", ast.Load())
        return ast.Call(name, [node.test, node.body, node.orelse], [])


@functools.cache
def _prepared(text: str, rounds_constants: bool):
    """Return code that calls `choose` for each conditional expression."""
    tree = _Prepare(rounds_constants).visit(ast.parse(text, mode="eval"))
    return compile(ast.fix_missing_locations(tree), "<formula>", "eval")


class Number:
    """A number of a `Spread`, in formulas."""

    def __init__(self, spread: Spread, value):
        self.spread, self.value = spread, value

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        result = self.spread.wrap(ufunc.__name__, _apply(self.spread, ufunc, inputs))
        return self.spread.zero(result) if ufunc is np.multiply else result

    def __bool__(self):
        return bool(self.value)

    def __neg__(self):
        return Number(self.spread, -self.value)

    def __pos__(self):
        return self

    def __abs__(self):
        return Number(self.spread, abs(self.value))

    def __float__(self):
        return float(self.value)


def _plain(spread, value):
    if type(value) is Number:
        return value.value
    return value if isinstance(value, (bool, np.bool_)) else spread.dtype(value)


def _apply(spread, function, inputs):
    with np.errstate(all="ignore"):
        return function(*(_plain(spread, a) for a in inputs))


def _check_root(base, exponent) -> None:
    """Half powers are square roots, which are NaN for -inf and keep the sign of zero.

    NumPy's own powers of -inf depend on the processor.
    """
    if not float(exponent).is_integer() and (base == -np.inf or (base == 0.0 and np.signbit(base))):
        raise Raised


def _binary(name: str, ufunc, neutral_zero: bool):
    def forward(self, other):
        if ufunc is np.power:
            _check_root(self.value, float(_plain(self.spread, other)))
        result = self.spread.wrap(name, _apply(self.spread, ufunc, (self, other)))
        touched = neutral_zero and type(other) is not Number
        return self.spread.zero(result) if touched else result

    def backward(self, other):
        result = self.spread.wrap(name, _apply(self.spread, ufunc, (other, self)))
        return self.spread.zero(result) if neutral_zero else result

    return forward, backward


# Adding zero, and dropping what a condition multiplies, are undone by the tracer: zeros may lose
# their sign there.
for _name, _ufunc, _zero in (
    ("add", np.add, True), ("sub", np.subtract, True), ("mul", np.multiply, True),
    ("truediv", np.true_divide, False), ("mod", np.remainder, False),
    ("floordiv", np.floor_divide, False), ("pow", np.power, False),
):  # fmt: skip
    _pair = _binary(_ufunc.__name__, _ufunc, _zero)
    setattr(Number, f"__{_name}__", _pair[0])
    setattr(Number, f"__r{_name}__", _pair[1])
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _compare = getattr(operator, _name)
    setattr(
        Number,
        f"__{_name}__",
        lambda self, other, c=_compare: np.bool_(c(self.value, _plain(self.spread, other))),
    )


def _float(value):
    return value if type(value) is Number else float(value)


class _Module:
    """`np` or `math` for numbers of a `Spread`."""

    def __init__(self, spread: Spread, module):
        self._spread, self._module = spread, module

    def __getattr__(self, name):
        entry = getattr(self._module, name)
        if not callable(entry):
            return entry
        return lambda *arguments, **options: self._call(name, entry, arguments, options)

    def _call(self, name, entry, arguments, options):
        spread = self._spread
        if name == "where":
            return spread.choose(*arguments)
        if name == "select":
            return spread.choose(*(a[0] if type(a) is list else a for a in arguments))
        plain = [a if a is None or isinstance(a, list) else _plain(spread, a) for a in arguments]
        known = {"fabs": np.fabs, "pow": np.power, "asinh": np.arcsinh, "atan": np.arctan}
        if not any(type(a) is Number for a in arguments):
            # Constants are folded in double precision.
            result = entry(*arguments, **options)
            return bool(result) if isinstance(result, np.bool_) else result
        if name in ("power", "pow"):
            _check_root(*plain)
        if name in ("fmin", "fmax", "minimum", "maximum") and plain[0] == plain[1] == 0.0:
            return spread.zero(Number(spread, spread.dtype(0.0)))
        if name == "copysign" and np.isnan(plain[1]):
            raise Raised  # the sign of a NaN is no one's business
        with np.errstate(all="ignore"):
            if self._module is math:
                # NaN and infinities where Python raises.
                entry = known.get(name) or getattr(np, name)
                name = entry.__name__
            if name in ("interp", "sinc", "logaddexp"):
                # Sums inside: errors are as large as those of their terms.
                size = max(
                    [1.0, *(abs(float(a)) for a in plain if np.isscalar(a) and np.isfinite(a))]
                )
                shift = spread.functions * 8.0 * np.finfo(spread.dtype).eps * size
                result = entry(*plain) + (spread.random.uniform(-1, 1) * shift if shift else 0.0)
                return spread.wrap(name, result)
            if name == "nan_to_num":
                return spread.wrap(name, entry(np.float64(plain[0]), **options))
            return spread.wrap(name, entry(*plain, **options))
