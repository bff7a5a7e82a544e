"""Whether a function that is compiled as it stands computes what Python does.

It need not: Python's ints have no bounds, those of compiled code wrap at 64 bits; `hash` and
others give other values. It is asked at a few points, once, when a kernel with it is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from numba import njit

from cubie.backend.cpu.foreign import CPUForeignTarget
from cubie.backend.foreign import Conversion
from cubie.errors import CubieError

# Functions may calculate in single precision, partly, and compilers round sums otherwise.
RELATIVE_TOLERANCE = 1e-5
MOST_SHOWN = 4  # numbers of a point, in a message

# Which of them it was is not known: they are named as what to look for.
DIFFERENCES = (
    "ints, which have 64 bits and wrap beyond",
    "single precision and small ints of NumPy, which are calculated with in a wider type where "
    "NumPy rounds or wraps each result",
    "sums of truth values, which NumPy keeps true or false",
    "`hash`, whose values are others",
)


class CompiledDiffers(CubieError, ArithmeticError):
    """A function that is compiled as it stands gives other numbers than in Python.

    Attributes
    ----------
    function : str
        Its name.
    state : int
        Which of the numbers that it computes.
    t : float
    y, parameters : tuple of float
        Where it was asked.
    compiled, expected : float
        That number there, compiled and as Python computes it.
    """

    def __init__(
        self,
        function: str,
        state: int,
        output: str,
        at: tuple[float, np.ndarray, np.ndarray],
        compiled: float,
        expected: float,
    ):
        t, y, parameters = at
        with_parameters = f" and parameters {_some(parameters)}" if len(parameters) else ""
        super().__init__(
            f"`{function}` cannot be traced, and compiled as it stands it differs from what Python "
            f"computes: in double precision, at t={t:g}, y={_some(y)}{with_parameters}, "
            f"{output} is {compiled:.9g} compiled and {expected:.9g} in Python. "
            f"What often is another there: {'; '.join(DIFFERENCES)}. Calculate with Python's "
            "floats, or write it so that it can be traced; backend='python' runs it as it is, "
            "slowly."
        )
        self.function, self.state, self.t = function, state, float(t)
        self.y, self.parameters = tuple(map(float, y)), tuple(map(float, parameters))
        self.compiled, self.expected = compiled, expected


def _some(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:MOST_SHOWN])
    return f"[{shown}{', ...' if len(values) > MOST_SHOWN else ''}]"


class _CallableTarget(CPUForeignTarget):
    """The CPU's compiler, of functions that Python can call."""

    def __init__(self):
        self._jit = njit(boundscheck=True, error_model="numpy")


def check_compiled(system: Any) -> None:
    """Compare a "compiled" `System` with its function, at the points that it was tried at.

    Raises
    ------
    CompiledDiffers
    """
    convert_value = Conversion(_CallableTarget()).value
    constants = tuple(map(convert_value, system.constants))
    ready = attrs.evolve(system, constants=constants)
    compiled = ready.adapt(convert_value(system.function), np.array, np.array)
    for t, y, p in system.samples:
        try:
            expected = _outputs(system.rhs, system, t, y, p)
        except Exception:
            continue
        try:
            found = _outputs(compiled, system, t, y, p)
        except Exception as error:
            if not isinstance(error, ArithmeticError | ValueError | IndexError):
                return  # numba cannot compile it: who compiles the kernel says why
            found = np.full(system.n_outputs, np.nan)
        with np.errstate(all="ignore"):
            near = np.abs(found - expected) <= RELATIVE_TOLERANCE * (
                np.abs(found) + np.abs(expected)
            )
        agree = near | (~np.isfinite(found) & ~np.isfinite(expected))
        if not agree.all():
            i = int(np.argmin(agree))
            name, output = system.function.__name__, system.output.format(i)
            numbers = float(found[i]), float(expected[i])
            raise CompiledDiffers(name, i, output, (t, y, p), *numbers)


def _outputs(rhs: Callable, system: Any, t: float, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    out = np.zeros(system.n_outputs)
    with np.errstate(all="ignore"):
        rhs(t, y.copy(), p.copy(), out, 0)
    return out
