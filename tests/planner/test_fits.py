"""Capacity mode: the first plan within the limits, with no more claimed than was proven."""

import random

import pytest
from activation_graphs import residual_chain
from attrs import evolve
from brute_force import optimum
from random_problems import kernel_problem, tiny_problem
from tight_packings import BYTES, tight_packing

from cubie_planner import Buffer, Limits, PlanInfeasible, PlanUnknown, Problem, Status, check, plan
from cubie_planner.packing import pack


def as_buffers(packing) -> list[Buffer]:
    return [
        Buffer(f"b{i}", size, "u1", lifetime=spans)
        for i, (size, spans) in enumerate(zip(packing.sizes, packing.lifetimes, strict=True))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_a_plan_fits_exactly_where_there_is_one(seed):
    """As brute force says: a plan within the limits, or the proof that there is none."""
    problem = tiny_problem(seed, 4)
    try:
        answer = plan(problem, fits=True)
    except PlanInfeasible:
        assert optimum(problem) is None
        return
    check(problem, answer)
    assert optimum(problem) is not None


def test_bounds_of_a_plan_that_fits_are_true():
    """What it claims no plan can be below, the proven optimum is not below."""
    for seed in range(20):
        problem = kernel_problem(seed, 12)
        try:
            best = plan(problem)
        except PlanInfeasible:
            with pytest.raises(PlanInfeasible):
                plan(problem, fits=True)
            continue
        answer = plan(problem, fits=True)
        check(problem, answer)
        for level, proven in zip(answer.levels, best.levels, strict=True):
            assert level.bound <= level.value
            if level.value != proven.value:
                assert level.bound <= proven.value
                break


@pytest.mark.parametrize("seed", [1, 2, 15])
def test_tight_problems_fit_without_slack(seed):
    """A full rectangle is packed through the public door, with its capacity and no byte more."""
    problem = Problem(as_buffers(tight_packing(seed)), Limits(BYTES, pad_banks=False), "shared")
    answer = plan(problem, fits=True)
    assert answer.levels[0].value == BYTES
    with pytest.raises(PlanInfeasible):
        plan(evolve(problem, limits=Limits(BYTES - 1, pad_banks=False)), fits=True)


@pytest.mark.slow
def test_tight_packings_are_found():
    """Of 41 rectangles cut into 150 to 500 pieces at least 39 are packed again, none wrongly."""
    solved = 0
    for seed in range(41):
        problem = tight_packing(seed)
        found = pack(problem, BYTES)
        assert found.status in (Status.OPTIMAL, Status.UNKNOWN)
        if found.offsets is not None:
            assert found.height == BYTES
            solved += 1
    assert solved >= 39


def test_many_buffers_that_fit_are_not_packed_lower():
    """With room to spare one order is enough, and the plan is not called optimal."""
    lives = residual_chain(1, 800)
    buffers = [Buffer(f"b{i}", n, "u1", lifetime=((s, e),)) for i, (s, e, n) in enumerate(lives)]
    roomy = Limits(2**40, block_size=1, pad_banks=False)
    answer = plan(Problem(buffers, roomy, "shared"), fits=True)
    best = plan(Problem(buffers, roomy, "shared"))
    assert best.levels[0].value <= answer.levels[0].value
    if best.levels[0].value < answer.levels[0].value:
        assert answer.status is Status.FEASIBLE


@pytest.mark.parametrize("count", [40, 1600])
def test_what_was_not_found_says_how_near_it_came(count):
    """Where the effort ends the error has the lowest packing found, and the proven bound."""
    chance = random.Random(3)
    starts = [chance.randrange(count) for _ in range(count)]
    items = [
        Buffer(f"b{i}", chance.randint(1, 60), "u1", lifetime=((s, s + chance.randint(1, 30)),))
        for i, s in enumerate(starts)
    ]
    free = plan(Problem(items, Limits(pad_banks=False), "shared"), effort=0.0)
    lowest, bound = free.levels[0].value, free.levels[0].bound
    if lowest == bound:
        pytest.skip("packed to the load: there is no limit between")
    limits = Limits(bound, pad_banks=False)
    with pytest.raises(PlanUnknown, match=f"at least {bound} B are needed") as caught:
        plan(Problem(items, limits, "shared"), fits=True, effort=0.0)
    assert caught.value.bound_bytes == bound < caught.value.lowest_bytes <= lowest


def test_fits_is_true_or_false():
    """Anything else is a mistake."""
    with pytest.raises(TypeError, match="fits must be True or False, got 7"):
        plan(Problem([]), fits=7)
