"""The threads of one block, run by the interpreter one at a time from barrier to barrier."""

from __future__ import annotations

import dis
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cubie_planner.basics import PlannerError
from cubie_planner.recording.arrays import POISON, Log, Place, RecordedArray
from cubie_planner.recording.course import Course


class RecordingError(PlannerError, RuntimeError):
    """A kernel cannot be recorded, or uses its arrays in a way that no plan can serve."""


class Dim3:
    """Numbers along x, y and z."""

    def __init__(self, numbers: Sequence[int]):
        self.x, self.y, self.z = (*numbers, 1, 1, 1)[:3] if numbers else (1, 1, 1)


class Block:
    """What a kernel finds under the name `cuda`: its threads take turns, in order.

    Every barrier ends a phase. A phase is named by the barriers before and behind it, so that the
    rounds of a loop are the same phases again, and what follows the loop is another one.

    Attributes
    ----------
    logs : dict of str to Log
        One for each array in shared memory, by the name of the variable.
    points : list of (str, str)
        Where phases begin and end, in the order in which they were first reached.
    """

    def __init__(self, grid: tuple[int, ...], block: tuple[int, ...]):
        self.course = Course()
        self.logs: dict[str, Log] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.points: list[tuple[str, str]] = []
        self.gridDim, self.blockDim = Dim3(grid), Dim3(block)
        self.shared = types.SimpleNamespace(array=self._shared_array)
        self.local = types.SimpleNamespace(array=_local_array)
        self.atomic = types.SimpleNamespace(add=_atomic_add, max=_atomic_max, min=_atomic_min)
        self._own, self._visits = threading.local(), 0
        self._dims = tuple(block) + (1,) * (3 - len(block))
        self._grid = tuple(grid) + (1,) * (3 - len(grid))

    def __getattr__(self, name: str) -> Any:
        raise RecordingError(
            f"`cuda.{name}` is not recorded; known are threadIdx, blockIdx, blockDim, gridDim, "
            "grid, gridsize, syncthreads, syncwarp, shared.array, local.array and atomic add, max "
            "and min"
        )

    @property
    def threadIdx(self) -> Dim3:  # numba's name
        return self._own.thread

    @property
    def blockIdx(self) -> Dim3:  # numba's name
        return self._own.block

    def grid(self, n: int) -> Any:
        """Return the number of the thread in the grid, along `n` axes."""
        own = self._own
        found = [getattr(own.block, a) * getattr(self.blockDim, a) + getattr(own.thread, a)
                 for a in "xyz"[:n]]  # fmt: skip
        return found[0] if n == 1 else tuple(found)

    def gridsize(self, n: int) -> Any:
        found = [getattr(self.gridDim, a) * getattr(self.blockDim, a) for a in "xyz"[:n]]
        return found[0] if n == 1 else tuple(found)

    def syncwarp(self, mask: int = 0) -> None:
        """Threads of a warp keep no phases of their own."""

    def syncthreads(self) -> None:
        """End the phase: the other threads come here as well before anybody goes on."""
        self._own.turn.wait_at(_line_of(sys._getframe(1)))

    def _shared_array(self, shape: Any, dtype: Any) -> RecordedArray:
        caller = sys._getframe(1)
        name = _assigned(caller)
        if name not in self.arrays:
            kind = np.dtype(getattr(dtype, "name", dtype))
            size = int(np.prod(shape))
            raw = np.full(size * kind.itemsize, POISON, np.uint8)
            self.arrays[name] = raw.view(kind).reshape(shape)
            self.logs.setdefault(name, Log(name, size, self.course))
        return RecordedArray(self.logs[name], self.arrays[name])

    def run(self, kernel: Callable, arguments: Sequence[Any]) -> None:
        """Run all threads of all blocks."""
        for at in np.ndindex(*self._grid):
            for log in self.logs.values():
                log.forget()
            self.arrays = {}
            self._run_block(kernel, arguments, at)

    def _run_block(self, kernel: Callable, arguments: Sequence[Any], at: tuple[int, ...]) -> None:
        turns, before = [], "the start"
        self._begin()
        # Of numbers in x, y, z the first runs fastest.
        for z, y, x in np.ndindex(*reversed(self._dims)):
            turns.append(_Turn(self._body(kernel, arguments, at, (x, y, z))))
        while turns:
            reached = set()
            for turn in list(turns):
                if turn.go_on():
                    reached.add(turn.reached)
                else:
                    turns.remove(turn)
            if len(reached) > 1:
                where = " and ".join(sorted(reached))
                raise RecordingError(f"threads of one block wait at {where}")
            behind = next(iter(reached), "the end")
            self._end(before, behind)
            if reached:
                before = behind
                self._begin()

    def _body(self, kernel: Callable, arguments: Sequence[Any], at: Any, thread: Any) -> Callable:
        def body(turn: _Turn) -> None:
            own = self._own
            own.turn, own.thread, own.block = turn, Dim3(thread), Dim3(at)
            kernel(*arguments)

        return body

    def _begin(self) -> None:
        self._visits += 1
        self.course.enter(-self._visits)

    def _end(self, before: str, behind: str) -> None:
        phase = before, behind
        if phase not in self.points:
            self.points.append(phase)
        self.course.is_at(self.points.index(phase))


class _Turn:
    """A thread that runs when it is told to, until its next barrier."""

    def __init__(self, body: Callable):
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.reached = ""
        self._error: BaseException | None = None
        self._over = False

        def run() -> None:
            self._go.acquire()
            try:
                body(self)
            except BaseException as error:
                self._error = error
            self._over = True
            self._done.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def go_on(self) -> bool:
        """Run to the next barrier; tell whether there was one."""
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return not self._over

    def wait_at(self, place: str) -> None:
        """Let the others run until all are there."""
        self.reached = place
        self._done.release()
        self._go.acquire()


def _line_of(frame: Any) -> str:
    return str(Place(frame.f_code.co_filename, frame.f_lineno))


def _assigned(frame: Any) -> str:
    """Return the variable that a call's result is assigned to; its line where there is none."""
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset > frame.f_lasti and instruction.opname != "CACHE":
            stores = instruction.opname in ("STORE_FAST", "STORE_DEREF", "STORE_NAME")
            return instruction.argval if stores else f"array in line {frame.f_lineno}"
    return f"array in line {frame.f_lineno}"


def _local_array(shape: Any, dtype: Any) -> np.ndarray:
    kind = np.dtype(getattr(dtype, "name", dtype))
    return np.full(int(np.prod(shape)) * kind.itemsize, POISON, np.uint8).view(kind).reshape(shape)


def _atomic_add(array: Any, index: Any, value: Any) -> Any:
    before = array[index]
    array[index] = before + value
    return before


def _atomic_max(array: Any, index: Any, value: Any) -> Any:
    before = array[index]
    array[index] = max(before, value)
    return before


def _atomic_min(array: Any, index: Any, value: Any) -> Any:
    before = array[index]
    array[index] = min(before, value)
    return before
