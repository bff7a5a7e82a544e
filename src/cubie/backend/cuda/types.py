"""The lane types taught to numba-cuda, and its intrinsics for the shared-memory base."""

from __future__ import annotations

import functools
import math

from llvmlite import ir
from numba.core import types
from numba.cuda import cgutils, extending, libdevice
from numba.cuda.np import arrayobj
from numba.cuda.typing import templates

from cubie.backend.cuda import approximations
from cubie.backend.device.global_memory import WARP
from cubie.backend.front_end.device_function import Intrinsic
from cubie.backend.lanes import operations as lane_ops
from cubie.backend.lanes.types import GLOBAL, SHARED, Base, Flat

# Python's own versions of these return integers, or do not exist; and what numba-cuda puts in the
# place of the last two under fast-math gives NaN for powers of negative numbers, and 11 bits.
_OF_LIBDEVICE = frozenset({"floor", "ceil", "trunc", "fmin", "fmax", "pow", "tanh"})

DYNAMIC_SHARED_ALIGNMENT = 16  # bytes: what the hardware gives the start of dynamic shared memory


def _math_call(context, builder, name, lanes, arguments):
    """Call the device's math library; a lane is one run, so the call is scalar."""
    if name in approximations.RELAXED:
        return approximations.RELAXED[name](context, builder, lanes, *arguments)
    if name in _OF_LIBDEVICE:
        suffix = "f" if lanes.dtype == types.float32 else ""
        function = getattr(libdevice, name + suffix)
    else:
        function = getattr(math, name)
    signature = templates.signature(lanes.dtype, *[lanes.dtype] * len(arguments))
    return context.get_function(function, signature)(builder, arguments)


@functools.cache
def register_types() -> None:
    """Teach numba-cuda the lane types, once a process."""
    lane_ops.register(
        lane_ops.Registrar(
            target="cuda",
            abstract_template=templates.AbstractTemplate,
            signature=templates.signature,
            infer_global=templates.infer_global,
            lower=extending.lower_builtin,
            lower_cast=extending.lower_cast,
            register_model=extending.register_model,
            math_call=_math_call,
            is_finite=approximations.is_finite,
        )
    )


def flatten():
    """Return ``flat(record)``: a record of arrays as a record of their bare pointers."""

    def flat(typingctx, record):
        pointers = [Flat(array.dtype) for array in record.types]
        flat_type = types.NamedTuple(pointers, record.instance_class)

        def lower(context, builder, signature, args):
            arrays = cgutils.unpack_tuple(builder, args[0], len(record.types))
            data = [
                arrayobj.make_array(array_type)(context, builder, array).data
                for array_type, array in zip(record.types, arrays, strict=True)
            ]
            return context.make_tuple(builder, flat_type, data)

        return flat_type(record), lower

    return extending.intrinsic(flat)


def shared_base(stride: int):
    """Return ``base(thread)``: the start of a thread's slice of dynamic shared memory."""

    def base(typingctx, thread):
        def lower(context, builder, signature, args):
            name = "cubie_dynamic_shared"
            byte = ir.IntType(8)
            memory = builder.module.globals.get(name)
            if memory is None:
                memory = cgutils.add_global_variable(
                    builder.module, ir.ArrayType(byte, 0), name, SHARED
                )
                memory.linkage = "external"
                memory.align = DYNAMIC_SHARED_ALIGNMENT
            start = builder.bitcast(memory, ir.PointerType(byte, SHARED))
            # The thread number is below 1024: an unsigned 32-bit product cannot wrap.
            thread = builder.zext(
                builder.mul(builder.trunc(args[0], ir.IntType(32)), ir.IntType(32)(stride)),
                ir.IntType(64),
            )
            return builder.gep(start, [thread], inbounds=True)

        return Base(SHARED)(types.int64), lower

    return Intrinsic(base)


def global_base(n_bytes: int):
    """Return ``base(memory, thread)``: where the memory of a thread's warp begins, and its lane.

    `memory` holds so many bytes for each thread, of a whole number of warps; a warp's lies in one
    piece, elements of its threads side by side.
    """

    def base(typingctx, memory, thread):
        place = types.Tuple((Base(GLOBAL), types.int64))

        def lower(context, builder, signature, args):
            word, byte = ir.IntType(64), ir.IntType(8)
            data = arrayobj.make_array(memory)(context, builder, args[0]).data
            start = builder.addrspacecast(data, ir.PointerType(byte, GLOBAL))
            lane = builder.and_(args[1], word(WARP - 1))
            first = builder.mul(builder.sub(args[1], lane), word(n_bytes))
            warp = builder.gep(start, [first], inbounds=True)
            return context.make_tuple(builder, place, [warp, lane])

        return place(memory, types.int64), lower

    return extending.intrinsic(base)
