"""How a right-hand side that failed as it ran becomes the status of its run.

A function that is compiled as it stands can fail: it raised, or read outside an array. Its
derivative is then NaN, and it writes RAISED to a slot that such systems have behind their
parameters. So does a traced one that asks a driver for a time it has no samples of. The attempt is
rejected as any that is not finite; the slot keeps the reason until an attempt goes well, because a
derivative of NaN may be used again by later ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cubie.backend import Backend, select
from cubie.status import RunStatus

if TYPE_CHECKING:
    from cubie.systems.component import SystemComponent


def build_faults(backend: Backend, system: SystemComponent) -> Callable:
    """Return ``account(parameters, failure, finite) -> failure``, to be called once an attempt.

    It returns FUNCTION_RAISED where the right-hand side is to blame, `failure` elsewhere.
    """
    if not system.n_faults:
        return backend.device(_without)
    slot, raised_code = system.n_parameters, int(RunStatus.FUNCTION_RAISED)
    if system.may_leave_samples:
        return backend.device(_build_outside(backend, slot))
    nothing, before, now = (backend.constant(value) for value in (0.0, 1.0, 2.0))

    def account(parameters, failure, finite):
        fault = parameters[slot]
        raised = fault == now
        went_well = finite & (failure == 0) & ~raised
        parameters[slot] = select(went_well, nothing, select(raised, before, fault))
        return select((fault != nothing) & ~went_well, raised_code, failure)

    return backend.device(account)


def _build_outside(backend: Backend, slot: int) -> Callable:
    """Return what blames a driver that was asked for what it has no samples of.

    It gave NaN: where the attempt is finite all the same, nobody used that.
    """
    code, nothing = int(RunStatus.DRIVER_OUT_OF_RANGE), backend.constant(0.0)

    def account(parameters, failure, finite):
        fault = parameters[slot]
        went_well = finite & (failure == 0)
        parameters[slot] = select(went_well, nothing, fault)
        return select((fault != nothing) & ~went_well, code, failure)

    return account


def _without(parameters, failure, finite):
    return failure
