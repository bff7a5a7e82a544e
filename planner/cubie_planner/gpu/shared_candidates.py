"""Which buffers could go to shared memory together, and how many bytes of a run that takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from attrs import evolve, frozen

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place, Scope, first_choice
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.footprint import WORD_BYTES, accesses, own_bytes, shared_load

MAX_MOVED = 2000
MAX_PREFIXES = 64


@frozen
class ViewGroup:
    """A buffer with the views that lie in it: they share one place.

    Attributes
    ----------
    root : Buffer
    members : tuple of Buffer
    fixed : Location, Pool or None
        Place a pin, the policy or the allowed locations of a member force.
    """

    root: Buffer
    members: tuple[Buffer, ...]
    fixed: Place | None

    @property
    def density(self) -> float:
        """Accesses per byte."""
        return sum(accesses(b) for b in self.members) / max(1, own_bytes(self.root))


def view_groups(problem: Problem) -> list[ViewGroup]:
    """Every buffer with its views; a view of several candidates goes with the first."""
    named = problem.policy if isinstance(problem.policy, Mapping) else {}
    members: dict[str, list[Buffer]] = {}
    roots: dict[str, str] = {}
    for buffer in problem.buffers:
        path = [buffer.name]
        while path[-1] not in roots and problem.by_name[path[-1]].alias_required:
            path.append(problem.by_name[path[-1]].aliases[0].parent)
        root = roots.get(path[-1], path[-1])
        roots.update(dict.fromkeys(path, root))
        members.setdefault(root, []).append(buffer)
    groups = []
    for name, items in members.items():
        counted = [b for b in items if b.size_bytes or b.name == name]
        fixed = [place for b in counted if (place := _fixed_place(b, named)) is not None]
        groups.append(ViewGroup(problem.by_name[name], tuple(items), fixed[0] if fixed else None))
    return groups


def _fixed_place(buffer: Buffer, named: Mapping[str, Place]) -> Place | None:
    if buffer.pin is not None:
        return buffer.pin
    if buffer.name in named:
        return buffer.resolve(named[buffer.name])
    if len(buffer.locations) == 1:
        return next(iter(buffer.locations))
    # A place for what needs no bytes is a formality; it must not attract the solver.
    return None if Location.SHARED in buffer.locations and buffer.size_bytes else _home(buffer)


def _home(buffer: Buffer) -> Place:
    """Where the buffer lives when it is not shared."""
    order = (Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED)
    return first_choice(order, buffer.locations)


def homes(groups: Sequence[ViewGroup], shared: Collection[str]) -> dict[str, Place]:
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


def candidates(
    problem: Problem, device: Device, groups: Sequence[ViewGroup], in_stack: Collection[str]
) -> Iterator[tuple[frozenset[str], int]]:
    """Sets of groups worth trying in shared memory, each with the cap it stands for."""
    order = sorted(
        (
            g
            for g in groups
            if g.fixed is None
            and g.root.scope is Scope.THREAD
            and g.density > 0
            and any(b.name in in_stack for b in g.members)
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
    tiles = shared_load(b for b in problem.buffers if set(b.locations) == {TILE})
    for blocks in range(1, device.blocks_per_sm + 1):
        unit = device.shared_granularity
        share = device.shared_per_sm // blocks // unit * unit - device.shared_reserved_per_block
        sized = evolve(problem.limits, max_shared_bytes=max(0, min(limit, share)))
        slices.add(sized.run_capacity(alignment, tiles) or 0)
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
