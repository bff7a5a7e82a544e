"""Times that no step of a run crosses: breakpoints, and where drivers jump or have a kink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cubie.errors import InvalidProblem
from cubie.systems.drivers.interpolant import Driver

MOST_BREAKS = 10_000_000  # of a run


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
