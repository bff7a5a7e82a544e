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
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from attrs import evolve, frozen

from cubie_planner.buffers import Buffer, Location
from cubie_planner.cost import (
    Cost,
    CostError,
    CostModel,
    bank_conflict,
    shared_access_cost,
    stack_access_cost,
)
from cubie_planner.device import Device
from cubie_planner.footprint import WORD_BYTES, accesses, own_bytes, round_up, shared_load
from cubie_planner.problem import Problem

MIN_GAIN = 1.05
"""Predicted speed-up below which everything stays local: the model cannot tell."""

UNITS_PER_CYCLE = 1000
MAX_TOTAL_UNITS = 2**50
MAX_MOVED = 2000
MAX_PREFIXES = 64


@frozen(kw_only=True)
class Objective:
    """A linear objective: minimise the summed price of the chosen places.

    Attributes
    ----------
    costs : mapping of str to mapping of Location to int
        Price of every allowed place of every buffer, in thousandths of an SM cycle
        per run and step (or a coarser unit if the sum would pass 2**50). Never negative.
    max_shared_bytes_per_run : int or None
        Cap on the shared slice of a run; None if there is nothing to cap. Pins are
        counted in it; where they alone need more, the cap gives way to them.
    recommended : mapping of str to Location
        A greedy solution.
    predicted, all_local : Cost or None
        Prediction for `recommended`, and with everything local that may be; None
        without a target GPU.
    reason : str
        Why so, in one sentence.
    """

    costs: Mapping[str, Mapping[Location, int]]
    max_shared_bytes_per_run: int | None
    recommended: Mapping[str, Location]
    predicted: Cost | None
    all_local: Cost | None
    reason: str


@frozen
class _Group:
    """A buffer with the views that lie in it: they share one place.

    Attributes
    ----------
    root : Buffer
    members : tuple of Buffer
    fixed : Location or None
        Place a pin, the policy or the allowed locations of a member force.
    """

    root: Buffer
    members: tuple[Buffer, ...]
    fixed: Location | None

    @property
    def density(self) -> float:
        """Accesses per byte."""
        return sum(accesses(b) for b in self.members) / max(1, own_bytes(self.root))


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
    groups = _groups(problem)
    home = _homes(groups, shared=())
    capability = problem.limits.compute_capability
    if capability is None:
        return _all_local(problem, home, None, "no target GPU: local arrays cost nothing.")
    device = Device.for_capability(capability)
    model = CostModel.for_capability(capability) if model is None else model
    base = model.predict(problem, home, dynamic=dynamic)
    if math.isinf(base.total):
        return _all_local(problem, home, base, "the pinned shared bytes leave no room for more.")
    if base.stack_bytes == 0:
        return _all_local(
            problem, home, base, f"everything local fits in {base.registers} registers per thread."
        )
    best, cap, chosen = base, None, frozenset[str]()
    for candidate, capacity in _candidates(
        problem, device, groups, _in_stack(problem, device, model, dynamic)
    ):
        cost = model.predict(problem, _homes(groups, candidate), dynamic=dynamic)
        if (cost.total, cost.shared_bytes_per_run) < (best.total, best.shared_bytes_per_run):
            best, cap, chosen = cost, capacity, candidate
    if best.total * MIN_GAIN > base.total:
        reason = "no amount of shared memory is predicted to gain enough to be sure of it."
        return _all_local(problem, home, base, reason)
    return Objective(
        costs=_prices(problem, device, model, best, dynamic),
        max_shared_bytes_per_run=cap,
        recommended=_homes(groups, chosen),
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
) -> Mapping[str, Location]:
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


# --------------------------------------------------------------------------- places


def _groups(problem: Problem) -> list[_Group]:
    """Every buffer with its views; a view of several candidates goes with the first."""
    named = problem.policy if isinstance(problem.policy, Mapping) else {}
    members: dict[str, list[Buffer]] = {}
    for buffer in problem.buffers:
        root = buffer
        while root.alias_required:
            root = problem.by_name[root.aliases[0].parent]
        members.setdefault(root.name, []).append(buffer)
    groups = []
    for name, items in members.items():
        counted = [b for b in items if b.size_bytes or b.name == name]
        fixed = [place for b in counted if (place := _fixed_place(b, named)) is not None]
        groups.append(_Group(problem.by_name[name], tuple(items), fixed[0] if fixed else None))
    return groups


def _fixed_place(buffer: Buffer, named: Mapping[str, Location]) -> Location | None:
    if buffer.pin is not None:
        return buffer.pin
    if buffer.name in named:
        return buffer.resolve(named[buffer.name])
    if len(buffer.locations) == 1:
        return next(iter(buffer.locations))
    # A place for what needs no bytes is a formality; it must not attract the solver.
    return None if Location.SHARED in buffer.locations and buffer.size_bytes else _home(buffer)


def _home(buffer: Buffer) -> Location:
    """Where the buffer lives when it is not shared."""
    for place in (Location.LOCAL, Location.LOCAL_PERSISTENT):
        if place in buffer.locations:
            return place
    return Location.SHARED


def _homes(groups: Sequence[_Group], shared: Collection[str]) -> dict[str, Location]:
    """Place of every buffer when the groups named in `shared` are shared."""
    places = {}
    for group in groups:
        for buffer in group.members:
            if group.fixed is not None:
                places[buffer.name] = group.fixed
            elif group.root.name in shared:
                places[buffer.name] = Location.SHARED
            else:
                places[buffer.name] = _home(group.root)
    return places


# ----------------------------------------------------------------------- candidates


def _in_stack(
    problem: Problem, device: Device, model: CostModel, dynamic: Collection[str]
) -> Collection[str]:
    """Buffers that are not registers while local: the only ones worth moving."""
    if model.registers_of(device, problem, dynamic).stack_share > 0:
        return problem.by_name
    return dynamic


def _candidates(
    problem: Problem, device: Device, groups: Sequence[_Group], in_stack: Collection[str]
) -> Iterator[tuple[frozenset[str], int]]:
    """Sets of groups worth trying in shared memory, each with the cap it stands for."""
    order = sorted(
        (
            g
            for g in groups
            if g.fixed is None and g.density > 0 and any(b.name in in_stack for b in g.members)
        ),
        key=lambda group: -group.density,
    )[:MAX_MOVED]
    pinned = [b for g in groups if g.fixed is Location.SHARED for b in g.members]
    alignment = max(
        (b.alignment for b in [*pinned, *(g.root for g in order)] if b.size_bytes),
        default=WORD_BYTES,
    )
    capacities = _capacities(problem, device, alignment)
    load = _Load([*pinned, *(g.root for g in order)])
    seen: set[frozenset[str]] = {frozenset()}
    for capacity in capacities:
        filled = load.fill(pinned, [g.root for g in order], capacity)
        if filled not in seen:
            seen.add(filled)
            yield filled, capacity
    most = capacities[0] if capacities else 0
    step = -(-len(order) // MAX_PREFIXES) or 1
    for length in range(step, len(order) + 1, step):
        prefix = [g.root for g in order[:length]]
        needed = shared_load([*pinned, *prefix])
        if needed > most:
            return
        names = frozenset(b.name for b in prefix)
        if names not in seen:
            seen.add(names)
            yield names, needed


def _capacities(problem: Problem, device: Device, alignment: int) -> list[int]:
    """Largest slice per run that keeps 1, 2, 3 ... blocks resident, largest first."""
    limit = device.shared_per_block_optin
    if problem.limits.max_shared_bytes is not None:
        limit = min(limit, problem.limits.max_shared_bytes)
    slices = set()
    for blocks in range(1, device.blocks_per_sm + 1):
        unit = device.shared_granularity
        share = device.shared_per_sm // blocks // unit * unit - device.shared_reserved_per_block
        sized = evolve(problem.limits, max_shared_bytes=max(0, min(limit, share)))
        slices.add(sized.run_capacity(alignment) or 0)
    return sorted(slices - {0}, reverse=True)


class _Load:
    """Bytes alive per section of time, for filling a slice without placing anything."""

    def __init__(self, buffers: Sequence[Buffer]):
        points = {0}
        for buffer in buffers:
            points.update(point for span in buffer.lifetime or () for point in span)
        index = {point: i for i, point in enumerate(sorted(points))}
        self.sections = max(1, len(index))
        self.spans = {
            b.name: [slice(0, self.sections)]
            if b.always_alive or b.lifetime is None
            else [slice(index[start], index[end]) for start, end in b.lifetime]
            for b in buffers
        }

    def fill(
        self, pinned: Sequence[Buffer], order: Sequence[Buffer], capacity: int
    ) -> frozenset[str]:
        """Take buffers in order as long as the live bytes stay within the capacity."""
        load = np.zeros(self.sections, dtype=np.int64)
        for buffer in pinned:
            self._add(load, buffer)
        taken = []
        for buffer in order:
            size = _rounded(buffer)
            spans = self.spans[buffer.name]
            if all(load[span].max(initial=0) + size <= capacity for span in spans):
                self._add(load, buffer)
                taken.append(buffer.name)
        return frozenset(taken)

    def _add(self, load: np.ndarray, buffer: Buffer) -> None:
        for span in self.spans[buffer.name]:
            load[span] += _rounded(buffer)


def _rounded(buffer: Buffer) -> int:
    return round_up(own_bytes(buffer), buffer.alignment)


# --------------------------------------------------------------------------- prices


def _prices(
    problem: Problem, device: Device, model: CostModel, best: Cost, dynamic: Collection[str]
) -> dict[str, dict[Location, int]]:
    """Price of every place at the residency of the best candidate."""
    rate = best.residency
    assert rate is not None, "a candidate with a finite cost has a residency"
    share = model.registers_of(device, problem, dynamic).stack_share
    stride = best.shared_bytes_per_block // problem.limits.block_size
    conflict = bank_conflict(device, stride, min(problem.limits.block_size, device.warp_size))
    cycles = {
        b.name: (
            stack_access_cost(b, rate) * (1.0 if b.name in dynamic else share),
            shared_access_cost(b, rate, conflict),
        )
        for b in problem.buffers
    }
    total = sum(max(pair) for pair in cycles.values())
    scale = min(UNITS_PER_CYCLE, MAX_TOTAL_UNITS / total) if total else UNITS_PER_CYCLE
    return {
        b.name: _price(b, round(cycles[b.name][0] * scale), round(cycles[b.name][1] * scale))
        for b in problem.buffers
    }


def _price(buffer: Buffer, local: int, shared: int) -> dict[Location, int]:
    """Price per allowed place; an own array is preferred to the arena at equal cost."""
    price = {
        Location.LOCAL: local,
        Location.LOCAL_PERSISTENT: local + (Location.LOCAL in buffer.locations),
        Location.SHARED: shared,
    }
    return {place: price[place] for place in Location if place in buffer.locations}


def _all_local(
    problem: Problem, home: Mapping[str, Location], base: Cost | None, reason: str
) -> Objective:
    """The objective under which every local place is free and shared memory is not."""
    return Objective(
        costs={
            b.name: _price(b, 0, 0 if b.alias_required or not b.size_bytes else 2)
            for b in problem.buffers
        },
        max_shared_bytes_per_run=None,
        recommended=home,
        predicted=base,
        all_local=base,
        reason=reason,
    )
