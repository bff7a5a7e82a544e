"""When an iteration of Newton's method has solved its equations, and when it will not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cubie.backend import Backend, absolute, larger, maximum, quotient, select, square_root
from cubie.factory import BuildContext
from cubie.numerics.error_norm import (
    Tolerances,
    build_modulus,
    build_scale,
    build_size,
    states_in,
)

if TYPE_CHECKING:
    from cubie.solvers.newton_parts import NewtonParts

# With algebraic equations the second change tells little of the rate: the first one is mostly the
# linear part of a jump. The rate that it shows counts as at least this.
SMALLEST_FIRST_RATE = 1.0
# Steps do not damp what is left in algebraic equations: they are solved so much more exactly.
ALGEBRAIC_TOLERANCE = 0.1
# What a matrix of earlier steps leaves has the same sign step after step, and adds up.
KEPT_TOLERANCE = 0.3
# A rate of convergence is one of the whole: a large part that is linear converges at once, and
# hides another that does not. Changes of more tolerances than this are not the last ones.
LARGEST_CHANGE = 1.0
# Where the error of a step is estimated, which sees what was taken too well.
LARGEST_ESTIMATED_CHANGE = 10.0
# Errors of so many units of rounding are not worth an iteration.
ROUNDING = 10.0


def rounding_of(newton: NewtonParts, backend: Backend) -> float:
    """Return what times a state is a change, in units of the tolerance, that is rounding.

    Such changes do not shrink any more (as in the code RADAU5).
    """
    return float(ROUNDING * np.finfo(backend.dtype).eps / newton.settings.newton_tolerance)


def build_typical(newton: NewtonParts, backend: Backend) -> Callable:
    """Return ``typical(state, increment, i)``: the value that component i is weighed by."""
    n, sections = newton.n_states, newton.blocks.n_unknowns // newton.n_states
    zero = backend.constant(0.0)

    def itself(state, increment, i):
        return state[i]

    def where_it_goes(state, increment, i):
        towards = absolute(increment[i])
        for section in range(1, sections):
            towards = towards + absolute(increment[section * n + i])
        return select(state[i] == zero, towards, state[i])

    part = backend.device(where_it_goes if newton.settings.weigh_increments else itself)
    if not newton.per_component & Tolerances.OF_PAIRS:
        return part
    modulus = build_modulus(backend)

    def of_pair(state, increment, i):
        return modulus(part(state, increment, i), part(state, increment, i ^ 1))

    return backend.device(of_pair)


def build_largest(newton: NewtonParts, backend: Backend) -> Callable:
    """Return ``largest(stage, i)``: of state i what there is, at the start or of increments."""
    n, sections = newton.n_states, newton.blocks.n_unknowns // newton.n_states

    def largest(stage, i):
        value = absolute(stage.state[i])
        for section in range(sections):
            value = maximum(value, absolute(stage.increment[section * n + i]))
        return value

    part = backend.device(largest)
    if not newton.per_component & Tolerances.OF_PAIRS:
        return part
    modulus = build_modulus(backend)

    def of_pair(stage, i):
        return modulus(part(stage, i), part(stage, i ^ 1))

    return backend.device(of_pair)


def build_tolerated(newton: NewtonParts, backend: Backend) -> Callable:
    """Return ``tolerated(launch, stage, i)``: what changes of state i may be."""
    scale = build_scale(backend, newton.n_states, newton.per_component)
    rounding = backend.constant(rounding_of(newton, backend))
    largest = build_largest(newton, backend)
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def tolerated(launch, stage, i):
        value = largest(stage, i)
        weight = larger(scale(launch, i, value, value), rounding * value)
        return select(weight > zero, weight, one)

    return backend.device(tolerated)


def build_judge(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the change's size, the rate's estimate, and who is done or goes on."""
    backend, n = context.backend, newton.n_states
    sections = newton.blocks.n_unknowns // n
    scale = build_scale(backend, n, newton.per_component)
    size_of = build_size(backend, newton.per_component)
    n_unknowns = states_in(newton.blocks.n_unknowns, newton.per_component)
    inverse = backend.constant(1.0 / n_unknowns)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    stricter = ALGEBRAIC_TOLERANCE if newton.algebraic else 1.0
    stricter *= KEPT_TOLERANCE if newton.keeps else 1.0
    tolerance = backend.constant(newton.settings.newton_tolerance * stricter)
    rounding = backend.constant(rounding_of(newton, backend))
    may_be_last = _build_may_be_last(newton, backend)
    limit = newton.settings.max_newton_iterations
    trusted = _build_trusted(newton, backend)
    typical = build_typical(newton, backend)

    def judge(launch, stage, delta, previous, eta, iterations, active):
        state, increment = stage.state, stage.increment
        total = state[0] * zero
        for i in range(n):
            reference = typical(state, increment, i)
            weight = scale(launch, i, reference, reference)
            weight = larger(weight, rounding * absolute(size_of(state, i)))
            for section in range(sections):
                ratio = quotient(delta[section * n + i], weight)
                total = total + ratio * ratio
        size = square_root(total * inverse)
        first = iterations == 0
        # Without a change before, the rate is that of earlier equations.
        shrinks = first | (size < previous)
        measured = shrinks & ~first
        rate = size / select(measured, previous, one)
        # What a lane that stopped carries on to its next equations no longer changes: how
        # long its neighbours iterate must not show in it. Asked here and not before: the
        # divisions need not wait for it, and what they give elsewhere is not used.
        eta = select(active & measured, trusted(rate / (one - rate), iterations), eta)
        # A change of nothing solves the equations, whatever was before.
        near = (eta * size <= tolerance) & may_be_last(first, size)
        converged = active & ((shrinks & near) | (size == zero))
        goes_on = active & shrinks & ~converged & (iterations + 1 < limit)
        return size, eta, converged, goes_on

    return backend.device(judge)


def _build_may_be_last(newton: NewtonParts, backend: Backend) -> Callable:
    """Return ``may_be_last(first, size)``: whether a rate may tell that a change was enough."""
    most = LARGEST_CHANGE if newton.persists else LARGEST_ESTIMATED_CHANGE
    largest = backend.constant(most)

    def if_small(first, size):
        return size <= largest

    def if_small_or_first(first, size):
        return first | (size <= largest)

    # Later stages mostly take a single change, by the rate of those before.
    return backend.device(if_small if newton.persists else if_small_or_first)


def _build_trusted(newton: NewtonParts, backend: Backend) -> Callable:
    """Return ``trusted(eta, iterations)``: the estimate that a quotient of changes is worth."""
    least = backend.constant(SMALLEST_FIRST_RATE)

    def cautiously(eta, iterations):
        return select(iterations == 1, maximum(eta, least), eta)

    def as_it_is(eta, iterations):
        return eta

    return backend.device(cautiously if newton.algebraic else as_it_is)
