"""The objective of the policy ``auto``: which buffers are worth shared memory.

Shared memory is worth its cost where it takes work off a stack frame that no cache
holds, and only while enough runs stay resident. Both depend on how many bytes of it
a run uses in a way that is not linear. So the question is split:

- *How much.* For every number of blocks that can be resident, the largest slice per
  run that keeps them is filled greedily by accesses per byte; so are all shorter
  prefixes of that order. The cost model predicts each, and the best one sets a cap
  on the shared bytes of a run. It must beat "everything local" by `MIN_GAIN`.
- *Which.* At the residency of that cap, cost is linear in the buffers: each has a
  price in shared memory and a price in the thread's own memory. Minimising the sum
  under the cap is a linear objective a solver can prove optimal.

Prices and cap are those of the problem without its pins: a pin takes choices away, and
must not change what the others cost. A plan whose pins need more than the cap is charged
with as much as all choices of places together could save, so that it never looks cheaper
than one that keeps the cap.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from attrs import evolve, frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import Location, Place, Pool
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.access import bank_conflict, shared_access_cost, stack_access_cost
from cubie_planner.gpu.cost import CostError, CostModel
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.footprint import shared_load
from cubie_planner.gpu.launch import Cost
from cubie_planner.gpu.shared_candidates import candidates, homes, view_groups

MIN_GAIN = 1.05
"""Predicted speed-up below which everything stays local: the model cannot tell."""

UNITS_PER_CYCLE = 1000
MAX_TOTAL_UNITS = 2**50

ARENA_TOLD = "one more for each that lies in the persistent arena and could be an array of its own"
POINTS = f"points: 2 for each buffer in shared memory, {ARENA_TOLD}"
IN_POOLS = "for each in a pool twice the cost of an access there"
OUTSIDE = 3
"""What a buffer in global memory costs more than a local one, in points or units: where nothing
forbids it, its own memory is the thread's."""


@frozen(kw_only=True)
class Objective:
    """A linear objective: minimise the summed price of the chosen places.

    Attributes
    ----------
    costs : mapping of str to mapping of Location or Pool to int
        Price of every allowed place of every buffer, in `unit`, pinned or not. Never
        negative.
    unit : str
        What a price counts, in words: thousandths of an SM cycle per run and step (or a
        coarser unit if the sum would pass 2**50), or points where no cycles are at stake.
    max_shared_bytes_per_run : int or None
        Cap on the shared slice of a run; None if there is nothing to cap. Pins are
        counted in it; where they alone need more, the cap gives way to them.
    cap_with_pins : int or None
        What the cap gives way to; None for no cap at all.
    surcharge : int
        What a plan above `max_shared_bytes_per_run` costs besides, in `unit`.
    recommended : mapping of str to Location or Pool
        A greedy solution.
    predicted, all_local : Cost or None
        Prediction for `recommended`, and with everything local that may be; None
        without a target GPU.
    reason : str
        Why so, in one sentence.
    """

    costs: Mapping[str, Mapping[Place, int]]
    max_shared_bytes_per_run: int | None
    recommended: Mapping[str, Place]
    predicted: Cost | None
    all_local: Cost | None
    reason: str
    unit: str = POINTS
    cap_with_pins: int | None = None
    surcharge: int = 0


def objective(
    problem: Problem, model: CostModel | None = None, *, dynamic: Collection[str] = ()
) -> Objective:
    """The objective of ``auto`` for a problem.

    Parameters
    ----------
    problem : Problem
    model : CostModel, optional
        The built-in model of the compute capability if not given.
    dynamic : collection of str
        Buffers indexed with values the compiler does not know; these never become
        registers.

    Returns
    -------
    Objective
        Without a compute capability (a CPU, say) every buffer is cheapest local.

    Raises
    ------
    CostError
        If `dynamic` names a buffer the problem does not have.
    """
    unknown = sorted(set(dynamic) - set(problem.by_name))
    if unknown:
        raise CostError(f"`dynamic` names `{unknown[0]}`, which is not a buffer of the problem.")
    found = _as_asked(problem, model, dynamic)
    if problem.limits.compute_capability is None:
        return found  # prices without a device do not depend on pins
    free = without_pins(problem)
    if free is problem:
        return found
    prices = _as_asked(free, model, dynamic)
    pinned = [b for b in problem.buffers if found.recommended[b.name] is Location.SHARED]
    return evolve(
        found,
        costs=prices.costs,
        unit=prices.unit,
        max_shared_bytes_per_run=prices.max_shared_bytes_per_run,
        surcharge=prices.surcharge,
        cap_with_pins=max(found.max_shared_bytes_per_run or 0, shared_load(pinned)),
    )


def without_pins(problem: Problem) -> Problem:
    """Return the problem with every buffer free to be wherever it may be at all."""
    if isinstance(problem.policy, str) and all(b.pin is None for b in problem.buffers):
        return problem
    buffers = [b if b.pin is None else evolve(b, pin=None, offset=None) for b in problem.buffers]
    return Problem(buffers, problem.limits)


def _as_asked(problem: Problem, model: CostModel | None, dynamic: Collection[str]) -> Objective:
    """Return the objective with pins taken as given: at the residency that they leave."""
    groups = view_groups(problem)
    home = homes(groups, shared=())
    capability = problem.limits.compute_capability
    if capability is None:
        return _all_local(problem, home, None, "no target GPU: local arrays cost nothing.")
    device = Device.for_capability(capability)
    if model is None:
        model = CostModel.for_capability(capability, problem.limits.card)
    base = model.predict(problem, home, dynamic=dynamic)
    if math.isinf(base.total):
        return _all_local(problem, home, base, "the pinned shared bytes leave no room for more.")
    if base.stack_bytes == 0:
        return _all_local(
            problem,
            home,
            base,
            "the planned local arrays, without the kernel's own variables, fit in "
            f"{base.registers} registers per thread.",
        )
    best, cap, chosen = base, None, frozenset[str]()
    for candidate, capacity in candidates(
        problem, device, groups, _in_stack(problem, device, model, dynamic)
    ):
        cost = model.predict(problem, homes(groups, candidate), dynamic=dynamic)
        if (cost.total, cost.shared_bytes_per_run) < (best.total, best.shared_bytes_per_run):
            best, cap, chosen = cost, capacity, candidate
    if best.total * MIN_GAIN > base.total:
        reason = "no amount of shared memory is predicted to gain enough to be sure of it."
        return _all_local(problem, home, base, reason)
    costs, unit = _prices(problem, device, model, best, dynamic)
    return Objective(
        costs=costs,
        unit=unit,
        surcharge=sum(max(prices.values()) - min(prices.values()) for prices in costs.values()),
        max_shared_bytes_per_run=cap,
        recommended=homes(groups, chosen),
        predicted=best,
        all_local=base,
        reason=(
            f"the stack of {base.stack_bytes} B per thread misses the caches; {cap} B of shared "
            f"memory per run keep {best.resident_runs} runs resident ({base.resident_runs} with "
            f"none) and are predicted to be {base.total / best.total:.2f} times as fast."
        ),
    )


def recommend(
    problem: Problem, model: CostModel | None = None, *, dynamic: Collection[str] = ()
) -> Mapping[str, Place]:
    """A place for every buffer: the greedy solution of `objective`."""
    return objective(problem, model, dynamic=dynamic).recommended


def recommend_block_size(
    problem: Problem,
    candidates: Iterable[int] = (32, 64, 128, 256, 512),
    model: CostModel | None = None,
    *,
    dynamic: Collection[str] = (),
) -> tuple[int, Objective]:
    """The block size with the lowest predicted cost, with its objective.

    Equals go to the larger block, which needs fewer of the resident block slots.
    """
    found: tuple[int, Objective] | None = None
    least = math.inf
    for size in sorted(candidates, reverse=True):
        sized = evolve(problem, limits=evolve(problem.limits, block_size=size))
        option = objective(sized, model, dynamic=dynamic)
        if option.predicted is None:
            raise CostError(
                "a block size needs a target: set Limits(compute_capability=(major, minor))."
            )
        if option.predicted.total < least:
            found, least = (size, option), option.predicted.total
    if found is None:
        raise CostError("none of the candidate block sizes can be launched with these pins.")
    return found


# ----------------------------------------------------------------------- candidates


def _in_stack(
    problem: Problem, device: Device, model: CostModel, dynamic: Collection[str]
) -> Collection[str]:
    """Buffers that are not registers while local: the only ones worth moving."""
    if model.registers_of(device, problem, dynamic).stack_share > 0:
        return problem.by_name
    return dynamic


def _prices(
    problem: Problem, device: Device, model: CostModel, best: Cost, dynamic: Collection[str]
) -> tuple[dict[str, dict[Place, int]], str]:
    """Price of every place at the residency of the best candidate, and its unit in words."""
    rate = best.residency
    assert rate is not None, "a candidate with a finite cost has a residency"
    share = model.registers_of(device, problem, dynamic).stack_share
    lanes = min(problem.limits.block_size, device.warp_size)
    conflict = bank_conflict(device, best.run_stride_bytes, lanes)
    cycles = {
        b.name: (
            stack_access_cost(b, rate) * (1.0 if b.name in dynamic else share),
            shared_access_cost(b, rate, conflict),
            stack_access_cost(b, rate),
        )
        for b in problem.buffers
    }
    total = sum(max(pair[:2]) for pair in cycles.values())
    scale = min(UNITS_PER_CYCLE, MAX_TOTAL_UNITS / total) if total else UNITS_PER_CYCLE
    prices = {
        b.name: _price(b, *(round(each * scale) for each in cycles[b.name]))
        for b in problem.buffers
    }
    return prices, f"units of {1 / scale:.3g} SM cycles per run and step, {ARENA_TOLD}"


def _price(buffer: Buffer, local: int, shared: int, outside: int) -> dict[Place, int]:
    """Price per allowed place; an own array is preferred to the arena at equal cost."""
    free = buffer.alias_required or not buffer.size_bytes
    price = {
        Location.LOCAL: local,
        Location.LOCAL_PERSISTENT: local + (Location.LOCAL in buffer.locations),
        Location.SHARED: shared,
        Location.GLOBAL: outside + (0 if free else OUTSIDE),
    }
    found: dict[Place, int] = {p: price[p] for p in Location if p in buffer.locations}
    for place in buffer.locations:  # a pool's cost is told in accesses to shared memory
        if isinstance(place, Pool):
            found[place] = round(shared * place.cost)
    return found


def _all_local(
    problem: Problem, home: Mapping[str, Place], base: Cost | None, reason: str
) -> Objective:
    """The objective under which every local place is free and shared memory is not."""
    return Objective(
        costs={
            b.name: _price(b, 0, 0 if b.alias_required or not b.size_bytes else 2, 0)
            for b in problem.buffers
        },
        unit=f"{POINTS}, {IN_POOLS}" if problem.pools else POINTS,
        max_shared_bytes_per_run=None,
        recommended=home,
        predicted=base,
        all_local=base,
        reason=reason,
    )
