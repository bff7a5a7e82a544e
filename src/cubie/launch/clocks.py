"""What sets the clocks of runs: their span, the times to save at, the size of steps.

Each is one of all runs, or one of each. Functions of this room take a span as two numbers or as two
columns (R, 1), and times as (P,) or with a row for each run, NaN after the last time of a run.

The end of a span may be infinite, where an event ends runs. To a clock it is then the number of
`far`: of steps that do not move it that far nothing is rounded otherwise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

# The part of the largest number of a dtype that stands for an infinite time; a power of two.
FAR = 2.0**-12

# Start and end: numbers, or arrays (n_runs,); columns (R, 1) of some of them.
Span = tuple[Any, Any]


def direction_of(span: Span) -> Any:
    """Return 1, or -1 where time runs backwards."""
    start, end = span
    if isinstance(start, np.ndarray):
        return np.where(end < start, -1.0, 1.0)
    return -1.0 if end < start else 1.0


def far(dtype: Any) -> float:
    """Return how long after the start of runs an infinite end is: a number of a dtype.

    So far below the largest one that what a run adds to it is a number, too.
    """
    return float(np.finfo(dtype).max) * FAR


def ends_of(span: Span, dtype: Any) -> Any:
    """Return the ends of a span as clocks are told of them: finite."""
    start, end = span
    if type(end) is float and math.isfinite(end):  # of most solves, some of which take microseconds
        return end
    return np.where(np.isfinite(end), end, start + direction_of(span) * far(dtype))


def length_of(span: Span, dtype: Any) -> Any:
    """Return how long a span is to a clock."""
    length = np.abs(np.subtract(span[1], span[0]))
    return np.where(np.isfinite(length), length, far(dtype))


def times_at(span: Span, elapsed: np.ndarray) -> np.ndarray:
    """Return the times that clocks showed, which count from the starts of runs."""
    start, end = span
    times = start + direction_of(span) * elapsed.astype(float)
    # The end is a number of its own: start and span, rounded, might miss it.
    length = length_of(span, elapsed.dtype).astype(elapsed.dtype)
    return np.where(elapsed == length, end, times)


def farthest_of(span: Span, times: Any = None) -> Any:
    """Return how far from zero a span reaches; an infinite one as far as any of the times.

    Times are rows (R, S), of which infinities and NaN do not count.
    """
    start, end = (np.abs(one) for one in span)
    known = np.isfinite(end)
    if np.all(known):
        return np.maximum(start, end)
    reach = start
    if times is not None:
        rows = np.atleast_2d(times)
        of_rows = np.where(np.isfinite(rows), np.abs(rows), 0.0).max(axis=1, initial=0.0)
        reach = np.maximum(start, of_rows[:, None] if np.ndim(start) else of_rows.max(initial=0.0))
    return np.where(known, np.maximum(start, end), reach)


def spacing_of(span: Span, dtype: np.dtype, times: Any = None) -> Any:
    """Return the spacing of numbers of a dtype where the span is farthest from zero.

    Of an infinite one where the `times` are, (R, S): those in it that are of interest.
    """
    with np.errstate(over="ignore"):  # told where times are laid out
        farthest = np.asarray(farthest_of(span, times), dtype)
    with np.errstate(invalid="ignore"):
        return np.spacing(farthest).astype(float)


def span_of_run(span: Span, run: int) -> tuple[float, float]:
    """Return start and end of one run."""
    start, end = (
        float(np.asarray(one).reshape(-1)[run if np.size(one) > 1 else 0]) for one in span
    )
    return start, end


class Targets(NamedTuple):
    """Times that steps of runs lead to: those to save at, and the end.

    Attributes
    ----------
    times : ndarray (R, T), or (1, T) of all runs
        In order along the span; what follows the last one is NaN.
    counts : ndarray (R,) or (1,)
    end_is_saved : ndarray of bool (R,) or (1,)
    """

    times: np.ndarray
    counts: np.ndarray
    end_is_saved: np.ndarray


class Clocks(NamedTuple):
    """What sets the clocks of R runs.

    Attributes
    ----------
    span : (float, float) or (ndarray (R, 1), ndarray (R, 1))
    times : ndarray (P,) or (R, P), or None
        To save at, by steps that land on them.
    step : float, ndarray (R, 1), or None
        Size of all steps; None where sizes are chosen as the run goes.
    first : int
        Number of the first of these runs in its batch.
    """

    span: Span
    times: np.ndarray | None
    step: Any
    first: int = 0

    @classmethod
    def of(cls, span: Span, times: np.ndarray | None, step: Any) -> Clocks:
        """Return those of spans and steps as users give them: numbers, or arrays (n_runs,)."""
        start, end = span
        if not isinstance(start, np.ndarray):  # of most solves, some of which take microseconds
            return cls(span, times, _column(step))
        return cls((_column(start), _column(end)), times, _column(step))

    @property
    def columns(self) -> int | None:
        """How many runs there are; None where all have the same."""
        if isinstance(self.span[0], np.ndarray):
            return len(self.span[0])
        if self.times is not None and self.times.ndim == 2:
            return len(self.times)
        return len(self.step) if isinstance(self.step, np.ndarray) else None

    def part(self, runs: slice) -> Clocks:
        """Return what sets the clocks of some runs."""
        start, end = (_some(one, runs) for one in self.span)
        times = self.times if self.times is None or self.times.ndim == 1 else self.times[runs]
        return Clocks((start, end), times, _some(self.step, runs), self.first + runs.start)

    def of_run(self, row: int) -> str:
        """Return which run a row is of, to end a part of a message with."""
        return "" if self.columns is None else f" in run {self.first + row}"

    def targets(self, dtype: Any) -> Targets:
        """Return the times that steps of runs of a dtype lead to."""
        end = np.reshape(ends_of(self.span, dtype), (-1, 1))
        if self.times is None:
            return Targets(end, np.ones(len(end), int), np.zeros(len(end), bool))
        rows = np.atleast_2d(self.times)
        n_rows = max(len(rows), len(end))
        times = np.full((n_rows, rows.shape[1] + 1), np.nan)
        times[:, :-1] = rows
        counts, every = np.count_nonzero(~np.isnan(times), axis=1), np.arange(n_rows)
        is_saved = times[every, counts - 1] == end[:, 0]
        times[every, counts] = np.where(is_saved, np.nan, end[:, 0])
        counts = counts + ~is_saved
        return Targets(times[:, : counts.max()], counts, is_saved)


def _column(given: Any) -> Any:
    return given.reshape(-1, 1) if isinstance(given, np.ndarray) else given


def _some(column: Any, runs: slice) -> Any:
    return column[runs] if isinstance(column, np.ndarray) else column
