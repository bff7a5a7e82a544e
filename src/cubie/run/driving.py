"""What drivers gave at the start of a step, kept for the attempts that begin there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cubie.backend import Given, select
from cubie.systems.drivers.calling import never_a_time
from cubie.systems.drivers.calls import n_kept

if TYPE_CHECKING:
    from cubie.factory import BuildContext


@frozen
class KeepingFunctions:
    """Device functions; without drivers they are nothing.

    Attributes
    ----------
    forget : callable
        ``forget(fresh, lane)``: runs start in the lanes of a mask.
    reset : callable
        ``reset(lane)``: nothing is known of what is asked for next.
    begin : callable
        ``begin(lane)``: an attempt begins where the latest that was accepted ended.
    commit : callable
        ``commit(accept, lane)``: keep what was asked for last, where the attempt is accepted.
    """

    forget: Callable
    reset: Callable
    begin: Callable
    commit: Callable


def build_keeping(loop: Any, context: BuildContext) -> KeepingFunctions:
    """Return the device functions of a loop."""
    device, n_drivers = context.backend.device, loop.system.n_drivers
    if not n_drivers:
        functions = (_of_a_mask, _of_a_lane, _of_a_lane, _of_a_mask)
        return KeepingFunctions(*map(device, functions))
    never, n = never_a_time(context.backend), n_kept(n_drivers)

    def forget(fresh, lane):
        lane.drivers[n_drivers] = select(fresh, never, lane.drivers[n_drivers])

    def reset(lane):
        lane.proposed_drivers[n_drivers] = never

    def begin(lane):
        for k in range(n):
            lane.proposed_drivers[k] = lane.drivers[k]

    def commit(accept, lane):
        for k in range(n):
            lane.drivers[k] = select(accept, lane.proposed_drivers[k], lane.drivers[k])

    return KeepingFunctions(*map(device, (forget, reset, begin, commit)))


def _of_a_mask(mask, lane):
    pass


def _of_a_lane(lane):
    pass


def build_given_observed(loop: Any, context: BuildContext) -> Callable:
    """Return ``given(launch, lane)``: what observables get beside the time and the state."""
    observables = loop.observables
    if observables is None or not observables.n_drivers:
        return context.backend.device(_parameters)
    never, n_drivers = never_a_time(context.backend), observables.n_drivers

    def given(launch, lane):
        drivers = lane.observable_drivers
        drivers[n_drivers] = never
        return Given(lane.parameters, drivers, drivers, launch, never, never, ())

    return context.backend.device(given)


def _parameters(launch, lane):
    return lane.parameters
