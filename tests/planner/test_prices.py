"""What a place costs: in a unit that is told, and the same with and without pins."""

from __future__ import annotations

import random

from attrs import evolve
from cost_cases import ADA, explicit, iterated
from random_problems import kernel_problem

from cubie_planner import (
    Buffer,
    Limits,
    Location,
    PlanInfeasible,
    PlanUnknown,
    Problem,
    Status,
    check,
    plan,
    report,
)
from cubie_planner.explain import explain
from cubie_planner.gpu.objective import objective
from cubie_planner.plans.check_claims import findings


def cost(problem: Problem, effort: float = 0.05):
    """Return value and bound of the cost; None without a plan."""
    try:
        made = plan(problem, effort=effort)
    except (PlanInfeasible, PlanUnknown):
        return None
    found = [(item.value, item.bound) for item in made.levels if item.name == "cost"]
    return found[0] if found else (0, 0)


def unpinned(problem: Problem) -> Problem:
    buffers = [evolve(b, pin=None, offset=None) for b in problem.buffers]
    policy = problem.policy if isinstance(problem.policy, str) else "auto"
    return Problem(buffers, problem.limits, policy)


def problems(count: int):
    """Yield problems without pins: of every policy, without and with a device, hot and cold."""
    rng = random.Random(5)
    for seed in range(count):
        problem = unpinned(kernel_problem(seed, 4 + seed % 6))
        if seed % 3 == 1:
            limits = Limits(rng.choice([None, 2000, 20_000]), 32, (9, 0))
            problem = Problem(problem.buffers, limits)
        if seed % 3 == 2:
            hot = iterated(rng.choice([48, 96, 128]), rng.choice([100, 384]))
            buffers = hot if rng.random() < 0.6 else explicit(rng.choice([40, 73, 128]))
            problem = Problem(buffers, Limits(rng.choice([None, 100 * 1024]), 32, ADA))
        yield problem


def test_a_pin_never_lowers_the_optimum():
    """Whatever is pinned wherever, no plan costs less than the best one without the pin."""
    rng = random.Random(9)
    higher = pairs = 0
    for problem in problems(120):
        free = cost(problem)
        if free is None:
            continue
        for _ in range(3):
            chosen = rng.choice(problem.buffers)
            pinned = evolve(chosen, pin=rng.choice(sorted(chosen.locations)))
            buffers = [pinned if b is chosen else b for b in problem.buffers]
            found = cost(evolve(problem, buffers=buffers))
            if found is None:
                continue
            assert found[0] >= free[1], (chosen.name, pinned.pin)
            pairs += 1
            higher += found[0] > free[0]
    assert pairs > 200
    assert higher > 50


def test_pins_beyond_the_cap_do_not_look_cheap():
    """A pin that takes more shared memory than pays is charged for it, not rewarded."""
    buffers = iterated(128, 100)
    problem = Problem(buffers, Limits(None, 32, ADA))
    priced = objective(problem)
    cap = priced.max_shared_bytes_per_run
    assert cap is not None
    big = Buffer("big", cap // 4 + 64, "f4", access_weight=0.01)
    free = Problem([*buffers, big], problem.limits)
    forced = Problem([*buffers, evolve(big, pin="shared")], problem.limits)
    assert objective(forced).costs == objective(free).costs
    without, with_pin = plan(free), plan(forced)
    assert with_pin.shared_bytes_per_run > (with_pin.prices.cap or 0)
    assert with_pin.levels[0].value >= without.levels[0].value + with_pin.prices.surcharge // 2
    (pin,) = explain(with_pin).pins
    assert pin.levels["cost"] > 0


def test_prices_are_those_of_the_problem_without_its_pins():
    """A pin takes places away and leaves the prices of the others as they were."""
    buffers = iterated(128, 512)
    limits = Limits(48 * 1024, 32, ADA)
    free = plan(Problem(buffers, limits)).prices
    for name, place in (("work", "local"), ("state", "shared")):
        pinned = [evolve(b, pin=place) if b.name == name else b for b in buffers]
        found = plan(Problem(pinned, limits)).prices
        kept = {place: free.places[name][Location(place)]}
        assert found.places == {**free.places, name: kept}
        assert (found.unit, found.cap, found.surcharge) == (free.unit, free.cap, free.surcharge)


def test_unit_of_the_cost_is_told():
    """Plan, table and explanation say what the cost counts, the preference of arrays included."""
    plain = plan(Problem([Buffer("a", 4, "f4", pin="shared")]))
    assert plain.prices.unit.startswith("points: 2 for each buffer in shared memory")
    assert "persistent arena" in plain.prices.unit
    (line,) = (line for line in report.totals(plain) if line.startswith("cost"))
    assert line == f"cost: 2 (proven), {plain.prices.unit}"
    assert f"Cost counts {plain.prices.unit}." in str(explain(plain))
    hot = plan(Problem(iterated(128, 512), Limits(None, 32, ADA)))
    assert hot.prices.unit.startswith("units of 0.001 SM cycles per run and step, one more for")
    policy = plan(Problem([Buffer("a", 4, "f4", pin="local")], Limits(), "shared"))
    assert policy.prices.unit == "buffers that are elsewhere than the policy puts them first"
    assert (policy.levels[0].name, policy.levels[0].value) == ("cost", 1)


def test_what_is_verified_is_true():
    """A bound that the checker proves again is never above the best value that is known."""
    verified = 0
    for seed in range(120):
        problem = kernel_problem(seed, 4 + seed % 8)
        try:
            made = plan(problem, effort=0.1)
        except (PlanInfeasible, PlanUnknown):
            continue
        check(problem, made)
        for finding in findings(problem, made):
            assert finding.proven <= finding.level.value
            verified += finding.status is Status.OPTIMAL
            if made.status is Status.OPTIMAL:
                assert finding.proven <= finding.level.bound
    assert verified > 150
