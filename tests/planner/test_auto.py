"""The objective of ``auto``: the cap on shared bytes, the prices, the recommendation."""

from __future__ import annotations

import itertools
import random

import pytest
from attrs import evolve
from cost_cases import ADA, explicit, iterated, places

from cubie_planner.declarations.buffers import Alias, Buffer, Location
from cubie_planner.declarations.problem import Limits, Problem
from cubie_planner.gpu.cost import CostError, CostModel
from cubie_planner.gpu.footprint import shared_load
from cubie_planner.gpu.objective import (
    MAX_TOTAL_UNITS,
    MIN_GAIN,
    objective,
    recommend,
    recommend_block_size,
)

LOCAL, SHARED = Location.LOCAL, Location.SHARED
PERSISTENT = Location.LOCAL_PERSISTENT
MODEL = CostModel.for_capability(ADA)


def problem(buffers, block_size=64, capability=ADA, policy="auto", **limits):
    """A problem on the reference card."""
    return Problem(
        buffers,
        Limits(block_size=block_size, compute_capability=capability, **limits),
        policy,
    )


def shared_names(places_found):
    """Names placed in shared memory."""
    return {name for name, place in places_found.items() if place is SHARED}


def priced(found, where):
    """Summed price of a placement."""
    return sum(found.costs[name][place] for name, place in where.items())


def test_without_a_target_everything_is_local_and_free():
    """On a CPU no cap is set and local is the cheapest place of every buffer."""
    found = objective(problem(explicit(300), capability=None))
    assert shared_names(found.recommended) == set()
    assert found.max_shared_bytes_per_run is None
    assert found.predicted is None
    assert "no target GPU" in found.reason
    assert all(c[LOCAL] == 0 < c[PERSISTENT] < c[SHARED] for c in found.costs.values())


@pytest.mark.parametrize("n", [1, 3, 10, 24, 30, 36, 60])
def test_what_fits_in_registers_stays_local(n):
    """While values x stages stay below 255 nothing moves, nor where few values are spilled."""
    found = objective(problem(explicit(n)))
    assert shared_names(found.recommended) == set()
    assert ("registers" in found.reason) == (n <= 24)
    assert priced(found, found.recommended) == 0


def test_hot_buffers_move_when_the_stack_misses_the_caches():
    """A scratch array with most of the accesses is what is worth shared memory."""
    found = objective(problem(iterated(128, 512), block_size=32))
    assert "work" in shared_names(found.recommended)
    assert "proposed" not in shared_names(found.recommended)
    assert found.all_local.total / found.predicted.total > MIN_GAIN
    assert "times as fast" in found.reason


def test_the_recommendation_obeys_cap_and_limits():
    """On random problems the recommended slice fits its cap and can be launched."""
    rng = random.Random(11)
    moved = 0
    for _ in range(60):
        buffers = [
            Buffer(
                f"b{i}",
                rng.randint(1, 200),
                rng.choice(["f4", "f8"]),
                access_weight=rng.choice([1, 5, 50]),
                lifetime=rng.choice([None, ((0, 3),), ((2, 5), (7, 8)), ((5, 9),)]),
            )
            for i in range(rng.randint(2, 14))
        ]
        task = problem(buffers, block_size=rng.choice([32, 64, 128]), max_shared_bytes=48 * 1024)
        found = objective(task)
        names = shared_names(found.recommended)
        moved += bool(names)
        assert found.predicted.total <= found.all_local.total
        if names:
            load = shared_load(b for b in buffers if b.name in names)
            assert load <= found.max_shared_bytes_per_run
            assert found.predicted.shared_bytes_per_block <= 48 * 1024
            assert found.predicted.resident_runs > 0
    assert moved > 10


def test_the_greedy_solution_is_close_to_the_best_placement():
    """Over all subsets of small kernels no placement is predicted much better."""
    for buffers in (iterated(128, 512), explicit(73), explicit(128), explicit(64, 7, 128)):
        task = problem(buffers, block_size=32)
        names = [b.name for b in buffers][:8]
        best = min(
            MODEL.predict(task, places(buffers, chosen)).total
            for size in range(len(names) + 1)
            for chosen in itertools.combinations(names, size)
        )
        found = objective(task)
        assert found.predicted.total <= best * MIN_GAIN


def test_minimising_the_prices_under_the_cap_is_what_the_greedy_does():
    """The prices make the recommended buffers worth moving, and full relief worth most."""
    buffers = iterated(128, 512)
    found = objective(problem(buffers, block_size=32))
    home = places(buffers, ())
    assert priced(found, found.recommended) < priced(found, home)
    for name in shared_names(found.recommended):
        assert found.costs[name][SHARED] < found.costs[name][LOCAL]


def test_pins_and_named_places_are_kept():
    """A pin, a named place and the allowed places decide before the model does."""
    buffers = iterated(128, 512)
    buffers[0] = evolve(buffers[0], pin="shared")
    buffers[1] = evolve(buffers[1], locations={"local_persistent", "shared"})
    free = objective(problem(buffers, block_size=32))
    assert free.recommended["state"] is SHARED
    assert free.recommended["proposed"] in (PERSISTENT, SHARED)
    named = objective(problem(buffers, block_size=32, policy={"work": LOCAL}))
    assert named.recommended["work"] is LOCAL


def test_views_follow_their_parent():
    """A required view has the place of its parent, and its accesses count for both."""
    buffers = iterated(128, 512)
    quiet = Buffer("quiet", 384, "f4", access_weight=0)
    view = Buffer(
        "view", 96, "f4", access_weight=4000, aliases=(Alias("quiet", 0),), alias_required=True
    )
    found = recommend(problem([*buffers, quiet, view], block_size=32))
    assert found["quiet"] is SHARED
    assert found["view"] is SHARED
    held = recommend(problem([*buffers, evolve(quiet, pin="local"), view], block_size=32))
    assert held["view"] is LOCAL


def test_disabled_and_empty_buffers_attract_nothing():
    """What needs no bytes stays local and costs nothing anywhere local."""
    buffers = [
        *iterated(128, 512),
        Buffer("off", 500, "f4", enabled=False, access_weight=1e6),
        Buffer("none", 0, "f4", access_weight=1e6),
    ]
    found = objective(problem(buffers, block_size=32))
    assert {found.recommended["off"], found.recommended["none"]} == {LOCAL}
    assert found.costs["off"][LOCAL] == 0


def test_prices_are_non_negative_integers_within_range():
    """Prices suit an integer solver even for absurd weights."""
    buffers = [evolve(b, access_weight=b.access_weight * 1e15) for b in iterated(128, 512)]
    found = objective(problem(buffers, block_size=32))
    prices = [price for cost in found.costs.values() for price in cost.values()]
    assert all(isinstance(price, int) and price >= 0 for price in prices)
    assert sum(max(cost.values()) for cost in found.costs.values()) <= MAX_TOTAL_UNITS * 1.01


def test_the_objective_is_deterministic():
    """The same problem gives the same objective."""
    task = problem(explicit(128), block_size=32)
    assert objective(task) == objective(task)


def test_many_buffers_are_answered():
    """Three thousand buffers, far more than fit, get a recommendation within the cap."""
    lifetimes = [None if i % 2 else ((i, i + 9),) for i in range(3000)]
    buffers = [
        Buffer(f"b{i}", 20, "f4", lifetime=span, access_weight=1 + i % 7)
        for i, span in enumerate(lifetimes)
    ]
    found = objective(problem(buffers, block_size=32))
    assert len(found.recommended) == 3000
    names = shared_names(found.recommended)
    load = shared_load(b for b in buffers if b.name in names)
    assert load <= (found.max_shared_bytes_per_run or 0)


def test_dynamic_buffers_are_worth_moving_while_small():
    """Sixteen states of seven stages, indexed by stage: the published win."""
    buffers = explicit(16)
    stages = tuple(f"k{j}" for j in range(7))
    task = problem(buffers, block_size=64)
    assert shared_names(recommend(task)) == set()
    assert shared_names(recommend(task, dynamic=stages)) <= set(stages)
    assert shared_names(recommend(task, dynamic=stages))


def test_unknown_dynamic_names_are_refused():
    """A misspelt name is an error."""
    with pytest.raises(CostError, match="`dynamic` names `k9`"):
        objective(problem(explicit(16)), dynamic=("k9",))


def test_an_impossible_pin_is_left_to_the_solver():
    """Pins that no block can hold give a plain answer, since the planner explains them."""
    found = objective(problem([Buffer("a", 10_000, "f8", pin="shared")], block_size=64))
    assert found.recommended == {"a": SHARED}
    assert "leave no room" in found.reason


def test_block_size_search_takes_the_cheapest():
    """No candidate block size is predicted to be cheaper than the chosen one."""
    task = problem(iterated(128, 512))
    size, found = recommend_block_size(task, (32, 64, 128, 256))
    for other in (32, 64, 128, 256):
        sized = evolve(task, limits=evolve(task.limits, block_size=other))
        assert found.predicted.total <= objective(sized).predicted.total
    assert size in (32, 64, 128, 256)


def test_block_size_search_needs_a_target_and_a_candidate():
    """Without a target or with nothing launchable the search says so."""
    with pytest.raises(CostError, match="a block size needs a target"):
        recommend_block_size(problem(explicit(3), capability=None))
    pinned = [Buffer("a", 10_000, "f8", pin="shared")]
    with pytest.raises(CostError, match="none of the candidate block sizes"):
        recommend_block_size(problem(pinned), (32, 64))


def test_no_shared_memory_means_everything_local():
    """With a limit of zero bytes nothing can move."""
    found = objective(problem(iterated(128, 512), block_size=32, max_shared_bytes=0))
    assert shared_names(found.recommended) == set()
    assert found.predicted == found.all_local


def test_a_gain_within_the_margin_is_not_taken():
    """A predicted gain of less than five per cent leaves everything local."""
    buffers = explicit(330)
    named = {b.name: LOCAL for b in buffers if b.name != "state"}
    task = problem(buffers, block_size=32, policy=named, max_shared_bytes=48 * 1024)
    local, moved = (MODEL.predict(task, places(buffers, m)).total for m in ((), ("state",)))
    assert 1 < local / moved < MIN_GAIN
    assert shared_names(recommend(task)) == set()
