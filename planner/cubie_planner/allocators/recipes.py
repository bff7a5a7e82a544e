"""All constants of the allocators of a plan: whose bytes, at which offset, in what shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from attrs import frozen

from cubie_planner.basics import PlannerError, nearest_hint, round_up
from cubie_planner.declarations.buffers import Location
from cubie_planner.plans.answer import Placement
from cubie_planner.plans.plan import Plan

WARP = 32


class AllocatorError(PlannerError, ValueError):
    """A plan cannot be turned into allocators as asked, or a launch does not fit it."""


class Source(StrEnum):
    """Whose bytes an array is made of."""

    SHARED = "shared"
    ARENA = "arena"
    STACK = "stack"
    GLOBAL = "global"


@frozen
class Recipe:
    """All constants of one allocator.

    Attributes
    ----------
    name : str
    source : Source
    offset : int
        Bytes from the start of the block's shared memory (of thread 0), of the arena, or of a
        thread's part of global memory.
    thread_stride : int
        Bytes between the slices of consecutive threads; 0 where a block has one plan. In global
        memory the bytes of each thread: elements of `WARP` threads lie side by side.
    shape : tuple of int
    dtype : numpy.dtype
    alignment : int
        Bytes the first element is a multiple of.
    """

    name: str
    source: Source
    offset: int
    thread_stride: int
    shape: tuple[int, ...]
    dtype: np.dtype
    alignment: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def shapes_of(plan: Plan, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array, or say which of the given ones is wrong."""
    found: dict[str, tuple[int, ...]] = {
        name: (p.n_elements,) for name, p in plan.placements.items()
    }
    for name, given in shapes.items():
        if name not in found:
            raise AllocatorError(
                f"shapes names `{name}`, which is not a buffer of the plan"
                f"{nearest_hint(name, found)}"
            )
        shape, elements = tuple(int(n) for n in given), plan.placements[name].n_elements
        if not shape or min(shape) < 0 or math.prod(shape) != elements:
            raise AllocatorError(
                f"shape {shape} of `{name}` has {math.prod(shape)} elements, but the plan holds "
                f"{elements}; give a shape with that product"
            )
        found[name] = shape
    return found


def recipes_of(
    plan: Plan, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Recipe], int, int]:
    """Return the recipes, and the size and alignment of the arena.

    The arena starts with the plan's persistent bytes. Local arrays that others lie in
    follow: an array on the stack of one call cannot be found by the call for its child.
    """
    hosts = {_root(plan, p) for p in plan.placements.values() if _is_local(p) and p.parent}
    arena_offsets, end, widest = {}, plan.persistent_bytes, 16
    for name in sorted(hosts):
        alignment = _family_alignment(plan, name)
        start = round_up(end, alignment)
        arena_offsets[name], end = start, start + plan.placements[name].size_bytes
    recipes = {}
    for name, placement in plan.placements.items():
        source, offset = Source.ARENA, placement.offset or 0
        root = _root(plan, placement)
        if placement.location is Location.SHARED or not placement.size_bytes:
            source = Source.SHARED
        elif placement.location is Location.GLOBAL:
            source = Source.GLOBAL
        elif root in arena_offsets:
            offset = arena_offsets[root] + _distance(plan, placement)
        elif _is_local(placement):
            source = Source.STACK
        per_thread = source is Source.SHARED and plan.limits.block_size > 1
        stride = plan.run_stride_bytes if per_thread and placement.size_bytes else 0
        if source is Source.GLOBAL:
            stride = plan.global_bytes
        alignment = plan.problem.by_name[name].alignment
        widest = max(widest, alignment)
        dtype = placement.dtype
        recipes[name] = Recipe(name, source, offset, stride, shapes[name], dtype, alignment)
    return recipes, end, widest


def _is_local(placement: Placement) -> bool:
    return placement.location is Location.LOCAL and placement.size_bytes > 0


def _root(plan: Plan, placement: Placement) -> str:
    return [placement.name, *plan.ancestors(placement.name)][-1]


def _distance(plan: Plan, placement: Placement) -> int:
    """Return the bytes from the outermost parent's start."""
    chain = (placement.name, *plan.ancestors(placement.name))
    return sum(plan.placements[name].parent_offset or 0 for name in chain)


def _family_alignment(plan: Plan, root: str) -> int:
    members = (p.name for p in plan.placements.values() if _root(plan, p) == root)
    return max(plan.problem.by_name[name].alignment for name in members)
