"""Checks of what a user states, each with the argument's name and what would do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie import per_run
from cubie.errors import InvalidOption, InvalidProblem, shown
from cubie.per_run import Span, is_of_runs
from cubie.reals import LARGEST, NotReal, as_float, real, real_array

if TYPE_CHECKING:
    from cubie.systems import System

_PLAIN = frozenset({float, int, np.float64})
LEAST_FLOAT32 = float(np.finfo(np.float32).tiny)
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
# Of a smaller absolute tolerance what factors in single precision lose below 1e-38 of the unit that
# they measure states in (`cubie.solvers.mixed_precision`) would not be nothing.
LEAST_OF_FACTORS = 1e-42
FEW_VALUES = 16  # are looked at sooner one by one
LARGEST_COUNT = 2**31 - 2  # attempts are counted in 32 bits, with room for one more


def time_span(given: Any) -> Span:
    """Return (start, end); the end may lie before the start (integration backwards).

    Two numbers, or where one of them is an array two arrays (n_runs,).
    """
    try:
        start, end = _ends(given)
    except InvalidProblem:
        raise
    except (TypeError, ValueError) as error:
        why = f": it {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem(
            "t_span", f"is {shown(given)}, but must be two numbers (start, end){why}."
        ) from error
    if isinstance(start, np.ndarray):
        return start, end
    if not math.isfinite(start) or math.isnan(end):
        raise InvalidProblem(
            "t_span",
            f"is ({start}, {end}), but both times must be finite, or the end infinite where an "
            "event ends the run.",
        )
    return start, end


def endless(span: Span, ended: Callable[[], bool]) -> None:
    """Refuse a span without an end where nothing else ends its runs.

    `ended` is asked, of such a span, whether an event may.

    Raises
    ------
    InvalidProblem
    """
    ends = span[1]
    if math.isfinite(ends) if type(ends) is float else np.isfinite(ends).all():
        return
    if ended():
        return
    of_run, end = "", ends
    if isinstance(ends, np.ndarray):
        run = int(np.argmin(np.isfinite(ends)))
        of_run, end = f" in run {run}", ends[run]
    raise InvalidProblem(
        "t_span",
        f"ends at {end}{of_run}, and no event ends runs: give an event with `terminal`, or a "
        "finite end.",
    )


def _ends(given: Any) -> Span:
    if getattr(given, "ndim", 1) > 1:
        raise NotReal(
            f"has shape {given.shape}; for a span of each run give arrays, (starts, ends)"
        )
    start, end = given
    if type(given) is tuple and type(start) in _PLAIN and type(end) in _PLAIN:
        try:  # as in most solves, of which some take microseconds
            return float(start), float(end)
        except OverflowError:
            pass  # named below
    elif type(given) not in (tuple, list) and isinstance(given, (Mapping, Set)):
        raise NotReal("has no order")
    if is_of_runs(start) or is_of_runs(end):
        return per_run.spans(start, end)
    for one in (start, end):
        if isinstance(one, (list, tuple)) and one:
            raise NotReal(
                "holds a list; for a span of each run give arrays, (np.array(starts), "
                "np.array(ends)), or a number for all runs"
            )
    return real(start), real(end)


def save_times(given: Any, span: Span) -> np.ndarray | None:
    """Return `t_eval` as an array, in order along the span; with a row for each run, or one."""
    if given is None:
        return None
    times = _sequence("t_eval", given, "numbers")
    if times.ndim == 2 or (times.ndim == 1 and isinstance(span[0], np.ndarray)):
        return per_run.rows_of_times(times, span)
    if times.ndim != 1 or times.size == 0:
        raise InvalidProblem(
            "t_eval",
            f"has shape {times.shape}, but must be one-dimensional with at least one time, or "
            "have a row for each run.",
        )
    start, end = span
    low, high = min(span), max(span)
    within = (times >= low) & (times <= high) & np.isfinite(times)
    if not within.all():
        outside = times[~within][0]
        raise InvalidProblem(
            "t_eval", f"contains {outside}, which is not within t_span = ({start}, {end})."
        )
    steps = np.diff(times) * (1.0 if end >= start else -1.0)
    if np.any(steps <= 0):
        where = int(np.flatnonzero(steps <= 0)[0])
        order = "increase" if end >= start else "decrease"
        raise InvalidProblem(
            "t_eval",
            f"must strictly {order} from the start to the end of t_span, but "
            f"t_eval[{where}] = {times[where]} is followed by {times[where + 1]}.",
        )
    return times


def _sequence(name: str, given: Any, what: str) -> np.ndarray:
    """Return an array of floats, or say of an argument that it must be a sequence."""
    try:
        return np.asarray(real_array(given), dtype=float)
    except (TypeError, ValueError) as error:
        why = f", but {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem(name, f"must be a sequence of {what}{why}.") from error


def breakpoints(given: Any, n_runs: int | None) -> np.ndarray | None:
    """Return `breakpoints` as (B,), or (n_runs, B), in any order.

    Raises
    ------
    InvalidProblem
    """
    if given is None:
        return None
    times = _sequence("breakpoints", given, "times").copy()
    if not np.isfinite(times).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(times))[0])
        raise InvalidProblem(
            "breakpoints",
            f"must be finite, but breakpoints[{', '.join(map(str, where))}] is {times[where]}. "
            "Where runs have fewer, repeat one: times that are equal count once.",
        )
    if times.ndim not in (1, 2) or (times.ndim == 2 and len(times) != (n_runs or 1)):
        runs = "one run" if n_runs is None else f"{n_runs} runs"
        raise InvalidProblem(
            "breakpoints",
            f"has shape {times.shape}, and there {'is' if n_runs is None else 'are'} {runs}; it "
            "must be (n_breakpoints,) for all runs, or (n_runs, n_breakpoints).",
        )
    return times[0] if len(times) == 1 and times.ndim == 2 else times


def tolerance(name: str, given: Any, n: int) -> np.ndarray:
    """Return a tolerance as (1,) or (n,) positive numbers, or with a row of such for each run."""
    try:
        values = np.atleast_1d(np.asarray(real_array(given), dtype=float))
    except (TypeError, ValueError) as error:
        why = f": it {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem(
            name, f"is {shown(given)}, but must be a number or {n} numbers{why}."
        ) from error
    if values.ndim == 2:
        return per_run.tolerances(name, values, n)
    if values.shape not in ((1,), (n,)):
        raise InvalidProblem(
            name,
            f"has shape {values.shape}, but must be a number or have shape ({n},). For one of each "
            f"run give shape (n_runs, 1), for those of its components (n_runs, {n}).",
        )
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InvalidProblem(name, f"is {shown(given)}, but must be finite and not negative.")
    return values


def tolerances(rtol: Any, atol: Any, n: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return rtol and atol of one shape, no smaller than the dtype can resolve.

    An atol of zero becomes a number so small that it changes nothing, but that an error of zero in
    a state of zero can be divided by. See `note_on_rtol` for relative ones.
    """
    relative, absolute = tolerance("rtol", rtol, n), tolerance("atol", atol, n)
    floor = least_rtol(dtype)
    nothing = (relative == 0) & (absolute == 0)
    if np.any(nothing):
        given = shown(rtol)
        if nothing.ndim == 2:
            given = f"zero in run {int(np.argmax(nothing.any(axis=1)))}"
        raise InvalidProblem(
            "rtol",
            f"is {given} with an atol of zero, which no error can be below; raise one of them: "
            f"{np.dtype(dtype).name} resolves an rtol of {floor:.2g}.",
        )
    relative = np.where((relative > 0) & (relative < floor), floor, relative)
    absolute = np.maximum(absolute, least_tolerance(dtype))
    if relative.shape == absolute.shape:
        return relative, absolute
    if relative.ndim == absolute.ndim == 1:
        shape = (n,)
    else:
        try:
            shape = np.broadcast_shapes(relative.shape, absolute.shape)
        except ValueError:
            lengths = {"rtol": len(relative), "atol": len(absolute)}
            per_run.number_of_runs(lengths)
            raise
    return np.broadcast_to(relative, shape), np.broadcast_to(absolute, shape)


def least_rtol(dtype) -> float:
    """Return the least relative tolerance: errors of rounding are below it."""
    return float(10 * np.finfo(dtype).eps)


def note_on_rtol(given: Any, dtype) -> str:
    """Return what to tell of an `rtol` that is smaller than the dtype resolves; "" of others."""
    values, floor = np.asarray(given, dtype=float), least_rtol(dtype)
    if not np.any((values > 0) & (values < floor)):
        return ""
    return (
        f"At least one element of `rtol` is too small: {np.dtype(dtype).name} cannot resolve less "
        f"than {floor:.2g}, which is taken in its place. Raise rtol, use dtype=float64, or give "
        "rtol=0 with a positive atol."
    )


def least_tolerance(dtype) -> float:
    """Return the least absolute tolerance: squares of errors divided by it are still numbers."""
    return float(np.sqrt(np.finfo(dtype).tiny))


def tolerances_of_factors(factor_dtype: Any, atol: np.ndarray) -> None:
    """Refuse absolute tolerances that are nothing to factors in single precision.

    Raises
    ------
    InvalidOption
    """
    least = float(np.min(atol))
    single = factor_dtype is not None and np.dtype(factor_dtype) == np.float32
    if single and least < LEAST_OF_FACTORS:
        raise InvalidOption(
            "factor_dtype",
            factor_dtype,
            ("float64", None),
            "In single precision states are measured in their tolerances: give every state an "
            f"atol of at least {LEAST_OF_FACTORS:g} (the least is {least:g}), or leave "
            "factor_dtype out.",
        )


def positive(name: str, given: Any, allow_infinite: bool = False) -> Any:
    """Return a positive number, or an array with one for each run."""
    if is_of_runs(given):
        return per_run.positive(name, given, allow_infinite)
    number = as_float(given)
    is_number = isinstance(number, float) and (allow_infinite or not math.isinf(number))
    if not is_number or not number > 0:
        most = f" of at most {LARGEST:.2g}" if isinstance(given, int) and given > LARGEST else ""
        advice = per_run.in_a_list(given)
        raise InvalidProblem(
            name, f"is {shown(given)}, but must be a positive number{most}.{advice}"
        )
    return number


def count(name: str, given: Any, least: int = 1) -> int:
    """Return an int of at least `least`."""
    number = int(given) if isinstance(given, numbers.Integral) else least - 1
    if isinstance(given, bool) or number < least:
        raise InvalidProblem(
            name, f"is {shown(given)}, but must be an integer of at least {least}."
        )
    if number > LARGEST_COUNT:
        raise InvalidProblem(name, f"is {shown(given)}, but must not exceed {LARGEST_COUNT}.")
    return number


def fit(name: str, given: Any, rounded: np.ndarray) -> None:
    """Refuse numbers that became infinite, or nothing, when rounded to the dtype of a run.

    Parameters
    ----------
    name : str
        The argument they were given as.
    given : array_like
    rounded : ndarray
        The same, rounded.
    """
    if rounded.dtype == np.float64:
        return
    if type(given) is float and rounded.dtype == np.float32 and _is_normal(given):
        return
    given = np.asarray(given)
    if given.dtype == rounded.dtype or _surely_kept(given, rounded):
        return
    given = np.broadcast_to(given, rounded.shape)
    lost = (rounded == 0) & (given != 0)
    lost |= ~np.isfinite(rounded) & np.isfinite(given)
    if np.any(lost):
        limits, value = np.finfo(rounded.dtype), given[lost].flat[0]
        became = "zero" if abs(value) < 1 else "infinite"
        raise InvalidProblem(
            name,
            f"contains {value}, which is {became} in {rounded.dtype.name}: its numbers reach from "
            f"{limits.smallest_subnormal:.2g} to {limits.max:.2g}. Choose other units, or "
            "dtype='float64'.",
        )


def _is_normal(value: float) -> bool:
    """Tell whether float32 holds a number, or its neighbour, with all digits."""
    return value == 0.0 or LEAST_FLOAT32 <= abs(value) <= LARGEST_FLOAT32


def _surely_kept(given: np.ndarray, rounded: np.ndarray) -> bool:
    """Tell cheaply whether nothing was lost; False where that takes a closer look.

    Solves that take microseconds ask this, and those of many runs look at all of them.
    """
    if given.size <= FEW_VALUES:
        return rounded.dtype == np.float32 and all(map(_is_normal, given.ravel().tolist()))
    if given.shape != rounded.shape or np.count_nonzero(np.isfinite(rounded)) != rounded.size:
        return False
    return np.count_nonzero(rounded) == np.count_nonzero(given)


def constants(system: System, dtype, argument: str = "fun") -> None:
    """Refuse numbers in a system's equations that become infinite, or nothing, in a dtype.

    `argument` is where they were given.
    """
    if np.dtype(dtype) == np.float64:
        return
    rows = [row.far_constants for row in system.jacobian_rows]
    given = {
        argument: system.far_constants,
        "jac": np.concatenate(rows) if rows else np.zeros(0),
        "mass_matrix": np.array(system.mass or (), dtype=float),
    }
    for name, values in given.items():
        with np.errstate(over="ignore", under="ignore"):
            fit(name, values, values.astype(dtype))


def initial_states(states: np.ndarray) -> None:
    """Refuse initial values that are not finite; `states` is (n, n_runs or 1)."""
    finite = np.isfinite(states)
    if not finite.all():
        component, run = (int(i) for i in np.argwhere(~finite)[0])
        where = f"y0[{run}, {component}]" if states.shape[1] > 1 else f"y0[{component}]"
        raise _not_finite(where, states[component, run])


def _not_finite(where: str, value: Any) -> InvalidProblem:
    """Return the error for an initial value that is not finite."""
    return InvalidProblem(
        "y0",
        f"is not finite: {where} is {value}. All components of the initial state `y0` must be "
        "finite.",
    )
