"""When a run is stiff: the settings, what a lane carries, and the largest rate of a system."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from attrs import field, frozen

from cubie.backend import Backend, absolute, is_finite, select, square_root
from cubie.controllers.adaptive import within
from cubie.errors import InvalidOption
from cubie.reals import as_float, as_int

# What a lane carries, real numbers: whether it is stiff; how many steps in a row said that it is
# the other; how many then did not; h times the rate, squared, of the present step.
STIFF, FOR, AGAINST, RATE = range(4)
N_SWITCH = 4
# So many steps that are not limited by stability make those before forgotten.
FORGOTTEN = 6


def _count(instance, attribute, value):
    if type(value) is not int or not 1 <= value <= 1000:
        raise InvalidOption(attribute.name, value, advice="It must be an int from 1 to 1000.")


@frozen
class StiffnessSettings:
    """When a run goes over to the other method.

    Attributes
    ----------
    stiff_above : float
        An accepted step of the explicit method says that the run is stiff if its size times the
        largest rate is above this part of what the method is stable for.
    stiff_steps : int
        So many such steps, with fewer than six others in between, make a run stiff.
    nonstiff_below : float
        A step of the implicit method says that the run is not stiff if it is below this part.
    nonstiff_steps : int
        So many of them in a row end it.
    """

    stiff_above: float = field(
        default=0.8, converter=as_float, validator=within(0.7, 2.0, or_high=True)
    )
    stiff_steps: int = field(default=15, converter=as_int, validator=_count)
    nonstiff_below: float = field(
        default=0.5, converter=as_float, validator=within(0.0, 0.7, or_high=True)
    )
    nonstiff_steps: int = field(default=5, converter=as_int, validator=_count)


class Allocators(NamedTuple):
    """Of the buffers that the power method carries."""

    switch: Callable
    steepest: Callable
    slopes: Callable


def build_measure(
    backend: Backend, n: int, rhs: Callable, scale: Callable, allocators: Allocators
) -> Callable:
    """Return ``measure(memory, launch, t, h, parameters, state, scratch)``.

    One step of the power method: h times the largest rate, squared. It looks beside the end of the
    step, as far as the tolerances there are, or the root of what is rounded. A direction that is
    not finite is forgotten, and the rate is then unknown: so large that the run stays with the
    implicit method.
    """
    root = backend.constant(float(np.sqrt(np.finfo(backend.dtype).eps)))
    alloc_switch, alloc_steepest, alloc_slopes = allocators
    zero, one, unknown = backend.constant(0.0), backend.constant(1.0), backend.constant(1e20)
    inverse_n = backend.constant(1.0 / n)

    def weigh(launch, state, i):
        weight = scale(launch, i, state[i], state[i]) + root * absolute(state[i])
        return select(weight > zero, weight, one)

    weigh = backend.device(weigh)

    def measure(memory, launch, t, h, parameters, state, scratch):
        steepest, slopes = alloc_steepest(memory, None), alloc_slopes(memory, None)
        is_stiff = alloc_switch(memory, None)[STIFF] > zero
        place, beside = scratch.state, scratch.error
        rhs(t, state, parameters, slopes, 0)
        known = h * zero
        for i in range(n):
            known = known + absolute(steepest[i])
        size = h * zero
        for i in range(n):
            place[i] = select(known > zero, steepest[i], slopes[i])
            part = place[i] / weigh(launch, state, i)
            size = size + part * part
        size = square_root(size * inverse_n)
        usable = (size > zero) & is_finite(size)
        for i in range(n):
            place[i] = state[i] + place[i] / select(usable, size, one)
        rhs(t, place, parameters, beside, 0)
        total = h * zero
        for i in range(n):
            change = beside[i] - slopes[i]
            part = change / weigh(launch, state, i)
            total = total + part * part
        found = h * h * total * inverse_n
        usable = usable & is_finite(found)
        for i in range(n):
            change = select(usable, beside[i] - slopes[i], zero)
            steepest[i] = select(is_stiff, change, steepest[i])
        return select(usable, found, unknown)

    return backend.device(measure)
