"""What a run holds from one step to the next, kept where a launch ends in the middle of runs.

That is the loop's own buffers that live always, those of any component whose contents survive from
one step to the next, and `Progress`. Everything else is written before it is read in each step:
kept all the same, the stages of a step would take registers until its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from cubie.backend import (
    GOES_ON,
    HEADER,
    UNFINISHED,
    KeptPerRun,
    any_lane,
    in_turn,
    load_run,
    select,
    store_run,
)
from cubie.factory import BuildContext, Layout
from cubie.run.parts import Progress, RunParts
from cubie_planner import Placement

# Of a run's `Progress`: `elapsed` and `carry`; whether it is active, and the others.
N_REALS, N_WHOLE = 2, 4


class Carried(NamedTuple):
    """A buffer that a run carries from step to step, and where its numbers are kept."""

    name: str
    placement: Placement
    in_frame: bool
    first: int  # of its numbers among those of its kind

    @property
    def is_real(self) -> bool:
        return self.placement.dtype.kind == "f"


def carried_of(loop: RunParts, layout: Layout) -> Iterator[Carried]:
    """Yield the buffers that runs of a loop carry from step to step, by a layout of its tree."""
    registry = loop.buffer_registry
    placements = {name.rsplit(".", 1)[1]: one for name, one in layout.plan.placements.items()}
    between = _alive_between_steps(layout)
    n_reals, n_whole = N_REALS, N_WHOLE
    for name, owner in registry.walk():
        buffer, placement = owner.buffers[name], placements[name]
        in_frame = owner is registry and buffer.phases is None and not buffer.persistent
        if not (in_frame or buffer.persistent) or placement.size_bytes == 0:
            continue
        if name not in between:
            continue
        is_real = placement.dtype.kind == "f"
        yield Carried(name, placement, in_frame, n_reals if is_real else n_whole)
        n_reals += placement.n_elements if is_real else 0
        n_whole += 0 if is_real else placement.n_elements


def _alive_between_steps(layout: Layout) -> set[str]:
    """Return the buffers that hold something where a step has ended, and where the next begins."""
    timeline = layout.timeline
    first = timeline.intervals("loop", "begin")[0][0]
    last = timeline.intervals("loop", "commit")[-1][1] - 1
    return {
        buffer.name.rsplit(".", 1)[1]
        for buffer in timeline.buffers
        if buffer.always_alive
        or all(
            any(start <= point < end for start, end in buffer.lifetime or ())
            for point in (first, last)
        )
    }


def kept_per_run(loop: RunParts, layout: Layout) -> KeptPerRun:
    """Return how many numbers are kept of a run between two launches."""
    found = list(carried_of(loop, layout))
    sizes = [
        sum(c.placement.n_elements for c in found if c.is_real is real) for real in (True, False)
    ]
    return KeptPerRun(N_REALS + sizes[0], N_WHOLE + sizes[1])


def build_slices(loop: RunParts, context: BuildContext) -> tuple[Callable, Callable, Callable]:
    """Return what begins a launch, what goes on with runs, and what ends a launch.

    ``begins(queue, launch, fresh, elapsed, carry) -> (fresh, valid, elapsed, carry)``: runs that an
    earlier launch left are not fresh; those that are over, or that there are not, are not valid;
    what the clock leaves a constant becomes lanes, as what is found again is.
    ``resume(memory, queue, launch, lane, progress, fresh) -> progress``: runs that are not fresh
    are where they were; what their lanes hold before does not matter.
    ``pause(memory, queue, launch, lane, progress)``: what is not over is left for the next launch.
    They do nothing where launches end with their runs.
    """
    device = context.backend.device
    if not context.backend.sliced:
        return device(_all_begin), device(_as_they_are), device(_nothing)
    found = list(carried_of(loop, context.layout))
    restore = in_turn(context.backend, [_restoring(context, one) for one in found], 5)
    save = in_turn(context.backend, [_saving(context, one) for one in found], 5)

    def begins(queue, launch, fresh, elapsed, carry):
        run, n = launch.run, launch.n_runs
        elapsed, carry = select(fresh, elapsed, elapsed), select(fresh, carry, carry)
        goes_on = load_run(queue.whole, GOES_ON, 0, run, n) != 0
        is_over = load_run(queue.whole, HEADER, 1, run, n) == 0
        return fresh & ~goes_on, (run < n) & ~(goes_on & is_over), elapsed, carry

    def resume(memory, queue, launch, lane, progress, fresh):
        # Behind what fresh runs begin with: nothing of a run takes registers meanwhile.
        run, n = launch.run, launch.n_runs
        reals, whole, begun = queue.reals, queue.whole, ~fresh
        if any_lane(begun):
            restore(memory, queue, launch, lane, begun)
        return Progress(
            select(begun, load_run(reals, 0, 1, run, n), progress.elapsed),
            select(begun, load_run(reals, n, 1, run, n), progress.carry),
            select(begun, load_run(whole, HEADER + n, 1, run, n), progress.saved),
            select(begun, load_run(whole, HEADER + 2 * n, 1, run, n), progress.status),
            progress.active | begun,
            progress.settled & (fresh | (load_run(whole, HEADER + 3 * n, 1, run, n) != 0)),
        )

    def pause(memory, queue, launch, lane, progress):
        run, n = launch.run, launch.n_runs
        reals, whole, active = queue.reals, queue.whole, progress.active
        there = run < n
        store_run(whole, HEADER, run, there, select(active, 1, 0))
        store_run(whole, UNFINISHED, run * 0, there & active, select(active, 1, 0))
        store_run(reals, 0, run, there & active, progress.elapsed)
        store_run(reals, n, run, there & active, progress.carry)
        store_run(whole, HEADER + n, run, there & active, progress.saved)
        store_run(whole, HEADER + 2 * n, run, there & active, progress.status)
        settled = select(progress.settled, 1, 0)
        store_run(whole, HEADER + 3 * n, run, there & active, settled)
        save(memory, queue, launch, lane, there & active)

    return device(begins), device(resume), device(pause)


def _all_begin(queue, launch, fresh, elapsed, carry):
    return fresh, launch.run < launch.n_runs, elapsed, carry


def _as_they_are(memory, queue, launch, lane, progress, fresh):
    return progress


def _nothing(memory, queue, launch, lane, progress):
    pass


def _finding(context: BuildContext, one: Carried) -> Callable:
    """Return ``find(memory, lane)``: the buffer, where it is."""
    if one.in_frame:
        return context.backend.device(_IN_FRAME[one.name])
    allocate = context.backend.allocator(one.placement)

    def find(memory, lane):
        return allocate(memory, None)

    return context.backend.device(find)


def _restoring(context: BuildContext, one: Carried) -> Callable:
    find, size, first = _finding(context, one), one.placement.n_elements, one.first

    def restore_real(memory, queue, launch, lane, mask):
        buffer, run, n = find(memory, lane), launch.run, launch.n_runs
        for i in range(size):
            kept = load_run(queue.reals, (first + i) * n, 1, run, n)
            buffer[i] = select(mask, kept, buffer[i])

    def restore_whole(memory, queue, launch, lane, mask):
        buffer, run, n = find(memory, lane), launch.run, launch.n_runs
        for i in range(size):
            kept = load_run(queue.whole, HEADER + (first + i) * n, 1, run, n)
            buffer[i] = select(mask, kept, buffer[i])

    return context.backend.device(restore_real if one.is_real else restore_whole)


def _saving(context: BuildContext, one: Carried) -> Callable:
    find, size, first = _finding(context, one), one.placement.n_elements, one.first

    def save_real(memory, queue, launch, lane, mask):
        buffer, run, n = find(memory, lane), launch.run, launch.n_runs
        for i in range(size):
            store_run(queue.reals, (first + i) * n, run, mask, buffer[i])

    def save_whole(memory, queue, launch, lane, mask):
        buffer, run, n = find(memory, lane), launch.run, launch.n_runs
        for i in range(size):
            store_run(queue.whole, HEADER + (first + i) * n, run, mask, buffer[i])

    return context.backend.device(save_real if one.is_real else save_whole)


def _state(memory, lane):
    return lane.state


def _parameters(memory, lane):
    return lane.parameters


def _counters(memory, lane):
    return lane.counters


def _dt(memory, lane):
    return lane.dt


def _drivers(memory, lane):
    return lane.drivers


def _passed_stops(memory, lane):
    return lane.passed_stops


def _observable_drivers(memory, lane):
    return lane.observable_drivers


# How the loop's functions reach buffers of its frame.
_IN_FRAME: dict[str, Callable] = {
    "state": _state,
    "parameters": _parameters,
    "counters": _counters,
    "dt": _dt,
    "drivers": _drivers,
    "passed_stops": _passed_stops,
    "observable_drivers": _observable_drivers,
}
