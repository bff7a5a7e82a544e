"""Fit the constants of the cost model to measured run times of a card.

A sweep times the same kernel under several placements and block sizes. The
predicted cost is linear in the cycles and latencies of the memory levels, so least
squares finds them; constants that the sweep does not exercise stay where they were,
and are reported as such.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import evolve, field, frozen

from cubie_planner.declarations.places import Location
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.cost import CostError, CostModel

FITTED = (
    "issue_cycles",
    "shared_cycles",
    "l1_cycles",
    "l2_cycles",
    "dram_cycles",
    "shared_latency",
    "l1_latency",
    "l2_latency",
    "dram_latency",
)
"""Constants in which the predicted cost is linear."""

PRIOR_WEIGHT = 1e-4
SMALLEST_FACTOR = 1e-3


def _finite_cycles(instance: Measurement, attribute: object, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise CostError(f"measured cycles must be a finite number above 0, got {value!r}.")


@frozen(kw_only=True)
class Measurement:
    """One timed placement.

    Attributes
    ----------
    problem : Problem
        Buffers and limits (block size, compute capability) of the kernel.
    locations : mapping of str to Location
    cycles : float
        SM cycles per run and step; see `sm_cycles`.
    shared_bytes_per_run : int or None
        As planned; the bytes alive at once if None.
    dynamic : tuple of str
        Buffers indexed with values the compiler does not know.
    """

    problem: Problem
    locations: Mapping[str, Location]
    cycles: float = field(validator=_finite_cycles)
    shared_bytes_per_run: int | None = None
    dynamic: tuple[str, ...] = ()


@frozen(kw_only=True)
class Calibration:
    """A fitted model with what is known about the fit.

    Attributes
    ----------
    model : CostModel
    measurements : int
    rms_error, worst_error : float
        Relative errors of the fitted model on the measurements.
    informed : tuple of str
        Constants the measurements determine; the other fitted ones kept their
        previous value, wholly or for the most part.
    """

    model: CostModel
    measurements: int
    rms_error: float
    worst_error: float
    informed: tuple[str, ...]


def sm_cycles(seconds: float, runs: int, steps: int, sm_count: int, clock_hz: float) -> float:
    """SM cycles per run and step of a kernel that took `seconds` for all runs.

    Meaningful if there are far more runs than the card can hold at once.
    """
    return seconds * clock_hz * sm_count / (runs * steps)


def calibrate(
    measurements: Sequence[Measurement], start: CostModel, card: str, provenance: str
) -> Calibration:
    """Fit the linear constants of `start` to measurements.

    Minimises the squared relative errors, with a weak pull to the constants of
    `start` that decides what the measurements leave open. Constants stay positive.

    Parameters
    ----------
    measurements : sequence of Measurement
        Placements and block sizes that differ; at least two.
    start : CostModel
        Register constants, cache sizes and overlap are taken from it unchanged.
    card, provenance : str
        Written into the fitted model.

    Returns
    -------
    Calibration

    Raises
    ------
    CostError
        With fewer than two measurements, or one the model says cannot be launched.
    """
    if len(measurements) < 2:
        raise CostError(f"{len(measurements)} measurements cannot be fitted; give two or more.")
    before = np.array([getattr(start.constants, name) for name in FITTED], dtype=float)
    rows = np.array([_features(start, item, index) for index, item in enumerate(measurements)])
    # In units of the starting constants, and relative to the measured cost.
    design = rows * before / np.array([[item.cycles] for item in measurements])
    prior = PRIOR_WEIGHT * np.abs(design).max()
    factors = _positive_least_squares(design, prior)
    fitted = {name: float(value) for name, value in zip(FITTED, factors * before, strict=True)}
    errors = design @ factors - 1.0
    information = design.T @ design
    kept = np.diag(np.linalg.inv(information + prior**2 * np.eye(len(FITTED)))) * prior**2
    model = CostModel(constants=evolve(start.constants, **fitted), card=card, provenance=provenance)
    return Calibration(
        model=model,
        measurements=len(measurements),
        rms_error=float(np.sqrt(np.mean(errors**2))),
        worst_error=float(np.abs(errors).max()),
        informed=tuple(name for name, share in zip(FITTED, kept, strict=True) if share < 0.5),
    )


def _features(model: CostModel, item: Measurement, index: int) -> list[float]:
    """What each fitted constant is multiplied with: the slopes of a linear function."""

    def total(changed: CostModel) -> float:
        return changed.predict(
            item.problem,
            item.locations,
            shared_bytes_per_run=item.shared_bytes_per_run,
            dynamic=item.dynamic,
        ).total

    base = total(model)
    if math.isinf(base):
        raise CostError(
            f"measurement {index} cannot be launched according to the model (block size "
            f"{item.problem.limits.block_size}); check its shared bytes and limits."
        )
    slopes = []
    for name in FITTED:
        value = getattr(model.constants, name)
        doubled = evolve(model, constants=evolve(model.constants, **{name: 2 * value}))
        slopes.append((total(doubled) - base) / value)
    return slopes


def _positive_least_squares(design: np.ndarray, prior: float) -> np.ndarray:
    """Factors near 1 with `design @ factors` near 1, none below `SMALLEST_FACTOR`.

    The optimum holds some factors at the bound and leaves the others free; with nine
    of them, trying every set to hold is exact and quick.
    """
    n = design.shape[1]
    system = np.vstack([design, prior * np.eye(n)])
    target = np.concatenate([np.ones(len(design)), np.full(n, prior)])
    best, least = np.full(n, SMALLEST_FACTOR), math.inf
    for size in range(n + 1):
        for held in itertools.combinations(range(n), size):
            free = [i for i in range(n) if i not in held]
            factors = np.full(n, SMALLEST_FACTOR)
            rest = target - system[:, held] @ factors[list(held)]
            factors[free] = np.linalg.lstsq(system[:, free], rest, rcond=None)[0]
            error = float(np.sum((system @ factors - target) ** 2))
            if factors.min() >= SMALLEST_FACTOR and error < least:
                best, least = factors, error
        # Holding nothing is the unconstrained optimum: if it is allowed, it is best.
        if size == 0 and least < math.inf:
            break
    return best
