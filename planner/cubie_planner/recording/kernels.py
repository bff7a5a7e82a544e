"""Lifetimes of a kernel's shared arrays, from running it."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from cubie_planner.basics import is_integer
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.problem import Problem
from cubie_planner.declarations.timeline import PhaseInterval
from cubie_planner.recording.arrays import Log
from cubie_planner.recording.block import Block, RecordingError
from cubie_planner.recording.code_lines import Origin, origins
from cubie_planner.recording.liveness import Life, intervals, life_of


@frozen
class Recorded:
    """What a kernel did to its shared arrays.

    Attributes
    ----------
    buffers : tuple of Buffer
        One for each array, with its lifetime in phases.
    phases : tuple of (str, str)
        Where each phase begins and ends: file and line of a barrier, or the start and the end.
    lives : tuple of Life
        Of each buffer: when it is in use, and by which lines of code.
    logs : mapping of str to Log
        All that happened to each of them.
    """

    buffers: tuple[Buffer, ...]
    phases: tuple[tuple[str, str], ...]
    lives: tuple[Life, ...] = field(repr=False)
    logs: Mapping[str, Log] = field(repr=False, eq=False)

    def problem(self, limits: Limits | None = None) -> Problem:
        """Return the question of where these arrays lie, for `plan`."""
        return Problem(self.buffers, limits or Limits())

    def point(self, number: int) -> PhaseInterval:
        """Return the interval of a phase, as `Allocators.begin` takes it.

        Raises
        ------
        RecordingError
            When no such phase was reached.
        """
        if not is_integer(number) or not 0 <= number < len(self.phases):
            raise RecordingError(
                f"there is no phase {number!r}: {len(self.phases)} were reached, counted from 0"
            )
        return PhaseInterval(int(number), int(number) + 1)

    def origins(self, points: Collection[int] | None = None) -> Mapping[str, Origin]:
        """Return the lines that write and read what lives in some phases; see `origins`."""
        return origins(self.logs, points)

    def __str__(self) -> str:
        lines = [f"phase {k}: {first} to {last}" for k, (first, last) in enumerate(self.phases)]
        for buffer, life in zip(self.buffers, self.lives, strict=True):
            spans = ", ".join(f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in
                              buffer.lifetime or ())  # fmt: skip
            first, last = life.first, life.last
            if first is None or last is None:
                continue
            read = last.read_at or last.written_at
            lines.append(
                f"{buffer.name}: {buffer.size_bytes} B, phases {spans}; written first at "
                f"{first.written_at}, used last at {read}"
            )
        return "\n".join(lines)


def record(
    kernel: Callable,
    *arguments: Any,
    grid: int | Sequence[int] = 1,
    block: int | Sequence[int] = 1,
    locations: str | Iterable[str] = "tile",
) -> Recorded:
    """Run a kernel in the interpreter and return the lifetimes of its shared arrays.

    The kernel is one of Numba CUDA, compiled or not, or any Python function that uses what it
    finds under the name `cuda` in the same way; neither Numba nor a GPU is needed. Its barriers
    divide it into phases. What a thread writes is alive until the last thread has read it, through
    all phases on the way: around a loop, too. One run shows one path: a kernel whose barriers
    or accesses depend on its data is recorded with data that goes all ways. Threads take turns, in
    order; whether they race within a phase is not looked at.

    Parameters
    ----------
    kernel : callable
    *arguments
        Those of the kernel; arrays are NumPy's, and are written to.
    grid, block : int or sequence of int
        As of a launch. A few blocks show what all of them do.
    locations : str or iterable of str
        Where the arrays may lie, see `Buffer`; by default in a block's shared memory.

    Raises
    ------
    RecordingError
        If something is read before it is written, if threads of a block wait at different
        barriers, or if the kernel uses what is not recorded.
    """
    dims = [(number,) if isinstance(number, int) else tuple(number) for number in (grid, block)]
    threads = Block(*dims)
    threads.run(_with(kernel, threads, {}), arguments)
    for log in threads.logs.values():
        for read in log.unwritten.values():
            raise RecordingError(
                f"element {read.element} of `{log.name}` is read at {read.read_at} before anything "
                "is written to it"
            )
    used = {name: life for name, log in threads.logs.items() if (life := life_of(log)).points}
    places = [locations] if isinstance(locations, str) else list(locations)
    buffers = tuple(
        Buffer(
            name, threads.arrays[name].size, threads.arrays[name].dtype,
            lifetime=intervals(life.points), locations=places,
        )
        for name, life in used.items()
    )  # fmt: skip
    logs = {name: threads.logs[name] for name in used}
    return Recorded(buffers, tuple(threads.points), tuple(used.values()), logs)


def _with(function: Any, block: Block, known: dict[Any, Any]) -> Any:
    """Return a function, and all that it calls of its module, with a block under `cuda`."""
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, types.FunctionType):
        return function
    if plain in known:
        return known[plain]
    own = plain.__globals__
    names = {**own, "cuda": block}
    known[plain] = copy = types.FunctionType(
        plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__
    )
    for name in plain.__code__.co_names:
        value = getattr(own.get(name), "py_func", own.get(name))
        if isinstance(value, types.FunctionType) and "cuda" in value.__globals__:
            names[name] = _with(value, block, known)
    return copy
