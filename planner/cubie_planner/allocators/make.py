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

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import field, frozen

from cubie_planner.allocators.recipes import (
    WARP,
    AllocatorError,
    Recipe,
    Source,
    recipes_of,
    shapes_of,
)
from cubie_planner.basics import nearest_hint
from cubie_planner.plans.plan import Plan

# From compute capability 9.0 on the first kilobyte is the system's, and what follows it is
# aligned relative to that.
MOST_SHARED_ALIGNMENT = 1024


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
    global_bytes : int
        Of global memory for each thread; see `global_memory_bytes`.
    """

    recipes: Mapping[str, Recipe]
    functions: Mapping[str, Callable] = field(repr=False)
    arena: Callable = field(repr=False)
    arena_bytes: int
    shared_bytes: int
    global_bytes: int = 0

    def global_memory_bytes(self, n_threads: int) -> int:
        """Return the bytes of global memory that a launch of so many threads brings."""
        return -(-n_threads // WARP) * WARP * self.global_bytes

    @property
    def needs_global_memory(self) -> tuple[str, ...]:
        """Buffers whose functions take the global memory of the launch: ``get(memory)``."""
        return tuple(n for n, recipe in self.recipes.items() if recipe.source is Source.GLOBAL)

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
        ``result[name](arena)``. One in global memory is a view of bytes that the launch brings,
        ``result[name](memory)``: `memory` is a device array of
        ``result.global_memory_bytes(n_threads)`` uint8, neighbouring threads of a grid of one
        dimension have their elements side by side in it, and the view has strides.

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
    recipes, arena_bytes, arena_alignment = recipes_of(plan, shapes_of(plan, shapes or {}))
    widest = _shared_alignment(recipes)
    from numba import config

    if config.ENABLE_CUDASIM:  # pyright: ignore[reportAttributeAccessIssue]
        from cubie_planner.allocators import simulator as target
    else:
        from cubie_planner.allocators import cuda as target
    functions = {name: target.allocator(recipe, widest) for name, recipe in recipes.items()}
    arena = target.arena(arena_bytes, arena_alignment)
    shared_bytes = plan.shared_bytes_per_block
    return Allocators(recipes, functions, arena, arena_bytes, shared_bytes, plan.global_bytes)


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
