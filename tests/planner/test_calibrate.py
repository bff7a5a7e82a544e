"""Fitting the cost model to measured placements."""

from __future__ import annotations

import random

import numpy as np
import pytest
from attrs import evolve
from cost_cases import ADA, explicit, iterated, places
from scipy.optimize import lsq_linear

from cubie_planner.declarations.problem import Limits, Problem
from cubie_planner.gpu.calibrate import (
    FITTED,
    SMALLEST_FACTOR,
    Measurement,
    _positive_least_squares,
    calibrate,
    sm_cycles,
)
from cubie_planner.gpu.cost import CostError, CostModel

START = CostModel.for_capability(ADA)


def sweep(truth: CostModel, noise: float = 0.0, seed: int = 1) -> list[Measurement]:
    """Placements and block sizes of several kernels, timed by a known model."""
    rng = random.Random(seed)
    found = []
    for buffers in (
        explicit(20), explicit(40), explicit(61), explicit(73), explicit(128),
        iterated(16, 64), iterated(64, 256), iterated(128, 512),
    ):  # fmt: skip
        for block in (32, 64, 128, 256):
            task = Problem(buffers, Limits(block_size=block, compute_capability=ADA))
            for moved in ((), ("state",), ("state", "proposed"), ("k0", "k1"), ("work",)):
                where = places(buffers, moved)
                cost = truth.predict(task, where).total
                if cost < float("inf"):
                    cycles = cost * (1 + noise * rng.uniform(-1, 1))
                    found.append(Measurement(problem=task, locations=where, cycles=cycles))
    return found


def other_card() -> CostModel:
    """A card whose constants differ from the start by up to a factor of two."""
    rng = np.random.default_rng(3)
    changed = {
        name: getattr(START.constants, name) * float(rng.uniform(0.5, 2.0)) for name in FITTED
    }
    return evolve(START, constants=evolve(START.constants, **changed))


def test_the_fit_reproduces_exact_measurements():
    """Measurements of a known model are reproduced, and its costs are predicted."""
    truth = other_card()
    result = calibrate(sweep(truth), START, "other", "synthetic")
    assert result.worst_error < 0.002
    assert (result.model.card, result.model.provenance) == ("other", "synthetic")
    fresh = explicit(90)
    task = Problem(fresh, Limits(block_size=32, compute_capability=ADA))
    for moved in ((), ("state",), ("k0",)):
        where = places(fresh, moved)
        assert result.model.predict(task, where).total == pytest.approx(
            truth.predict(task, where).total, rel=0.02
        )


def test_informed_constants_are_recovered():
    """Constants reported as informed are near the truth."""
    truth = other_card()
    result = calibrate(sweep(truth), START, "other", "synthetic")
    assert {"issue_cycles", "l2_cycles", "dram_cycles", "l2_latency"} <= set(result.informed)
    for name in result.informed:
        assert getattr(result.model.constants, name) == pytest.approx(
            getattr(truth.constants, name), rel=0.15
        ), name


def test_noise_is_averaged_out():
    """With 5 % noise the fit predicts the true cost better than the noise."""
    truth = other_card()
    result = calibrate(sweep(truth, noise=0.05), START, "other", "synthetic")
    assert 0.01 < result.rms_error < 0.05
    for item in sweep(truth):
        cost = result.model.predict(item.problem, item.locations).total
        assert cost == pytest.approx(item.cycles, rel=0.05)


def test_constants_without_evidence_keep_their_value():
    """A sweep that never leaves the registers tells nothing about memory."""
    buffers = explicit(3)
    measured = [
        Measurement(
            problem=Problem(buffers, Limits(block_size=block, compute_capability=ADA)),
            locations=places(buffers, ()),
            cycles=cycles,
        )
        for block, cycles in ((32, 10.0), (64, 11.0))
    ]
    result = calibrate(measured, START, "card", "two runs")
    assert result.informed == ("issue_cycles",)
    assert result.model.constants.dram_cycles == pytest.approx(START.constants.dram_cycles)


def test_constants_stay_positive():
    """Contradictory measurements never give a negative cost."""
    measured = [
        evolve(item, cycles=item.cycles * (0.01 if i % 2 else 3))
        for i, item in enumerate(sweep(START)[:40])
    ]
    result = calibrate(measured, START, "card", "nonsense")
    assert all(getattr(result.model.constants, name) > 0 for name in FITTED)
    assert result.worst_error > 0.5


def test_bounded_least_squares_equals_an_independent_solver():
    """With and without factors at their bound the optimum is SciPy's."""
    rng = np.random.default_rng(8)
    bounded = 0
    for _ in range(20):
        design = rng.uniform(0, 1, (30, len(FITTED))) * rng.uniform(0.1, 1, len(FITTED))
        design *= rng.uniform(0.2, 5, (30, 1))
        found = _positive_least_squares(design, 0.05)
        system = np.vstack([design, 0.05 * np.eye(len(FITTED))])
        target = np.concatenate([np.ones(30), np.full(len(FITTED), 0.05)])
        known = lsq_linear(system, target, (SMALLEST_FACTOR, np.inf), tol=1e-14).x
        np.testing.assert_allclose(found, known, atol=1e-4)
        bounded += bool((found == SMALLEST_FACTOR).any())
    assert bounded > 5


def test_too_few_or_impossible_measurements_are_refused():
    """One measurement, a time that is none, or an impossible launch are errors."""
    one = sweep(START)[:1]
    with pytest.raises(CostError, match="1 measurements cannot be fitted"):
        calibrate(one, START, "card", "")
    with pytest.raises(CostError, match="finite number above 0"):
        evolve(one[0], cycles=0.0)
    huge = evolve(one[0], shared_bytes_per_run=10_000, locations=places(explicit(20), ("state",)))
    with pytest.raises(CostError, match="measurement 1 cannot be launched"):
        calibrate([one[0], huge], START, "card", "")


def test_seconds_become_cycles_per_run_and_step():
    """One second on 10 SMs at 1 GHz for 1000 runs of 100 steps is 100,000 cycles each."""
    assert sm_cycles(1.0, runs=1000, steps=100, sm_count=10, clock_hz=1e9) == pytest.approx(1e5)
