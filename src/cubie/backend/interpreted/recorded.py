"""Component code run by the interpreter, with every access to a buffer logged."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from cubie.backend import primitives
from cubie.backend.base import (
    NO_LIMITS,
    Kernel,
    KernelInputs,
    KernelOutputs,
    RegisterLimits,
    RunMemory,
)
from cubie.backend.bundles import Memory
from cubie.backend.interpreted import python
from cubie.backend.interpreted.python import PythonBackend, Space, renamed
from cubie_planner import Placement, Timeline
from cubie_planner.recording import Recording, unused


def _select(mask, if_true, if_false):
    unused(if_false if mask else if_true)
    return if_true if mask else if_false


def _store_run(array, offset, run, mask, value):
    if not mask:
        unused(value)
    primitives.store_run(array, offset, run, mask, value)


_RECORDED = {"select": _select, "store_run": _store_run}


class RecordingBackend(PythonBackend):
    """Run component code as it is written, and log what it does to its buffers."""

    name = "recording"
    watches_phases = True

    def __init__(self, dtype, timeline: Timeline):
        super().__init__(dtype, False)
        self.recording = Recording(timeline, (python.__file__, primitives.__file__))

    def device(self, function: Callable, inline: bool = True) -> Callable:
        function = super().device(function, inline)
        replaced = {name: new for name, new in _RECORDED.items() if name in function.__globals__}
        return renamed(function, replaced) if replaced else function

    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        made = super().straight_line(function, inline, as_written)
        names, chosen = made.__globals__, made.__globals__["select"]
        self.recording.skip(function.__code__.co_filename)  # generated, as all such functions

        def select(mask, if_true, if_false):
            unused(if_false if mask else if_true)
            return chosen(mask, if_true, if_false)

        names["select"] = select
        return made

    def allocator(self, placement: Placement) -> Callable:
        recording, name = self.recording, placement.name

        def allocate(memory, parent):
            return recording.array(name)

        return allocate

    def phase(self, points: Sequence[int], placements: Mapping[str, Placement]) -> Callable:
        recording = self.recording

        def enter(memory):
            recording.enter(points)

        return enter

    def called(self, path: str, phases: Sequence[str], functions: Any) -> Any:
        return self._followed(path, phases, functions)

    def _followed(self, path: str, phases: Sequence[str], found: Any) -> Any:
        """Return functions of a component in what holds them, each followed."""

        def again(value: Any) -> Any:
            return self._followed(path, phases, value)

        if isinstance(found, types.FunctionType):
            return self.recording.followed(path, phases, found)
        if isinstance(found, tuple):
            values = map(again, found)
            return type(found)(*values) if hasattr(found, "_fields") else tuple(values)
        if attrs.has(type(found)):
            values = {a.name: again(getattr(found, a.name)) for a in attrs.fields(type(found))}
            return attrs.evolve(found, **values)
        return found

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> Kernel:
        return RecordingKernel(make_loop(), self.recording)


class RecordingKernel(Kernel):
    """A plain loop over runs, each of which begins with nothing written."""

    compiled_from_cache = False

    def __init__(self, loop: Callable, recording: Recording):
        self._loop, self._recording = loop, recording

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        with np.errstate(all="ignore"):
            for run in range(n_runs):
                self._recording.begin_run()
                memory = Memory(*(Space.poisoned(0) for _ in range(3)))
                self._loop(memory, run, n_runs, inputs, outputs)
