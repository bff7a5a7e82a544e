"""Lifetimes of buffers as the code of the components has them, beside those that are declared.

Component code has no control flow on data, so that a few recorded solves go through all of it.
`record` has the solves of a kernel recorded; `faults` compares what they did with what is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from attrs import evolve, field, frozen

from cubie.backend import recording_backend
from cubie.buffers import Layout
from cubie.errors import InvalidOption
from cubie.factory import BuildCache
from cubie.launch.kernel import BatchSolverKernel
from cubie_planner import Buffer, Location, Plan, Problem, plan
from cubie_planner.recording import Log, Recording, Value, clash, intervals, witness

AFTER = " (after)"  # a phase, behind what it calls
EFFORT = 0.02  # for what a lifetime costs: hundreds of plans are made


@frozen
class Fault:
    """A declaration and the code that do not agree.

    Attributes
    ----------
    kind : str
        "too short", "too long", "unwritten" (read before anything was written), "lost" (read
        through another array than the one written through, without being persistent) or "clash"
        (an alias whose bytes hold two values at once).
    buffer : str
        Its qualified name.
    text : str
        What to read, with file and line.
    size_bytes : int
        What a lifetime that is too long costs a run, in shared memory; 0 for other kinds.
    """

    kind: str
    buffer: str
    text: str
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"`{self.buffer}`: {self.text}"


@frozen
class Lives:
    """At which program points every buffer of a kernel was in use.

    Attributes
    ----------
    visited : frozenset of int
        Program points that the solves came through.
    points : mapping of str to frozenset of int
        By the name of the buffer.
    """

    recording: Recording = field(repr=False)
    visited: frozenset[int]
    points: Mapping[str, frozenset[int]]


def record(kernel: BatchSolverKernel) -> Recording:
    """Have all later solves of a kernel recorded, and return what records them.

    Raises
    ------
    InvalidOption
        If its target is not one that runs component code as it is written.
    """
    backend = kernel.backend
    if not backend.watches_phases:
        advice = 'Component code is recorded as the interpreter runs it: give backend="python".'
        raise InvalidOption("backend", backend.name, advice=advice)
    layout = kernel.layout
    recorded, recording = recording_backend(backend.dtype, layout.timeline)
    kernel.run_by(recorded, BuildCache())
    return recording


def lives(recording: Recording) -> Lives:
    """Return at which program points the values of each buffer live, for lanes together.

    Beside what one run shows: while some lanes begin and end their runs, others keep what they
    carry from step to step; and those that are done wait for the others.
    """
    timeline, course = recording.timeline, recording.course
    (begin, _), (finish, _) = (timeline.point("loop", name) for name in ("begin", "finish"))
    inside = frozenset(range(begin, finish))
    outside = frozenset(range(len(timeline.points))) - inside
    rounds, ends = (course.arrivals(point, inside) for point in (begin, finish))
    found = {}
    for name, log in recording.logs.items():
        spans = [value.span for value in log.all_values()]
        points = course.lived(spans)
        points |= outside if _crosses(spans, rounds) else frozenset()
        points |= inside if _crosses(spans, ends) else frozenset()
        found[name] = points
    return Lives(recording, course.points, found)


def _crosses(spans: list[tuple[int, int]], times: list[int]) -> bool:
    """Tell whether a value was written before one of some times and read at it or later."""
    before = np.searchsorted(times, np.array(spans).reshape(-1, 2), side="right")
    return bool((before[:, 0] < before[:, 1]).any())


def faults(layout: Layout, recording: Recording, costs: bool = True) -> list[Fault]:
    """Return everything in which the declarations and the recorded code do not agree.

    `costs`: also what lifetimes that are too long cost, for which many plans are made.
    """
    found = lives(recording)
    return [
        *_misuses(layout, recording),
        *_too_short(layout, found),
        *_clashes(layout, recording),
        *(too_long(layout, found) if costs else ()),
    ]


def _misuses(layout: Layout, recording: Recording) -> Iterator[Fault]:
    declared = {buffer.name: buffer for buffer in layout.timeline.buffers}
    for name, log in recording.logs.items():
        for read in {r.read_at: r for r in log.unwritten.values()}.values():
            text = f"element {read.element} is read at {read.read_at} before it is written."
            yield Fault("unwritten", name, text)
        if Location.LOCAL not in declared[name].locations:
            continue
        for lost in {r.read_at: r for r in log.lost.values()}.values():
            text = (
                f"what {lost.value.written_at} wrote is read at {lost.read_at} through an array "
                "of another function; a local one is gone by then. Declare it persistent."
            )
            yield Fault("lost", name, text)


def _alive(buffer: Buffer, points: tuple[str, ...]) -> frozenset[int]:
    """Return the program points at which nobody else gets the bytes of a buffer.

    Beside those of its declared life these are the ends of phases behind it: no life begins there.
    """
    found = set()
    for start, end in buffer.lifetime or ((0, len(points)),):
        while end < len(points) and points[end].endswith(AFTER):
            end += 1
        found.update(range(start, end))
    return frozenset(found)


def _too_short(layout: Layout, found: Lives) -> Iterator[Fault]:
    names, recording = layout.timeline.points, found.recording
    for buffer in layout.timeline.buffers:
        missing = found.points[buffer.name] - _alive(buffer, names)
        if not missing:
            continue
        point = min(missing)
        value = witness(recording.logs[buffer.name], recording.course, point)
        dead = ", ".join(f"`{names[p]}`" for p in sorted(missing))
        how = "a lane that waits for others still has its value" if value is None else _used(value)
        yield Fault("too short", buffer.name, f"{how}; its phases end its life during {dead}.")


def _used(value: Value) -> str:
    if value.read_at is None:
        return f"it is written at {value.written_at}"
    return f"what {value.written_at} writes is read at {value.read_at}"


def _clashes(layout: Layout, recording: Recording) -> Iterator[Fault]:
    logs: dict[str, Log] = recording.logs
    for buffer in layout.timeline.buffers:
        for alias in buffer.aliases:
            if alias.offset is None or not buffer.size_bytes or not logs[alias.parent].n_elements:
                continue
            offset = alias.offset // buffer.itemsize
            clashing = clash(logs[buffer.name], logs[alias.parent], offset)
            if clashing is not None:
                text = (
                    f"inside `{alias.parent}` at byte {alias.offset} "
                    f"{clashing.lost_to.written_at} overwrites what {clashing.kept.read_at} still "
                    f"reads, written at {clashing.kept.written_at}."
                )
                yield Fault("clash", buffer.name, text)


def too_long(layout: Layout, found: Lives) -> Iterator[Fault]:
    """Yield the buffers that are declared alive where they are not, if that costs bytes.

    What it costs is found by planning with everything shared.
    """
    names, visited = layout.timeline.points, {layout.timeline.points[p] for p in found.visited}
    unused = {}
    for buffer in layout.timeline.buffers:
        spans = buffer.lifetime or ((0, len(names)),)
        # In a phase to which nothing came it may be needed by what comes there.
        ends = {names[p].removesuffix(AFTER) for a, b in spans for p in (a, b - 1)}
        declared = frozenset(p for start, end in spans for p in range(start, end))
        gone = (declared - found.points[buffer.name]) & found.visited
        # What is carried from step to step is not read in every run.
        carried = buffer.lifetime is None and buffer.locations.isdisjoint({Location.LOCAL})
        used = found.points[buffer.name] and not carried
        if buffer.size_bytes and gone and used and ends <= visited:
            unused[buffer.name] = gone
    buffers = {buffer.name: buffer for buffer in layout.timeline.buffers}
    shorter = {name: _shortened(buffers[name], gone, len(names)) for name, gone in unused.items()}
    before = _shared_bytes(buffers)
    if _shared_bytes(buffers | shorter) == before:
        return
    for name, gone in unused.items():
        cost = before - _shared_bytes(buffers | {name: shorter[name]})
        if cost > 0:
            where = ", ".join(f"`{names[p]}`" for p in sorted(gone))
            text = f"is not in use during {where}, where it is declared alive: {cost} B of a run."
            yield Fault("too long", name, text, cost)


def _shortened(buffer: Buffer, gone: frozenset[int], n_points: int) -> Buffer:
    """Return a buffer without the life at some points."""
    spans = buffer.lifetime or ((0, n_points),)
    kept = (p for start, end in spans for p in range(start, end) if p not in gone)
    lifetime = intervals(kept)
    if not lifetime:
        return evolve(buffer, enabled=False)
    return evolve(buffer, lifetime=lifetime, persistent=False)


def _shared_bytes(buffers: Mapping[str, Buffer]) -> int:
    free = tuple(evolve(b, pin=None, offset=None) for b in buffers.values())
    found: Plan = plan(Problem(free, policy="shared"), effort=EFFORT)
    return found.shared_bytes_per_run
