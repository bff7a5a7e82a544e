"""The equation of one diagonally implicit stage, and what its tableau and estimate need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.algorithms.dirk_storage import DIRKStorage
from cubie.algorithms.stage_slots import build_sums, offsets
from cubie.backend import Backend
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.tableaus import DIRKTableau


class StageBuffers(NamedTuple):
    """Buffers of the stages of a step; see `DIRKStep`."""

    stage_rhs: Any
    accumulator: Any
    base: Any
    increment: Any


@frozen
class StageEquation:
    """``f(t, base + z) - M z / (h gamma) = 0``.

    Attributes
    ----------
    n_states : int
    terms : tuple of (offset, weight), optional
        What the state is changed by, where no buffer holds the base: h times the sum of weighted
        derivatives of earlier stages. `base` is then the buffer of those.
    """

    n_states: int
    terms: tuple[tuple[int, float], ...] | None = None
    couples_stages = False

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        form = self._build_argument(context)

        def evaluate(stage, argument, out):
            form(stage, argument)
            rhs(stage.t, argument, stage.parameters, out, 0)
            add_mass(-stage.shift, stage.increment, 0, out, 0)

        return evaluate

    def build_place(self, context: BuildContext) -> Callable:
        form = self._build_argument(context)

        def place(stage, out):
            form(stage, out)
            return stage.t

        return place

    def _build_argument(self, context: BuildContext) -> Callable:
        """Write where the right-hand side is evaluated."""
        n = self.n_states

        def from_base(stage, argument):
            base, increment = stage.base, stage.increment
            for i in range(n):
                argument[i] = base[i] + increment[i]

        if self.terms is None:
            return context.backend.device(from_base)
        total = context.backend.weighted_sum(self.terms)

        def from_derivatives(stage, argument):
            h, state, base, increment = stage.h, stage.state, stage.base, stage.increment
            for i in range(n):
                argument[i] = state[i] + h * total(base, i) + increment[i]

        return context.backend.device(from_derivatives)


def needs_filter(tableau: DIRKTableau) -> bool:
    """Tell whether the error estimate grows without bound on stiff components.

    It is then multiplied by ``(M - h gamma J)^-1 M`` (Hosea & Shampine, Appl. Numer. Math. 20
    (1996) 21-37).
    """
    if tableau.error_weights is None:
        return False
    if tableau.error_start_weight is not None:
        return True
    z = -1e10
    stages = np.eye(tableau.n_stages) - z * np.array(tableau.a)
    derivatives = np.linalg.solve(stages, np.ones(tableau.n_stages))
    return bool(abs(z * np.dot(tableau.error_weights, derivatives)) > 1e5)


def checked_gamma(tableau: DIRKTableau, no_mass: bool) -> float:
    """Return the coefficient that all implicit stages share."""
    if tableau.gamma is None:
        raise InvalidOption(
            "method",
            tableau.name,
            advice="Its implicit stages must share one diagonal coefficient.",
        )
    if not no_mass and not all(tableau.implicit_stages):
        raise InvalidOption(
            "method",
            tableau.name,
            advice="With a mass matrix every stage must be implicit, as those of `sdirk2` are.",
        )
    return tableau.gamma


def build_beginning(
    backend: Backend, rhs: Callable, n: int, tableau: DIRKTableau, sums_follow: bool
) -> Callable:
    """Return ``begin(t, h, state, parameters, error)``: what a filtered estimate begins with.

    That is the part which the derivative at the start makes, if there is one; else nothing, or
    zeros for the sums that follow.
    """
    weight = tableau.error_start_weight
    zero = backend.constant(0.0)

    def nothing(t, h, state, parameters, error):
        pass

    def clear(t, h, state, parameters, error):
        for i in range(n):
            error[i] = h * zero

    if weight is None:
        return backend.device(clear if sums_follow else nothing)
    assert tableau.gamma is not None  # see `checked_gamma`
    # As the stages' part, in units of what the filter's matrix multiplies: over h gamma.
    share = backend.constant(weight / tableau.gamma)

    def derivative(t, h, state, parameters, error):
        rhs(t, state, parameters, error, 0)
        for i in range(n):
            error[i] = share * error[i]

    return backend.device(derivative)


def build_stage_begin(
    backend: Backend, storage: DIRKStorage, n: int, i: int, keeps_base: bool
) -> Callable:
    """Return ``begin(h, shift, state, buffers)``: all that is formed before stage `i` is solved.

    Its base, if it has a buffer, what is guessed of its increment, and what is kept for later. The
    increment of the stage before becomes a derivative first.
    """
    tableau, at = storage.tableau, storage.increment * n
    assert tableau.gamma is not None  # see `checked_gamma`
    total = backend.weighted_sum(offsets(storage.base(i), n))
    guess = backend.weighted_sum(offsets(storage.guess(i), n))
    written = [(slot * n, offsets(terms, n)) for slot, terms in storage.written_before(i)]
    write, gamma = build_sums(backend, written), backend.constant(tableau.gamma)
    zero = backend.constant(0.0)

    def nothing_before(shift, buffers):
        pass

    def derivative(shift, buffers):
        for k in range(n):
            buffers.stage_rhs[at + k] = buffers.increment[k] * shift

    def from_state(h, state, buffers):
        pass

    def from_base(h, state, buffers):
        for k in range(n):
            buffers.accumulator[k] = h * zero + total(buffers.stage_rhs, k)
            buffers.base[k] = state[k] + h * buffers.accumulator[k]

    is_first = not any(tableau.implicit_stages[:i])
    finish = backend.device(nothing_before if is_first else derivative)
    form = backend.device(from_base if keeps_base else from_state)

    def begin(h, shift, state, buffers):
        stage_rhs, increment = buffers.stage_rhs, buffers.increment
        finish(shift, buffers)
        form(h, state, buffers)
        # What is read here may lie where something is written.
        for k in range(n):
            guessed = guess(stage_rhs, k)
            write(stage_rhs, k)
            increment[k] = h * gamma * guessed

    return backend.device(begin)


def then(before: Callable, after: Callable) -> Callable:
    """Return one function that solves two stages in order."""

    def both(memory, launch, matrix, h, buffers, eta, fit):
        solved, iterations, linear, eta, fit = before(memory, launch, matrix, h, buffers, eta, fit)
        also, more_iterations, more_linear, eta, fit = after(
            memory, launch, matrix, h, buffers, eta, fit
        )
        return solved & also, iterations + more_iterations, linear + more_linear, eta, fit

    return both
