"""Allocators for kernels that run in numba's CUDA simulator (``NUMBA_ENABLE_CUDASIM=1``).

They are plain functions: a simulated thread calls them with its own context. A function
marked ``cuda.jit(device=True)`` would have the name `cuda` of this module replaced and put
back by every thread on its own, which goes wrong when two threads are inside at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.cuda.simulator import kernel as simulated

from cubie_planner.allocators.recipes import WARP, AllocatorError, Recipe, Source

POISON = 0xFF  # bytes of a NaN, and of -1: what was read before it was written shows


def allocator(recipe: Recipe, shared_alignment: int) -> Callable:
    """Return the function of one buffer; simulated memory has no alignment."""
    if not recipe.size_bytes:
        return lambda: np.empty(recipe.shape, recipe.dtype)
    if recipe.source is Source.STACK:
        return lambda: _poisoned(_context(recipe.name).local.array(recipe.shape, recipe.dtype))
    if recipe.source is Source.ARENA:
        return lambda arena: _view(arena, recipe.offset, recipe)

    if recipe.source is Source.GLOBAL:
        return lambda memory: _in_global_memory(memory, recipe)

    def shared() -> np.ndarray:
        context = _context(recipe.name)
        offset = recipe.offset
        if recipe.thread_stride:
            offset += recipe.thread_stride * _thread_rank(context)
        return _view(context.shared.array(0, np.dtype("u1")), offset, recipe)

    return shared


def arena(size_bytes: int, alignment: int) -> Callable:
    """Return the function that makes a thread's arena."""
    return lambda: _poisoned(_context("arena").local.array(max(1, size_bytes), np.dtype("u1")))


def _poisoned(array: np.ndarray) -> np.ndarray:
    array.view("u1")[...] = POISON
    return array


def _context(name: str):
    context = simulated._get_kernel_context()
    if context is None:
        raise AllocatorError(f"the allocator of `{name}` was called outside a kernel")
    return context


def _thread_rank(context) -> int:
    thread, block = context.threadIdx, context.blockDim
    return thread.x + block.x * (thread.y + block.y * thread.z)


def _in_global_memory(memory: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the thread's array in memory of all threads, where its neighbours' lie in between."""
    context = _context(recipe.name)
    thread = context.threadIdx.x + context.blockDim.x * context.blockIdx.x
    contents = np.asarray(getattr(memory, "_item", memory))
    lane, item = thread % WARP, recipe.dtype.itemsize
    start = (thread - lane) * recipe.thread_stride + WARP * recipe.offset + lane * item
    end = start + WARP * (recipe.size_bytes - item) + item
    if end > contents.size:
        raise AllocatorError(
            f"`{recipe.name}` of thread {thread} ends at byte {end} of the global memory, but "
            f"there are {contents.size} B; give `global_memory_bytes` of all threads"
        )
    strides = [WARP * step for step in np.empty(recipe.shape, recipe.dtype).strides]
    return np.ndarray(recipe.shape, recipe.dtype, contents, start, strides)


def _view(memory: np.ndarray, offset: int, recipe: Recipe) -> np.ndarray:
    """Return the array; NumPy would cut a slice past the end short without a word."""
    end = offset + recipe.size_bytes
    if end > memory.size:
        raise AllocatorError(
            f"`{recipe.name}` ends at byte {end} of the {recipe.source.value} memory, but there "
            f"are {memory.size} B; launch with the plan's block size or fewer threads and with "
            "`shared_bytes` as fourth launch argument"
        )
    return memory[offset:end].view(recipe.dtype).reshape(recipe.shape)
