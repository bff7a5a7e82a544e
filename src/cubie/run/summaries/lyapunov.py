"""Lyapunov exponents, of what is kept of how directions grew: see `cubie.run.exponents`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from attrs import field, frozen

from cubie.errors import InvalidOption
from cubie.run.summaries.checks import MOST_KEPT
from cubie.run.summaries.kinds import Summary

ALL = "all"
# As many parts of equal duration is the time cut into, whose exponents say how far to trust the
# mean.
N_PARTS = 20

# Slots of a run: since when, and until when, growth is counted; when the part of it began that is
# not over, and how many are; the sum of the squares of their durations; the length of directions.
SINCE, UNTIL, PART_START, PARTS, DURATIONS_SQUARED, LENGTH = range(6)
FIRST = 6
# And of each direction: its growth, as a number from 1 to 2 times a power of two; the logarithm of
# it where the part began; over the parts the sums of squares of logarithms, and of products with
# durations; how far steps may be off, relative to the direction.
SIGNIFICAND, EXPONENT, AT_PART, SQUARES, PRODUCTS, INEXACT = range(6)
PER_DIRECTION = 6
# That of a direction of which a step left nothing.
VANISHED = 1e30


class Exponents(NamedTuple):
    """Lyapunov exponents of runs, the largest first where runs are long."""

    exponents: Any  # (k,), or (n_runs, k): by unit of time
    errors: Any  # of the same shape; NaN where too little was seen to tell
    duration: Any  # a number, or (n_runs,): over which time


def _check_k(instance: Any, attribute: Any, value: Any) -> None:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if isinstance(value, str) and value == ALL:
        return
    if not whole or not 1 <= int(value) <= MOST_KEPT:
        advice = f"It must be an int from 1 to {MOST_KEPT}, or {ALL!r}."
        raise InvalidOption("lyapunov(k=)", value, advice=advice)
    object.__setattr__(instance, "k", int(value))


@frozen
class lyapunov(Summary):
    """The largest Lyapunov exponents of a run.

    Parameters
    ----------
    k : int or "all"
        How many.

    Notes
    -----
    `errors` is the sum of two: the standard error of the mean over 20 parts of the time, and what
    the tolerances leave open of a step, relative to what became of a direction in it.
    """

    name = "lyapunov"
    k: Any = field(default=1, validator=_check_k)

    @property
    def n_slots(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return FIRST + PER_DIRECTION * (1 if self.k == ALL else self.k)

    def count(self, n_states: int) -> int:
        """Return how many exponents there are of so many states.

        Raises
        ------
        InvalidOption
            For more than there are states.
        """
        if self.k == ALL:
            return n_states
        if self.k > n_states:
            advice = f"There are as many exponents as states, {n_states}: give fewer, or {ALL!r}."
            raise InvalidOption("lyapunov(k=)", self.k, advice=advice)
        return self.k

    def result(self, slots, clock):
        since, until, part_start, parts, durations_squared = slots[:LENGTH]
        of_each = slots[FIRST:].reshape(-1, PER_DIRECTION, slots.shape[1])
        with np.errstate(all="ignore"):  # of runs of which nothing was seen, or in which all vanish
            duration = np.where(until > since, until - since, np.nan)
            growth = of_each[:, EXPONENT] + np.log2(of_each[:, SIGNIFICAND])
            exponents = np.log(2.0) * growth / duration
            # The variance of a ratio of sums, of growth to duration.
            seen = part_start - since
            mean = of_each[:, AT_PART] / seen
            spread = of_each[:, SQUARES] - 2.0 * mean * of_each[:, PRODUCTS]
            spread = spread + mean**2 * durations_squared
            by_parts = np.sqrt(np.maximum(spread, 0.0) * parts / (parts - 1.0)) / seen
            by_parts = np.where(parts > 1.0, np.log(2.0) * by_parts, np.nan)
            inexact = np.where(of_each[:, INEXACT] < VANISHED, of_each[:, INEXACT], np.inf)
            errors = by_parts + inexact / duration
        return Exponents(exponents.T, errors.T, duration)
