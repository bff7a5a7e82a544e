"""Rosenbrock steps (Hairer & Wanner II, IV.7): a linear system a stage, all with one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.algorithms.contract import StepFunctions
from cubie.algorithms.implicit import ImplicitStep, build_failure
from cubie.algorithms.rosenbrock_coupling import build_coupling
from cubie.algorithms.rosenbrock_storage import rosenbrock_storage
from cubie.algorithms.stage_slots import build_sums, offsets
from cubie.backend import quotient, select
from cubie.factory import BuildContext
from cubie.solvers import Blocks, restoring
from cubie.solvers.contract import Matrix
from cubie.systems.derivatives.by_time import TimeDerivativeComponent
from cubie.tableaus import RosenbrockTableau
from cubie_planner import Alias


@frozen
class _Parts:
    """Device functions that every stage calls."""

    rhs: Callable
    solve: Callable
    add_mass: Callable
    count: Callable


class StageBuffers(NamedTuple):
    """Buffers of the stages of a step; see `RosenbrockStep`."""

    slopes: Any  # the derivative by time
    store: Any  # increments of all stages
    stage_rhs: Any
    base: Any
    iterations: Any


class RosenbrockStep(ImplicitStep):
    """One step of a Rosenbrock method in the form without products with the Jacobian."""

    tableau: RosenbrockTableau
    # The Jacobian of its step is part of the method.
    has_newton = False
    # As the code RODAS does (Hairer & Wanner II, IV.7, IV.8).
    default_controller = "gustafsson"
    # Each stage evaluates, then solves.
    phases = (
        "restore", "start", "prepare", "evaluate", "solve", "solution", "error_estimate", "inside",
        "commit",
    )  # fmt: skip
    stages_in = ("stage_store", False)
    entries = {  # noqa: RUF012
        "restore": ("restore",),
        "start": ("start",),
        "step": ("prepare", "evaluate", "solve", "solution", "error_estimate"),
        "inside": ("inside",),
        "commit": ("commit",),
    }
    counted_in = "error_estimate"

    def _compose(self) -> None:
        self.rhs_per_start, self.rhs_per_step = 0, self.tableau.n_stages
        self.storage = rosenbrock_storage(self.tableau, self.keeps_stages)
        self.time_derivative = TimeDerivativeComponent(
            self.system, self.per_component, self.buffer_registry.dtype, self._options
        )
        # Called in this order: a derivative by differences has scratch of its own.
        self.add_child(self.time_derivative, during="prepare")
        self.blocks = Blocks(self.n_states)
        solver, again = self._linear_solver(self.blocks), ("restore",) * self.restores
        self.add_child(solver, {"prepare": (*again, "prepare"), "solve": (*again, "solve")})
        self.add_child(self.system, during=(*again, "evaluate"))
        self._register_buffers()
        restoring.register_buffers(self, self.restores, "evaluate")

    def _register_buffers(self) -> None:
        n, stages = self.n_states, self.tableau.n_stages
        self.register_buffer(
            "stage_store",
            size=self.storage.n_slots * n,
            phases=(("evaluate", self._stages_until("error_estimate")),),
            persistent=self.keeps_stages,
            access_weight=2.0 + stages,
        )
        # Solved in place, it may lie where the solution of one stage goes.
        self.register_buffer(
            "stage_rhs",
            size=n,
            phases=(("evaluate", "solve"),),
            aliases=(Alias("stage_store", self._byte(self.storage.in_place)),),
            access_weight=4.0 * stages,
        )
        # The state a stage's right-hand side is evaluated at; with a mass matrix then what couples
        # the last one to others, which needs other bytes than the derivative.
        in_place = self.system.works_in_place and self.no_mass
        self.register_buffer(
            "base_state_placeholder",
            size=n,
            phases=("evaluate",),
            aliases=(Alias("stage_rhs", 0),) if in_place else (),
            access_weight=4.0 * stages,
        )
        # The derivative by time, which only some right-hand sides have.
        self.register_buffer(
            "cached_auxiliaries",
            size=lambda: 0 if self.time_derivative.vanishes else n,
            phases=(("prepare", "solve"),),
            access_weight=1.0 + stages,
        )
        self.register_buffer(
            "krylov_iters_out",
            size=1,
            dtype=np.int32,
            phases=(("evaluate", "solve"),),
            enabled=self.iterates,
            access_weight=2.0 * stages,
        )

    def _byte(self, slot: int) -> int:
        """Return where a slot begins in `stage_store`."""
        return slot * self.n_states * self.buffer_registry.dtype.itemsize

    @property
    def result_aliases(self) -> tuple[tuple[Alias, ...], tuple[Alias, ...]]:
        slots = (self.storage.solution, self.storage.error)
        if self.keeps_stages or None in slots:
            return (), ()
        of_both = [
            Alias("stage_store", self._byte(slot or 0), across_frames=True) for slot in slots
        ]
        return (of_both[0],), (of_both[1],)

    @property
    def coefficients(self) -> tuple:
        t = self.tableau
        return (t.gamma, t.a, t.C, t.b, t.c, t.d, t.error_weights, self.storage.gathers)

    def build(self, context: BuildContext) -> StepFunctions:
        device = context.backend.device
        enter_start, enter_commit = context.phase("start"), context.phase("commit")

        def start(memory, fresh, t, state, parameters):
            enter_start(memory)

        def commit(memory, accept):
            enter_commit(memory)

        return StepFunctions(
            start=device(start),
            # A chain of solves: reordered by LLVM, rodas5p with three states takes 13 % longer.
            step=context.backend.in_given_order(self._build_step(context)),
            commit=device(commit),
            restore=self._build_restore(context, self._build_consistent(context)),
        )

    def _build_consistent(self, context: BuildContext) -> Callable | None:
        return restoring.build_restore(self, context, self.iterates) if self.restores else None

    def _terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        """Return (offset in stage_store, weight) of every increment that takes part."""
        return offsets(self.storage.terms(weights), self.n_states)

    _stage_terms = _terms

    def _build_step(self, context: BuildContext) -> Callable:
        backend = context.backend
        prepare = self._build_prepare(context)
        stages = self._build_stages(context)
        solution = self._build_combination(
            context, offsets(self.storage.result(), self.n_states), add_state=True
        )
        weights = self.tableau.error_weights
        terms = None if weights is None else self._terms(weights)
        estimate = self._build_combination(context, terms, add_state=False)
        alloc_store = context.allocator("stage_store")
        alloc_slopes = context.allocator("cached_auxiliaries")
        enter_solution, enter_error = context.phase("solution"), context.phase("error_estimate")
        report = backend.device(_report if self.iterates else _nothing_to_report)
        one, gamma = backend.constant(1.0), backend.constant(self.tableau.gamma)
        failure = build_failure(backend, persists=False)

        def step(memory, launch, t, h, state, parameters, proposed):
            slopes = alloc_slopes(memory, None)
            matrix = Matrix(t, quotient(one, h * gamma), state, parameters)
            regular = prepare(memory, launch, matrix, h, slopes)
            store = alloc_store(memory, None)
            solved, taken = stages(memory, launch, matrix, h, slopes, store)
            enter_solution(memory)
            solution(state, store, proposed.state)
            enter_error(memory)
            estimate(state, store, proposed.error)
            report(t, taken, proposed.counters)
            return failure(regular, solved)

        return step

    def _build_prepare(self, context: BuildContext) -> Callable:
        """Find the derivative by time where there is one, and the matrix of all stages."""
        enter = context.phase("prepare")
        prepare_solver = self.child_functions(context, "linear_solver").prepare

        def autonomous(memory, launch, matrix, h, slopes):
            enter(memory)
            return prepare_solver(memory, launch, matrix)

        if self.time_derivative.vanishes:
            return context.backend.device(autonomous)
        time_derivative = self.child_functions(context, "time_derivative")

        def prepare(memory, launch, matrix, h, slopes):
            enter(memory)
            time_derivative(memory, matrix.t, h, matrix.y, matrix.parameters, slopes, 0)
            return prepare_solver(memory, launch, matrix)

        return context.backend.device(prepare)

    def _build_stages(self, context: BuildContext) -> Callable:
        """Compute all increments; tell in which lanes all systems were solved, and iterations."""
        backend = context.backend
        parts = _Parts(
            rhs=self.child_functions(context, "system"),
            solve=self.child_functions(context, "linear_solver").solve,
            add_mass=self._add_mass(context),
            count=backend.device(_count if self.iterates else _ignore),
        )
        chain = self._build_stage(context, parts, 0)
        for i in range(1, self.tableau.n_stages):
            chain = backend.device(_then(chain, self._build_stage(context, parts, i)))
        alloc_rhs = context.allocator("stage_rhs")
        alloc_base = context.allocator("base_state_placeholder")
        alloc_iterations = context.allocator("krylov_iters_out")
        enter = context.phase("evaluate")
        clear = backend.device(_clear if self.iterates else _nothing_to_clear)
        total = backend.device(_total if self.iterates else _none_taken)

        def stages(memory, launch, matrix, h, slopes, store):
            enter(memory)
            stage_rhs = alloc_rhs(memory, store)
            base = alloc_base(memory, stage_rhs)
            iterations = alloc_iterations(memory, None)
            clear(h, iterations)
            buffers = StageBuffers(slopes, store, stage_rhs, base, iterations)
            solved = chain(memory, launch, matrix, h, buffers)
            return solved, total(h, iterations)

        return backend.device(stages)

    def _build_stage(self, context: BuildContext, parts: _Parts, i: int) -> Callable:
        """Evaluate the right-hand side of stage `i`'s linear system, and solve it."""
        backend, at = context.backend, self.storage.slots[i] * self.n_states
        add_mass = parts.add_mass
        evaluate = self._build_evaluate(context, parts.rhs, i)
        couple = build_coupling(backend, self.storage, self.n_states, self.no_mass, add_mass, i)
        drift = self._build_drift(context, i)
        solve, count = parts.solve, parts.count
        enter_evaluate, enter_solve = context.phase("evaluate"), context.phase("solve")

        def stage(memory, launch, matrix, h, buffers):
            slopes, store, stage_rhs, base, iterations = buffers
            enter_evaluate(memory)
            evaluate(matrix.t, h, matrix.y, matrix.parameters, store, base, stage_rhs)
            couple(h, store, base, stage_rhs)
            drift(h, slopes, stage_rhs)
            enter_solve(memory)
            solved, taken = solve(memory, launch, matrix, stage_rhs, 0, store, at)
            count(iterations, taken)
            return solved

        return backend.device(stage)

    def _build_evaluate(self, context: BuildContext, rhs: Callable, i: int) -> Callable:
        """Evaluate f at stage `i`'s argument."""
        backend, n = context.backend, self.n_states
        terms, c = offsets(self.storage.argument(i), n), backend.constant(self.tableau.c[i])
        sums = [(slot * n, offsets(made, n)) for slot, made in self.storage.sums_before(i)]
        gather = build_sums(backend, sums)

        def at_start(t, h, state, parameters, store, base, stage_rhs):
            rhs(t + c * h, state, parameters, stage_rhs, 0)

        if not terms:
            return backend.device(at_start)
        total = backend.weighted_sum(terms)

        def at_argument(t, h, state, parameters, store, base, stage_rhs):
            for k in range(n):
                value = state[k] + total(store, k)
                gather(store, k)
                base[k] = value
            rhs(t + c * h, base, parameters, stage_rhs, 0)

        return backend.device(at_argument)

    def _build_drift(self, context: BuildContext, i: int) -> Callable:
        """Add ``d[i] h df/dt``."""
        backend, n, d = context.backend, self.n_states, context.backend.constant(self.tableau.d[i])

        def autonomous(h, slopes, stage_rhs):
            pass

        if self.time_derivative.vanishes or self.tableau.d[i] == 0.0:
            return backend.device(autonomous)

        def drift(h, slopes, stage_rhs):
            for k in range(n):
                stage_rhs[k] = stage_rhs[k] + d * h * slopes[k]

        return backend.device(drift)

    def _build_combination(
        self, context: BuildContext, terms: list[tuple[int, float]] | None, add_state: bool
    ) -> Callable:
        """Write a weighted sum of what is in the store, on top of the state or alone."""
        backend, n = context.backend, self.n_states

        def nothing(state, store, out):
            pass

        if terms is None:
            return backend.device(nothing)
        total = backend.weighted_sum(terms)

        def alone(state, store, out):
            for k in range(n):
                out[k] = total(store, k)

        def on_top(state, store, out):
            for k in range(n):
                out[k] = state[k] + total(store, k)

        return backend.device(on_top if add_state else alone)


def _then(before: Callable, after: Callable) -> Callable:
    def both(memory, launch, matrix, h, buffers):
        solved = before(memory, launch, matrix, h, buffers)
        return solved & after(memory, launch, matrix, h, buffers)

    return both


def _count(iterations, taken):
    iterations[0] = iterations[0] + taken


def _ignore(iterations, taken):
    pass


def _clear(t, iterations):
    iterations[0] = select(t == t, 0, 0)


def _nothing_to_clear(t, iterations):
    pass


def _total(t, iterations):
    return iterations[0]


def _none_taken(t, iterations):
    return select(t == t, 0, 0)


def _report(t, taken, proposed_counters):
    proposed_counters[0] = select(t == t, 0, 0)
    proposed_counters[1] = taken


def _nothing_to_report(t, taken, proposed_counters):
    pass
