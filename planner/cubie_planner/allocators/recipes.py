"""All constants of the allocators of a plan: whose bytes, at which offset, in what shape."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from attrs import frozen

from cubie_planner.basics import PlannerError, nearest_hint, round_up
from cubie_planner.declarations.layouts import Layout
from cubie_planner.declarations.places import TILE, Location, Place, Pool
from cubie_planner.plans.answer import Placement
from cubie_planner.plans.plan import Plan

WARP = 32
SHARED_NAME = "cubie_planner_dynamic_shared"
"""What the name of dynamic shared memory begins with; that of the plan that divides it follows."""


class AllocatorError(PlannerError, ValueError):
    """A plan cannot be turned into allocators as asked, or a launch does not fit it."""


def two_plans(name: str) -> str:
    """Return why the allocators of two plans may not meet in a kernel."""
    return (
        f"`{name}` belongs to another plan than shared memory that this kernel has already: both "
        "begin at byte 0 and would overlap; declare the buffers of both in one problem, those of "
        "the block as tiles"
    )


class Source(StrEnum):
    """Whose bytes an array is made of."""

    SHARED = "shared"
    ARENA = "arena"
    STACK = "stack"
    GLOBAL = "global"
    POOL = "pool"


@frozen
class Recipe:
    """All constants of one allocator.

    Attributes
    ----------
    name : str
    source : Source
    offset : int
        Bytes from the start of the block's shared memory (of thread 0), of the arena, of the
        pool's memory, or of a thread's part of global memory.
    thread_stride : int
        Bytes between the slices of consecutive threads; 0 where a block has one array. In global
        memory the bytes of each thread: elements of `WARP` threads lie side by side.
    shape : tuple of int
    dtype : numpy.dtype
    alignment : int
        Bytes the first element is a multiple of.
    layout : Padding, Swizzle or None
        How the rows of a matrix lie in memory.
    location : Location or Pool
        As planned.
    owner : str
        What tells the shared memory of this plan from that of another.
    """

    name: str
    source: Source
    offset: int
    thread_stride: int
    shape: tuple[int, ...]
    dtype: np.dtype
    alignment: int
    layout: Layout | None = None
    location: Place = Location.SHARED
    owner: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of the array, with what a layout adds."""
        stored = math.prod(self.shape)
        if self.layout is not None:
            stored = self.layout.n_stored(self.shape)
        return stored * self.dtype.itemsize

    @property
    def steps(self) -> tuple[int, ...]:
        """Bytes from one element to the next, along each axis."""
        item = self.dtype.itemsize
        if self.layout is not None:
            return self.layout.row_length(self.shape) * item, item
        return tuple(item * math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))

    @property
    def is_contiguous(self) -> bool:
        """Whether the rows follow each other without gaps."""
        return self.size_bytes == math.prod(self.shape) * self.dtype.itemsize


def shapes_of(plan: Plan, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array, or say which of the given ones is wrong."""
    by_name = plan.problem.by_name
    found: dict[str, tuple[int, ...]] = {}
    for name, placement in plan.placements.items():
        shape = by_name[name].shape or (placement.n_elements,)
        found[name] = shape if by_name[name].enabled else (0,) * len(shape)
    for name, given in shapes.items():
        if name not in found:
            raise AllocatorError(
                f"shapes names `{name}`, which is not a buffer of the plan"
                f"{nearest_hint(name, found)}"
            )
        if by_name[name].layout is not None:
            raise AllocatorError(f"`{name}` has a layout: its shape is that of its buffer")
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
    owner = _owner(plan)
    for name, placement in plan.placements.items():
        source, offset = Source.ARENA, placement.offset or 0
        root = _root(plan, placement)
        if placement.location in (Location.SHARED, TILE) or not placement.size_bytes:
            source = Source.SHARED
        elif isinstance(placement.location, Pool):
            source = Source.POOL
        elif placement.location is Location.GLOBAL:
            source = Source.GLOBAL
        elif root in arena_offsets:
            offset = arena_offsets[root] + _distance(plan, placement)
        elif _is_local(placement):
            source = Source.STACK
        stride = 0
        if placement.location is Location.SHARED and placement.size_bytes:
            offset += plan.slices_start_bytes
            stride = plan.run_stride_bytes if plan.limits.block_size > 1 else 0
        if source is Source.GLOBAL:
            stride = plan.global_bytes
        buffer = plan.problem.by_name[name]
        widest = max(widest, buffer.alignment)
        recipes[name] = Recipe(
            name,
            source,
            offset,
            stride,
            shapes[name],
            placement.dtype,
            buffer.alignment,
            buffer.layout if placement.size_bytes else None,
            placement.location,
            owner,
        )
    return recipes, end, widest


def pool_alignments(plan: Plan, recipes: Mapping[str, Recipe]) -> dict[str, int]:
    """Return what the first byte of each pool's memory has to be a multiple of.

    That is the widest alignment of what lies in it; with it the offsets of all of them hold.
    """
    found = dict.fromkeys(plan.problem.pools, 1)
    for recipe in recipes.values():
        if recipe.source is Source.POOL:
            name = str(recipe.location)
            found[name] = max(found[name], recipe.alignment)
    return found


def _owner(plan: Plan) -> str:
    """Return a name for the shared memory that a plan divides: of equal plans the same."""
    held = [(p.name, p.offset) for place in (TILE, Location.SHARED) for p in plan.placed_in(place)]
    text = f"{plan.digest} {held}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
