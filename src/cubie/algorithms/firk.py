"""Fully implicit Runge-Kutta steps (Hairer & Wanner II, IV.8): all stages at once.

Newton's method starts from the collocation polynomial of the step before, continued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cubie.algorithms.contract import StepFunctions
from cubie.algorithms.coupled_stages import (
    CoupledEquations,
    Transformation,
    build_extrapolate,
)
from cubie.algorithms.implicit import ImplicitStep, build_failure
from cubie.backend import quotient, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, Matrix
from cubie.solvers.newton_contract import Stage
from cubie.systems.drivers.calling import build_with_stack
from cubie.systems.drivers.calls import n_kept
from cubie.tableaus import FIRKTableau


class FIRKStep(ImplicitStep):
    """One step of a fully implicit method, by Newton's method on transformed stages."""

    tableau: FIRKTableau
    # As the code RADAU5 does (Hairer & Wanner II, IV.8).
    default_controller = "gustafsson"
    phases = (
        "restore", "start", "prepare", "stages", "solution", "error_estimate", "outcome", "inside",
        "commit",
    )  # fmt: skip
    stages_in = ("stage_increment", False)
    entries = {  # noqa: RUF012
        "restore": ("restore",),
        "start": ("start",),
        "step": ("prepare", "stages", "solution", "error_estimate", "outcome"),
        "inside": ("inside",),
        "commit": ("commit",),
    }
    counted_in = "outcome"

    def _compose(self) -> None:
        tableau, estimates = self.tableau, self.n_error_estimates > 0
        self.transformation = Transformation.of(tableau.a_inverse)
        self.blocks = self._blocks(estimates)
        self.rhs_per_start, self.rhs_per_step = 0, int(estimates)
        self.rhs_per_iteration = tableau.n_stages
        if estimates:
            self.add_child(self.system, during="error_estimate")
        equations = CoupledEquations(
            self.n_states, self.system, tableau.c, self.transformation, self.blocks
        )
        self._add_newton(equations, self.blocks)
        self._register_buffers()

    def _blocks(self, filtered: bool) -> Blocks:
        """Return the blocks to solve with.

        The filter's matrix is a block of the stages where its coefficient is the inverse of a
        real eigenvalue, as it is for an odd number of stages; else it is one of its own.
        """
        values = self.transformation.eigenvalues
        if not filtered:
            return Blocks(self.n_states, values)
        assert self.tableau.smoothing is not None  # it comes with the estimate
        wanted = 1.0 / self.tableau.smoothing
        same = [k for k, v in enumerate(values) if abs(v - wanted) <= 1e-9 * wanted]
        if same:
            return Blocks(self.n_states, values, filter=same[0])
        with_filter = (*values, complex(wanted))
        return Blocks(self.n_states, with_filter, filter=len(values), filter_only=True)

    def _register_buffers(self) -> None:
        n = self.n_states
        self.carried = (("stage_increment", self.blocks.n_unknowns // n),)
        # The increments of all stages, transformed: those of the step before until the next one.
        self.register_buffer(
            "stage_increment", size=self.blocks.n_unknowns, persistent=True, access_weight=20.0
        )
        # Size of the step that they are of, zero where there was none or it was rejected.
        self.register_buffer("stage_step", size=1, persistent=True, access_weight=1.0)
        # What drivers give at the time of each stage: iterations look nothing up again.
        self.register_buffer(
            "stage_driver_stack",
            size=lambda: n_kept(self.system.n_drivers) * self.tableau.n_stages,
            phases=("stages",),
            enabled=self.system.n_drivers > 0,
            access_weight=10.0,
        )
        # The part of the error estimate that the stages make.
        self.register_buffer(
            "stage_state",
            size=n,
            phases=("error_estimate",),
            enabled=self.n_error_estimates > 0,
            access_weight=2.0,
        )

    @property
    def coefficients(self) -> tuple:
        t = self.tableau
        return (t.a, t.b, t.c, t.error_weights, t.error_start_weight, t.stiffly_accurate)

    def build(self, context: BuildContext) -> StepFunctions:
        device = context.backend.device
        enter_start, enter_commit = context.phase("start"), context.phase("commit")
        alloc_step = context.allocator("stage_step")
        zero = context.backend.constant(0.0)

        def start(memory, fresh, t, state, parameters):
            enter_start(memory)
            made = alloc_step(memory, None)
            made[0] = select(fresh, zero, made[0])

        def commit(memory, accept):
            enter_commit(memory)
            made = alloc_step(memory, None)
            made[0] = select(accept, made[0], zero)

        functions = StepFunctions(
            start=device(start), step=device(self._build_step(context)), commit=device(commit)
        )
        return self._with_newton(context, functions)

    def _build_step(self, context: BuildContext) -> Callable:
        backend = context.backend
        newton = self.child_functions(context, "newton")
        prepare, solve, again = newton.prepare, newton.solve, newton.again
        first_eta, settle = newton.first_eta, newton.settle
        predict = self._build_predict(context)
        solution, estimate = self._build_solution(context), self._build_estimate(context)
        alloc_increment = context.allocator("stage_increment")
        alloc_stage, alloc_step = context.allocator("stage_state"), context.allocator("stage_step")
        enter_prepare, enter_stages = context.phase("prepare"), context.phase("stages")
        enter_solution, enter_error = context.phase("solution"), context.phase("error_estimate")
        one, enter_outcome = backend.constant(1.0), context.phase("outcome")
        failure = build_failure(backend, self.persists)
        with_stack = build_with_stack(backend, self.system, self.tableau.n_stages)
        alloc_stack = context.allocator("stage_driver_stack")

        def step(memory, launch, t, h, state, parameters, proposed):
            shift = quotient(one, h)
            matrix = Matrix(t, shift, state, parameters)
            increment = alloc_increment(memory, None)
            enter_prepare(memory)
            regular = prepare(memory, launch, matrix, h)
            enter_stages(memory)
            predict(h, alloc_step(memory, None), increment)
            given = with_stack(parameters, alloc_stack(memory, None))
            stage = Stage(t, h, shift, state, given, state, increment)
            solved, eta, iterations, linear = solve(
                memory, launch, matrix, stage, first_eta(memory, h), regular
            )
            solved, iterations, linear = again(
                memory, launch, matrix, stage, solved, iterations, linear
            )
            enter_solution(memory)
            solution(state, increment, proposed.state)
            enter_error(memory)
            stage_state = alloc_stage(memory, None)
            filtered = estimate(memory, launch, matrix, increment, stage_state, proposed.error)
            enter_outcome(memory)
            proposed.counters[0], proposed.counters[1] = iterations, linear
            settle(memory, h, solved & filtered, eta, iterations, proposed.counters)
            return failure(regular, solved & filtered)

        return step

    def _build_predict(self, context: BuildContext) -> Callable:
        """Continue the polynomial of the step before, or start from the state alone."""
        backend, n, size = context.backend, self.n_states, self.blocks.n_unknowns
        extrapolate = build_extrapolate(backend, self.tableau.c, self.transformation, n)
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def predict(h, made, increment):
            known = made[0] != zero
            ratio = h / select(known, made[0], one)
            for k in range(size):
                increment[k] = select(known, increment[k], zero)
            for i in range(n):
                extrapolate(increment, i, ratio)
            made[0] = h

        return backend.device(predict)

    def _weights(self, of_derivatives: Sequence[float]) -> list[tuple[int, float]]:
        """Return (offset, weight) on the transformed increments of a sum of h k."""
        on_increments = np.array(of_derivatives) @ np.array(self.tableau.a_inverse)
        return self._sections(on_increments @ np.array(self.transformation.to_stages))

    def _stage_terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        return self._weights(weights)

    def _sections(self, weights: Sequence[float] | np.ndarray) -> list[tuple[int, float]]:
        return [(j * self.n_states, float(w)) for j, w in enumerate(weights) if w != 0.0]

    def _build_solution(self, context: BuildContext) -> Callable:
        n, tableau = self.n_states, self.tableau
        # The last stage is the solution itself: its increment needs no derivatives.
        last = self._sections(self.transformation.to_stages[-1])
        terms = last if tableau.stiffly_accurate else self._weights(tableau.b)
        total = context.backend.weighted_sum(terms)

        def solution(state, increment, proposed_state):
            for k in range(n):
                proposed_state[k] = state[k] + total(increment, k)

        return context.backend.device(solution)

    def _build_estimate(self, context: BuildContext) -> Callable:
        """Write the filtered error estimate (H&W II, IV.8, eq. 8.19)."""
        backend, n, tableau = context.backend, self.n_states, self.tableau

        def nothing(memory, launch, matrix, increment, stage_state, error):
            return matrix.t == matrix.t

        if tableau.error_weights is None:
            return backend.device(nothing)
        assert tableau.error_start_weight is not None
        assert tableau.smoothing is not None
        total = backend.weighted_sum(self._weights(tableau.error_weights))
        start = backend.constant(tableau.error_start_weight)
        inverse_gamma = backend.constant(1.0 / tableau.smoothing)
        rhs, add_mass = self.child_functions(context, "system"), self._add_mass(context)
        apply_filter = self.child_functions(context, "newton").filter

        def estimate(memory, launch, matrix, increment, stage_state, error):
            t, shift, state, parameters = matrix
            for k in range(n):
                stage_state[k] = total(increment, k)
            rhs(t, state, parameters, error, 0)
            for k in range(n):
                error[k] = inverse_gamma * start * error[k]
            add_mass(shift * inverse_gamma, stage_state, 0, error, 0)
            return apply_filter(memory, launch, matrix, error, error)

        return backend.device(estimate)
