"""Threads that take further runs: when the threads of a warp stop for that, and which they take.

The threads of a warp execute together. One whose run is over leaves the loop over steps and waits
for the others. When so many have left that it pays, the rest leave too, in the middle of their
runs; those that are free take new runs, and all go on together. How many of a warp are seen
together is a matter of speed alone: no result depends on it, and each time that a thread comes to
the loop it takes a step at least.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.cuda import cgutils

from cubie.backend.lanes.types import Lanes

WORTH_REFILLING = 8  # threads of the 32, as the quarter of the lanes of a group on a CPU
# What a thread keeps of its queue: the run it begins with, and how many threads were seen together
# when it came to the loop, 0 before.
RUN, TOGETHER = 0, 1

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
QUEUE = types.CPointer(types.int64)


def queue_of(typingctx, run):
    """Generate ``queue(run)``: what a thread keeps of its queue."""

    def lower(context, builder, signature, args):
        with builder.goto_entry_block():
            kept = builder.alloca(ir.ArrayType(I64, 2))
        first = builder.bitcast(kept, I64.as_pointer())
        builder.store(args[0], _field(builder, first, RUN))
        builder.store(I64(0), _field(builder, first, TOGETHER))
        return first

    return QUEUE(types.int64), lower


def first_run(typingctx, queue):
    """Generate ``first(queue)``."""

    def lower(context, builder, signature, args):
        return builder.load(_field(builder, args[0], RUN))

    return Lanes(types.int64, 1)(QUEUE), lower


def one_grid_further(typingctx, queue, free, run, n_runs):
    """Generate ``more(queue, free, run, n_runs)``: each thread takes every so many runs."""
    lanes = Lanes(types.int64, 1)

    def lower(context, builder, signature, args):
        builder.store(I64(0), _field(builder, args[0], TOGETHER))
        blocks = _special_register(builder, "nctaid.x")
        threads = _special_register(builder, "ntid.x")
        step = builder.mul(builder.zext(blocks, I64), builder.zext(threads, I64))
        return builder.select(_as_bit(builder, args[1]), builder.add(args[2], step), args[2])

    return lanes(QUEUE, free, run, types.int64), lower


def keep_going_until(enough: int) -> Callable:
    """Return what generates ``going(queue, active, beyond)``, false when so many have left.

    A thread that is not active never goes on: what it attempted would be another's.
    """

    def going(typingctx, queue, active, beyond):
        def lower(context, builder, signature, args):
            mask = builder.asm(
                ir.FunctionType(I32, []), "activemask.b32 $0;", "=r", [], side_effect=True
            )
            together = builder.zext(builder.ctpop(mask), I64)
            place = _field(builder, args[0], TOGETHER)
            before = builder.load(place)
            at_first = builder.icmp_signed("==", before, I64(0))
            builder.store(builder.select(at_first, together, before), place)
            left = builder.icmp_signed("<=", builder.add(together, I64(enough)), before)
            stays = builder.or_(at_first, builder.not_(left))
            return builder.and_(_as_bit(builder, args[1]), stays)

        return types.boolean(QUEUE, active, beyond), lower

    return going


def worked_out_here(typingctx, number):
    """Generate ``here(number)``: the number, by code of which the compiler knows nothing."""

    def lower(context, builder, signature, args):
        kind = ir.FunctionType(I64, [I64])
        return builder.asm(kind, "mov.b64 $0, $1;", "=l,l", args, side_effect=True)

    return number(number), lower


# The number of a thread in the whole grid, as `cuda.grid(1)` has it.
_NUMBER = """{
    .reg .u32 block, threads, thread;
    .reg .u64 first;
    mov.u32 block, %ctaid.x;
    mov.u32 threads, %ntid.x;
    mov.u32 thread, %tid.x;
    mul.wide.u32 first, block, threads;
    cvt.u64.u32 $0, thread;
    add.u64 $0, $0, first;
    }"""


def run_worked_out_here(typingctx, number):
    """Generate ``here(number)`` where each thread has one run, which bears the thread's number."""
    if not isinstance(number, Lanes):
        return worked_out_here(typingctx, number)

    def lower(context, builder, signature, args):
        return builder.asm(ir.FunctionType(I64, []), _NUMBER, "=&l", [], side_effect=True)

    return number(number), lower


def _field(builder, queue, number: int):
    return builder.gep(queue, [I64(number)], inbounds=True)


def _special_register(builder, name: str):
    kind = ir.FunctionType(I32, ())
    full = f"llvm.nvvm.read.ptx.sreg.{name}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), ())


def _as_bit(builder, value):
    return value if value.type == I1 else builder.trunc(value, I1)
