"""What the loop gives a right-hand side beside the time and the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cubie.backend import Backend, Given

if TYPE_CHECKING:
    from cubie.systems.component import SystemComponent


def build_give(backend: Backend, system: SystemComponent) -> Callable:
    """Return ``give(launch, t, lane)``: the parameters, or the `Given` that the system takes."""
    return backend.device(_given if system.takes_given else _parameters)


def _parameters(launch, t, lane):
    return lane.parameters


def _given(launch, t, lane):
    return Given(lane.parameters, lane.drivers, launch, t, t)
