"""The clock of steps of one size where events change states: some of them go less far.

Behind such a step the next one only goes up to the point of the grid that it was to reach. Both
values of the clock are how far behind a point it is.
"""

from __future__ import annotations

from attrs import evolve

from cubie.backend import Backend, select, shared_function
from cubie.run.clock import Arrival, ClockFunctions, Proposal


@shared_function
def build_between_points(backend: Backend, on_grid: ClockFunctions) -> ClockFunctions:
    """Return the clock, made of the one that only stops at points of its grid."""
    now_on_grid, propose_on_grid, arrive_on_grid = on_grid.now, on_grid.propose, on_grid.arrive
    zero = backend.constant(0.0)

    def restart(fresh, elapsed, carry):
        return select(fresh, zero, elapsed), select(fresh, zero, carry)

    def now(stop, elapsed, dt, counters):
        return now_on_grid(stop, elapsed, dt, counters) + elapsed

    def propose(launch, stop, elapsed, carry, dt, counters):
        whole = propose_on_grid(launch, stop, elapsed, carry, dt, counters)
        return Proposal(whole.h - elapsed, whole.planned, whole.lands)

    def arrive(stop, elapsed, carry, counters, proposal):
        whole = arrive_on_grid(stop, elapsed, carry, counters, proposal)
        return Arrival(whole.h, whole.planned, whole.lands, whole.ahead, zero * elapsed)

    def keep(accept, arrival, elapsed, carry):
        behind = select(accept, arrival.ahead_carry, elapsed)
        return behind, behind

    functions = {"restart": restart, "now": now, "propose": propose, "arrive": arrive, "keep": keep}
    return evolve(on_grid, **{name: backend.device(made) for name, made in functions.items()})
