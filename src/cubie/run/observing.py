"""Observables of a run: computed where a point is kept, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, any_lane, shared_function
from cubie.factory import BuildContext
from cubie.numerics.limits import DIRECTION, build_of_span, build_time
from cubie.run.driving import build_given_observed
from cubie.run.parts import RunParts


def build_observe(loop: RunParts, context: BuildContext) -> Callable | None:
    """Return ``observe(launch, outputs, point, elapsed, where, due)``; see `build_saving`.

    It fills `Point.observables` in all lanes if a point is due in any of them. None where nobody
    reads observables.
    """
    if not loop.reads_observables:
        return None
    observe = loop.child_functions(context, "observables").observe
    given, own = build_given_observed(loop, context), loop.system.own_clock
    return _build_where_due(context.backend, observe, given, own)


@shared_function
def _build_where_due(backend: Backend, observe: Callable, given: Callable, own: bool) -> Callable:
    time, direction = build_time(backend, own), build_of_span(backend, DIRECTION, own)

    def observe_due(launch, outputs, point, elapsed, where, due):
        if any_lane(due):
            t = time(launch, direction(launch), elapsed)
            observe(t, point.state, given(launch, point.lane), point.observables, 0)

    return backend.device(observe_due)
