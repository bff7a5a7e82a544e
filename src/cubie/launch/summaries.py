"""Summaries of runs as users get them, of the slots that the kernel wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import InvalidOption, InvalidProblem
from cubie.launch.clocks import Span, direction_of
from cubie.reals import NotReal, real
from cubie.run.summaries.joints import spoiled_mark
from cubie.run.summaries.kinds import Clock
from cubie.run.summaries.request import Tracked, Tracking

EVER = (0.0, float("inf"))  # from the start of a run on


@frozen
class Window:
    """The part of time that summaries are of.

    Attributes
    ----------
    first, last : float
        Both in time as users tell it; `last` is infinite where there is no end.
    may_miss : bool
        Runs that have nothing of it may be all that are solved together.
    """

    first: float
    last: float
    may_miss: bool = False

    @classmethod
    def read(cls, window: Any, after: Any) -> Window | None:
        """Read `window=` and `after=`.

        Raises
        ------
        InvalidOption
            For what is no (first, last) in that order, and where both are given.
        """
        if window is None and after is None:
            return None
        if window is not None and after is not None:
            raise InvalidOption("after", after, advice="Give either `window` or `after`, not both.")
        try:
            if window is None:
                return cls(_finite(after), float("inf"))
            first, last = map(_finite, window)
        except (NotReal, TypeError, ValueError) as error:
            name, given = ("after", after) if window is None else ("window", window)
            how = "a finite number" if window is None else "two finite numbers (first, last)"
            also = "For all from a time on give after=." if window is not None else ""
            advice = f"It must be {how}. {also or 'For all of a run leave it out.'}"
            raise InvalidOption(name, given, advice=advice) from error
        if not first < last:
            raise InvalidOption("window", window, advice="Its end must lie after its start.")
        return cls(first, last)

    def elapsed(self, span: Span) -> Span:
        """Return it counted from the start of runs over `span`; where they have their own, of each.

        Raises
        ------
        InvalidProblem
            Where it has nothing in common with the span, or with that of any run.
        """
        if isinstance(span[0], np.ndarray):
            return self._elapsed_of_runs(span)
        start, end = span
        low, high = (start, end) if start <= end else (end, start)
        if self.first >= high or self.last <= low:
            raise self._missed(f"t_span, {span}, has nothing")
        if start <= end:
            return max(self.first - start, 0.0), self.last - start
        return max(start - self.last, 0.0), start - self.first

    def _elapsed_of_runs(self, span: Span) -> Span:
        # Of runs that have nothing of it nothing is summarised.
        start, end = span
        found = (self.first < np.maximum(*span)) & (self.last > np.minimum(*span))
        if not self.may_miss and not found.any():
            raise self._missed("t_span has nothing in any run")
        forwards = start <= end
        first = np.where(forwards, self.first - start, start - self.last)
        last = np.where(forwards, self.last - start, start - self.first)
        return np.maximum(first, 0.0), last

    def _missed(self, what: str) -> InvalidProblem:
        """Return the error of times that no run has, by the option that was given."""
        if self.last < EVER[1]:
            told = f"is ({self.first}, {self.last}), of which {what}. Let them overlap."
            return InvalidProblem("window", told)
        return InvalidProblem("after", f"is {self.first}, and {what} after that. Give less.")


def goes_on_for_ever(window: Window | None, span: Span, t_reached: Any) -> Any:
    """Tell of which runs what is summarised has no end: those that reached an infinite one."""
    if np.all(np.isfinite(span[1])):
        return False
    return np.isinf(t_reached) & np.isinf((window.elapsed(span) if window else EVER)[1])


def _finite(given: Any) -> float:
    number = real(given)
    if not np.isfinite(number):
        raise NotReal("is not finite")
    return number


def summaries_of(
    written: np.ndarray, tracking: Tracking, n_runs: int | None, span: Span, endless: Any = False
) -> dict[Any, dict[str, Any]]:
    """Return the summaries of runs, by quantity and label.

    Parameters
    ----------
    written : ndarray (n_rows * n_runs,)
        The first rows are those slots.
    tracking : Tracking
    n_runs : int or None
        None for one run without a run axis.
    span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,))
    endless : bool or ndarray of bool (n_runs,)
        Of which runs what is summarised goes on for ever.
    """
    found: dict[Any, dict[str, Any]] = {}
    for one, label, value in _each_of(written, tracking, n_runs, span, endless, pairs=False):
        found.setdefault(one.key, {})[label] = _of_one(value) if n_runs is None else value
    return found


def derivatives_of_summaries(
    written: np.ndarray,
    tracking: Tracking,
    n_runs: int | None,
    span: Span,
    sizes: np.ndarray,
    endless: Any = False,
) -> dict[Any, dict[str, Any]]:
    """Return the derivatives of summaries by P inputs, as `summaries_of` does: (n_runs, ..., P).

    `sizes` of inputs (P, n_runs) are what those are times that runs were solved with.
    """
    found: dict[Any, dict[str, Any]] = {}
    count: dict[tuple[Any, str], int] = {}
    for one, label, value in _each_of(written, tracking, n_runs, span, endless, pairs=True):
        k = count.get((one.key, label), 0)
        count[one.key, label] = k + 1
        values = found.setdefault(one.key, {})
        if k == 0:
            values[label] = np.empty((*value.shape, len(sizes)))
        scale = sizes[k].astype(float)
        values[label][..., k] = value / scale.reshape(-1, *[1] * (value.ndim - 1))
    if n_runs is None:
        return {key: {label: one[0] for label, one in of.items()} for key, of in found.items()}
    return found


def _each_of(
    written: np.ndarray,
    tracking: Tracking,
    n_runs: int | None,
    span: Span,
    endless: Any,
    pairs: bool,
) -> Iterator[tuple[Tracked, str, Any]]:
    """Yield what was tracked, a label, and what became of it in all runs.

    Of `pairs`, of quantities with their derivatives, or of those alone.
    """
    slots = written.reshape(-1, n_runs or 1)[: tracking.n_slots].astype(float)
    clock = Clock(span[0], direction_of(span))
    if tracking.exponents is not None:
        one = tracking.exponents
        label, summary, _ = one.summaries[0]
        own, slots = slots[-summary.n_slots :], slots[: -summary.n_slots]
        own[:, own[0] < 0.0] = np.nan
        if not pairs:
            yield one, label, summary.result(own, clock)
    if not tracking.follows:
        return
    slots[:, slots[0] < 0.0] = np.nan
    mark = spoiled_mark(written.dtype)
    of_quantities = [(0, one) for one in tracking.states]
    of_quantities += [(tracking.n_state_slots, one) for one in tracking.observables]
    for offset, tracked in of_quantities:
        if (tracked.by is not None) is not pairs:
            continue
        spoiled = np.any([slots[offset + at] >= mark for at in tracked.slopes_at], axis=0)
        for label, summary, at in tracked.summaries:
            own = slots[offset + at : offset + at + summary.n_slots]
            own[:, (spoiled | endless) if summary.lasts else spoiled] = np.nan
            yield tracked, label, summary.result(own, clock)


def _of_one(value: Any) -> Any:
    """Return a result of one run without its run axis."""
    if isinstance(value, tuple):
        return type(value)(*map(_of_one, value))
    return value[0]
