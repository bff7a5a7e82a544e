"""What `--objective` minimises first, where a choice is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import evolve

from cubie_planner import Location, Plan, Problem
from cubie_planner import plan as make_plan
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Place, in_order
from cubie_planner.engines.task import Task
from cubie_planner.gpu.objective import ARENA_TOLD, Objective
from cubie_planner.gpu.objective import objective as modelled
from cubie_planner.solve import EFFORT

COST, SHARED, PRIVATE = "cost", "shared", "private"
OBJECTIVES = (COST, SHARED, PRIVATE)
UNITS = {
    SHARED: "buffers that are shared and need not be, or lie in the persistent arena and could "
    "be arrays of their own",
    PRIVATE: "bytes outside shared memory, " + ARENA_TOLD,
}
REASONS = {
    SHARED: "fewest shared bytes, whatever they cost.",
    PRIVATE: "fewest bytes of buffers outside shared memory, whatever they cost.",
}

Planner = Callable[[Problem], Plan]


def planner(objective: str, effort: float = EFFORT, fits: bool = False) -> Planner:
    """Return what makes the plans that minimise `objective` first.

    With `fits` the first plan within the limits will do.
    ``cost`` is the modelled cost. ``shared`` takes shared memory for nothing that may be
    elsewhere. ``private`` keeps as many bytes as fit in shared memory.
    """
    make = partial(make_plan, effort=effort, fits=fits)
    if objective == COST:
        return make
    return lambda problem: make(problem, objective=_priced(problem, objective))


def task(problem: Problem, objective: str) -> Task:
    """Return the problem made ready to solve, with the prices of `objective`."""
    if objective == COST or problem.names_a_place:
        return Task.of(problem)
    return Task.of(problem, _priced(problem, objective))


def _priced(problem: Problem, objective: str) -> Objective:
    nowhere = evolve(problem, limits=evolve(problem.limits, compute_capability=None))
    return evolve(
        modelled(nowhere),
        costs={buffer.name: _prices(buffer, objective) for buffer in problem.buffers},
        reason=REASONS[objective],
        unit=UNITS[objective],
    )


def _prices(buffer: Buffer, objective: str) -> Mapping[Place, int]:
    """Return the price of every allowed place; a view has no bytes of its own to pay for.

    At equal bytes an array of its own is preferred, as it is by the modelled cost. A tile is
    shared memory that could be elsewhere where the buffer may be in a pool.
    """
    view, aside = buffer.alias_required, int(Location.LOCAL in buffer.locations)
    own = 0 if view or objective == SHARED else buffer.size_bytes
    price: dict[Place, int] = {
        Location.LOCAL: own,
        Location.LOCAL_PERSISTENT: own + (0 if view else aside),
        Location.SHARED: 0 if view or objective == PRIVATE else aside,
        Location.GLOBAL: own + (0 if view else 2 * aside),
        TILE: 0 if view or objective == PRIVATE else int(len(buffer.locations) > 1),
    }
    return {place: price.get(place, own) for place in in_order(buffer.locations)}
