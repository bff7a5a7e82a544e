"""Times that no step of a run crosses: breakpoints, and where drivers jump or have a kink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen

from cubie.errors import InvalidProblem
from cubie.launch.clocks import Span
from cubie.systems.drivers.interpolant import Driver

MOST_BREAKS = 10_000_000  # of a run


@frozen(eq=False)
class OwnTimes:
    """Times of which each run has its own.

    Attributes
    ----------
    times : ndarray (T,)
    marks : ndarray (T,) int
        The row of `chosen` that tells who has a time.
    chosen : ndarray (K, n_runs) bool
    """

    times: np.ndarray
    marks: np.ndarray
    chosen: np.ndarray

    @property
    def columns(self) -> int:
        return self.chosen.shape[1]

    @property
    def width(self) -> int:
        return len(self.times)

    def of(self, runs: slice) -> np.ndarray:
        """Return the times of some runs, (R, most of a run); NaN where a run has fewer."""
        run, at = np.nonzero(self.chosen[:, runs].T[:, self.marks])
        counts = np.bincount(run, minlength=self.chosen[:, runs].shape[1])
        found = np.full((len(counts), counts.max(initial=0)), np.nan)
        place = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)
        found[run, place] = self.times[at]
        return found


@frozen(eq=False)
class Recurring:
    """Times that come back in every period, of runs with spans of their own.

    Attributes
    ----------
    times : ndarray (B,)
        In the first period.
    period : float
    first, number : ndarray (n_runs,)
        The first period that a run meets, and how many.
    low, high : ndarray (n_runs,)
        The ends of its span.
    chosen : ndarray (B, n_runs or 1) bool
        Which of the times a run has.
    """

    times: np.ndarray
    period: float
    first: np.ndarray
    number: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chosen: np.ndarray

    @property
    def columns(self) -> int:
        return len(self.first)

    @property
    def width(self) -> int:
        return len(self.times) * int(self.number.max())

    def of(self, runs: slice) -> np.ndarray:
        """Return the times of some runs, (R, most of a run); NaN where a run has fewer."""
        shifts = self.first[runs, None] + np.arange(self.number[runs].max())
        found = self.times + (self.period * shifts)[:, :, None]
        low, high = (end[runs, None, None] for end in (self.low, self.high))
        chosen = self.chosen[:, runs] if self.chosen.shape[1] > 1 else self.chosen
        counts = (found >= low) & (found <= high) & chosen.T[:, None, :]
        return np.where(counts, found, np.nan).reshape(len(found), -1)


@frozen(eq=False)
class Breaks:
    """Times that no step crosses, in any order; those outside the span do not count.

    Attributes
    ----------
    shared : ndarray (B,)
        Of all runs.
    own : tuple of OwnTimes or Recurring
    rows : ndarray (n_runs, B) or None
        A row for each run.
    """

    shared: np.ndarray
    own: tuple[OwnTimes | Recurring, ...] = field(default=())
    rows: np.ndarray | None = None

    @classmethod
    def given(
        cls, breakpoints: np.ndarray | None, *found: np.ndarray | OwnTimes | Recurring
    ) -> Breaks:
        """Return breakpoints (B,) or (n_runs, B), or none, and what was found beside them."""
        shared = [times for times in found if isinstance(times, np.ndarray)]
        own = tuple(times for times in found if not isinstance(times, np.ndarray))
        rows = None
        if breakpoints is not None and breakpoints.ndim == 1:
            shared.insert(0, breakpoints)
        elif breakpoints is not None and np.array_equal(breakpoints[1:], breakpoints[:-1]):
            shared.insert(0, breakpoints[0])
        else:
            rows = breakpoints
        return cls(np.concatenate([np.zeros(0), *shared]), own, rows)

    @property
    def columns(self) -> int:
        """1 where all runs have the same, else the number of runs."""
        if self.rows is not None:
            return len(self.rows)
        return self.own[0].columns if self.own else 1

    @property
    def width(self) -> int:
        """How many times a row of `of` has at most."""
        rows = 0 if self.rows is None else self.rows.shape[1]
        return len(self.shared) + rows + sum(own.width for own in self.own)

    def of(self, runs: slice) -> np.ndarray:
        """Return the times of some runs, (R, at most `width`); NaN where a run has fewer."""
        n = len(range(*runs.indices(self.columns)))
        parts = [np.broadcast_to(self.shared, (n, len(self.shared)))]
        if self.rows is not None:
            parts.append(self.rows[runs])
        parts += [own.of(runs) for own in self.own]
        return np.concatenate(parts, axis=1)


def breaks_within(span: Span, breakpoints: np.ndarray | None, drivers: Sequence[Driver]) -> Breaks:
    """Return all times that no step should cross; of each run, where those of runs differ.

    Of runs with spans of their own those in any of them: outside of a run's own they do not count.
    """
    low, high = float(np.min(span)), float(np.max(span))
    found = []
    for driver in drivers:
        recurs = driver.pieces.periodic and len(driver.breaks) and isinstance(span[0], np.ndarray)
        found.append(_recurring(driver, span) if recurs else _of_driver(driver, low, high))
    return Breaks.given(breakpoints, *found)


def _recurring(driver: Driver, span: Span) -> Recurring:
    """Return the breaks of a periodic driver in spans of runs."""
    knots, breaks, chosen = driver.pieces.knots, driver.breaks, driver.breaks_of_runs
    period, low, high = knots[-1] - knots[0], np.minimum(*span), np.maximum(*span)
    first, last = (np.floor((end - knots[0]) / period) for end in (low, high))
    number = last - first + 1
    run = int(np.argmax(number))
    _require_few(driver, number[run], f" in run {run}")
    if chosen is None:
        chosen = np.ones((len(breaks), 1), bool)
    return Recurring(breaks, period, first, number.astype(int), low, high, chosen)


def _require_few(driver: Driver, periods: float, of_run: str = "") -> None:
    """Refuse spans with more breaks than a run can take steps."""
    if periods * len(driver.breaks) > MOST_BREAKS:
        raise InvalidProblem(
            "t_span",
            f"holds {periods:.3g} periods of {driver.label}{of_run}, each with "
            f"{len(driver.breaks)} jumps or kinks: more steps than a run can take. Choose "
            "stops='none' for it.",
        )


def _of_driver(driver: Driver, low: float, high: float) -> np.ndarray | OwnTimes:
    """Return the times in a span where a driver jumps, or has a kink."""
    times, marks = _times_of_driver(driver, low, high)
    if driver.breaks_of_runs is None:
        return times
    used, marks = np.unique(marks, return_inverse=True)
    chosen = driver.breaks_of_runs[used]
    # Where runs differ outside of the span only, they have the same in it.
    if np.array_equal(chosen[:, 1:], chosen[:, :-1]):
        return times[chosen[:, 0][marks]]
    return OwnTimes(times, marks, chosen)


def _times_of_driver(driver: Driver, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times in a span where a run has a break, and which of the driver's breaks that is."""
    knots, breaks = driver.pieces.knots, driver.breaks
    if not driver.pieces.periodic or not len(breaks):
        within = np.flatnonzero((breaks >= low) & (breaks <= high))
        return breaks[within], within
    period = knots[-1] - knots[0]
    first, last = np.floor((low - knots[0]) / period), np.floor((high - knots[0]) / period)
    _require_few(driver, last - first + 1)
    shifts = period * np.arange(first, last + 1)
    times = (breaks[None, :] + shifts[:, None]).reshape(-1)
    marks = np.tile(np.arange(len(breaks)), len(shifts))
    within = (times >= low) & (times <= high)
    return times[within], marks[within]
