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

from attrs import field, frozen

from cubie_planner.allocators.launch import Launch
from cubie_planner.allocators.phases import Phases
from cubie_planner.allocators.recipes import (
    WARP,
    AllocatorError,
    Recipe,
    Source,
    recipes_of,
    shapes_of,
)
from cubie_planner.basics import nearest_hint, round_up
from cubie_planner.declarations.buffers import Interval
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
    phases : Phases
        What `begin` overwrites in the simulator.
    columns : mapping of str to callable
        For each matrix a device function ``(row, column)``: where in its row an element lies. Only
        a swizzle moves it.
    arena : callable
        Device function without arguments: the bytes of this thread that a kernel makes
        once and passes to the functions in `needs_arena`.
    arena_bytes : int
    shared_bytes : int
        Dynamic shared memory to launch a block with: the fourth launch argument.
    global_bytes : int
        Of global memory for each thread; see `global_memory_bytes`.
    pool_bytes : mapping of str to int
        Bytes that each pool's memory needs, for what has one copy of it: a multiple of
        `pool_alignment`, so that copies that follow each other in one array are all aligned.
    pool_alignment : mapping of str to int
        Bytes that the start of each copy has to be a multiple of.
    """

    recipes: Mapping[str, Recipe]
    phases: Phases = field(repr=False)
    functions: Mapping[str, Callable] = field(repr=False)
    columns: Mapping[str, Callable] = field(repr=False)
    arena: Callable = field(repr=False)
    arena_bytes: int
    shared_bytes: int
    global_bytes: int = 0
    pool_bytes: Mapping[str, int] = field(factory=dict)
    pool_alignment: Mapping[str, int] = field(factory=dict)

    def global_memory_bytes(self, n_threads: int) -> int:
        """Return the bytes of global memory that a launch of so many threads brings."""
        return -(-n_threads // WARP) * WARP * self.global_bytes

    def begin(self, point: int | Interval) -> Callable:
        """Return the device function to call, without arguments, where a phase begins.

        With arrays of the block it is a barrier of the block, as ``cuda.syncthreads()`` is; else
        it does nothing. In the simulator, with ``poison=True``, it overwrites besides what holds
        nothing: all bytes but those of buffers that live on from the phase before.

        Parameters
        ----------
        point : int or (start, end)
            The phase: its program point, or its interval as ``Timeline.point`` returns it.

        Raises
        ------
        AllocatorError
            For an interval that is empty or begins below 0, and for a point or an interval of one's
            own that goes on after the last point at which a buffer lives by its lifetime.
        """
        return _target().barrier(self.phases, self.phases.point_of(point))

    def launch(
        self,
        kernel: Callable,
        blocks: int | Sequence[int],
        threads: int | Sequence[int],
        stream: object = 0,
    ) -> Launch:
        """Return the kernel ready to be called: in so many blocks of so many threads.

        The dynamic shared memory of a block is that of the plan; above 48 KiB the limit of the
        kernel is raised before each launch.

        Raises
        ------
        AllocatorError
            When there are more threads in a block than slices of shared memory; and, by the call,
            when the kernel has allocators of two plans.
        """
        shape = threads if isinstance(threads, int) else tuple(threads)
        count = shape if isinstance(shape, int) else math.prod(shape)
        most = self.phases.plan.limits.block_size
        sliced = any(recipe.thread_stride for recipe in self.recipes.values() if _is_slice(recipe))
        if sliced and count > most:
            raise AllocatorError(
                f"a block of {count} threads was asked for, but the plan has slices of shared "
                f"memory for {most}; plan with Limits(block_size={count})"
            )
        grid = blocks if isinstance(blocks, int) else tuple(blocks)
        return Launch(kernel, grid, shape, self.shared_bytes, stream, phases=self.phases)

    @property
    def needs_global_memory(self) -> tuple[str, ...]:
        """Buffers whose functions take the global memory of the launch: ``get(memory)``."""
        return tuple(n for n, recipe in self.recipes.items() if recipe.source is Source.GLOBAL)

    @property
    def needs_pool(self) -> tuple[str, ...]:
        """Buffers whose functions take the memory of their pool: ``get(memory)``."""
        return tuple(n for n, recipe in self.recipes.items() if recipe.source is Source.POOL)

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


def _is_slice(recipe: Recipe) -> bool:
    return recipe.source is Source.SHARED


def _target():
    """Return the module that makes functions for kernels as numba runs them here."""
    from numba import config

    if config.ENABLE_CUDASIM:  # pyright: ignore[reportAttributeAccessIssue]
        from cubie_planner.allocators import simulator as target
    else:
        from cubie_planner.allocators import cuda as target
    return target


def allocators(
    plan: Plan, shapes: Mapping[str, Sequence[int]] | None = None, *, poison: bool = False
) -> Allocators:
    """Return a device function for every buffer of a plan, to be called inside kernels.

    Parameters
    ----------
    plan : Plan
        Every thread of a block gets the same tiles. Of other shared buffers each thread of a
        block of up to `block_size` threads gets slices of its own, `plan.run_stride_bytes`
        apart, above the tiles; with ``block_size=1`` all get the same.
    shapes : mapping of str to sequence of int, optional
        Shapes, in C order, of buffers that were declared without one and are not to be
        one-dimensional.
    poison : bool
        In the simulator, let `Allocators.begin` overwrite what holds nothing where a phase
        begins, and fill a block's shared memory before it is first used. Floats read NaN then,
        and integers -1: a lifetime declared too short, or a read before the first write, shows.

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
        dimension have their elements side by side in it, and the view has strides. One in a pool
        takes the pool's memory, ``result[name](memory)``: at least ``result.pool_bytes[pool]``
        bytes, in one piece, of the thread, block, cluster or grid that has a copy of it. It starts
        at a multiple of ``result.pool_alignment[pool]``: a device array does, so do its rows of
        ``pool_bytes``, and so does a ``cuda.local.array`` of elements of that size.

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
    phases = Phases(plan, recipes, poison)
    target = _target()
    functions = {name: target.allocator(recipe, widest, phases) for name, recipe in recipes.items()}
    matrices = {name: recipe for name, recipe in recipes.items() if len(recipe.shape) == 2}
    columns = {name: target.column_of(recipe) for name, recipe in matrices.items()}
    arena = target.arena(arena_bytes, arena_alignment, phases)
    shared_bytes = plan.shared_bytes_per_block
    aligned = phases.pool_alignment
    return Allocators(
        recipes,
        phases,
        functions,
        columns,
        arena,
        arena_bytes,
        shared_bytes,
        plan.global_bytes,
        {name: round_up(used, aligned[name]) for name, used in plan.pool_bytes.items()},
        aligned,
    )


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
