"""Explicit Runge-Kutta steps (Hairer, Norsett & Wanner I, II.1), embedded or not, FSAL or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from attrs import frozen

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.explicit_storage import explicit_storage
from cubie.algorithms.stage_slots import build_start, build_sums, offsets, slot_terms
from cubie.backend import Backend, in_turn, select
from cubie.factory import BuildContext
from cubie.tableaus import ERKTableau
from cubie_planner import Alias


@frozen
class _Stage:
    """One stage as data: when it is evaluated, what its argument is made of, where it goes.

    `terms`: offset and weight of what its argument adds to the state. `sums`: offset and terms of
    sums that are made where its argument is formed.
    """

    c: float
    terms: list[tuple[int, float]]
    slot: int
    sums: tuple[tuple[int, list[tuple[int, float]]], ...] = ()


class ERKStep(StepAlgorithm):
    """One step of an explicit Runge-Kutta method; every stage is the same function."""

    tableau: ERKTableau
    # As SciPy's and most explicit codes do.
    default_controller = "i"
    phases = (
        "start", "first_stage", "stages", "solution", "error_estimate", "inside", "commit",
    )  # fmt: skip
    stages_in = ("stage_rhs", True)
    shows_rate: ClassVar[bool] = False  # `build_rate` is asked for
    entries = {  # noqa: RUF012
        "start": ("start",),
        "step": ("first_stage", "stages", "solution", "error_estimate"),
        "inside": ("inside",),
        "commit": ("commit",),
    }

    @classmethod
    def is_memoryless(cls, tableau: ERKTableau) -> bool:
        return not tableau.fsal

    @classmethod
    def always_succeeds(cls, tableau: ERKTableau) -> bool:
        return True

    def _compose(self) -> None:
        tableau = self.tableau
        estimates = (tableau.error_weights, tableau.error_weights_low)
        self.n_error_estimates = sum(weights is not None for weights in estimates)
        self.rhs_per_start = int(tableau.fsal)
        self.rhs_per_step = tableau.n_stages - int(tableau.fsal)
        # What tells the largest rate is read after the step, and so may the solution inside it be.
        last_two = [0.0] * (tableau.n_stages - 2) + [1.0, 1.0]
        also = (*tableau.a[-2:], last_two) if self.shows_rate else ()
        self.storage = explicit_storage(tableau, [*self._kept_rows(), *also])
        self.slots = self.storage.slots
        # Stages that points inside alone need come after those of the step.
        first = self.storage.n_slots
        added = tableau.dense.nodes if self.is_read else ()
        self.added_slots = tuple(range(first, first + len(added)))
        self.rhs_per_reading = len(added)
        self._register_buffers()
        during = ("start", "first_stage", "stages", "solution")
        during = (*during, "inside") if self.added_slots else during
        self.add_child(self.system, during=during)

    def _register_buffers(self) -> None:
        n, fsal = self.n_states, self.tableau.fsal
        self.carried = (("stage_cache", 1),) if fsal else ()
        self.register_buffer(
            "stage_rhs",
            size=(self.storage.n_slots + len(self.added_slots)) * n,
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
            aliases=(Alias("stage_rhs", self._byte(self.slots[0])), Alias("stage_accumulator", 0)),
            access_weight=2.0,
        )

    def _byte(self, slot: int) -> int:
        """Return where a slot begins in `stage_rhs`."""
        return slot * self.n_states * self.buffer_registry.dtype.itemsize

    @property
    def result_aliases(self) -> tuple[tuple[Alias, ...], tuple[Alias, ...]]:
        slots = (self.storage.solution, self.storage.errors)
        places = [() if slot is None else (self._byte(slot),) for slot in slots]
        solution, errors = (
            tuple(Alias("stage_rhs", byte, across_frames=True) for byte in place)
            for place in places
        )
        return solution, errors

    def facts(self) -> tuple:
        t, storage = self.tableau, self.storage
        return (
            t.a, t.b, t.c, t.error_weights, t.error_weights_low, t.fsal, self.n_states, self.slots,
            [(storage.argument(i), storage.sums_before(i)) for i in range(t.n_stages)],
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
        storage, n = self.storage, self.n_states

        def stage(i: int, c: float) -> _Stage:
            made = ((slot * n, offsets(terms, n)) for slot, terms in storage.sums_before(i))
            return _Stage(c, offsets(storage.argument(i), n), self.slots[i], tuple(made))

        return [stage(i, c) for i, c in enumerate(self.tableau.c)]

    def _terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        slots = (*self.slots, *self.added_slots)[: len(weights)]
        return slot_terms(slots, self.n_states, weights)

    _stage_terms = _terms

    def _build_added_stages(self, context: BuildContext) -> Callable:
        rhs, dense = self.child_functions(context, "system"), self.tableau.dense
        terms = map(self._terms, dense.rows)
        added = zip(dense.nodes, terms, self.added_slots, strict=True)
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

    def _build_stage(
        self, backend: Backend, rhs: Callable, stage: _Stage, is_solution: bool = False
    ) -> Callable:
        """Form a stage's argument and evaluate the right-hand side there.

        The argument may be the proposed state, which is carried on.
        """
        n, c, offset = self.n_states, backend.constant(stage.c), stage.slot * self.n_states
        total, gather = backend.weighted_sum(stage.terms), build_sums(backend, stage.sums)
        moved = None if is_solution else backend.moved_along(stage.terms, n)

        def evaluate(t, h, state, parameters, argument, stage_rhs):
            for i in range(n):
                value = state[i] + h * total(stage_rhs, i)
                gather(stage_rhs, i)
                argument[i] = value
            rhs(t + c * h, argument, parameters, stage_rhs, offset)

        def evaluate_moved(t, h, state, parameters, argument, stage_rhs):
            for i in range(n):
                value = moved(state, h, stage_rhs, i)  # pyright: ignore[reportOptionalCall]
                gather(stage_rhs, i)
                argument[i] = value
            rhs(t + c * h, argument, parameters, stage_rhs, offset)

        made = evaluate if moved is None else evaluate_moved
        numbers = self.storage.n_slots + 2  # and state and argument
        return backend.unrolled(made, numbers * n, self.storage.n_terms * n)

    def _build_chain(self, backend: Backend, rhs: Callable, stages: list[_Stage]) -> Callable:
        """Compose stages into one function that runs them in order."""
        return in_turn(backend, [self._build_stage(backend, rhs, stage) for stage in stages], 6)

    def _build_solution(self, backend: Backend, rhs: Callable, stages: list[_Stage]) -> Callable:
        """Write the proposed state: with FSAL it is the last stage's argument."""
        if self.tableau.fsal:
            return self._build_stage(backend, rhs, stages[-1], is_solution=True)
        n, row = self.n_states, self.storage.rows[0]
        total = backend.weighted_sum(offsets(self.storage.terms(row), n))

        def solve(t, h, state, parameters, proposed_state, stage_rhs):
            for i in range(n):
                proposed_state[i] = state[i] + h * total(stage_rhs, i)

        return backend.device(solve)

    def _build_error(self, backend: Backend) -> Callable:
        """Write the error estimates one after the other: n elements each."""
        n, storage = self.n_states, self.storage
        totals = [backend.weighted_sum(offsets(storage.terms(row), n)) for row in storage.of_errors]

        def nothing(h, stage_rhs, error):
            pass

        def one(h, stage_rhs, error):
            for i in range(n):
                error[i] = h * first(stage_rhs, i)

        def two(h, stage_rhs, error):
            for i in range(n):
                # Both may lie where the derivatives do that they are made of.
                one_of_two, other = h * first(stage_rhs, i), h * second(stage_rhs, i)
                error[i] = one_of_two
                error[n + i] = other

        if not totals:
            return backend.device(nothing)
        first, second = totals[0], totals[-1]
        return backend.device(one if len(totals) == 1 else two)

    def build_rate(self, context: BuildContext, scale: Callable) -> Callable:
        """Return ``rate(memory, launch, h, state, solution)``, between `step` and `commit`.

        The square of h times the largest rate of the system, as the last two stages show it, which
        are both at the step's end (Hairer & Wanner II, IV.2): the difference of their derivatives
        over that of their arguments. `scale` is that of `build_scale`.
        """
        backend, n, allocate = context.backend, self.n_states, context.allocator("stage_rhs")
        last, other = self.slots[-1] * n, self.slots[-2] * n
        pairs = zip(self.tableau.a[-1], self.tableau.a[-2], strict=True)
        apart = backend.weighted_sum(self._terms([a - b for a, b in pairs]))
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def rate(memory, launch, h, state, solution):
            stage_rhs = allocate(memory, None)
            slopes, arguments = h * zero, h * zero
            for i in range(n):
                weight = scale(launch, i, state[i], solution[i])
                slope = (stage_rhs[last + i] - stage_rhs[other + i]) / weight
                argument = apart(stage_rhs, i) / weight
                slopes, arguments = slopes + slope * slope, arguments + argument * argument
            return select(arguments > zero, slopes / select(arguments > zero, arguments, one), zero)

        return backend.device(rate)

    def build_resume(self, context: BuildContext) -> Callable:
        """Return ``resume(memory, mask, slopes)``, after `commit`, of an FSAL method.

        In the lanes of a mask the next step's first derivative is that of a buffer.
        """
        n, alloc_cache = self.n_states, context.allocator("stage_cache")

        def resume(memory, mask, slopes):
            cache = alloc_cache(memory, None)
            for i in range(n):
                cache[i] = select(mask, slopes[i], cache[i])

        return context.backend.called(context.path, ("commit",), context.backend.device(resume))

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
