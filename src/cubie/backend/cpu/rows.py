"""Lanes of a group one by one on the CPU: several points of one run together."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from cubie.backend.front_end.device_function import Intrinsic
from cubie.backend.groups import Rows
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import Buf, Flat, LaneOf, Lanes, Mask, lane_type

I64 = ir.IntType(64)
BIT = ir.IntType(1)

# So far ahead memory of a row is fetched: the rows of a group are more than a processor follows by
# itself. Of 10,000 runs of Lorenz 200 points took 45 ms without that, and 33; 1000 took 76, and 53.
# That hides nearly all of it: points that stay in the frame, and are written nowhere, took 16.8 and
# 20.8 where these took 17.4 and 22.8. Whole lines put together there and written past the caches
# took 21 and 29, one at a time or eight.
AHEAD_BYTES = 128


def make_rows(width: int) -> Rows:
    """Return how to go through `width` points of one run at a time."""
    return Rows(
        width=width,
        waiting=_waiting,
        first=_first,
        others=_others,
        only=_only,
        number=_number,
        of=_make_of(width),
        load=_make_load(width),
        store=_make_store(width),
        count=_count,
    )


@Intrinsic
def _waiting(typingctx, mask):
    if not isinstance(mask, Mask):
        return None

    def lower(context, builder, signature, args):
        bits = args[0]
        if mask.width > 1:
            bits = builder.bitcast(bits, ir.IntType(mask.width))
        return builder.zext(bits, I64) if mask.width < I64.width else bits

    return types.int64(mask), lower


@Intrinsic
def _first(typingctx, waiting):
    def lower(context, builder, signature, args):
        return builder.cttz(args[0], BIT(1))

    return types.int64(types.int64), lower


@Intrinsic
def _others(typingctx, waiting):
    def lower(context, builder, signature, args):
        return builder.and_(args[0], builder.sub(args[0], I64(1)))

    return types.int64(types.int64), lower


@Intrinsic
def _only(typingctx, lane, like):
    if not isinstance(like, Mask):
        return None
    numbers = list(range(like.width))

    def lower(context, builder, signature, args):
        lanes = lane_type(types.int64, like.width)
        places = ir.Constant(lanes, numbers if like.width > 1 else 0)
        return builder.icmp_unsigned("==", codegen.splat(builder, args[0], like.width), places)

    return like(types.int64, like), lower


@Intrinsic
def _number(typingctx, buf, lane):
    if not isinstance(buf, Buf):
        return None

    def lower(context, builder, signature, args):
        return builder.load(_place_of_lane(builder, buf, *args))

    return buf.dtype(buf, types.int64), lower


@Intrinsic
def _count(typingctx, mask):
    if not isinstance(mask, Mask):
        return None

    def lower(context, builder, signature, args):
        return builder.zext(codegen.count_true(builder, args[0], mask.width), I64)

    return types.int64(mask), lower


def _place_of_lane(builder, buf: Buf, pointer, lane):
    """Return the address of a lane in a buffer's first element."""
    first = builder.bitcast(pointer, lane_type(buf.dtype, 1).as_pointer())
    return builder.gep(first, [lane], inbounds=True)


def _make_of(width: int):
    @Intrinsic
    def of(typingctx, buf, lane):
        if not isinstance(buf, Buf):
            return None

        def lower(context, builder, signature, args):
            return _place_of_lane(builder, buf, *args)

        return LaneOf(buf.dtype, width, buf.stride)(buf, types.int64), lower

    return of


def _make_load(width: int):
    @Intrinsic
    def load(typingctx, array, first, apart, left):
        if not isinstance(array, Flat):
            return None
        scalar, vector = (lane_type(array.dtype, n) for n in (1, width))

        def together(builder, pointer, first):
            pointer = builder.gep(pointer, [first], inbounds=True)
            whole = builder.load(builder.bitcast(pointer, vector.as_pointer()))
            whole.align = array.dtype.bitwidth // 8
            return whole

        def one_by_one(builder, pointer, first, apart, left):
            # In place of points beyond the last the one before it is read.
            last, none = builder.sub(left, I64(1)), ir.Constant(scalar, float("inf"))

            def scalar_of(k):
                there = builder.icmp_signed("<", I64(k), left)
                index = builder.mul(builder.select(there, I64(k), last), apart)
                place = builder.gep(pointer, [builder.add(first, index)], inbounds=True)
                return builder.select(there, builder.load(place), none)

            return codegen.for_each_lane(builder, width, scalar, scalar_of)

        def lower(context, builder, signature, args):
            pointer, first, apart, left = args
            near = builder.icmp_signed("==", apart, I64(1))
            enough = builder.icmp_signed(">=", left, I64(width))
            found = []
            with builder.if_else(builder.and_(near, enough), likely=True) as (usual, rare):
                with usual:
                    found.append((together(builder, pointer, first), builder.block))
                with rare:
                    found.append((one_by_one(builder, *args), builder.block))
            result = builder.phi(vector)
            for value, block in found:
                result.add_incoming(value, block)
            return result

        return Lanes(array.dtype, width)(array, types.int64, types.int64, types.int64), lower

    return load


def _make_store(width: int):
    @Intrinsic
    def store(typingctx, array, first, left, n, values):
        if not (isinstance(array, Flat) and isinstance(values, Lanes)):
            return None
        itemsize = array.dtype.bitwidth // 8

        def lower(context, builder, signature, args):
            pointer, first, left, n, value = args
            pointer = builder.gep(pointer, [first], inbounds=True)
            enough = builder.icmp_signed(">=", left, I64(width))
            with builder.if_else(enough, likely=True) as (usual, rare):
                with usual:
                    whole = builder.bitcast(pointer, value.type.as_pointer())
                    builder.store(value, whole, align=itemsize)
                    ahead = I64(AHEAD_BYTES // itemsize)
                    # What lies behind the row may be another thread's.
                    last = builder.sub(left, I64(1))
                    within = builder.icmp_signed("<", ahead, last)
                    place = builder.select(within, ahead, last)
                    _fetch(builder, builder.gep(pointer, [place], inbounds=True))
                with rare:
                    for k in range(width):
                        with builder.if_then(builder.icmp_signed("<", I64(k), n)):
                            place = builder.gep(pointer, [I64(k)], inbounds=True)
                            builder.store(codegen.lane_of(builder, value, width, k), place)
            return context.get_dummy_value()

        integers = [types.int64] * 3
        return types.none(array, *integers, values), lower

    return store


def _fetch(builder, pointer) -> None:
    """Have memory fetched that is written soon."""
    pointer, number = builder.bitcast(pointer, ir.IntType(8).as_pointer()), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    name = "llvm.prefetch.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    to_write, keep_near, data = number(1), number(3), number(1)
    builder.call(function, [pointer, to_write, keep_near, data])
