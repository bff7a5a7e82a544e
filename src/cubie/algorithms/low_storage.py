"""Explicit Runge-Kutta steps in 2N storage (Williamson, 1980, eq. 5): no derivative is kept.

The proposed state is the argument of every stage. Beside it there is one vector: the derivative of
a stage is added to a multiple of what that holds, element by element as it is evaluated. The error
estimate is summed up on the way. See `cubie.tableaus.two_registers`.
"""

from collections.abc import Callable
from itertools import compress

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.backend import Backend, in_turn, select
from cubie.factory import BuildContext
from cubie.tableaus import ERKTableau


class LowStorageStep(StepAlgorithm):
    """One step of an explicit method that has a form in two vectors.

    Nothing is left of its stages when it ends: it is not asked for the solution inside it.
    """

    tableau: ERKTableau
    # As of other explicit steps.
    default_controller = "i"
    phases = ("start", "first_stage", "error_estimate", "solution", "inside", "commit")
    entries = {  # noqa: RUF012
        "start": ("start",),
        "step": ("first_stage", "error_estimate", "solution"),
        "inside": ("inside",),
        "commit": ("commit",),
    }

    @classmethod
    def is_memoryless(cls, tableau: ERKTableau) -> bool:
        return True

    def _compose(self) -> None:
        form = self.tableau.two_registers
        assert form is not None  # as `RunSettings` has it
        self.form = form
        self.rhs_per_start, self.rhs_per_step = 0, form.n_stages + bool(form.end_weight)
        self.register_buffer(
            "stage_sum",
            size=self.n_states,
            phases=(("first_stage", "solution"),),
            access_weight=4.0 * form.n_stages,
        )
        # Where a derivative goes that cannot be added as it is evaluated.
        self.register_buffer(
            "stage_rhs",
            size=self.n_states,
            phases=("solution",),
            enabled=not self.system.adds and form.n_stages > 1,
            access_weight=2.0 * form.n_stages,
        )
        self.add_child(self.system, during=("first_stage", "solution"))

    def facts(self) -> tuple:
        return self.form, self.tableau.c, self.n_states, self.system.adds

    def build(self, context: BuildContext) -> StepFunctions:
        device = context.backend.device
        enter_start, enter_commit = context.phase("start"), context.phase("commit")

        def nothing_to_start(memory, fresh, t, state, parameters):
            enter_start(memory)

        def nothing_to_commit(memory, accept):
            enter_commit(memory)

        return StepFunctions(
            start=device(nothing_to_start),
            step=device(self._build_step(context)),
            commit=device(nothing_to_commit),
        )

    def _build_step(self, context: BuildContext) -> Callable:
        backend, stages = context.backend, range(1, self.form.n_stages)
        rhs = self.child_functions(context, "system")
        begin, add = self._build_begin(backend), self._build_add(context, rhs)
        go_on = in_turn(backend, [self._build_stage(backend, add, i) for i in stages], 7)
        end = self._build_end(backend, rhs)
        alloc_sum, alloc_rhs = context.allocator("stage_sum"), context.allocator("stage_rhs")
        enter_first, enter_error = context.phase("first_stage"), context.phase("error_estimate")
        enter_solution = context.phase("solution")

        def step(memory, launch, t, h, state, parameters, proposed):
            stage_sum, stage_rhs = alloc_sum(memory, None), alloc_rhs(memory, None)
            enter_first(memory)
            rhs(t, state, parameters, stage_sum, 0)
            enter_error(memory)
            enter_solution(memory)
            begin(h, state, stage_sum, proposed)
            go_on(t, h, parameters, stage_sum, stage_rhs, proposed.state, proposed.error)
            end(t, h, parameters, stage_sum, proposed)
            return select(t == t, 0, 0)  # there is nothing to solve

        return step

    def _build_begin(self, backend: Backend) -> Callable:
        """Form the second stage's argument where the sum is the first derivative itself."""
        n, weight = self.n_states, backend.constant(self.form.weights[0])
        note = self._build_note(backend, 0)

        def begin(h, state, stage_sum, proposed):
            argument, error, of_step = proposed.state, proposed.error, h * weight
            for i in range(n):
                total = stage_sum[i]
                note(h, total, error, i)
                argument[i] = state[i] + of_step * total

        return backend.device(begin)

    def _build_stage(self, backend: Backend, add: Callable, stage: int) -> Callable:
        """Add a stage's derivative to the sum, and the sum to the argument."""
        n, factor = self.n_states, backend.constant(self.form.factors[stage])
        c, weight = (backend.constant(x[stage]) for x in (self.tableau.c, self.form.weights))
        note = self._build_note(backend, stage)

        def run_stage(t, h, parameters, stage_sum, stage_rhs, argument, error):
            add(t + c * h, argument, parameters, stage_sum, stage_rhs, factor)
            of_step = h * weight
            for i in range(n):
                total = stage_sum[i]
                note(h, total, error, i)
                argument[i] = argument[i] + of_step * total

        return backend.device(run_stage)

    def _build_add(self, context: BuildContext, rhs: Callable) -> Callable:
        """Return ``add(t, y, parameters, stage_sum, stage_rhs, factor)``."""
        backend, n = context.backend, self.n_states
        if self.system.adds:
            add_to = self.system.build_adding(context)

            def add(t, y, parameters, stage_sum, stage_rhs, factor):
                add_to(t, y, parameters, stage_sum, 0, factor)

            return backend.device(add)

        def evaluate_and_add(t, y, parameters, stage_sum, stage_rhs, factor):
            rhs(t, y, parameters, stage_rhs, 0)
            for i in range(n):
                stage_sum[i] = factor * stage_sum[i] + stage_rhs[i]

        return backend.device(evaluate_and_add)

    def _build_end(self, backend: Backend, rhs: Callable) -> Callable:
        """Evaluate the derivative at the end of the step, where the error estimate takes it."""
        n, note = self.n_states, self._build_note(backend, self.form.n_stages)

        def nothing(t, h, parameters, stage_sum, proposed):
            pass

        def evaluate(t, h, parameters, stage_sum, proposed):
            rhs(t + h, proposed.state, parameters, stage_sum, 0)
            error = proposed.error
            for i in range(n):
                note(h, stage_sum[i], error, i)

        return backend.device(evaluate if self.form.end_weight else nothing)

    def _build_note(self, backend: Backend, stage: int) -> Callable:
        """Return ``note(h, total, error, i)``: add the sum of a stage to the error estimate.

        The first that has a weight is written; with the last one it is taken times h. Behind the
        stages comes the derivative at the end of the step.
        """
        of_sums = self.form.error_weights or (0.0,) * self.form.n_stages
        weights = (*of_sums, self.form.end_weight)
        weighed = list(compress(range(len(weights)), weights))
        weight = backend.constant(weights[stage])

        def nothing(h, total, error, i):
            pass

        def write(h, total, error, i):
            error[i] = weight * total

        def add(h, total, error, i):
            error[i] = error[i] + weight * total

        def end(h, total, error, i):
            error[i] = h * (error[i] + weight * total)

        def write_and_end(h, total, error, i):
            error[i] = h * (weight * total)

        if stage not in weighed:
            return backend.device(nothing)
        is_first, is_last = stage == weighed[0], stage == weighed[-1]
        chosen = ((add, end), (write, write_and_end))[is_first][is_last]
        return backend.device(chosen)
