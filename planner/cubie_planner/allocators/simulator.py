"""Allocators for kernels that run in numba's CUDA simulator (``NUMBA_ENABLE_CUDASIM=1``).

They are plain functions: a simulated thread calls them with its own context. A function
marked ``cuda.jit(device=True)`` would have the name `cuda` of this module replaced and put
back by every thread on its own, which goes wrong when two threads are inside at once.

With poison, what holds nothing where a phase begins is overwritten: the bytes of all buffers
that do not live on from the phase before. A lifetime that was declared too short shows then,
as a NaN in the results.
"""

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from attrs import define, field
from numba.cuda.simulator import kernel as simulated

from cubie_planner.allocators.phases import Phases
from cubie_planner.allocators.recipes import WARP, AllocatorError, Recipe, Source, two_plans
from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import TILE, Location, Place, Pool, Scope

POISON = 0xFF  # bytes of a NaN, and of -1: what was read before it was written shows


_TOO_SMALL = {
    Source.SHARED: "launch with the plan's block size or fewer threads and with `shared_bytes` as "
    "fourth launch argument",
    Source.POOL: "hand over `pool_bytes` of its pool for each copy of it",
    Source.ARENA: "hand over what `arena()` of the same allocators returns",
}


@define(eq=False)
class _Block:
    """What the simulator has to know of a block while its threads run.

    Attributes
    ----------
    owner : str
        Of the plan that divides the block's shared memory.
    point, changes : int
        The phase that the arrays of the block are in, and how many there were before it.
    memory : dict of Pool to array
        Memory of the block that its pools were seen in.
    """

    lock: Any = field(factory=threading.Lock)
    owner: str = ""
    point: int | None = None
    changes: int = 0
    memory: dict[Place, np.ndarray] = field(factory=dict)
    threads: WeakKeyDictionary[Any, "_Thread"] = field(factory=WeakKeyDictionary)


@define(eq=False)
class _Thread:
    """The same of one thread, with the memory that it has for itself."""

    point: int | None = None
    changes: int = 0
    memory: dict[Place, np.ndarray] = field(factory=dict)


_BLOCKS: WeakKeyDictionary[Any, _Block] = WeakKeyDictionary()
_BLOCKS_LOCK = threading.Lock()


def _block() -> _Block:
    """Return what is known of the calling thread's block."""
    manager = threading.current_thread()._manager  # pyright: ignore[reportAttributeAccessIssue]
    with _BLOCKS_LOCK:
        if manager not in _BLOCKS:
            _BLOCKS[manager] = _Block()
        return _BLOCKS[manager]


def _thread(block: _Block) -> _Thread:
    """Return the same of the calling thread; a number of a thread is given again when it ends."""
    with block.lock:
        return block.threads.setdefault(threading.current_thread(), _Thread())


def allocator(recipe: Recipe, shared_alignment: int, phases: Phases) -> Callable:
    """Return the function of one buffer; simulated memory has no alignment."""
    if not recipe.size_bytes:
        return lambda: np.empty(recipe.shape, recipe.dtype)
    if recipe.source is Source.STACK:
        return lambda: _laid_out(_fresh(recipe.name, recipe.size_bytes), 0, recipe)
    if recipe.source is Source.ARENA:
        return lambda arena: _view(arena, recipe.offset, recipe)
    if recipe.source is Source.POOL:
        return lambda memory: _in_pool(memory, recipe, phases)
    if recipe.source is Source.GLOBAL:
        return lambda memory: _in_global_memory(memory, recipe, phases)

    def shared() -> np.ndarray:
        context = _context(recipe.name)
        offset = recipe.offset
        if recipe.thread_stride:
            offset += recipe.thread_stride * _thread_rank(context)
        memory = context.shared.array(0, np.dtype("u1"))
        _claim(memory, recipe, phases)
        return _view(memory, offset, recipe)

    return shared


def _claim(memory: np.ndarray, recipe: Recipe, phases: Phases) -> None:
    """Refuse the memory of another plan; poison it all when the block first asks for it."""
    block = _block()
    with block.lock:
        if block.owner == recipe.owner:
            return
        if block.owner:
            raise AllocatorError(two_plans(recipe.name))
        block.owner = recipe.owner
        if phases.poison:
            memory[...] = POISON


def arena(size_bytes: int, alignment: int, phases: Phases) -> Callable:
    """Return the function that makes a thread's arena."""

    def make() -> np.ndarray:
        memory = _fresh("arena", max(1, size_bytes))
        if phases.poison:
            _thread(_block()).memory[Location.LOCAL_PERSISTENT] = memory
        return memory

    return make


def column_of(recipe: Recipe) -> Callable:
    """Return the function that says where in its row an element of a matrix lies."""
    layout = recipe.layout
    return lambda row, column: column if layout is None else layout.column(row, column)


def barrier(phases: Phases, point: int) -> Callable:
    """Return the function to call where a phase begins."""

    def begin() -> None:
        context = _context(f"phase {point}")
        phases.begun.add(point)
        thread: Any = threading.current_thread()
        if phases.has_block_arrays:
            thread.syncthreads()
        if not phases.poison:
            return
        block = _block()
        mine = _thread(block)
        if phases.has_block_arrays:
            _poison_block(context, block, mine, phases, point)
            thread.syncthreads()
        _poison_thread(context, mine, phases, point)
        mine.point = point
        mine.changes += 1

    return begin


def _poison_block(context: Any, block: _Block, mine: _Thread, phases: Phases, point: int) -> None:
    """The first thread behind the barrier poisons the arrays of the block."""
    with block.lock:
        if block.changes > mine.changes:
            if block.point != point:
                raise AllocatorError(
                    f"threads of one block begin phases at points {block.point} and {point} "
                    "together; a phase of the block's arrays begins for all its threads"
                )
            return
        places = [TILE, *([] if phases.plan.limits.block_size > 1 else [Location.SHARED])]
        start = {TILE: 0, Location.SHARED: phases.plan.slices_start_bytes}
        memory = context.shared.array(0, np.dtype("u1"))
        for place in places:
            for low, high in phases.dead(place, block.point, point):
                memory[start[place] + low : start[place] + high] = POISON
        for pool, memory in block.memory.items():
            for low, high in phases.dead(pool, block.point, point):
                memory[low:high] = POISON
        block.point = point
        block.changes += 1


def _poison_thread(context: Any, mine: _Thread, phases: Phases, point: int) -> None:
    """Poison the thread's slice of shared memory, and what was seen of its own memory."""
    plan = phases.plan
    if plan.limits.block_size > 1:
        memory = context.shared.array(0, np.dtype("u1"))
        start = plan.slices_start_bytes + plan.run_stride_bytes * _thread_rank(context)
        for low, high in phases.dead(Location.SHARED, mine.point, point):
            memory[start + low : start + high] = POISON
    for place, memory in mine.memory.items():
        dead = phases.dead(place, mine.point, point)
        if place is Location.GLOBAL:
            _poison_global(context, memory, phases, dead)
            continue
        for low, high in dead:
            memory[low:high] = POISON


def _poison_global(context: Any, memory: np.ndarray, phases: Phases, dead: list[Interval]) -> None:
    """Poison elements of the thread's buffers in global memory, its neighbours' in between."""
    for recipe in phases.recipes.values():
        if recipe.source is not Source.GLOBAL:
            continue
        item = recipe.dtype.itemsize
        first = _first_byte(context, recipe)
        for element in range(recipe.size_bytes // item):
            at = recipe.offset + element * item
            if any(low <= at and at + item <= high for low, high in dead):
                byte = first + WARP * element * item
                memory[byte : byte + item] = POISON


def _fresh(name: str, size_bytes: int) -> np.ndarray:
    memory = _context(name).local.array(size_bytes, np.dtype("u1"))
    memory[...] = POISON
    return memory


def _context(name: str):
    context = simulated._get_kernel_context()
    if context is None:
        raise AllocatorError(f"the allocator of `{name}` was called outside a kernel")
    return context


def _thread_rank(context) -> int:
    thread, block = context.threadIdx, context.blockDim
    return thread.x + block.x * (thread.y + block.y * thread.z)


def _bytes_of(memory: Any) -> np.ndarray:
    """Return memory that a kernel hands over, as bytes; numba wraps what comes from the host."""
    held = getattr(memory, "_item", memory)
    held = np.asarray(getattr(held, "_ary", held))
    if held.dtype == np.uint8 and held.ndim == 1:
        return held
    if not held.flags.c_contiguous:
        raise AllocatorError("memory that a kernel hands over has to be in one piece")
    return held.reshape(-1).view(np.uint8)


def _in_pool(memory: Any, recipe: Recipe, phases: Phases) -> np.ndarray:
    """Return the array in memory that the kernel brings for a pool."""
    contents, pool = _bytes_of(memory), recipe.location
    assert isinstance(pool, Pool), "an allocator of a pool has one"
    _check_start(contents, phases.pool_alignment[pool.name], recipe)
    if phases.poison and pool.scope in (Scope.THREAD, Scope.BLOCK):
        block = _block()
        owner = _thread(block) if pool.scope is Scope.THREAD else block
        owner.memory.setdefault(pool, contents)
    return _view(contents, recipe.offset, recipe)


def _check_start(memory: np.ndarray, alignment: int, recipe: Recipe) -> None:
    """Refuse a piece of an array where a GPU's wide loads and stores would be misaligned.

    What counts is the distance from the start of the whole array: device arrays are aligned.
    """
    whole = memory
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    distance = memory.ctypes.data - whole.ctypes.data
    if memory.size and distance % alignment:
        raise AllocatorError(
            f"`{recipe.name}`: the memory handed over starts at byte {distance} of its array, no "
            f"multiple of the {alignment} B that it has to be aligned to; let each copy have "
            "`pool_bytes`, which is such a multiple"
        )


def _first_byte(context: Any, recipe: Recipe) -> int:
    """Return where the thread's array begins in the memory of all threads."""
    thread = context.threadIdx.x + context.blockDim.x * context.blockIdx.x
    lane = thread % WARP
    start = (thread - lane) * recipe.thread_stride
    return start + WARP * recipe.offset + lane * recipe.dtype.itemsize


def _in_global_memory(memory: Any, recipe: Recipe, phases: Phases) -> np.ndarray:
    """Return the thread's array in memory of all threads, where its neighbours' lie in between."""
    context = _context(recipe.name)
    contents, item = _bytes_of(memory), recipe.dtype.itemsize
    start = _first_byte(context, recipe)
    end = start + WARP * (recipe.size_bytes - item) + item
    if end > contents.size:
        thread = context.threadIdx.x + context.blockDim.x * context.blockIdx.x
        raise AllocatorError(
            f"`{recipe.name}` of thread {thread} ends at byte {end} of the global memory, but "
            f"there are {contents.size} B; give `global_memory_bytes` of all threads"
        )
    if phases.poison:
        _thread(_block()).memory.setdefault(Location.GLOBAL, contents)
    strides = [WARP * step for step in recipe.steps]
    return np.ndarray(recipe.shape, recipe.dtype, contents, start, strides)


def _view(memory: np.ndarray, offset: int, recipe: Recipe) -> np.ndarray:
    """Return the array; NumPy would cut a slice past the end short without a word."""
    end = offset + recipe.size_bytes
    if end > memory.size:
        raise AllocatorError(
            f"`{recipe.name}` ends at byte {end} of the {recipe.source.value} memory, but there "
            f"are {memory.size} B; {_TOO_SMALL[recipe.source]}"
        )
    return _laid_out(memory, offset, recipe)


def _laid_out(memory: np.ndarray, offset: int, recipe: Recipe) -> np.ndarray:
    return np.ndarray(recipe.shape, recipe.dtype, memory, offset, recipe.steps)
