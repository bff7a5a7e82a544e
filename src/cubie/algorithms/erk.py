"""Explicit Runge-Kutta steps (Hairer, Norsett & Wanner I, II.1), embedded or not, FSAL or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.stage_slots import build_start, slot_terms, stage_slots
from cubie.backend import Backend, in_turn, select
from cubie.factory import BuildContext
from cubie.tableaus import ERKTableau
from cubie_planner import Alias


@frozen
class _Stage:
    """One stage as data: when it is evaluated, what its argument is made of, where it goes."""

    c: float
    weights: tuple[float, ...]
    slot: int


class ERKStep(StepAlgorithm):
    """One step of an explicit Runge-Kutta method; every stage is the same function."""

    tableau: ERKTableau
    # As SciPy's and most explicit codes do.
    default_controller = "i"
    phases = (
        "start", "first_stage", "stages", "solution", "error_estimate", "inside", "commit",
    )  # fmt: skip
    stages_in = ("stage_rhs", True)
    entries = {  # noqa: RUF012
        "start": ("start",),
        "step": ("first_stage", "stages", "solution", "error_estimate"),
        "inside": ("inside",),
        "commit": ("commit",),
    }

    @classmethod
    def is_memoryless(cls, tableau: ERKTableau) -> bool:
        return not tableau.fsal

    def _compose(self) -> None:
        tableau = self.tableau
        estimates = (tableau.error_weights, tableau.error_weights_low)
        self.n_error_estimates = sum(weights is not None for weights in estimates)
        self.rhs_per_start = int(tableau.fsal)
        self.rhs_per_step = tableau.n_stages - int(tableau.fsal)
        self.slots = stage_slots(tableau, kept=self._kept_rows())
        # Stages that points inside alone need come after those of the step.
        first = max(self.slots) + 1
        added = tableau.dense.nodes if self.is_read else ()
        self.added_slots = tuple(range(first, first + len(added)))
        self._register_buffers()
        during = ("start", "first_stage", "stages", "solution")
        during = (*during, "inside") if self.added_slots else during
        self.add_child(self.system, during=during)

    def _register_buffers(self) -> None:
        n, fsal = self.n_states, self.tableau.fsal
        self.register_buffer(
            "stage_rhs",
            size=(max(self.slots + self.added_slots) + 1) * n,
            phases=("start", ("first_stage", "commit"))
            if fsal
            else (("first_stage", self._stages_until("error_estimate")),),
            persistent=fsal or self.keeps_stages,
            access_weight=2.0,
        )
        self.register_buffer(
            "stage_accumulator",
            size=n,
            phases=("stages",),
            enabled=self.tableau.n_stages - int(fsal) > 1,
            access_weight=2.0 * self.tableau.n_stages,
        )
        # Carried from a step's end to the next one's first stage: what lies
        # between belongs to others, what lies outside the loop over steps does not.
        self.register_buffer(
            "stage_cache",
            size=n,
            phases=((None, "first_stage"), ("commit", None)),
            persistent=True,
            enabled=fsal,
            aliases=(Alias("stage_rhs", 0), Alias("stage_accumulator", 0)),
            access_weight=2.0,
        )

    def facts(self) -> tuple:
        t = self.tableau
        return (
            t.a, t.b, t.c, t.error_weights, t.error_weights_low, t.fsal, self.n_states, self.slots,
            self.added_slots, t.dense.rows if self.is_read else (),
        )  # fmt: skip

    def build(self, context: BuildContext) -> StepFunctions:
        backend = context.backend
        rhs = self.child_functions(context, "system")
        return StepFunctions(
            start=backend.device(self._build_start(context, rhs)),
            step=backend.device(self._build_step(context, rhs)),
            commit=backend.device(self._build_commit(context)),
        )

    def _stages(self) -> list[_Stage]:
        tableau = self.tableau
        rows = zip(tableau.c, tableau.a, self.slots, strict=True)
        return [_Stage(c, weights, slot) for c, weights, slot in rows]

    def _terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        slots = (*self.slots, *self.added_slots)[: len(weights)]
        return slot_terms(slots, self.n_states, weights)

    _stage_terms = _terms

    def _build_added_stages(self, context: BuildContext) -> Callable:
        rhs, dense = self.child_functions(context, "system"), self.tableau.dense
        added = zip(dense.nodes, dense.rows, self.added_slots, strict=True)
        return self._build_chain(context.backend, rhs, [_Stage(*stage) for stage in added])

    def _build_start(self, context: BuildContext, rhs: Callable) -> Callable:
        alloc_rhs = context.allocator("stage_rhs")
        alloc_cache = context.allocator("stage_cache")
        return build_start(
            context.phase("start"), rhs, self.n_states, self.slots[-1] * self.n_states,
            alloc_rhs, alloc_cache if self.tableau.fsal else None,
        )  # fmt: skip

    def _build_step(self, context: BuildContext, rhs: Callable) -> Callable:
        backend = context.backend
        stages = self._stages()
        fsal = self.tableau.fsal
        middle = stages[1:-1] if fsal else stages[1:]
        first_stage = self._build_first_stage(context, rhs)
        run_middle = self._build_chain(backend, rhs, middle)
        alloc_rhs = context.allocator("stage_rhs")
        alloc_accumulator = context.allocator("stage_accumulator")
        solve = self._build_solution(backend, rhs, stages)
        estimate = self._build_error(backend)
        enter_stages, enter_solution = context.phase("stages"), context.phase("solution")
        enter_error = context.phase("error_estimate")

        def step(memory, launch, t, h, state, parameters, proposed):
            stage_rhs = alloc_rhs(memory, None)
            accumulator = alloc_accumulator(memory, None)
            first_stage(memory, t, state, parameters, stage_rhs)
            enter_stages(memory)
            run_middle(t, h, state, parameters, accumulator, stage_rhs)
            enter_solution(memory)
            solve(t, h, state, parameters, proposed.state, stage_rhs)
            enter_error(memory)
            estimate(h, stage_rhs, proposed.error)
            return select(t == t, 0, 0)  # there is nothing to solve

        return step

    def _build_first_stage(self, context: BuildContext, rhs: Callable) -> Callable:
        """Evaluate the first derivative, or take it from the step before."""
        backend, n, offset = context.backend, self.n_states, self.slots[0] * self.n_states
        enter = context.phase("first_stage")
        if not self.tableau.fsal:

            def evaluate(memory, t, state, parameters, stage_rhs):
                enter(memory)
                rhs(t, state, parameters, stage_rhs, offset)

            return backend.device(evaluate)

        alloc_cache = context.allocator("stage_cache")

        def recall(memory, t, state, parameters, stage_rhs):
            enter(memory)
            cache = alloc_cache(memory, None)
            for i in range(n):
                stage_rhs[offset + i] = cache[i]

        return backend.device(recall)

    def _build_stage(self, backend: Backend, rhs: Callable, stage: _Stage) -> Callable:
        """Form a stage's argument and evaluate the right-hand side there."""
        n, c, offset = self.n_states, backend.constant(stage.c), stage.slot * self.n_states
        total = backend.weighted_sum(self._terms(stage.weights))

        def evaluate(t, h, state, parameters, argument, stage_rhs):
            for i in range(n):
                argument[i] = state[i] + h * total(stage_rhs, i)
            rhs(t + c * h, argument, parameters, stage_rhs, offset)

        return backend.device(evaluate)

    def _build_chain(self, backend: Backend, rhs: Callable, stages: list[_Stage]) -> Callable:
        """Compose stages into one function that runs them in order."""
        return in_turn(backend, [self._build_stage(backend, rhs, stage) for stage in stages], 6)

    def _build_solution(self, backend: Backend, rhs: Callable, stages: list[_Stage]) -> Callable:
        """Write the proposed state: with FSAL it is the last stage's argument."""
        if self.tableau.fsal:
            return self._build_stage(backend, rhs, stages[-1])
        n, total = self.n_states, backend.weighted_sum(self._terms(self.tableau.b))

        def solve(t, h, state, parameters, proposed_state, stage_rhs):
            for i in range(n):
                proposed_state[i] = state[i] + h * total(stage_rhs, i)

        return backend.device(solve)

    def _build_error(self, backend: Backend) -> Callable:
        """Write the error estimates one after the other: n elements each."""
        n = self.n_states
        estimates = [self.tableau.error_weights, self.tableau.error_weights_low]
        totals = [backend.weighted_sum(self._terms(w)) for w in estimates if w is not None]

        def nothing(h, stage_rhs, error):
            pass

        def one(h, stage_rhs, error):
            for i in range(n):
                error[i] = h * first(stage_rhs, i)

        def two(h, stage_rhs, error):
            for i in range(n):
                error[i] = h * first(stage_rhs, i)
                error[n + i] = h * second(stage_rhs, i)

        if not totals:
            return backend.device(nothing)
        first, second = totals[0], totals[-1]
        return backend.device(one if len(totals) == 1 else two)

    def _build_commit(self, context: BuildContext) -> Callable:
        enter = context.phase("commit")
        if not self.tableau.fsal:

            def nothing_to_commit(memory, accept):
                enter(memory)

            return nothing_to_commit

        n = self.n_states
        first, last = self.slots[0] * n, self.slots[-1] * n
        alloc_rhs, alloc_cache = context.allocator("stage_rhs"), context.allocator("stage_cache")

        def commit(memory, accept):
            enter(memory)
            stage_rhs = alloc_rhs(memory, None)
            cache = alloc_cache(memory, None)
            for i in range(n):
                cache[i] = select(accept, stage_rhs[last + i], stage_rhs[first + i])

        return commit
