"""Which times in a step are one, and how soon after a root the number of an event counts again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cubie.backend import absolute, maximum, minimum

# Times that differ by no more roundings than this are the same: events that are meant to be at one
# time, and are written in different ways, have roots some roundings apart.
SAME_TIME = 32
# A moment, as a part of a step: less than any part that is looked at.
MOMENT = 1.0 / 1024.0

# A number is at its root if it is no larger than it gets in so many times the time that counts as
# the same, but no longer than a moment.
AT_ROOT = 64.0


def build_same_time(backend: Any) -> Callable:
    """Return ``same(step)``: the part of a step in which times are the same."""
    rounding = backend.constant(SAME_TIME * float(np.finfo(backend.dtype).eps))

    def same(step):
        return rounding * (maximum(absolute(step.t), step.ahead) + step.h) / step.h

    return backend.device(same)


def build_moment(backend: Any) -> Callable:
    """Return ``moment(step)``: the part of a step after which the number of an event counts again.

    As a rule; see `cubie.run.events.behind`.

    In steps so short that it is not within the first part that is looked at, it does not.
    """
    same_time, moment = build_same_time(backend), backend.constant(MOMENT)

    def of_step(step):
        return maximum(moment, same_time(step))

    return backend.device(of_step)


def build_near(backend: Any) -> Callable:
    """Return ``near(step, slope)``: how large a number may be that is at a root, by its slope."""
    same_time = build_same_time(backend)
    most, moment = backend.constant(AT_ROOT), backend.constant(MOMENT)

    def near(step, slope):
        same = same_time(step)
        return slope * (same + minimum(most * same, moment))

    return backend.device(near)
