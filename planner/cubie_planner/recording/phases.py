"""What executions did to the buffers of a tree of components: every access, phase by phase.

Each buffer has bytes of its own, whatever the plan. A component's functions are followed
from call to return: behind it the caller goes on at the end of its own phase.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from cubie_planner.basics import PlannerError
from cubie_planner.declarations.timeline import Timeline
from cubie_planner.recording.arrays import POISON, Log, RecordedArray
from cubie_planner.recording.code_lines import Origin, origins
from cubie_planner.recording.course import Course


class OutOfPhase(PlannerError, RuntimeError):
    """A component ran during a phase of its caller that was not declared for it."""

    def __init__(self, component: str, phase: str, during: str):
        super().__init__(
            f"`{component}` enters its phase {phase!r} during {during}, where no call of it is "
            "declared: its call has to name that phase."
        )
        self.component, self.phase, self.during = component, phase, during


class Recording:
    """What one or several executions did to the buffers of a tree of components.

    Parameters
    ----------
    timeline : Timeline
        Of the components, with their buffers.
    helpers : iterable of str
        Files that access arrays for others: the lines that call them are meant.

    Attributes
    ----------
    course : Course
        Its program points are those of the timeline, by number.
    logs : dict of str to Log
        One for each buffer.
    """

    def __init__(self, timeline: Timeline, helpers: Iterable[str] = ()):
        self.timeline, self.course = timeline, Course()
        # Lines of helpers are those of whoever called them.
        self._skipped = {__file__, *helpers}
        self.buffers = {buffer.name: buffer for buffer in timeline.buffers}
        self.logs = {
            name: Log(name, buffer.n_elements if buffer.enabled else 0, self.course, self._skipped)
            for name, buffer in self.buffers.items()
        }
        self._frames = itertools.count()
        self._arrays: dict[str, np.ndarray] = {}
        self._now: tuple[int, int] | None = None  # the phase that runs, as a range of points
        self._caller: tuple[int, int] | None = None

    def skip(self, file: str) -> None:
        """Have the lines that call a file's functions meant from now on, as of helpers."""
        self._skipped.add(file)

    def origins(self, points: Collection[int] | None = None) -> Mapping[str, Origin]:
        """Return the lines that write and read what lives at program points; see `origins`."""
        return origins(self.logs, points)

    def array(self, name: str) -> RecordedArray:
        """Return a buffer, as a function allocates it: its contents are those of the run."""
        buffer = self.buffers[name]
        if name not in self._arrays:
            raw = np.full(buffer.size_bytes, POISON, np.uint8)
            self._arrays[name] = raw.view(buffer.dtype)
        return RecordedArray(self.logs[name], self._arrays[name], next(self._frames))

    def begin_run(self) -> None:
        """Begin an execution: nothing is written yet."""
        for log in self.logs.values():
            log.forget()
        self._arrays = {}
        self._now = self._caller = None

    def enter(self, starts: Sequence[int]) -> None:
        """Enter a phase that begins at one of some program points."""
        path, _, phase = self.timeline.points[starts[0]].partition(":")
        now = self._within(self.timeline.intervals(path, phase))
        if now is None:
            raise OutOfPhase(path, phase, f"`{self.timeline.points[self._now[0]]}`")  # type: ignore[index]
        self._now = now
        self.course.enter(now[0])

    def _within(self, intervals: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """Return the one that lies in the phase that runs, or in that of the caller.

        Where nobody calls it is the first.
        """
        for bound in (self._now, self._caller):
            if bound is not None:
                found = [i for i in intervals if bound[0] <= i[0] and i[1] <= bound[1]]
                if found:
                    return found[0]
        return intervals[0] if self._caller is None else None

    def followed(self, path: str, phases: Sequence[str], function: Callable) -> Callable:
        """Return a function of a component, followed from its call to its return."""
        timeline = self.timeline

        @functools.wraps(function)
        def follow(*arguments):
            before, caller = self._now, self._caller
            self._caller = before
            if len(phases) == 1:  # it need not say which one it enters
                inside = self._within(timeline.intervals(path, phases[0]))
                if inside is None:
                    raise OutOfPhase(path, phases[0], f"`{timeline.points[before[0]]}`")  # type: ignore[index]
                self._now = inside
                self.course.enter(inside[0])
            result = function(*arguments)
            if before is not None and self._now != before:
                self.course.enter(before[1] - 1)
            self._now, self._caller = before, caller
            return result

        return follow
