"""Ejection: what is kept is a packing below the ceiling, pushed out is what weighs the least."""

import random

import numpy as np
import pytest
from activation_graphs import fan_out, random_graph
from test_many import assert_packed, height, lowest_fit, meet, random_bodies

from cubie_planner.packing.many import ejection, ways
from cubie_planner.packing.many.bodies import Bodies, Body
from cubie_planner.packing.many.ways import WAYS, Ejection
from cubie_planner.packing.packer import pack_bodies


def first_fit_of(bodies: list[Body]) -> np.ndarray:
    """Return offsets by first fit, the latest first: far from the lowest."""
    order = sorted(range(len(bodies)), key=lambda i: -bodies[i].spans[0][0])
    return np.array(lowest_fit(bodies, order), np.int64)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_a_packing_below_the_ceiling(monkeypatch, seed):
    """Compiled and interpreted: gaps, residues and what is fixed hold, the same is placed."""
    bodies = random_bodies(seed, 60)
    arrays = Bodies.of(bodies)
    start = first_fit_of(bodies)
    ceiling = (3 * arrays.bound + height(bodies, list(start))) // 4
    way = WAYS[seed % len(WAYS)]
    kept, work = Ejection(arrays, way)(start, ceiling, 20_000)
    monkeypatch.setattr(ways, "program_of_ejection", lambda: ejection.eject)
    interpreted = Ejection(arrays, way)(start, ceiling, 20_000)
    assert list(interpreted[0]) == list(kept)
    assert interpreted[1] == work
    placed = [i for i in range(len(bodies)) if kept[i] >= 0]
    assert all(i in placed for i, body in enumerate(bodies) if body.fixed >= 0)
    assert_packed([bodies[i] for i in placed], [int(kept[i]) for i in placed])
    assert max(int(kept[i]) + bodies[i].size for i in placed) <= ceiling


@pytest.mark.parametrize("seed", range(20))
def test_what_is_in_the_way_weighs_the_least(seed):
    """No other offset below the ceiling is free of more: all of them are tried."""
    chance = random.Random(seed)
    bodies = random_bodies(seed, 25)
    arrays = Bodies.of(bodies)
    offsets = first_fit_of(bodies)
    tops = offsets + arrays.size
    weight = np.array([chance.randint(1, 30) for _ in bodies], np.int64)
    for u, body in enumerate(bodies):
        others = [k for k in range(len(bodies)) if k != u and meet(body, bodies[k])]
        low = np.array([*sorted(others, key=lambda k: offsets[k]), 0], np.int64)
        high = np.array([*sorted(others, key=lambda k: tops[k]), 0], np.int64)
        listed = ejection.Listed(low, low, low)
        state = ejection.State(offsets, tops, weight, listed, listed, low, low, low=low, high=high)
        ceiling = chance.randint(body.size // 2, int(tops.max()))
        spots = range(body.residue, ceiling - body.size + 1, body.modulus)
        in_the_way = {
            spot: sum(weight[k] for k in others if offsets[k] < spot + body.size and tops[k] > spot)
            for spot in spots
        }
        found = int(ejection.least_in_the_way(arrays.tables, u, state, ceiling, len(others)))
        if not in_the_way:
            assert found == -1
        else:
            assert in_the_way[found] == min(in_the_way.values())
        free = [spot for spot in spots if not in_the_way[spot]]
        lowest = int(ejection.first_gap(arrays.tables, u, offsets, low, len(others)))
        assert lowest == free[0] if free else lowest + body.size > ceiling


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("graph", "seed"), [(random_graph, 2), (fan_out, 4)])
def test_every_way_brings_graphs_near_the_load(graph, seed, way):
    """Where the greedy by size is 4 to 15 % above the load, every way ends within 1 %."""
    bodies = [Body(bytes_, ((start, end),)) for start, end, bytes_ in graph(seed, 600)]
    arrays = Bodies.of(bodies)
    by_size = lowest_fit(bodies, sorted(range(600), key=lambda i: -bodies[i].size))
    assert height(bodies, by_size) > 1.04 * arrays.bound
    ceiling = int(1.01 * arrays.bound)
    offsets, work = Ejection(arrays, way)(first_fit_of(bodies), ceiling, 5_000_000)
    assert_packed(bodies, [int(offset) for offset in offsets])
    assert height(bodies, list(offsets)) <= ceiling
    assert work < 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "size", "seed", "node_limit"),
    [
        (fan_out, 10_000, 6, 40_000),
        pytest.param(random_graph, 3_000, 1, None, marks=pytest.mark.every_config),
        pytest.param(fan_out, 25_000, 4, None, marks=pytest.mark.every_config),
    ],
)
def test_graphs_that_orders_alone_leave_above(graph, size, seed, node_limit):
    """What first fit in many orders leaves 1.1 to 2.2 % above the load is brought below 1 %."""
    bodies = [Body(bytes_, ((start, end),)) for start, end, bytes_ in graph(seed, size)]
    bound = Bodies.of(bodies).bound
    found = pack_bodies(bodies, bound, node_limit)
    assert found is not None
    assert height(bodies, found) <= 1.01 * bound
