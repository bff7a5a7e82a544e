"""Slices of a launch on a GPU: see `cubie.backend.slices`."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from cubie.backend.lanes.types import Lanes

LEFT = types.CPointer(types.int32)
I1, I32 = ir.IntType(1), ir.IntType(32)


def left_of(typingctx, attempts):
    """Generate ``left(attempts)``: a word of the thread's own that holds so many."""

    def lower(context, builder, signature, args):
        with builder.goto_entry_block():
            place = builder.alloca(I32)
        builder.store(args[0], place)
        return place

    return LEFT(types.int32), lower


def as_run(typingctx, number):
    """Generate ``run(number)``: a thread's number as that of a run in its only lane."""
    return Lanes(types.int64, 1)(types.int64), lambda context, builder, signature, args: args[0]


def both(typingctx, active, left):
    """Generate ``both(active, left)``: whether a run is active and has attempts left."""

    def lower(context, builder, signature, args):
        mask = args[0] if args[0].type == I1 else builder.trunc(args[0], I1)
        return builder.and_(mask, builder.icmp_signed(">", builder.load(args[1]), I32(0)))

    return types.boolean(active, LEFT), lower


def spend(typingctx, left, attempts):
    """Generate ``spend(left, attempts)``: take so many; tell whether there were none before."""

    def lower(context, builder, signature, args):
        was = builder.load(args[0])
        builder.store(builder.sub(was, args[1]), args[0])
        return builder.icmp_signed("<=", was, I32(0))

    return types.boolean(LEFT, types.int32), lower
