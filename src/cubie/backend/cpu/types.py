"""The lane types taught to numba."""

from __future__ import annotations

import functools
import math
import operator

from llvmlite import ir
from numba.core import cgutils, typing
from numba.core.datamodel import register_default
from numba.core.typing import templates

from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes import operations as lane_ops
from cubie.backend.lanes import vector_math
from cubie.backend.lanes.types import Lanes, lane_type
from cubie.backend.lanes.typing import Registrar

# Single vector instructions, exact on every processor.
_HARDWARE = frozenset({"sqrt", "fabs", "floor", "ceil", "trunc", "copysign"})

# The other one where one of two is NaN; a single instruction where one is a constant.
_EXTREMA = {"fmin": "llvm.minnum", "fmax": "llvm.maxnum"}


def _math_call(context, builder, name, lanes: Lanes, arguments):
    """Call a math function on lanes: a vector library where there is one, else per lane."""
    if name in _HARDWARE:
        return codegen.call_llvm_intrinsic(builder, f"llvm.{name}", lanes, arguments)
    if name in _EXTREMA:
        return codegen.call_llvm_intrinsic(builder, _EXTREMA[name], lanes, arguments)
    if name in codegen.RELAXED:
        return codegen.RELAXED[name](builder, lanes, *arguments)
    if name == "fmod":
        return codegen.fmod(builder, lanes, *arguments)
    vectorised = vector_math.call(builder, name, lanes, arguments)
    if vectorised is not None:
        return vectorised
    scalar_function = _scalar_function(context, name, lanes.dtype, len(arguments))

    def scalar_of(lane):
        scalars = [codegen.lane_of(builder, a, lanes.width, lane) for a in arguments]
        return scalar_function(builder, scalars)

    return codegen.for_each_lane(builder, lanes.width, lane_type(lanes.dtype, 1), scalar_of)


def _scalar_function(context, name, dtype, n_arguments):
    """Return ``call(builder, scalars)`` of a function on plain numbers."""
    if name == "gamma":
        # numba's own is in its runtime, which kernels from disk would have to start.
        return functools.partial(_c_library_call, "tgamma" + ("f" if dtype.bitwidth == 32 else ""))
    function = operator.pow if name == "pow" else getattr(math, name)
    return context.get_function(function, typing.signature(dtype, *[dtype] * n_arguments))


def _c_library_call(symbol, builder, scalars):
    scalar = scalars[0].type
    function_type = ir.FunctionType(scalar, [scalar] * len(scalars))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, function_type, symbol), scalars
    )


def register_types(declarations, implementations) -> None:
    """Put what operations on lanes mean into registries of numba's.

    They are read by the contexts of this target alone. What extensions put into those that
    numba shares, ``numba.extending.lower_builtin`` and its kin, numba-cuda adopts as
    implementations of its own whenever it looks for news: lanes in CUDA kernels would
    be lowered as if for the CPU.
    """
    lane_ops.register(
        Registrar(
            target="cpu",
            abstract_template=templates.AbstractTemplate,
            signature=typing.signature,
            infer_global=declarations.register_global,
            lower=implementations.lower,
            lower_cast=implementations.lower_cast,
            register_model=register_default,
            math_call=_math_call,
            is_finite=codegen.is_finite,
        )
    )
