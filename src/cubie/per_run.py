"""What users give for each run by itself: spans, times to save at, tolerances and step sizes.

As in `args`, an array sweeps and a list does not: a one-dimensional array has a number for each
run. Times to save at, and tolerances, have a row for each, as a one-dimensional array of them is
of all runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cubie.errors import InvalidProblem, shown
from cubie.reals import NotReal, real_array

NUMBERS_AT_ONCE = 2**20  # times of so many runs are looked at together

Span = tuple[Any, Any]  # numbers, or arrays (n_runs,)


def is_of_runs(given: Any) -> bool:
    """Tell whether something is a one-dimensional array: a number for each run."""
    return not isinstance(given, (list, tuple, str)) and getattr(given, "ndim", 0) == 1


def numbers(name: str, given: Any) -> np.ndarray:
    """Return a number for each run, in memory of their own.

    Raises
    ------
    InvalidProblem
        For what is none, and for no run.
    """
    try:
        values = np.array(real_array(given), dtype=float)
    except (TypeError, ValueError) as error:
        why = f", but {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem(name, f"must hold a number for each run{why}.") from error
    if values.size == 0:
        raise InvalidProblem(name, "is an empty array, but must hold a number for each run.")
    return values


def spans(start: Any, end: Any) -> Span:
    """Return starts and ends of runs, (n_runs,) both; one of them may be a number.

    Raises
    ------
    InvalidProblem
        Where they differ in length, and for times that are not finite; ends may be infinite.
    """
    ends = [np.atleast_1d(numbers("t_span", one)) for one in (start, end)]
    lengths = {len(one) for one in ends if one.size > 1} or {1}
    if len(lengths) > 1:
        raise InvalidProblem(
            "t_span",
            f"has {len(ends[0])} starts and {len(ends[1])} ends: give one time for each run, or a "
            "number for all runs.",
        )
    starts, ends = (np.array(np.broadcast_to(one, max(lengths))) for one in ends)
    allowed = np.isfinite(starts) & ~np.isnan(ends)
    if not allowed.all():
        run = int(np.argmin(allowed))
        raise InvalidProblem(
            "t_span",
            f"is ({starts[run]}, {ends[run]}) in run {run}, but both must be finite, or the end "
            "infinite where an event ends the run.",
        )
    return starts, ends


def rows_of_times(times: np.ndarray, span: Span) -> np.ndarray:
    """Check times to save at, of each run or of runs with spans of their own; return them.

    Parameters
    ----------
    times : ndarray (n_points,) or (n_runs, n_points)
        Of runs with fewer times NaN follows the last one.
    span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,))

    Raises
    ------
    InvalidProblem
        Naming the run, for times out of order or outside of its span, and for a run without any.
    """
    if 0 in times.shape:
        raise InvalidProblem(
            "t_eval", f"has shape {times.shape}, but must have at least one time for each run."
        )
    rows, (start, end) = np.atleast_2d(times), (np.reshape(one, (-1, 1)) for one in span)
    if times.ndim == 2 and len(start) not in (1, len(rows)):
        raise InvalidProblem(
            "t_eval", f"has {len(rows)} rows, and t_span is of {len(start)} runs: give a row for "
            "each run."
        )  # fmt: skip
    n_runs = max(len(rows), len(start))
    rows = np.broadcast_to(rows, (n_runs, rows.shape[1]))
    start, end = (np.broadcast_to(one, (n_runs, 1)) for one in (start, end))
    if times.ndim == 1 and np.isfinite(times).all():
        wrong = _runs_without(times, start, end)
        if wrong.size:
            one = slice(wrong[0], wrong[0] + 1)
            _require_times(rows[one], start[one], end[one], int(wrong[0]), times)
        return times
    for first in range(0, n_runs, max(1, NUMBERS_AT_ONCE // rows.shape[1])):
        some = slice(first, first + max(1, NUMBERS_AT_ONCE // rows.shape[1]))
        _require_times(rows[some], start[some], end[some], first, times)
    return times


def _runs_without(times: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return which runs do not have the same times in order along their spans."""
    within = (times.min() >= np.minimum(start, end)) & (times.max() <= np.maximum(start, end))
    steps = np.diff(times)
    in_order = np.where(end < start, np.all(steps < 0), np.all(steps > 0))
    return np.flatnonzero(~(within & in_order))


def _require_times(
    rows: np.ndarray, start: np.ndarray, end: np.ndarray, first: int, times: np.ndarray
) -> None:
    """Refuse times of some runs, the first of which has the number `first`."""
    missing = np.isnan(rows)
    _require_trailing(missing, first)
    within = (rows >= np.minimum(start, end)) & (rows <= np.maximum(start, end))
    outside = ~missing & ~(within & np.isfinite(rows))
    with np.errstate(invalid="ignore"):
        steps = np.diff(rows, axis=1) * np.where(end < start, -1.0, 1.0)
    unordered = (steps <= 0) & ~missing[:, 1:]
    if outside.any():
        run, number = (int(k) for k in np.argwhere(outside)[0])
        span = _of_run((start[:, 0], end[:, 0]), run)
        raise InvalidProblem(
            "t_eval",
            f"contains {rows[run, number]}, which is not within t_span = {span} of run "
            f"{first + run}. {_other_rows(times)}".rstrip(),
        )
    if unordered.any():
        run, number = (int(k) for k in np.argwhere(unordered)[0])
        span = _of_run((start[:, 0], end[:, 0]), run)
        direction = "decrease" if end[run, 0] < start[run, 0] else "increase"
        raise InvalidProblem(
            "t_eval",
            f"must strictly {direction} from the start to the end of t_span = {span} of run "
            f"{first + run}, but {rows[run, number]} is followed by {rows[run, number + 1]}. "
            f"{_other_rows(times)}".rstrip(),
        )


def _require_trailing(missing: np.ndarray, first: int) -> None:
    empty = missing[:, 0]
    gaps = (missing[:, :-1] & ~missing[:, 1:]).any(axis=1)
    for wrong, what in ((gaps, "has a time after NaN"), (empty, "has no time")):
        if wrong.any():
            run = first + int(np.argmax(wrong))
            raise InvalidProblem(
                "t_eval",
                f"{what} in run {run}: NaN may only follow the last time of a "
                "run, and each has at least one.",
            )


def _other_rows(times: np.ndarray) -> str:
    if times.ndim == 2:
        return ""
    return "For times of each run give a row for each, (n_runs, n_points), NaN after the last."


def _of_run(span: Span, run: int) -> tuple[float, float]:
    start, end = (float(one[run]) if np.ndim(one) else float(one) for one in span)
    return start, end


def positive(name: str, given: Any, infinite: bool = False, zero: bool = False) -> np.ndarray:
    """Return a positive number for each run; as told, infinity and zero are allowed too."""
    values = numbers(name, given)
    fits = (values > 0) | (zero & (values == 0))
    fits &= infinite | np.isfinite(values)
    if not fits.all():
        run = int(np.argmin(fits))
        kind = "positive number, or zero" if zero else "positive number"
        raise InvalidProblem(name, f"is {values[run]} in run {run}, but must be a {kind}.")
    return values


def tolerances(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Check tolerances (n_runs, 1) or (n_runs, n); return them."""
    if values.shape[1] not in (1, n) or not len(values):
        raise InvalidProblem(
            name,
            f"has shape {values.shape}, but with a row for each run it must be (n_runs, 1)"
            f"{f' or (n_runs, {n})' if n > 1 else ''}.",
        )
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        run, component = (int(k) for k in np.argwhere(wrong)[0])
        raise InvalidProblem(
            name,
            f"is {values[run, component]} in run {run}, but must be finite and not negative.",
        )
    return values


def number_of_runs(lengths: Mapping[str, int]) -> int | None:
    """Return how many runs arguments are of; None where none of them has a run axis.

    Raises
    ------
    InvalidProblem
        Naming two that disagree.
    """
    known: tuple[str, int] | None = None
    for name, length in lengths.items():
        if known is not None and length != known[1]:
            raise InvalidProblem(
                name, f"is of {length} runs, and {known[0]} of {known[1]}: one of them has a "
                "number, or a row, too many or too few."
            )  # fmt: skip
        known = name, length
    return None if known is None else known[1]


def lengths_of(**given: Any) -> dict[str, int]:
    """Return of how many runs each argument is that has a run axis, by name."""
    lengths = {}
    for name, value in given.items():
        # A tolerance, or times to save at, of all runs are one-dimensional themselves.
        by_rows = name in ("rtol", "atol", "t_eval")
        if by_rows:
            array = value if isinstance(value, np.ndarray) else _array(value)
            if array is not None and array.ndim == 2:
                lengths[name] = len(array)
        elif is_of_runs(value):
            lengths[name] = len(value)
    return lengths


def _array(given: Any) -> np.ndarray | None:
    if given is None or isinstance(given, (float, int)):
        return None
    try:
        return np.asarray(given)
    except (TypeError, ValueError):  # told of where it is read
        return None


def in_a_list(given: Any) -> str:
    """Return what to do about a list where an array has a number for each run; "" elsewhere."""
    if not isinstance(given, (list, tuple)):
        return ""
    return f" For one of each run give an array: np.array({shown(list(given))})."
