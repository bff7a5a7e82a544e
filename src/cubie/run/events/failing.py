"""Runs in which an event that is compiled as it stands fails: it raised, or read outside an array.

It writes to a slot behind the parameters of its run that is cleared where the run starts only. What
it computes is NaN then, and has no sign: the run ends, so that no event is missed silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from cubie.backend import select
from cubie.factory import BuildContext
from cubie.status import RunStatus


@frozen
class FailingFunctions:
    """Device functions; where no event can fail they do nothing.

    Attributes
    ----------
    failed : callable
        ``failed(mask, lane) -> mask``: lanes of a mask in which an event has failed.
    fail : callable
        ``fail(status, active, mask, lane) -> (status, active)``: ends runs in those lanes of a
        mask.
    told : callable
        ``told(status, lane) -> status``: of a run that is done.
    """

    failed: Callable
    fail: Callable
    told: Callable


def build_failing(loop: Any, context: BuildContext) -> FailingFunctions:
    """Return the device functions of a loop's events."""
    device, events = context.backend.device, loop.events
    if events is None or not events.n_faults:
        return FailingFunctions(*map(device, (_none_failed, _none_fails, _nothing_told)))
    slot, nothing = events.fault_slot, context.backend.constant(0.0)
    raised = int(RunStatus.EVENT_RAISED)

    def failed(mask, lane):
        return mask & (lane.parameters[slot] != nothing)

    def fail(status, active, mask, lane):
        here = mask & (lane.parameters[slot] != nothing)
        return select(here, raised, status), active & ~here

    def told(status, lane):
        here = (lane.parameters[slot] != nothing) & (status >= 0)
        return select(here, raised, status)

    return FailingFunctions(device(failed), device(fail), device(told))


def _none_failed(mask, lane):
    return mask & ~mask


def _none_fails(status, active, mask, lane):
    return status, active


def _nothing_told(status, lane):
    return status


def build_unblamed(loop: Any, context: BuildContext, evaluate: Callable) -> Callable:
    """Return an `evaluate` for states that are not of the solution: who fails there is not blamed.

    See `cubie.run.events.buffers.build_evaluate`.
    """
    if not loop.events.n_faults:
        return evaluate
    slot = loop.events.fault_slot

    def unblamed(memory, launch, elapsed, state, lane, out):
        before = lane.parameters[slot]
        evaluate(memory, launch, elapsed, state, lane, out)
        lane.parameters[slot] = before

    return context.backend.device(unblamed)
