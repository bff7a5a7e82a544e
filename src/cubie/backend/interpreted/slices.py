"""Slices of a launch, for interpreted components: see `cubie.backend.slices`."""

from __future__ import annotations

from cubie.backend.slices import ATTEMPTS, KeptState, Slice


def slice_of(run: int, kept: KeptState) -> Slice:
    """Return what a thread is handed as its queue."""
    return Slice(run, [int(kept.whole[ATTEMPTS])], kept.reals, kept.whole)


def the_run(queue):
    return queue.run


def while_there_is_time(queue, active, beyond):
    return bool(active) and queue.left[0] > 0


def spent(queue, attempts):
    was = queue.left[0]
    queue.left[0] = was - attempts
    return was <= 0
