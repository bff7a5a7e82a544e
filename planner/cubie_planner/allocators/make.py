"""From a plan to device functions that hand out its buffers inside a Numba CUDA kernel.

    arrays = allocators(plan)
    get_tile = arrays["tile"]

    @cuda.jit
    def kernel(out):
        tile = get_tile()
        ...

    kernel[blocks, threads, 0, arrays.shared_bytes](out)

Numba is loaded when `allocators` is called, never by importing this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

import numpy as np
from attrs import field, frozen

from cubie_planner.basics import PlannerError, nearest_hint
from cubie_planner.declarations.buffers import Location
from cubie_planner.plans.plan import Placement, Plan

# From compute capability 9.0 on the first kilobyte is the system's, and what follows it is
# aligned relative to that.
MOST_SHARED_ALIGNMENT = 1024


class AllocatorError(PlannerError, ValueError):
    """A plan cannot be turned into allocators as asked, or a launch does not fit it."""


class Source(StrEnum):
    """Whose bytes an array is made of."""

    SHARED = "shared"
    ARENA = "arena"
    STACK = "stack"


@frozen
class Recipe:
    """All constants of one allocator.

    Attributes
    ----------
    name : str
    source : Source
    offset : int
        Bytes from the start of the block's shared memory (of thread 0) or of the arena.
    thread_stride : int
        Bytes between the slices of consecutive threads; 0 where a block has one plan.
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


@frozen
class Allocators(Mapping[str, Callable]):
    """Device functions by buffer name, as `allocators` makes them.

    Attributes
    ----------
    recipes : mapping of str to Recipe
        The constants in each function.
    arena : callable
        Device function without arguments: the bytes of this thread that a kernel makes
        once and passes to the functions in `needs_arena`.
    arena_bytes : int
    shared_bytes : int
        Dynamic shared memory to launch a block with: the fourth launch argument.
    """

    recipes: Mapping[str, Recipe]
    functions: Mapping[str, Callable] = field(repr=False)
    arena: Callable = field(repr=False)
    arena_bytes: int
    shared_bytes: int

    @property
    def needs_arena(self) -> tuple[str, ...]:
        """Buffers whose functions take the arena: ``get(arena)`` instead of ``get()``."""
        return tuple(n for n, recipe in self.recipes.items() if recipe.source is Source.ARENA)

    def __getitem__(self, name: str) -> Callable:
        try:
            return self.functions[name]
        except KeyError:
            raise KeyError(f"no buffer {name!r}{nearest_hint(name, self.functions)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.functions)

    def __len__(self) -> int:
        return len(self.functions)


def allocators(plan: Plan, shapes: Mapping[str, Sequence[int]] | None = None) -> Allocators:
    """Return a device function for every buffer of a plan, to be called inside kernels.

    Parameters
    ----------
    plan : Plan
        With ``block_size=1`` it is one plan for the shared memory of a whole block:
        every thread gets the same arrays. Otherwise each thread of a block of up to
        `block_size` threads gets slices of its own, `plan.run_stride_bytes` apart.
    shapes : mapping of str to sequence of int, optional
        Shapes, in C order, of buffers that are not to be one-dimensional.

    Returns
    -------
    Allocators
        A mapping from buffer name to device function. A shared buffer is a view of
        the block's dynamic shared memory; a local one is an array of the function that
        asks for it, and must not be returned from it; both take no argument. A
        persistent buffer, and a local one that shares bytes with another, is a view of
        one per-thread arena: ``arena = result.arena()`` once in the kernel, then
        ``result[name](arena)``.

    Notes
    -----
    Offsets, lengths and element types are constants of the compiled code. The functions
    work in kernels compiled by numba-cuda and under ``NUMBA_ENABLE_CUDASIM=1``. Where
    buffers share bytes, the kernel has to keep to the lifetimes it declared, with
    ``cuda.syncthreads()`` between phases whose buffers belong to the whole block.

    As with ``cuda.shared.array`` and ``cuda.local.array``, an array holds anything until it
    is written, also where it was asked for before; in the simulator arrays on the stack and
    arenas start as NaN (integers as -1), so that a read of what was not written shows. The
    block's shared memory is aligned like the most aligned of the plan's shared buffers,
    1024 bytes at most.
    """
    recipes, arena_bytes, arena_alignment = _recipes(plan, _shapes(plan, shapes or {}))
    widest = _shared_alignment(recipes)
    from numba import config

    if config.ENABLE_CUDASIM:  # pyright: ignore[reportAttributeAccessIssue]
        from cubie_planner.allocators import simulator as target
    else:
        from cubie_planner.allocators import cuda as target
    functions = {name: target.allocator(recipe, widest) for name, recipe in recipes.items()}
    arena = target.arena(arena_bytes, arena_alignment)
    return Allocators(recipes, functions, arena, arena_bytes, plan.shared_bytes_per_block)


def _shared_alignment(recipes: Mapping[str, Recipe]) -> int:
    """Return the widest alignment in shared memory, or refuse what no block's memory has."""
    shared = [r for r in recipes.values() if r.source is Source.SHARED and r.size_bytes]
    for recipe in shared:
        if recipe.alignment > MOST_SHARED_ALIGNMENT:
            raise AllocatorError(
                f"`{recipe.name}` is aligned to {recipe.alignment} B and shared, but the shared "
                f"memory of a block starts at a multiple of {MOST_SHARED_ALIGNMENT} B; lower its "
                "alignment, or place it elsewhere"
            )
    return max((recipe.alignment for recipe in shared), default=1)


def _shapes(plan: Plan, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
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


def _recipes(
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
        start = -(-end // alignment) * alignment
        arena_offsets[name], end = start, start + plan.placements[name].size_bytes
    recipes = {}
    for name, placement in plan.placements.items():
        source, offset = Source.ARENA, placement.offset or 0
        root = _root(plan, placement)
        if placement.location is Location.SHARED or not placement.size_bytes:
            source = Source.SHARED
        elif root in arena_offsets:
            offset = arena_offsets[root] + _distance(plan, placement)
        elif _is_local(placement):
            source = Source.STACK
        per_thread = source is Source.SHARED and plan.limits.block_size > 1
        stride = plan.run_stride_bytes if per_thread and placement.size_bytes else 0
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
