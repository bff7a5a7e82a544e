"""Diagonally implicit Runge-Kutta steps (Hairer & Wanner II, IV.6): one stage after another.

The unknown of a stage is the increment z that its own derivative makes: with the derivatives k
of earlier stages, ``base = y + h sum(a[i][j] k[j])`` and
``M z = h gamma f(t + c[i] h, base + z)``; then ``k[i] = z / (h gamma)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cubie.algorithms.contract import StepFunctions
from cubie.algorithms.dirk_storage import dirk_storage
from cubie.algorithms.implicit import ImplicitStep, build_failure
from cubie.algorithms.stage_equation import (
    StageBuffers,
    StageEquation,
    build_beginning,
    build_stage_begin,
    checked_gamma,
    needs_filter,
    then,
)
from cubie.algorithms.stage_slots import build_start, offsets, slot_terms
from cubie.backend import quotient, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, Matrix
from cubie.solvers.newton_contract import NewtonFunctions, Stage
from cubie.tableaus import DIRKTableau
from cubie_planner import Alias


class DIRKStep(ImplicitStep):
    """One step of a diagonally implicit method whose implicit stages share their coefficient.

    Raises
    ------
    InvalidOption
        For a tableau with several diagonal coefficients, or with an explicit stage where there
        is a mass matrix.
    """

    tableau: DIRKTableau
    # As Kennedy & Carpenter advise for their methods (NASA/TM-2016-219173, section 7).
    default_controller = "pi"
    # The solution last: its bytes are free while the estimate is filtered.
    phases = (
        "restore", "start", "prepare", "first_stage", "stages", "error_estimate", "solution",
        "inside", "commit",
    )  # fmt: skip
    stages_in = ("stage_rhs", True)
    entries = {  # noqa: RUF012
        "restore": ("restore",),
        "start": ("start",),
        "step": ("prepare", "first_stage", "stages", "error_estimate", "solution"),
        "inside": ("inside",),
        "commit": ("commit",),
    }

    def _compose(self) -> None:
        tableau = self.tableau
        self.gamma = checked_gamma(tableau, self.no_mass)
        # Of algebraic components stages have order one: a plain estimate sees nothing else.
        estimates = tableau.error_weights is not None
        self.filtered = needs_filter(tableau) or (estimates and self.algebraic)
        self.weighs_error = self.filtered and not self.no_mass
        explicit = tableau.implicit_stages.count(False)
        self.rhs_per_start = int(tableau.fsal)
        starts = tableau.error_start_weight is not None
        self.rhs_per_step = explicit - int(tableau.fsal) + int(starts)
        self.rhs_per_iteration = 1
        self.storage = dirk_storage(tableau, self._kept_rows())
        self.slots = self.storage.slots
        # Of several stages that start from more than the state, each has a base of its own.
        combines = any(x for i, row in enumerate(tableau.a) for x in row[:i])
        alone = combines and tableau.implicit_stages.count(True) == 1
        self.keeps_base = combines and not alone
        number = tableau.implicit_stages.index(True)
        terms = tuple(self._offsets(self.storage.base(number))) if alone else None
        self.equation = StageEquation(self.n_states, terms)
        blocks = Blocks(self.n_states, filter=0 if self.filtered else None)
        # An estimate begins with the derivative at the start, and is filtered then.
        during = ("start", "first_stage", "error_estimate") if starts else ("start", "first_stage")
        self.add_child(self.system, during=during)
        self._add_newton(self.equation, blocks)
        self._register_buffers()

    def _register_buffers(self) -> None:
        n, fsal, stages = self.n_states, self.tableau.fsal, self.tableau.n_stages
        self.carried = (("increment_cache", 1),) if fsal else ()
        inside = ("first_stage", self._stages_until("solution"))
        # What is still needed of the stages: their derivatives, or sums of these.
        self.register_buffer(
            "stage_rhs",
            size=self.storage.n_slots * n,
            phases=("start", ("first_stage", "commit")) if fsal else (inside,),
            persistent=fsal or self.keeps_stages,
            access_weight=2.0,
        )
        # In place it turns into the derivative of its stage.
        place = self.storage.increment * n * np.dtype(self.buffer_registry.dtype).itemsize
        self.register_buffer(
            "stage_increment",
            size=n,
            phases=("stages",),
            aliases=(Alias("stage_rhs", place),),
            access_weight=10.0 * stages,
        )
        # Weighted sums of derivatives: of earlier stages, then the error that M multiplies.
        self.register_buffer(
            "accumulator",
            size=n,
            phases=("stages", "error_estimate") if self.weighs_error else ("stages",),
            enabled=self.weighs_error or self.keeps_base,
            access_weight=stages,
        )
        self.register_buffer(
            "stage_base",
            size=n,
            phases=("stages",),
            enabled=self.keeps_base,
            aliases=(Alias("accumulator", 0),),
            access_weight=5.0 * stages,
        )
        # The last stage's derivative, which is the first one of the next step.
        self.register_buffer(
            "increment_cache",
            size=n,
            phases=((None, "first_stage"), ("commit", None)),
            persistent=True,
            enabled=fsal,
            aliases=(Alias("stage_rhs", 0),),
            access_weight=2.0,
        )

    @property
    def coefficients(self) -> tuple:
        t = self.tableau
        return (
            t.a, t.b, t.c, t.error_weights, t.error_start_weight, t.predictor, t.fsal, self.slots,
            self.storage.gathers,
        )  # fmt: skip

    def build(self, context: BuildContext) -> StepFunctions:
        device = context.backend.device
        rhs = self.child_functions(context, "system")
        functions = StepFunctions(
            start=device(self._build_start(context, rhs)),
            step=device(self._build_step(context, rhs)),
            commit=device(self._build_commit(context)),
        )
        return self._with_newton(context, functions)

    def _stage_terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        return slot_terms(self.slots, self.n_states, weights)

    def _offsets(self, terms: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        return offsets(terms, self.n_states)

    def _build_start(self, context: BuildContext, rhs: Callable) -> Callable:
        alloc_rhs = context.allocator("stage_rhs")
        alloc_cache = context.allocator("increment_cache")
        return build_start(
            context.phase("start"), rhs, self.n_states, self.slots[-1] * self.n_states,
            alloc_rhs, alloc_cache if self.tableau.fsal else None,
        )  # fmt: skip

    def _build_step(self, context: BuildContext, rhs: Callable) -> Callable:
        backend = context.backend
        newton = self.child_functions(context, "newton")
        first_stage = self._build_first_stage(context, rhs)
        stages = self._build_stages(context, newton)
        solution = self._build_solution(context)
        estimate = self._build_estimate(context, rhs)
        prepare, settle = newton.prepare, newton.settle
        alloc_rhs, alloc_sum = context.allocator("stage_rhs"), context.allocator("accumulator")
        enter = {name: context.phase(name) for name in self.entries["step"]}
        enter_prepare, enter_stages = enter["prepare"], enter["stages"]
        enter_first, enter_solution = enter["first_stage"], enter["solution"]
        enter_error = enter["error_estimate"]
        one, gamma = backend.constant(1.0), backend.constant(self.gamma)
        failure = build_failure(backend, self.persists)

        def step(memory, launch, t, h, state, parameters, proposed):
            matrix = Matrix(t, quotient(one, h * gamma), state, parameters)
            stage_rhs, accumulator = alloc_rhs(memory, None), alloc_sum(memory, None)
            enter_prepare(memory)
            regular = prepare(memory, launch, matrix, h)
            enter_first(memory)
            first_stage(memory, t, state, parameters, stage_rhs)
            enter_stages(memory)
            found = stages(memory, launch, matrix, h, stage_rhs, accumulator, regular)
            solved, iterations, linear, eta = found
            enter_error(memory)
            filtered = estimate(memory, launch, matrix, h, stage_rhs, accumulator, proposed.error)
            enter_solution(memory)
            solution(h, state, stage_rhs, proposed.state)
            proposed.counters[0], proposed.counters[1] = iterations, linear
            settle(memory, h, solved & filtered, eta, iterations, proposed.counters)
            return failure(regular, solved & filtered)

        return step

    def _build_first_stage(self, context: BuildContext, rhs: Callable) -> Callable:
        """Evaluate an explicit first derivative, or take it from the step before."""
        backend, n, offset = context.backend, self.n_states, self.slots[0] * self.n_states
        alloc_cache = context.allocator("increment_cache")

        def implicit(memory, t, state, parameters, stage_rhs):
            pass

        def evaluate(memory, t, state, parameters, stage_rhs):
            rhs(t, state, parameters, stage_rhs, offset)

        def recall(memory, t, state, parameters, stage_rhs):
            cache = alloc_cache(memory, None)
            for i in range(n):
                stage_rhs[offset + i] = cache[i]

        if self.tableau.fsal:
            return backend.device(recall)
        return backend.device(implicit if self.tableau.implicit_stages[0] else evaluate)

    def _build_stages(self, context: BuildContext, newton: NewtonFunctions) -> Callable:
        """Solve the implicit stages in order; return where all were solved, and iterations."""
        backend = context.backend
        chain = None
        for i, implicit in enumerate(self.tableau.implicit_stages):
            if implicit:
                stage = self._build_stage(context, newton, i)
                chain = stage if chain is None else backend.device(then(chain, stage))
        assert chain is not None  # a tableau without implicit stages is none of this kind
        alloc_base = context.allocator("stage_base")
        alloc_increment = context.allocator("stage_increment")
        first_eta, n, at = newton.first_eta, self.n_states, self.storage.increment * self.n_states

        def stages(memory, launch, matrix, h, stage_rhs, accumulator, regular):
            base = alloc_base(memory, accumulator)
            increment = alloc_increment(memory, stage_rhs)
            buffers = StageBuffers(stage_rhs, accumulator, base, increment)
            found = chain(memory, launch, matrix, h, buffers, first_eta(memory, h), regular)
            for k in range(n):
                stage_rhs[at + k] = increment[k] * matrix.shift
            return found[0], found[1], found[2], found[3]

        return backend.device(stages)

    def _build_stage(self, context: BuildContext, newton: NewtonFunctions, i: int) -> Callable:
        """Solve implicit stage `i`, starting from the predicted derivative."""
        backend = context.backend
        begin = build_stage_begin(backend, self.storage, self.n_states, i, self.keeps_base)
        base_of = self._build_base(context)
        c, solve, again = backend.constant(self.tableau.c[i]), newton.solve, newton.again

        def solve_stage(memory, launch, matrix, h, buffers, eta, fit):
            t, shift, state, parameters = matrix
            begin(h, shift, state, buffers)
            base = base_of(state, buffers)
            stage = Stage(t + c * h, h, shift, state, parameters, base, buffers.increment)
            fit, eta, taken, linear = solve(memory, launch, matrix, stage, eta, fit)
            solved, taken, linear = again(memory, launch, matrix, stage, fit, taken, linear)
            return solved, taken, linear, eta, fit

        return backend.device(solve_stage)

    def _build_base(self, context: BuildContext) -> Callable:
        """Return ``base_of(state, buffers)``: what the equation of a stage calls its base."""

        def from_state(state, buffers):
            return state

        def from_derivatives(state, buffers):
            return buffers.stage_rhs

        def formed(state, buffers):
            return buffers.base

        if self.keeps_base:
            return context.backend.device(formed)
        without = from_state if self.equation.terms is None else from_derivatives
        return context.backend.device(without)

    def _build_solution(self, context: BuildContext) -> Callable:
        n, terms = self.n_states, self.storage.at_end(self.tableau.b)
        total = context.backend.weighted_sum(self._offsets(terms))

        def solution(h, state, stage_rhs, proposed_state):
            for i in range(n):
                proposed_state[i] = state[i] + h * total(stage_rhs, i)

        return context.backend.device(solution)

    def _build_estimate(self, context: BuildContext, rhs: Callable) -> Callable:
        """Write the error estimate, filtered where it needs to be."""
        backend, n, weights = context.backend, self.n_states, self.tableau.error_weights

        def nothing(memory, launch, matrix, h, stage_rhs, accumulator, error):
            return h == h

        if weights is None:
            return backend.device(nothing)
        total = backend.weighted_sum(self._offsets(self.storage.at_end(weights)))

        def plain(memory, launch, matrix, h, stage_rhs, accumulator, error):
            for i in range(n):
                error[i] = h * total(stage_rhs, i)
            return h == h

        if not self.filtered:
            return backend.device(plain)
        begin = build_beginning(backend, rhs, n, self.tableau, self.weighs_error)
        add = self._build_add(context)
        apply_filter = self.child_functions(context, "newton").filter

        def filtered(memory, launch, matrix, h, stage_rhs, accumulator, error):
            begin(matrix.t, h, matrix.y, matrix.parameters, error)
            add(h, matrix.shift, stage_rhs, accumulator, error)
            return apply_filter(memory, launch, matrix, error, error)

        return backend.device(filtered)

    def _build_add(self, context: BuildContext) -> Callable:
        """Add the stages' part of a filtered estimate to what it begins with."""
        backend, n = context.backend, self.n_states
        assert self.tableau.error_weights is not None
        terms = self.storage.at_end(self.tableau.error_weights)
        total = backend.weighted_sum(self._offsets(terms))
        add_mass = self._add_mass(context)

        def with_mass(h, shift, stage_rhs, accumulator, error):
            for i in range(n):
                accumulator[i] = h * total(stage_rhs, i)
            add_mass(shift, accumulator, 0, error, 0)

        def on_top(h, shift, stage_rhs, accumulator, error):
            for i in range(n):
                error[i] = error[i] + shift * (h * total(stage_rhs, i))

        def alone(h, shift, stage_rhs, accumulator, error):
            for i in range(n):
                error[i] = shift * (h * total(stage_rhs, i))

        if self.weighs_error:
            return backend.device(with_mass)
        return backend.device(alone if self.tableau.error_start_weight is None else on_top)

    def _build_commit(self, context: BuildContext) -> Callable:
        enter = context.phase("commit")

        def nothing_to_commit(memory, accept):
            enter(memory)

        if not self.tableau.fsal:
            return nothing_to_commit
        n = self.n_states
        first, last = self.slots[0] * n, self.slots[-1] * n
        alloc_rhs = context.allocator("stage_rhs")
        alloc_cache = context.allocator("increment_cache")

        def commit(memory, accept):
            enter(memory)
            stage_rhs = alloc_rhs(memory, None)
            cache = alloc_cache(memory, None)
            for i in range(n):
                cache[i] = select(accept, stage_rhs[last + i], stage_rhs[first + i])

        return commit
