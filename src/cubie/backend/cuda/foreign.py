"""Ordinary functions on the ``cuda`` target: without memory of their own, so tuples only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from numba import cuda
from numba.cuda.descriptor import cuda_target
from numba.cuda.extending import intrinsic
from numba.cuda.np import arrayobj
from numba.cuda.target import CUDATargetContext

from cubie.backend.foreign import ForeignTarget


@contextmanager
def _checked_bounds():
    """Let numba-cuda check indices in what it compiles.

    It has all the code for that, and no option to turn it on.
    """
    original = CUDATargetContext.enable_boundscheck
    CUDATargetContext.enable_boundscheck = property(lambda context: True)
    try:
        yield
    finally:
        CUDATargetContext.enable_boundscheck = original


class CUDAForeignTarget(ForeignTarget):
    """Ordinary functions through numba-cuda's dispatchers."""

    name = "cuda"
    arrays = arrayobj
    intrinsic = staticmethod(intrinsic)
    advice = (
        "On a GPU a function cannot make arrays or lists: let it return a tuple of numbers, "
        "and loop over elements. Or use backend='cpu'."
    )

    def __init__(self, fastmath: bool):
        self._fastmath = fastmath

    def jit(self, function: Callable) -> Any:
        return cuda.jit(device=True, fastmath=self._fastmath)(function)

    def compile(self, dispatcher: Any, arguments: tuple) -> Any:
        with _checked_bounds():
            return dispatcher.compile_device(arguments)

    def knows(self, function: Callable) -> bool:
        typing_context = cuda_target.typing_context
        typing_context.refresh()
        try:
            typing_context.resolve_value_type(function)
        except ValueError:
            return False
        return True

    def discard_exception(self, context, builder, status) -> None:
        """Do nothing: on a GPU an exception is only a number."""
