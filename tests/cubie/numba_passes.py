"""Device functions as numba-cuda's own passes compile them: what the front end is compared with."""

import types as python

from numba import cuda
from numba.cuda import extending

from cubie.backend.cuda.loops import count
from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic


class NumbaPasses:
    """Makes numba-cuda's dispatchers and intrinsics of those that kernels are built from."""

    def __init__(self, fastmath: bool):
        self._fastmath = fastmath
        self._made: dict = {}

    def of(self, value):
        """Return what numba-cuda knows in the place of a value."""
        if isinstance(value, DeviceFunction):
            return self._once(value.identity, lambda: self._dispatcher(value.function))
        if isinstance(value, Intrinsic):
            return self._once(value, lambda: extending.intrinsic(value.definition))
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(map(self.of, value))
        return count if value is range else value

    def _once(self, key, make):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _dispatcher(self, function):
        code = function.__code__
        # Under another name: numba refuses a `range` that is not Python's.
        names = tuple("count" if name == "range" else name for name in code.co_names)
        found = {name: self.of(value) for name, value in function.__globals__.items()
                 if name in code.co_names}  # fmt: skip
        if "range" in code.co_names:
            found["count"] = count
        cells = tuple(
            python.CellType(self.of(cell.cell_contents)) for cell in function.__closure__ or ()
        )
        copy = python.FunctionType(
            code.replace(co_names=names),
            {**function.__globals__, **found},
            function.__name__,
            function.__defaults__,
            cells,
        )
        copy.__qualname__ = function.__qualname__
        decorate = cuda.jit(device=True, fastmath=self._fastmath)
        return decorate(copy)
