"""Times that no step of a run crosses: breakpoints, and where drivers jump or have a kink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie.errors import InvalidProblem
from cubie.reals import NotReal, real_array
from cubie.systems.drivers.interpolant import Driver

MOST_BREAKS = 10_000_000  # of a run


def checked_breakpoints(given: Any, n_runs: int | None) -> np.ndarray | None:
    """Return `breakpoints` as (B,), or (n_runs, B), in any order.

    Raises
    ------
    InvalidProblem
    """
    if given is None:
        return None
    try:
        times = np.array(real_array(given), dtype=float)
    except (TypeError, ValueError) as error:
        why = f", but {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem("breakpoints", f"must be a sequence of times{why}.") from error
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


def breaks_within(
    span: tuple[float, float], breakpoints: np.ndarray | None, drivers: Sequence[Driver]
) -> np.ndarray:
    """Return all times that no step should cross, (B,) or (n_runs, B)."""
    low, high = min(span), max(span)
    found = [_of_driver(driver, low, high) for driver in drivers]
    if breakpoints is None or breakpoints.ndim == 1:
        return np.concatenate([np.zeros(0) if breakpoints is None else breakpoints, *found])
    shared = np.concatenate([np.zeros(0), *found])
    return np.concatenate([breakpoints, np.tile(shared, (len(breakpoints), 1))], axis=1)


def _of_driver(driver: Driver, low: float, high: float) -> np.ndarray:
    """Return the times in a span where a driver jumps, or has a kink."""
    knots, breaks = driver.pieces.knots, driver.breaks
    if not driver.pieces.periodic or not len(breaks):
        return breaks[(breaks >= low) & (breaks <= high)]
    period = knots[-1] - knots[0]
    first, last = np.floor((low - knots[0]) / period), np.floor((high - knots[0]) / period)
    if (last - first + 1) * len(breaks) > MOST_BREAKS:
        raise InvalidProblem(
            "t_span",
            f"holds {last - first + 1:.3g} periods of {driver.label}, each with {len(breaks)} "
            "jumps or kinks: more steps than a run can take. Choose stops='none' for it.",
        )
    shifts = period * np.arange(first, last + 1)
    times = (breaks[None, :] + shifts[:, None]).reshape(-1)
    return times[(times >= low) & (times <= high)]
