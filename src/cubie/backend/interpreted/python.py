"""Target ``python``: component code run by the interpreter, one run at a time.

Slow, and strict: every byte that no live buffer owns is overwritten with NaN
whenever a program point is entered, so that a buffer read before it is written,
or after its declared lifetime, shows in the result.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import define, field

from cubie.backend import primitives
from cubie.backend.base import (
    NO_LIMITS,
    Backend,
    Kernel,
    KernelInputs,
    KernelOutputs,
    RegisterLimits,
    RunMemory,
)
from cubie.backend.bundles import Memory
from cubie.backend.interpreted import slices
from cubie.backend.interruption import Interrupted
from cubie.backend.run_memory import own_placement
from cubie.backend.special import SPECIAL
from cubie_planner import Location, Placement

LIBRARIES = frozenset({"numpy", "scipy", "numba"})  # whose functions are called as they are
FAULT = 2.0  # what a call that failed writes behind the parameters
POISON = 0xFF  # a float of these bytes is NaN, a signed integer is -1


@define
class Space:
    """One memory space of one run: its bytes, and the run's own local arrays."""

    contents: np.ndarray
    local_arrays: dict[str, np.ndarray] = field(factory=dict)

    @classmethod
    def poisoned(cls, size_bytes: int) -> Space:
        return cls(np.full(size_bytes, POISON, dtype=np.uint8))


class InterpretedMath(types.ModuleType):
    """`math` with NumPy's behaviour: out-of-domain arguments give NaN, not an exception."""

    _RENAMED: ClassVar = {
        "asin": "arcsin",
        "acos": "arccos",
        "atan": "arctan",
        "atan2": "arctan2",
        "asinh": "arcsinh",
        "acosh": "arccosh",
        "atanh": "arctanh",
        "pow": "power",
    }

    def __getattr__(self, name):
        function = SPECIAL.get(name) or getattr(np, self._RENAMED.get(name, name), None)
        if function is None:
            function = getattr(math, name)
        return function


SAFE_MATH = InterpretedMath("math")


class PythonBackend(Backend):
    """Run component code as it is written."""

    name = "python"
    watches_phases = True

    def identity(self, system) -> tuple[int, ...]:
        # The function itself is called, and another one of equal content may change later.
        if system.kind != "compiled":
            return ()
        return (id(system.function), *map(id, system.constants))

    def device(self, function: Callable, inline: bool = True) -> Callable:
        uses_math = function.__globals__.get("math") is math
        return renamed(function, {"math": SAFE_MATH}) if uses_math else function

    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        # Chosen constants become numbers of the run: Python's own would raise when divided by.
        dtype = self.dtype.type
        chosen = {
            choice.__name__: lambda *operands, choice=choice: dtype(choice(*operands))
            for choice in (primitives.select, primitives.minimum, primitives.maximum)
        }
        # Those of its module it may call, and they calculate as it does.
        own = function.__globals__
        made = renamed(function, {**chosen, "math": SAFE_MATH})
        names = made.__globals__
        for name, other in own.items():
            if isinstance(other, types.FunctionType) and other.__globals__ is own:
                names[name] = types.FunctionType(other.__code__, names, name)
        return made

    def allocator(self, placement: Placement) -> Callable:
        kind, n, dtype = own_placement(placement), placement.n_elements, placement.dtype
        size, name = placement.size_bytes, placement.name
        offset, parent_offset = placement.offset or 0, placement.parent_offset or 0

        def allocate(memory, parent):
            if kind == "empty":
                return np.empty(0, dtype)
            if kind == "view":
                start = parent_offset
                return parent.view(np.uint8)[start : start + size].view(dtype)
            if kind == "local":
                array = np.full(size, POISON, dtype=np.uint8).view(dtype)
                memory.shared.local_arrays[name] = array
                return array
            space = memory.shared
            if kind in ("persistent", "global"):
                space = memory.persistent if kind == "persistent" else memory.global_memory
            return space.contents[offset : offset + n * dtype.itemsize].view(dtype)

        return allocate

    def weighted_sum(self, terms: Sequence[tuple[int, float]]) -> Callable:
        weights = [(offset, self.constant(weight)) for offset, weight in terms]
        zero = self.constant(0.0)

        def total(buffer, i):
            result = None
            for offset, weight in weights:
                value = buffer[i + offset]
                if weight != 1.0:
                    value = value * weight
                result = value if result is None else result + value
            return zero if result is None else result

        return total

    def table(self, values: np.ndarray) -> Callable:
        kept = list(values) if values.dtype.kind == "f" else values.tolist()

        def table(i):
            return kept[i]

        return table

    def first_runs(self) -> Callable:
        return slices.the_run if self.sliced else _the_run

    def more_runs(self) -> Callable:
        return _no_more

    def keep_going(self, together: bool = False) -> Callable:
        return slices.while_there_is_time if self.sliced else _while_active

    def spent(self) -> Callable:
        return slices.spent if self.sliced else super().spent()

    def foreign_rhs(self, system, fault_slot: int | None = None) -> Callable:
        interpreted = attrs.evolve(system, function=_interpreted(system.function, {}))
        call, n = interpreted.rhs, system.n_outputs
        slot = system.n_parameters if fault_slot is None else fault_slot

        def rhs(t, y, p, dy, at):
            try:
                call(t, y, p, dy, at)
            except Exception:
                # For this run only, as in compiled code; it ends with a status that says so.
                dy[at : at + n] = math.nan
                if len(p) > slot:
                    p[slot] = FAULT

        return rhs

    def keep(self) -> Callable:
        return np.array

    def phase(self, points: Sequence[int], placements: Mapping[str, Placement]) -> Callable:
        dead_shared = _dead_bytes(placements, Location.SHARED, points)
        dead_persistent = _dead_bytes(placements, Location.LOCAL_PERSISTENT, points)
        dead_global = _dead_bytes(placements, Location.GLOBAL, points)
        dead_arrays = [
            name
            for name, placement in placements.items()
            if own_placement(placement) == "local" and not _family_alive(placements, name, points)
        ]

        def enter(memory):
            shared, persistent, in_global = memory
            shared.contents[dead_shared] = POISON
            persistent.contents[dead_persistent] = POISON
            in_global.contents[dead_global] = POISON
            for name in dead_arrays:
                array = shared.local_arrays.get(name)
                if array is not None:
                    array.view(np.uint8)[:] = POISON

        return enter

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> Kernel:
        return PythonKernel(make_loop(), memory)


def renamed(function: Callable, names: Mapping[str, Any]) -> Callable:
    """Return a function as it is written, in which some names of its module are others."""
    return types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def _interpreted(value, known):
    """Return a function that calls no code that numba compiled, which checks no indices."""
    value = getattr(value, "py_func", value)
    if not isinstance(value, types.FunctionType):
        return value
    root = (value.__module__ or "").partition(".")[0]
    if root in LIBRARIES or (root in sys.stdlib_module_names and root != "__main__"):
        return value
    if value in known:
        return known[value]
    surroundings = dict(value.__globals__)
    cells = tuple(types.CellType() for _ in value.__code__.co_freevars)
    known[value] = copy = types.FunctionType(
        value.__code__, surroundings, value.__name__, value.__defaults__, cells
    )
    copy.__kwdefaults__ = value.__kwdefaults__
    for name in value.__code__.co_names:
        if callable(surroundings.get(name)):
            surroundings[name] = _interpreted(surroundings[name], known)
    for cell, original in zip(cells, value.__closure__ or (), strict=True):
        cell.cell_contents = _interpreted(original.cell_contents, known)
    return copy


def _the_run(queue):
    return queue


def _no_more(queue, free, run, n_runs):
    return n_runs


def _while_active(queue, active, beyond):
    return bool(active)


def _alive(placement: Placement, points: Sequence[int]) -> bool:
    if placement.lifetime is None:
        return True
    return any(start <= point < end for start, end in placement.lifetime for point in points)


def _family_alive(placements: Mapping[str, Placement], name: str, points: Sequence[int]) -> bool:
    """Tell whether a local array, or any view inside it, is alive at any of the points."""
    return _alive(placements[name], points) or any(
        _family_alive(placements, child, points)
        for child, placement in placements.items()
        if placement.parent == name and own_placement(placement) == "view"
    )


def _dead_bytes(
    placements: Mapping[str, Placement], location: Location, points: Sequence[int]
) -> np.ndarray:
    """Return the byte numbers of a space that no buffer owns at any of the points."""
    placed = [
        p for p in placements.values() if p.location is location and own_placement(p) != "empty"
    ]
    ends = [p.end for p in placed if p.end is not None]
    dead = np.ones(max(ends, default=0), dtype=bool)
    for placement in placed:
        if _alive(placement, points):
            dead[placement.offset : placement.end] = False
    return np.flatnonzero(dead)


class PythonKernel(Kernel):
    """A plain loop over runs."""

    compiled_from_cache = False

    def __init__(self, loop: Callable, memory: RunMemory):
        self._loop = loop
        self._memory = memory

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        with np.errstate(all="ignore"):
            n_written = 0
            try:
                for run in range(n_runs):
                    shared = Space.poisoned(self._memory.shared_stride)
                    persistent = Space.poisoned(self._memory.persistent_bytes)
                    in_global = Space.poisoned(self._memory.global_bytes)
                    memory = Memory(shared, persistent, in_global)
                    self._loop(memory, run, n_runs, inputs, outputs)
                    n_written = run + 1
            except KeyboardInterrupt as error:
                raise Interrupted(error, n_written) from error
