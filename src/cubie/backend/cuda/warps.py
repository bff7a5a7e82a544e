"""Threads that take further runs: when the threads of a warp stop for that, and which they take.

The threads of a warp execute together. One whose run is over waits, masked, until enough others
have nothing to do either; then all leave the loop over steps, and those that are free take new
runs. Who votes is a matter of speed alone: no result depends on it.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.cuda import cgutils

from cubie.backend.lanes.types import Lanes

WORTH_REFILLING = 8  # free threads of the 32, as the quarter of the lanes of a group on a CPU
BALLOT = 3  # the mode of `llvm.nvvm.vote.sync` that returns the votes

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def one_grid_further(typingctx, queue, free, run, n_runs):
    """Generate ``more(queue, free, run, n_runs)``: each thread takes every so many runs."""
    lanes = Lanes(types.int64, 1)

    def lower(context, builder, signature, args):
        blocks = _special_register(builder, "nctaid.x")
        threads = _special_register(builder, "ntid.x")
        step = builder.mul(builder.zext(blocks, I64), builder.zext(threads, I64))
        return builder.select(_as_bit(builder, args[1]), builder.add(args[2], step), args[2])

    return lanes(queue, free, run, types.int64), lower


def keep_going_until(enough: int) -> Callable:
    """Return what generates ``going(queue, active, beyond)``, false when so many are free."""

    def going(typingctx, queue, active, beyond):
        def lower(context, builder, signature, args):
            active, beyond = _as_bit(builder, args[1]), _as_bit(builder, args[2])
            mask = builder.asm(
                ir.FunctionType(I32, []), "activemask.b32 $0;", "=r", [], side_effect=True
            )
            free = builder.and_(builder.not_(active), builder.not_(beyond))
            n_free = builder.ctpop(_ballot(builder, mask, free))
            few = builder.icmp_unsigned("<", n_free, I32(enough))
            any_active = builder.icmp_unsigned("!=", _ballot(builder, mask, active), I32(0))
            return builder.and_(few, any_active)

        return types.boolean(queue, active, beyond), lower

    return going


def _ballot(builder, mask, vote):
    """Emit the votes of the threads of `mask`, one bit each."""
    answer = ir.LiteralStructType((I32, I1))
    kind = ir.FunctionType(answer, (I32, I32, I1))
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.nvvm.vote.sync")
    return builder.extract_value(builder.call(function, (mask, I32(BALLOT), vote)), 0)


def _special_register(builder, name: str):
    kind = ir.FunctionType(I32, ())
    full = f"llvm.nvvm.read.ptx.sreg.{name}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), ())


def _as_bit(builder, value):
    return value if value.type == I1 else builder.trunc(value, I1)
