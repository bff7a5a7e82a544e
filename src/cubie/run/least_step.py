"""`min_step`: a bound below which no step is taken, but to land on a time.

As in LSODA (where it is HMIN), a run ends that would need smaller steps: one that was rejected
although it was planned no longer than the bound.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, maximum
from cubie.numerics.limits import LEAST_STEP, build_step_limit
from cubie.run.clock import ClockFunctions
from cubie.run.parts import RunParts


def build_propose(loop: RunParts, backend: Backend, clock: ClockFunctions) -> Callable:
    """Return the clock's `propose`, of sizes that are no smaller than the bound if there is one."""
    propose = clock.propose
    if not loop.controller.bounded_below:
        return propose
    least = build_step_limit(backend, LEAST_STEP, loop.system.own_clock)

    def bounded(launch, stop, elapsed, carry, dt, counters):
        dt[0] = maximum(dt[0], least(launch))
        return propose(launch, stop, elapsed, carry, dt, counters)

    return backend.device(bounded)


def build_is_stuck(loop: RunParts, backend: Backend, clock: ClockFunctions) -> Callable:
    """Return ``is_stuck(launch, accept, proposal, elapsed)``: which runs cannot go on."""
    without_bound = clock.is_stuck

    def is_stuck(launch, accept, proposal, elapsed):
        return without_bound(accept, proposal.h, elapsed)

    if not loop.controller.bounded_below:
        return backend.device(is_stuck)
    least = build_step_limit(backend, LEAST_STEP, loop.system.own_clock)

    def is_stuck_at_bound(launch, accept, proposal, elapsed):
        at_bound = ~accept & (proposal.planned <= least(launch))
        return at_bound | without_bound(accept, proposal.h, elapsed)

    return backend.device(is_stuck_at_bound)
