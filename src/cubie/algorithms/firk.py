"""Fully implicit Runge-Kutta steps (Hairer & Wanner II, IV.8): all stages at once.

With z the increments of all stages, ``(A^-1 x M) z / h = f(t + c h, y + z)``. The eigenvectors of
A^-1 take it apart: with z = (T x I) w the matrix of Newton's method has a block for each real
eigenvalue and one for each complex pair, of n equations each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.implicit import ImplicitSettings, make_linear_solver
from cubie.backend import Backend, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks
from cubie.solvers.newton import NewtonSolver
from cubie.status import RunStatus
from cubie.systems.component import SystemComponent
from cubie.systems.mass import build_mass_product, mass_entries
from cubie.systems.store import Store
from cubie.tableaus import FIRKTableau

Rows = tuple[tuple[float, ...], ...]


@frozen
class Transformation:
    """What makes the inverse of a coefficient matrix block-diagonal.

    Attributes
    ----------
    eigenvalues : tuple of complex
        Of A^-1: real ones, then of each complex pair the one above the axis.
    to_stages, to_blocks : rows of numbers
        T and its inverse. A pair has two columns: the real part of its eigenvector, and the
        imaginary part with its sign changed.
    """

    eigenvalues: tuple[complex, ...]
    to_stages: Rows
    to_blocks: Rows

    @classmethod
    def of(cls, a_inverse: Sequence[Sequence[float]]) -> Transformation:
        values, vectors = np.linalg.eig(np.array(a_inverse, dtype=float))
        # Scaled so that the increments of the last stage are sums of those of the blocks.
        vectors = vectors / vectors[-1]
        tiny = 1e-10 * np.abs(values).max()
        real = [k for k, value in enumerate(values) if abs(value.imag) <= tiny]
        upper = [k for k, value in enumerate(values) if value.imag > tiny]
        columns = [vectors[:, k].real for k in real]
        for k in upper:
            columns += [vectors[:, k].real, -vectors[:, k].imag]
        to_stages = np.array(columns).T
        found = [complex(values[k].real) for k in real] + [complex(values[k]) for k in upper]
        return cls(tuple(found), _rows(to_stages), _rows(np.linalg.inv(to_stages)))


def _rows(matrix: np.ndarray) -> Rows:
    return tuple(tuple(row) for row in matrix.tolist())


@frozen
class CoupledEquations:
    """``(T^-1 x I) f(t + c h, y + (T x I) w) - (Lambda x M) w / h = 0``; `base` is scratch."""

    n_states: int
    c: tuple[float, ...]
    transformation: Transformation
    blocks: Blocks
    couples_stages = True

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        backend, size = context.backend, self.blocks.n_unknowns
        stages = [self._build_stage(backend, rhs, i) for i in range(len(self.c))]
        sections = zip(self.transformation.eigenvalues, self.blocks.offsets, strict=False)
        masses = [self._build_mass(backend, add_mass, value, at) for value, at in sections]
        add_stages, add_masses = (
            _chain(backend, stages, _then_stage),
            _chain(backend, masses, _then_mass),
        )
        zero = backend.constant(0.0)

        def evaluate(t, h, shift, state, parameters, base, increment, argument, temp, out):
            for k in range(size):
                out[k] = h * zero
            add_stages(t, h, state, parameters, increment, base, temp, out)
            add_masses(shift, increment, out)

        return evaluate

    def _build_stage(self, backend: Backend, rhs: Callable, i: int) -> Callable:
        """Evaluate f at stage `i`, and add its part to every block."""
        n, c = self.n_states, backend.constant(self.c[i])
        total = backend.weighted_sum(
            [(j * n, weight) for j, weight in enumerate(self.transformation.to_stages[i])]
        )
        weights = [row[i] for row in self.transformation.to_blocks]
        spread = _chain(
            backend, [_build_add(backend, n, j, w) for j, w in enumerate(weights)], _then_add
        )

        def stage(t, h, state, parameters, increment, argument, temp, out):
            for k in range(n):
                argument[k] = state[k] + total(increment, k)
            rhs(t + c * h, argument, parameters, temp, 0)
            spread(temp, out)

        return backend.device(stage)

    def _build_mass(self, backend: Backend, add_mass: Callable, value: complex, at: int):
        """Subtract a block's part of ``(Lambda x M) w / h``."""
        real, imaginary = backend.constant(value.real), backend.constant(value.imag)
        other = at + self.n_states

        def one(shift, increment, out):
            add_mass(-shift * real, increment, at, out, at)

        def pair(shift, increment, out):
            add_mass(-shift * real, increment, at, out, at)
            add_mass(shift * imaginary, increment, other, out, at)
            add_mass(-shift * imaginary, increment, at, out, other)
            add_mass(-shift * real, increment, other, out, other)

        return backend.device(pair if value.imag else one)


class FIRKStep(StepAlgorithm):
    """One step of a fully implicit method, by Newton's method on transformed stages.

    Parameters
    ----------
    tableau : FIRKTableau
    system : SystemComponent
    dtype : dtype
    options : mapping
        Options of the whole tree; its own are picked out.
    per_component : bool
        Tolerances are given per component.
    """

    Settings = ImplicitSettings
    settings: ImplicitSettings
    # As the code RADAU5 does (Hairer & Wanner II, IV.8).
    default_controller = "gustafsson"
    phases = ("start", "prepare", "stages", "solution", "error_estimate", "commit")
    entries = {  # noqa: RUF012
        "start": ("start",),
        "step": ("prepare", "stages", "solution", "error_estimate"),
        "commit": ("commit",),
    }

    def __init__(
        self,
        tableau: FIRKTableau,
        system: SystemComponent,
        dtype,
        options: Mapping[str, Any],
        per_component: bool = False,
    ):
        super().__init__(tableau, system, dtype, options, per_component)
        self.tableau, self.system, self.n_states = tableau, system, system.n_states
        self.mass = mass_entries(system.n_states, getattr(system.system, "mass", None))
        self.order, self.error_order = tableau.order, tableau.error_order
        estimates = tableau.error_weights is not None
        self.n_error_estimates = int(estimates)
        self.transformation = Transformation.of(tableau.a_inverse)
        self.blocks, self.filter_at = self._blocks(estimates)
        direct = self.settings.direct
        self.rhs_per_start, self.rhs_per_step = 0, int(estimates)
        self.rhs_per_iteration = tableau.n_stages
        self.jacobians_per_step = int(direct)
        self.factorizations_per_step = len(self.blocks.eigenvalues) if direct else 0
        self.iterates = True
        linear_solver = make_linear_solver(self.settings, system, self.blocks, dtype, options)
        equations = CoupledEquations(self.n_states, tableau.c, self.transformation, self.blocks)
        newton = NewtonSolver(
            system, linear_solver, equations, self._add_mass, estimates, not direct,
            per_component, dtype, options,
        )  # fmt: skip
        calls = {"prepare": "prepare", "solve": "stages"}
        if estimates:
            calls["filter"] = "error_estimate"
            self.add_child(system, during="error_estimate")
        self.add_child(newton, during=calls)
        self._register_buffers()

    def _blocks(self, filtered: bool) -> tuple[Blocks, int]:
        """Return the blocks to solve with, and where those of the error's filter start.

        The filter's matrix is a block of the stages where its coefficient is the inverse of a
        real eigenvalue, as it is for an odd number of stages; else it is one of its own.
        """
        values = self.transformation.eigenvalues
        if filtered:
            assert self.tableau.smoothing is not None  # it comes with the estimate
            wanted = 1.0 / self.tableau.smoothing
            same = [k for k, v in enumerate(values) if abs(v - wanted) <= 1e-9 * wanted]
            if not same:
                blocks = Blocks(self.n_states, (*values, complex(wanted)))
                return blocks, blocks.offsets[-1]
            blocks = Blocks(self.n_states, values)
            return blocks, blocks.offsets[same[0]]
        return Blocks(self.n_states, values), 0

    def _add_mass(self, context: BuildContext) -> Callable:
        store = Store(Path(self.system.system.path).parents[1])
        return build_mass_product(context.backend, self.n_states, self.mass, store)

    def _register_buffers(self) -> None:
        n = self.n_states
        # The increments of all stages, transformed; then the estimate that is filtered.
        self.register_buffer(
            "stage_increment",
            size=self.blocks.n_unknowns,
            phases=(("stages", "error_estimate"),),
            access_weight=20.0,
        )
        # Inputs at the times of the stages: the loop has none yet.
        self.register_buffer("stage_driver_stack", size=0, enabled=False)
        # The state of one stage; then the part of the estimate that the stages make.
        self.register_buffer(
            "stage_state",
            size=n,
            phases=("stages", "error_estimate"),
            access_weight=10.0 * self.tableau.n_stages,
        )

    def facts(self) -> tuple:
        t = self.tableau
        coefficients = (t.a, t.b, t.c, t.error_weights, t.error_start_weight)
        return (*coefficients, self.n_states, sorted(self.mass.items()))

    def build(self, context: BuildContext) -> StepFunctions:
        device = context.backend.device
        enter_start, enter_commit = context.phase("start"), context.phase("commit")

        def start(shared, persistent, fresh, t, state, parameters):
            enter_start(shared, persistent)

        def commit(shared, persistent, accept):
            enter_commit(shared, persistent)

        return StepFunctions(
            start=device(start), step=device(self._build_step(context)), commit=device(commit)
        )

    def _build_step(self, context: BuildContext) -> Callable:
        backend, size = context.backend, self.blocks.n_unknowns
        newton = self.child_functions(context, "newton")
        prepare, solve = newton.prepare, newton.solve
        solution, estimate = self._build_solution(context), self._build_estimate(context)
        alloc_increment = context.allocator("stage_increment")
        alloc_stage = context.allocator("stage_state")
        enter_prepare, enter_stages = context.phase("prepare"), context.phase("stages")
        enter_solution, enter_error = context.phase("solution"), context.phase("error_estimate")
        one, zero = backend.constant(1.0), backend.constant(0.0)
        singular = int(RunStatus.SINGULAR_JACOBIAN)
        diverged = int(RunStatus.NEWTON_DIVERGED)

        def step(
            shared, persistent, inputs, run, n_runs, t, h, state, parameters, proposed_state,
            error, proposed_counters,
        ):  # fmt: skip
            proposed_counters[0] = select(t == t, 0, 0)
            proposed_counters[1] = select(t == t, 0, 0)
            shift = one / h
            increment = alloc_increment(shared, persistent, None)
            stage_state = alloc_stage(shared, persistent, None)
            enter_prepare(shared, persistent)
            regular = prepare(shared, persistent, t, shift, state, parameters)
            enter_stages(shared, persistent)
            for k in range(size):
                increment[k] = h * zero
            solved, _ = solve(
                shared, persistent, inputs, run, n_runs, t, t, h, shift, state, parameters,
                stage_state, increment, h * zero + one, proposed_counters,
            )  # fmt: skip
            enter_solution(shared, persistent)
            solution(state, increment, proposed_state)
            enter_error(shared, persistent)
            filtered = estimate(
                shared, persistent, t, h, shift, state, parameters, increment, stage_state, error
            )
            return select(regular, select(solved & filtered, 0, diverged), singular)

        return step

    def _weights(self, of_derivatives: Sequence[float]) -> list[tuple[int, float]]:
        """Return (offset, weight) on the transformed increments of a sum of h k."""
        on_increments = np.array(of_derivatives) @ np.array(self.tableau.a_inverse)
        return self._sections(on_increments @ np.array(self.transformation.to_stages))

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
        backend, n, size = context.backend, self.n_states, self.blocks.n_unknowns
        tableau, at = self.tableau, self.filter_at

        def nothing(
            shared, persistent, t, h, shift, state, parameters, increment, stage_state, error
        ):
            return h == h

        if tableau.error_weights is None:
            return backend.device(nothing)
        assert tableau.error_start_weight is not None
        assert tableau.smoothing is not None
        total = backend.weighted_sum(self._weights(tableau.error_weights))
        start = backend.constant(tableau.error_start_weight)
        inverse_gamma = backend.constant(1.0 / tableau.smoothing)
        rhs, add_mass = self.child_functions(context, "system"), self._add_mass(context)
        apply_filter = self.child_functions(context, "newton").filter
        zero = backend.constant(0.0)

        def estimate(
            shared, persistent, t, h, shift, state, parameters, increment, stage_state, error
        ):
            for k in range(n):
                stage_state[k] = total(increment, k)
            rhs(t, state, parameters, error, 0)
            for k in range(size):
                increment[k] = h * zero
            for k in range(n):
                increment[at + k] = inverse_gamma * start * error[k]
            add_mass(shift * inverse_gamma, stage_state, 0, increment, at)
            solved = apply_filter(
                shared, persistent, t, shift, state, parameters, increment, increment
            )
            for k in range(n):
                error[k] = increment[at + k]
            return solved

        return backend.device(estimate)


def _build_add(backend: Backend, n: int, j: int, weight: float) -> Callable:
    """Add a multiple of `temp` to section `j`."""
    factor, at = backend.constant(weight), j * n

    def add(temp, out):
        for k in range(n):
            out[at + k] = out[at + k] + factor * temp[k]

    return backend.device(add)


def _chain(backend: Backend, functions: list[Callable], join: Callable) -> Callable:
    """Compose functions into one that runs them in order."""
    chain = functions[0]
    for function in functions[1:]:
        chain = backend.device(join(chain, function))
    return chain


def _then_add(before: Callable, after: Callable) -> Callable:
    def both(temp, out):
        before(temp, out)
        after(temp, out)

    return both


def _then_stage(before: Callable, after: Callable) -> Callable:
    def both(t, h, state, parameters, increment, argument, temp, out):
        before(t, h, state, parameters, increment, argument, temp, out)
        after(t, h, state, parameters, increment, argument, temp, out)

    return both


def _then_mass(before: Callable, after: Callable) -> Callable:
    def both(shift, increment, out):
        before(shift, increment, out)
        after(shift, increment, out)

    return both
