"""Steps of variable order from backward differences (Shampine & Reichelt, SIAM J. Sci. Comput. 18
(1997) 1-22): the numerical differentiation formulas, of equal steps until a change pays.

A step that is cut short to land on a time is no shorter in the formula. The polynomial through the
points before is looked at from where a whole step leads to that time, and the step is taken from
there: the differences stay those of equal steps, and nothing has to be extrapolated afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from attrs import frozen

from cubie.algorithms.contract import StepFunctions
from cubie.algorithms.difference_polynomial import (
    Allocators,
    build_inside_of,
    build_reading_of,
)
from cubie.algorithms.differences import build_extend, build_lookup, build_rescale, build_shift
from cubie.algorithms.implicit import ImplicitStep, build_failure
from cubie.algorithms.order_choice import (
    ABOVE,
    BELOW,
    FACTOR,
    FOLLOWING,
    LANDS_EARLY,
    N_PROGRESS,
    ORDER,
    SHIFT,
    SPACING,
    Corrections,
    MultistepSettings,
    build_control,
    build_is_due,
    build_neighbours,
)
from cubie.algorithms.reading import ReadingFunctions
from cubie.backend import absolute, any_lane, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, Matrix
from cubie.solvers.newton_contract import Stage
from cubie.tableaus import MultistepMethod

# A step differs from the size that differences are of by no more than this where only the clock
# rounded it: the solution is then as exact as its time.
SAME_SIZE = 2.0**-36
# With fewer states a Jacobian and its factors take no longer than the decision to keep them.
FEWEST_KEPT = 10


@frozen
class DifferenceEquation:
    """``f(t, predicted + d) - shift M (sum + d) = 0`` for the correction d.

    The predicted state is that of the `Stage`, the weighted sum of differences its base.
    """

    n_states: int
    couples_stages = False

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        place = context.backend.device(self.build_place(context))

        def evaluate(stage, argument, out):
            t = place(stage, argument)
            rhs(t, argument, stage.parameters, out, 0)
            add_mass(-stage.shift, stage.base, 0, out, 0)
            add_mass(-stage.shift, stage.increment, 0, out, 0)

        return evaluate

    def build_place(self, context: BuildContext) -> Callable:
        n = self.n_states

        def place(stage, out):
            predicted, correction = stage.state, stage.increment
            for i in range(n):
                out[i] = predicted[i] + correction[i]
            return stage.t

        return place


class MultistepStep(ImplicitStep):
    """One step of backward differentiation, of the order that the lane has come to.

    `start` takes the derivative at the start for the first difference. With a mass matrix, which
    may be singular, it is taken to be zero: what the first step corrects is then all of it.
    """

    Settings = MultistepSettings
    tableau: MultistepMethod
    # The solution is first predicted, where it will be.
    phases = (
        "restore", "start", "solution", "prepare", "stages", "error_estimate", "control",
        "inside", "commit",
    )  # fmt: skip
    entries = {  # noqa: RUF012
        "restore": ("restore",),
        "start": ("start",),
        "step": ("solution", "prepare", "stages", "error_estimate"),
        "control": ("control",),
        "inside": ("inside",),
        "commit": ("commit",),
    }
    counted_in = "error_estimate"

    def _compose(self) -> None:
        self.rhs_per_start, self.rhs_per_step = int(self.no_mass), 0
        self.rhs_per_iteration = 1
        self._add_newton(DifferenceEquation(self.n_states), Blocks(self.n_states))
        self.add_child(self.system, during="start")
        self._register_buffers()

    def _register_buffers(self) -> None:
        n, order = self.n_states, self.tableau.order
        self.carried = (("differences", order), ("previous_correction", 1))
        # Rows of differences; the correction, which is that of one order more, and that before it.
        self.register_buffer("differences", order * n, persistent=True, access_weight=4.0 * order)
        self.register_buffer(
            "correction",
            n,
            phases=("start", ("solution", "commit")),
            persistent=True,
            access_weight=10.0,
        )
        self.register_buffer("previous_correction", n, persistent=True, access_weight=2.0)
        self.register_buffer("multistep_progress", N_PROGRESS, persistent=True, access_weight=4.0)
        self.register_buffer(
            "difference_sum", n, phases=(("solution", "stages"),), access_weight=8.0
        )
        self.register_buffer(
            "difference_weights", 2 * order, phases=("solution", "commit"), access_weight=2.0
        )
        self.register_buffer(
            "correction_powers", order, phases=("inside",), enabled=self.is_recorded
        )

    @property
    def reuses_by_default(self) -> bool:
        return self.n_states >= FEWEST_KEPT

    @property
    def coefficients(self) -> tuple:
        return self.tableau.gamma, self.tableau.alpha, self.tableau.error_constants

    def facts(self) -> tuple:
        return (*super().facts(), self.per_component, self.is_recorded, SAME_SIZE, LANDS_EARLY)

    @property
    def n_pieces(self) -> int:
        return self.tableau.order - 2

    def build(self, context: BuildContext) -> StepFunctions:
        device, settings = context.backend.device, cast(MultistepSettings, self.settings)
        functions = StepFunctions(
            start=device(self._build_start(context)),
            step=device(self._build_step(context)),
            commit=device(self._build_commit(context)),
            control=build_control(
                context,
                self.tableau,
                settings,
                context.allocator("multistep_progress"),
                self.system.own_clock,
                self.child_functions(context, "newton").retries,
            ),
        )
        return self._with_newton(context, functions)

    def build_inside(self, context: BuildContext, theta: float) -> Callable:
        anywhere, at = self._build_anywhere(context), context.backend.constant(theta)

        def inside(memory, h, state, i):
            return anywhere(memory, at, state, i)

        return context.backend.device(inside)

    @property
    def n_coefficients(self) -> int:
        # The differences are what there is to know; as powers it is for others.
        return len(self.centres) if self.is_recorded else 0

    @property
    def centres(self) -> tuple[float, ...]:
        return (0.0,) * self.tableau.order  # by powers

    def build_reading(self, context: BuildContext, first: int = 0) -> ReadingFunctions:
        of = self.tableau.order, self.n_states, first, self._allocators(context)
        return build_reading_of(context, *of, "correction_powers" if self.is_recorded else None)

    def _allocators(self, context: BuildContext) -> Allocators:
        names = ("differences", "correction", "multistep_progress")
        return Allocators(*(context.allocator(name) for name in names))

    def _build_anywhere(self, context: BuildContext) -> Callable:
        allocators, order = self._allocators(context), self.tableau.order
        return build_inside_of(context.backend, order, self.n_states, allocators)

    def _build_start(self, context: BuildContext) -> Callable:
        backend, n, size = context.backend, self.n_states, self.tableau.order * self.n_states
        slope, enter = self._build_first_slope(context), context.phase("start")
        alloc_differences = context.allocator("differences")
        alloc_correction = context.allocator("correction")
        alloc_previous = context.allocator("previous_correction")
        alloc_progress = context.allocator("multistep_progress")
        zero, one, n_progress = backend.constant(0.0), backend.constant(1.0), N_PROGRESS

        def start(memory, fresh, t, state, parameters):
            enter(memory)
            differences, correction = (
                alloc_differences(memory, None),
                alloc_correction(memory, None),
            )
            previous, progress = alloc_previous(memory, None), alloc_progress(memory, None)
            slope(t, state, parameters, correction)
            for i in range(size):
                differences[i] = select(fresh, zero, differences[i])
            for i in range(n):
                differences[i] = select(fresh, correction[i], differences[i])
                previous[i] = select(fresh, zero, previous[i])
            for k in range(n_progress):
                progress[k] = select(fresh, zero, progress[k])
            progress[ORDER] = select(fresh, one, progress[ORDER])

        return start

    def _build_first_slope(self, context: BuildContext) -> Callable:
        """Write the derivative at the start of a run, zero where it would have to be solved for."""
        backend, n = context.backend, self.n_states
        rhs, zero = self.child_functions(context, "system"), backend.constant(0.0)

        def derivative(t, state, parameters, out):
            rhs(t, state, parameters, out, 0)

        def unknown(t, state, parameters, out):
            for i in range(n):
                out[i] = t * zero

        return backend.device(derivative if self.no_mass else unknown)

    def _build_step(self, context: BuildContext) -> Callable:
        backend, method = context.backend, self.tableau
        newton = self.child_functions(context, "newton")
        predict, alpha = self._build_predict(context), build_lookup(backend, method.alpha)
        estimate = self._build_estimate(context)
        alloc_differences = context.allocator("differences")
        alloc_correction = context.allocator("correction")
        alloc_progress = context.allocator("multistep_progress")
        alloc_sum = context.allocator("difference_sum")
        enter_solution, enter_prepare = context.phase("solution"), context.phase("prepare")
        enter_stages, enter_error = context.phase("stages"), context.phase("error_estimate")
        prepare, solve, n = newton.prepare, newton.solve, self.n_states
        first_eta, settle, zero = newton.first_eta, newton.settle, backend.constant(0.0)
        failure = build_failure(backend, persists=False)

        def step(memory, launch, t, h, state, parameters, proposed):
            enter_solution(memory)
            differences, correction = (
                alloc_differences(memory, None),
                alloc_correction(memory, None),
            )
            progress, total = alloc_progress(memory, None), alloc_sum(memory, None)
            predicted = proposed.state
            predict(memory, h, state, progress, differences, total, predicted)
            for i in range(n):
                correction[i] = h * zero
            shift = alpha(progress[ORDER]) / progress[SPACING]
            matrix = Matrix(t + h, shift, predicted, parameters)
            enter_prepare(memory)
            regular = prepare(memory, launch, matrix, h)
            enter_stages(memory)
            stage = Stage(t + h, h, shift, predicted, parameters, total, correction)
            solved, eta, iterations, linear = solve(
                memory, launch, matrix, stage, first_eta(memory, h), regular
            )
            enter_error(memory)
            for i in range(n):
                predicted[i] = predicted[i] + correction[i]
            estimate(memory, launch, state, predicted, progress, proposed.error)
            proposed.counters[0], proposed.counters[1] = iterations, linear
            settle(memory, h, solved, eta, iterations, proposed.counters)
            return failure(regular, solved)

        return step

    def _build_predict(self, context: BuildContext) -> Callable:
        """Extrapolate the differences by a step, and add up what the formula takes of them."""
        backend, n, method = context.backend, self.n_states, self.tableau
        shift = self._build_shift(context)
        rows = [m * n for m in range(method.order)]
        ahead = backend.weighted_sum([(row, 1.0) for row in rows])
        behind = backend.weighted_sum(list(zip(rows, method.gamma, strict=True)))
        over_alpha = build_lookup(backend, [1.0 / alpha for alpha in method.alpha])
        zero, one, same = backend.constant(0.0), backend.constant(1.0), self._same_size(context)

        def predict(memory, h, state, progress, differences, total, predicted):
            first = progress[SPACING] == zero
            size = select(first, h, progress[SPACING])
            progress[SPACING] = size
            for i in range(n):
                differences[i] = select(first, h * differences[i], differences[i])
                predicted[i] = state[i]
            sigma = h / size - one
            sigma = select(absolute(sigma) > same, sigma, h * zero)
            progress[SHIFT] = sigma
            if any_lane(sigma != zero):
                shift(memory, sigma, differences, predicted)
            scale = over_alpha(progress[ORDER])
            for i in range(n):
                total[i] = scale * behind(differences, i)
                predicted[i] = predicted[i] + ahead(differences, i)

        return backend.device(predict)

    def _build_shift(self, context: BuildContext) -> Callable:
        shift = build_shift(context.backend, self.n_states, self.tableau.order)
        alloc_weights = context.allocator("difference_weights")

        def shift_differences(memory, sigma, differences, value):
            shift(sigma, differences, value, alloc_weights(memory, None))

        return context.backend.one_copy(shift_differences)

    def _build_rescale(self, context: BuildContext) -> Callable:
        rescale = build_rescale(context.backend, self.n_states, self.tableau.order)
        alloc_weights = context.allocator("difference_weights")

        def rescale_differences(memory, factor, differences):
            rescale(factor, differences, alloc_weights(memory, None))

        return context.backend.one_copy(rescale_differences)

    def _same_size(self, context: BuildContext) -> Any:
        rounding = 4.0 * float(np.finfo(context.backend.dtype).eps)
        return context.backend.constant(max(SAME_SIZE, rounding))

    def _build_estimate(self, context: BuildContext) -> Callable:
        """Write the error estimate; where another order may follow, measure those beside too."""
        backend, n = context.backend, self.n_states
        alloc_differences = context.allocator("differences")
        alloc_correction = context.allocator("correction")
        alloc_previous = context.allocator("previous_correction")
        constant = build_lookup(backend, self.tableau.error_constants)
        is_due = build_is_due(context)
        neighbours = build_neighbours(context, self.tableau, n, self.per_component)

        def estimate(memory, launch, state, solution, progress, error):
            differences, correction = (
                alloc_differences(memory, None),
                alloc_correction(memory, None),
            )
            previous = alloc_previous(memory, None)
            scale = constant(progress[ORDER])
            for i in range(n):
                error[i] = scale * correction[i]
            _, due = is_due(progress)
            if any_lane(due):
                buffers = Corrections(differences, correction, previous)
                below, above = neighbours(launch, state, solution, progress, buffers)
                progress[BELOW] = select(due, below, progress[BELOW])
                progress[ABOVE] = select(due, above, progress[ABOVE])

        return backend.device(estimate)

    def _build_commit(self, context: BuildContext) -> Callable:
        backend, n, order = context.backend, self.n_states, self.tableau.order
        extend = build_extend(backend, n, order)
        rescale, shift = self._build_rescale(context), self._build_shift(context)
        alloc_differences = context.allocator("differences")
        alloc_correction = context.allocator("correction")
        alloc_previous = context.allocator("previous_correction")
        alloc_progress = context.allocator("multistep_progress")
        enter, zero, one = context.phase("commit"), backend.constant(0.0), backend.constant(1.0)

        def commit(memory, accept):
            enter(memory)
            differences, correction = (
                alloc_differences(memory, None),
                alloc_correction(memory, None),
            )
            previous, progress = alloc_previous(memory, None), alloc_progress(memory, None)
            sigma = progress[SHIFT]
            back = select(accept, sigma * zero, -sigma)
            if any_lane(back != zero):
                shift(memory, back, differences, correction)
            extend(accept, progress[FOLLOWING], correction, differences)
            for i in range(n):
                previous[i] = select(accept, correction[i], previous[i])
            progress[ORDER] = select(accept, progress[FOLLOWING], progress[ORDER])
            factor = progress[FACTOR]
            if any_lane(factor != one):
                rescale(memory, factor, differences)
                progress[SPACING] = progress[SPACING] * factor

        return commit
