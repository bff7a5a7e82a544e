"""Parts of a group on the CPU: one vector register's worth of lanes."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from cubie.backend.front_end.device_function import Intrinsic
from cubie.backend.groups import Parts
from cubie.backend.lanes.types import Base, Buf, lane_type

I64 = ir.IntType(64)


def make_parts(itemsize: int, group_width: int, width: int) -> Parts:
    """Return how to go through `group_width` lanes of so many bytes `width` at a time."""
    n_parts = group_width // width

    @Intrinsic
    def count(typingctx):
        def lower(context, builder, signature, args):
            return I64(n_parts)

        return types.int64(), lower

    @Intrinsic
    def following(typingctx, part):
        def lower(context, builder, signature, args):
            # Not an addition that the compiler can see through: knowing how often the loop runs,
            # it would unroll it and mix the instructions of all parts, whose values then do not
            # fit the registers any more.
            identity = ir.FunctionType(I64, [I64])
            return builder.asm(identity, "", "=r,0", [builder.add(args[0], I64(1))], False)

        return types.int64(types.int64), lower

    @Intrinsic
    def of(typingctx, value, part):
        if isinstance(value, Base | types.BaseTuple):  # a tuple: () for no memory
            result = value
        else:
            result = Buf(value.dtype, value.n, width, value.addrspace, value.stride)

        def lower(context, builder, signature, args):
            pointer, number = args
            if isinstance(value, types.BaseTuple):
                return pointer
            if isinstance(value, Base):
                number = builder.mul(number, I64(itemsize * width))
            else:
                pointer = builder.bitcast(pointer, lane_type(value.dtype, width).as_pointer())
            return builder.gep(pointer, [number], inbounds=True)

        return result(value, types.int64), lower

    return Parts(count, following, of)
