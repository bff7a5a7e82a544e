"""Does a plan keep to the bytes there are? Blocks, pools, local memory, and matrices within theirs.

Part of the checker: it shares no code with what makes plans.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from cubie_planner.declarations.layouts import positions
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.answer import Answer

Broken = tuple[str, str, Sequence[str]]
"""Name of a rule, how it is broken, and by which buffers."""


def broken_layouts(problem: Problem) -> Iterator[Broken]:
    """Yield matrices of which an element has no place of its own within what is stored."""
    for buffer in problem.buffers:
        if buffer.layout is None or buffer.shape is None or not buffer.size_bytes:
            continue
        seen = np.zeros(buffer.n_elements, dtype=bool)
        for at in positions(buffer.layout, buffer.shape):
            inside = 0 <= at < buffer.n_elements
            if not inside or seen[at]:
                odd = "two elements at" if inside else "an element outside, at"
                yield "layout", f"`{buffer.name}` has {odd} {at}", [buffer.name]
                break
            seen[at] = True


def broken_limits(problem: Problem, plan: Answer) -> Iterator[Broken]:
    """Yield limits and capacities that the placements exceed."""
    yield from _local(problem.limits.max_local_bytes, plan)
    yield from _pools(problem, plan)
    yield from _block(problem, plan)


def _pools(problem: Problem, plan: Answer) -> Iterator[Broken]:
    for pool in problem.pools.values():
        held, end = _held(plan, pool)
        most = pool.capacity_bytes
        if most is not None and end > most:
            told = f"{end} B of the pool `{pool}` exceed its {most} B per {pool.scope}"
            yield "capacity", told, held


def _held(plan: Answer, place: Place) -> tuple[list[str], int]:
    """Return what lies in an arena, and its last end."""
    held = [p for p in plan.placements.values() if p.location == place and p.size_bytes]
    return [p.name for p in held], max(((p.offset or 0) + p.size_bytes for p in held), default=0)


def _block(problem: Problem, plan: Answer) -> Iterator[Broken]:
    """The tiles of a block, then a slice for every run, each a stride after the one before."""
    limits = problem.limits
    tiles, below = _held(plan, TILE)
    shared, end = _held(plan, Location.SHARED)
    if limits.max_shared_bytes is None or not tiles + shared:
        return
    block, told = below, f"{below} B of tiles"
    if shared:
        widest = max(problem.by_name[name].alignment for name in shared)
        start = -(-below // widest) * widest
        block, told = start + end, f"{end} B"
        if limits.block_size > 1:
            unit = max(4, widest)
            units = -(-end // unit)
            if limits.pad_banks:
                units |= 1
            block = start + units * unit * limits.block_size
            told = f"{limits.block_size} runs x {units * unit} B = {block - start} B"
        if tiles:
            told = f"{start} B of tiles and {told}"
    if block > limits.max_shared_bytes:
        yield "capacity", f"{told} exceed max_shared = {limits.max_shared_bytes} B", tiles + shared


def _local(most: int | None, plan: Answer) -> Iterator[Broken]:
    if most is None:
        return
    placed = [p for p in plan.placements.values() if p.size_bytes]
    own = [p for p in placed if p.location is Location.LOCAL and p.parent is None]
    arena = [p for p in placed if p.location is Location.LOCAL_PERSISTENT]
    needed = sum(p.size_bytes for p in own)
    needed += max(((p.offset or 0) + p.size_bytes for p in arena), default=0)
    if needed > most:
        told = f"{needed} B of local and persistent arrays exceed max_local = {most} B"
        yield "capacity", told, [p.name for p in (*own, *arena)]
