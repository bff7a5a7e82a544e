"""Allocators for kernels that numba-cuda compiles.

Each is an intrinsic: its code is written into the function that calls it, so that a
stack array belongs to that function. Slices of ``cuda.shared.array(0, ...)`` are not
used, because their bounds are clamped at run time to a size the compiler does not know.
"""

# numba-cuda makes these names at import time; its annotations deny that they exist.
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.cuda import cgutils, nvvmutils, types
from numba.cuda.cudadrv import nvvm
from numba.cuda.extending import intrinsic
from numba.cuda.np import arrayobj
from numba.cuda.np.numpy_support import from_dtype

from cubie_planner.allocators.padded import PaddedArray
from cubie_planner.allocators.phases import Phases
from cubie_planner.allocators.recipes import (
    SHARED_NAME,
    WARP,
    AllocatorError,
    Recipe,
    Source,
    two_plans,
)
from cubie_planner.declarations.layouts import Swizzle

BYTE = ir.IntType(8)
WORD = ir.IntType(64)
BARRIER = "llvm.nvvm.barrier0"
BROUGHT = (Source.ARENA, Source.POOL)  # memory that the kernel hands over, as an array of bytes
SHARED_ALIGNMENT = 128  # the widest any load or bulk copy asks for


def allocator(recipe: Recipe, shared_alignment: int, phases: Phases) -> Callable:
    """Return the device function of one buffer; compiled code is never poisoned.

    `shared_alignment` is that of the block's shared memory: no less than of any buffer in it.
    """
    if recipe.source is Source.GLOBAL:
        return _in_global_memory(recipe)
    array = _type_of(recipe)

    def write(context, builder, signature, args):
        result = arrayobj.make_array(array)(context, builder)
        if recipe.source is Source.STACK:
            n_stored = recipe.size_bytes // recipe.dtype.itemsize
            items = ir.ArrayType(result.data.type.pointee, n_stored)
            memory = _on_stack(builder, items, recipe.alignment, "planned")
        elif recipe.source in BROUGHT:
            arena = arrayobj.make_array(signature.args[0])(context, builder, args[0])
            first = builder.bitcast(arena.data, BYTE.as_pointer())  # of whatever elements
            memory = builder.gep(first, [WORD(recipe.offset)], inbounds=True)
        else:
            memory = builder.gep(
                _shared(builder, shared_alignment, recipe), [_shared_offset(builder, recipe)]
            )
        return _fill(context, builder, array, result, memory, recipe)

    if recipe.source in BROUGHT:

        def planned_in_arena(typing_context, arena):
            return array(arena), write

        return intrinsic(planned_in_arena)

    def planned(typing_context):
        return array(), write

    return intrinsic(planned)


def _type_of(recipe: Recipe) -> types.Array:
    element, n_axes = from_dtype(recipe.dtype), len(recipe.shape)
    if recipe.is_contiguous:
        return types.Array(element, n_axes, "C")
    return PaddedArray(element, n_axes, "A")


def _in_global_memory(recipe: Recipe) -> Callable:
    """Return the device function of a buffer in memory that the launch brings."""
    array = PaddedArray(from_dtype(recipe.dtype), len(recipe.shape), "A")
    item = recipe.dtype.itemsize

    def planned_in_global_memory(typing_context, memory):
        def write(context, builder, signature, args):
            data = arrayobj.make_array(memory)(context, builder, args[0]).data
            data = builder.bitcast(data, BYTE.as_pointer())
            thread = _number_in_grid(builder)
            lane = builder.and_(thread, WORD(WARP - 1))
            start = builder.mul(builder.sub(thread, lane), WORD(recipe.thread_stride))
            start = builder.add(start, WORD(WARP * recipe.offset))
            start = builder.add(start, builder.mul(lane, WORD(item)))
            first = builder.gep(data, [start], inbounds=True)
            result = arrayobj.make_array(array)(context, builder)
            return _fill(context, builder, array, result, first, recipe, apart=WARP)

        return array(memory), write

    return intrinsic(planned_in_global_memory)


def arena(size_bytes: int, alignment: int, phases: Phases) -> Callable:
    """Return the device function that makes a thread's arena."""
    array = types.Array(types.uint8, 1, "C")
    size = max(1, size_bytes)
    recipe = Recipe("arena", Source.STACK, 0, 0, (size,), np.dtype("u1"), alignment)

    def write(context, builder, signature, args):
        result = arrayobj.make_array(array)(context, builder)
        memory = _on_stack(builder, ir.ArrayType(BYTE, size), alignment, "planned_arena")
        return _fill(context, builder, array, result, memory, recipe)

    def planned_arena(typing_context):
        return array(), write

    return intrinsic(planned_arena)


def column_of(recipe: Recipe) -> Callable:
    """Return the device function that says where in its row an element of a matrix lies."""
    swizzle = recipe.layout if isinstance(recipe.layout, Swizzle) else None

    def write(context, builder, signature, args):
        row, column = (
            context.cast(builder, value, given, types.int64)
            for value, given in zip(args, signature.args, strict=True)
        )
        if swizzle is None:
            return column
        turn = builder.lshr(row, WORD(swizzle.rows.bit_length() - 1))
        turn = builder.and_(turn, WORD(swizzle.span - 1))
        turn = builder.shl(turn, WORD(swizzle.unit.bit_length() - 1))
        return builder.xor(column, turn)

    def planned_column(typing_context, row, column):
        return types.int64(row, column), write

    return intrinsic(planned_column)


def barrier(phases: Phases, point: int) -> Callable:
    """Return the device function to call where a phase begins."""

    def write(context, builder, signature, args):
        if phases.has_block_arrays:
            kind = ir.FunctionType(ir.VoidType(), ())
            builder.call(cgutils.get_or_insert_function(builder.module, kind, BARRIER), ())
        return context.get_dummy_value()

    def planned_phase(typing_context):
        return types.none(), write

    return intrinsic(planned_phase)


def _on_stack(builder, items: ir.ArrayType, alignment: int, name: str) -> ir.Value:
    """Return memory of the calling function, once for all calls and with any contents.

    numba's `alloca_once` stores zeros where the function starts, and only there: they cost what
    writing the array costs, and do not say what an array asked for in a loop holds.
    """
    with builder.goto_entry_block():
        memory = builder.alloca(items, name=name)
    memory.align = alignment
    return memory


def _shared(builder, alignment: int, recipe: Recipe) -> ir.Value:
    """Return the first byte of the block's dynamic shared memory.

    It follows the kernel's static arrays, at a multiple of the alignment asked for here. All
    declarations of such memory begin at its first byte, so that its name says whose plan it is.
    """
    module = builder.module
    name = f"{SHARED_NAME}_{recipe.owner}"
    for other in module.globals:
        if recipe.size_bytes and other.startswith(SHARED_NAME) and other != name:
            raise AllocatorError(two_plans(recipe.name))
    memory = module.globals.get(name)
    if memory is None:
        kind = ir.ArrayType(BYTE, 0)
        memory = cgutils.add_global_variable(module, kind, name, nvvm.ADDRSPACE_SHARED)
        memory.linkage = "external"
        memory.align = SHARED_ALIGNMENT
    memory.align = max(memory.align, alignment)
    return builder.addrspacecast(memory, BYTE.as_pointer(), "generic")


def _shared_offset(builder, recipe: Recipe) -> ir.Value:
    """Return where the calling thread's buffer starts, in bytes."""
    if not recipe.thread_stride:
        return WORD(recipe.offset)
    rank = _thread_rank(builder)
    offset = builder.mul(builder.zext(rank, WORD), WORD(recipe.thread_stride), flags=("nuw",))
    return builder.add(offset, WORD(recipe.offset), flags=("nuw",))


def _thread_rank(builder) -> ir.Value:
    """Return the number of the thread in its block, x running fastest."""
    registers = nvvmutils.SRegBuilder(builder)
    rank = builder.trunc(registers.tid("z"), ir.IntType(32))
    for axis in ("y", "x"):
        extent = builder.trunc(registers.ntid(axis), ir.IntType(32))
        own = builder.trunc(registers.tid(axis), ir.IntType(32))
        rank = builder.add(builder.mul(rank, extent), own)
    return rank


def _number_in_grid(builder) -> ir.Value:
    """Return the number of the thread in a grid of one dimension."""
    registers = nvvmutils.SRegBuilder(builder)
    block = builder.zext(builder.trunc(registers.ctaid("x"), ir.IntType(32)), WORD)
    size = builder.zext(builder.trunc(registers.ntid("x"), ir.IntType(32)), WORD)
    own = builder.zext(builder.trunc(registers.tid("x"), ir.IntType(32)), WORD)
    return builder.add(builder.mul(block, size), own)


def _fill(context, builder, array, result, memory, recipe: Recipe, apart: int = 1) -> ir.Value:
    arrayobj.populate_array(
        result,
        data=builder.bitcast(memory, result.data.type),
        shape=[WORD(length) for length in recipe.shape],
        strides=[WORD(apart * step) for step in recipe.steps],
        itemsize=WORD(recipe.dtype.itemsize),
        meminfo=None,
    )
    return result._getvalue()
