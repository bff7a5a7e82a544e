"""Ordinary functions on the ``cpu`` target, with numba's runtime for the arrays they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import callconv, cgutils, registry
from numba.core.errors import UnsupportedError
from numba.extending import intrinsic
from numba.np import arrayobj

from cubie.backend.foreign import ForeignTarget

BYTE_POINTER = ir.IntType(8).as_pointer()
NUMBA_ENVIRONMENT = "08NumbaEnv"  # in the mangled name of a function's environment


WHOLE_NUMBERS_RAISE = "cubie: whole numbers raise"


class _WholeNumbersRaise(callconv.NumpyErrorModel):
    """Floats divided by zero are what NumPy makes of them; whole numbers raise, as Python's do.

    Numba's model of NumPy makes zeros of these, in silence; its model of Python raises for floats
    too, which states are: SciPy's are NumPy's and do not.
    """

    def fp_zero_division(self, builder, exc_args=None, loc=None):
        if not exc_args or not exc_args[0].startswith("integer"):
            return False
        self.call_conv.return_user_exc(builder, ZeroDivisionError, exc_args, loc)
        return True


callconv.error_models[WHOLE_NUMBERS_RAISE] = _WholeNumbersRaise


class CPUForeignTarget(ForeignTarget):
    """Ordinary functions through numba's CPU dispatchers, with arrays of their own."""

    name = "cpu"
    arrays = arrayobj
    intrinsic = staticmethod(intrinsic)
    advice = (
        "Write it with what numba supports, or so that it can be traced (a table of values with "
        "np.interp); backend='python' runs it as it is, slowly."
    )

    def __init__(self, fastmath):
        options: dict[str, Any] = {
            "boundscheck": True,
            "error_model": WHOLE_NUMBERS_RAISE,
            "fastmath": fastmath,
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
            "_nrt": True,
        }
        self._jit = njit(**options)

    def jit(self, function: Callable) -> Any:
        return self._jit(function)

    def compile(self, dispatcher: Any, arguments: tuple) -> Any:
        dispatcher.compile(arguments)
        result = dispatcher.overloads[arguments]
        if _uses_python_objects(result.library):
            raise UnsupportedError("it needs Python objects while it runs (print, numba.objmode)")
        return result

    def knows(self, function: Callable) -> bool:
        typing_context: Any = registry.cpu_target.typing_context
        typing_context.refresh()
        try:
            typing_context.resolve_value_type(function)
        except ValueError:
            return False
        return True

    def discard_exception(self, context, builder, status) -> None:
        """Free the arguments of an exception that were computed when it was raised."""
        # Not `context.nrt.free`: the caller, component code, is compiled without the runtime.
        signature = ir.FunctionType(ir.VoidType(), [BYTE_POINTER])
        free = cgutils.get_or_insert_function(builder.module, signature, "NRT_Free")
        with builder.if_then(status.is_user_exc):
            info = builder.load(status.excinfoptr)
            on_heap = builder.extract_value(info, callconv.ALLOC_FLAG_IDX)
            with builder.if_then(builder.icmp_signed(">", on_heap, on_heap.type(0))):
                builder.call(free, [builder.extract_value(info, callconv.HASH_BUF_IDX)])
                builder.call(free, [builder.bitcast(status.excinfoptr, BYTE_POINTER)])


# Never called here: they make a raised exception, or the arguments of a call, for Python.
_FOR_PYTHON = re.compile(r"__excinfo_unwrap_args|_ZN7cpython|cfunc\.|\.wrapper")


def _uses_python_objects(library) -> bool:
    """Tell whether compiled code takes Python objects from a function's environment.

    Those exist only where numba's dispatcher loads the code.
    """
    return any(
        NUMBA_ENVIRONMENT in str(function)
        for function in library._final_module.functions
        if not function.is_declaration and not _FOR_PYTHON.match(function.name)
    )
