"""Simplified Newton iteration with convergence-rate control (Hairer & Wanner II, IV.8).

The matrix is that of the step's start; the linear systems may be solved inexactly. Every lane
stops by itself, and what a lane that stopped holds no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from attrs import field, frozen

from cubie.backend import Backend, absolute, any_lane, maximum, select, square_root
from cubie.backend.power import build_exp2, build_log2
from cubie.error_norm import build_scale
from cubie.errors import InvalidOption
from cubie.factory import BuildContext, CUDAFactory
from cubie.solvers import second_look, stage_jacobians
from cubie.solvers.contract import Blocks, LinearSolver
from cubie.systems.component import SystemComponent
from cubie_planner import Alias

# With algebraic equations the second change tells little of the rate: the first one is mostly the
# linear part of a jump. The rate that it shows counts as at least this.
SMALLEST_FIRST_RATE = 1.0
# Steps do not damp what is left in algebraic equations: they are solved so much more exactly.
ALGEBRAIC_TOLERANCE = 0.1
# Errors of so many units of rounding are not worth an iteration.
ROUNDING = 10.0


def _tolerance(instance, attribute, value):
    if not (isinstance(value, (int, float)) and 0.0 < value <= 1.0):
        raise InvalidOption(attribute.name, value, advice="It must be above 0 and at most 1.")


def _iterations(instance, attribute, value):
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise InvalidOption(attribute.name, value, advice="It must be an int from 1 to 1000.")


@frozen
class NewtonSettings:
    """Options of Newton's method.

    Attributes
    ----------
    newton_tolerance : float
        Error that may be left in a stage, as a fraction of the error allowed in a step.
    max_newton_iterations : int
        A step that needs more is rejected.
    weigh_increments : bool
        Weigh a state of zero by where it goes: without an absolute tolerance no change of it would
        be small. Set by the solver where there is none, since it takes a few percent.
    """

    newton_tolerance: float = field(default=0.01, validator=_tolerance)
    max_newton_iterations: int = field(default=10, validator=_iterations)
    weigh_increments: bool = False


@frozen
class NewtonFunctions:
    """Device functions of Newton's method.

    Attributes
    ----------
    prepare : callable
        ``prepare(shared, persistent, inputs, run, n_runs, t, shift, state, parameters)
        -> regular``: builds the matrix at the step's start; the mask tells where it can be solved
        with.
    solve : callable
        ``solve(shared, persistent, inputs, run, n_runs, t, t_stage, h, shift, state,
        parameters, base, increment, eta) -> (solved, eta, iterations, linear)``:
        improves `increment` (N,) until the equations hold. t, shift, state and
        parameters are those of `prepare`; `t_stage` and `base` are for the equations.
        `eta` estimates how much of the last change is left as error, from equations
        solved before (1 at first). `iterations` are those taken (int32 lanes), `linear`
        those of the linear solver in them.
    again : callable
        ``again(shared, persistent, inputs, run, n_runs, t, t_stage, h, shift, state, parameters,
        base, increment, solved, iterations, linear) -> (solved, iterations, linear)``, after
        `solve`: where no smaller step will be tried, equations that are not solved are looked at
        again.
    filter : callable or None
        ``filter(shared, persistent, inputs, run, n_runs, t, shift, state, parameters, rhs, x)
        -> solved``: solves once with the filter's block, for the n elements of x, which may be
        `rhs`.
    """

    prepare: Callable
    solve: Callable
    again: Callable
    filter: Callable | None


class Equations(Protocol):
    """The nonlinear equations of one stage, or of all; its `repr` tells all that it computes."""

    @property
    def couples_stages(self) -> bool:
        """Whether they are those of all stages."""
        ...

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        """Return ``evaluate(t, h, shift, state, p, base, increment, argument, temp, out)``.

        It stores the residual, the right-hand side of the linear system for the next change, in
        `out` (N,). Scratch of n elements: `argument`, and `temp` where stages are coupled; what
        `base` is, is between the equations and the step.
        """
        ...

    def build_place(self, context: BuildContext) -> Callable:
        """Return ``place(t, h, state, base, increment, out) -> t``.

        It stores in `out` (n,) where the right-hand side is evaluated, or the middle of where it
        is, and returns the time there.
        """
        ...


def forward(prepare: Callable) -> Callable:
    """Return a function of its own that calls `prepare`."""

    def build_matrix(shared, persistent, inputs, run, n_runs, t, shift, point, parameters):
        return prepare(shared, persistent, inputs, run, n_runs, t, shift, point, parameters)

    return build_matrix


class NewtonSolver(CUDAFactory):
    """Solve the equations of a stage by changes that solve linear systems.

    Parameters
    ----------
    system : SystemComponent
    linear_solver : LinearSolver
    equations : Equations
    add_mass : callable
        ``add_mass(context)``: see `cubie.systems.mass.build_mass_product`.
    iterative : bool
        The linear solver iterates.
    per_component : bool
        Tolerances are given per component.
    algebraic : bool
        Some equations hold no derivative.
    persists : bool
        No smaller step will be tried: equations that resist are looked at again, see
        `cubie.solvers.second_look`. Nothing is filtered then.
    dtype : dtype
    options : mapping
    """

    name = "newton"
    phases = ("prepare", "look", "evaluate", "correct", "filter")
    entries: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "prepare": ("prepare",),
        "solve": ("look", "evaluate", "correct"),
        "filter": ("filter",),
    }
    Settings = NewtonSettings
    settings: NewtonSettings

    def __init__(
        self,
        system: SystemComponent,
        linear_solver: LinearSolver,
        equations: Equations,
        add_mass: Callable,
        iterative: bool,
        per_component: bool,
        algebraic: bool,
        persists: bool,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(dtype, options)
        self.n_states = system.n_states
        self.blocks: Blocks = linear_solver.blocks
        self.equations, self.add_mass = equations, add_mass
        self.iterative, self.per_component = iterative, per_component
        self.algebraic, self.persists = algebraic, persists
        self.filters = self.blocks.filter is not None
        prepares = ("prepare", "look") if persists else ("prepare",)
        calls = {"prepare": prepares, "solve": ("correct",)}
        if self.filters:
            calls["filter"] = ("filter",)
        self.add_child(linear_solver, during=calls)
        self.add_child(system, during="evaluate")
        self._register_buffers(system.works_in_place)

    def _register_buffers(self, in_place: bool) -> None:
        n, size = self.n_states, self.blocks.n_unknowns
        self.register_buffer(
            "residual", size, phases=(("evaluate", "correct"),), access_weight=20.0
        )
        # Linear systems are solved in place.
        self.register_buffer(
            "delta",
            size,
            phases=("correct",),
            aliases=(Alias("residual", 0),),
            access_weight=20.0,
        )
        self.register_buffer(
            "residual_temp",
            n,
            phases=("evaluate",),
            enabled=self.equations.couples_stages,
            access_weight=20.0,
        )
        # Where the right-hand side is evaluated: the base, changed by an increment.
        values = "residual_temp" if self.equations.couples_stages else "residual"
        self.register_buffer(
            "stage_base_bt",
            n,
            phases=("evaluate",),
            aliases=(Alias(values, 0),) if in_place else (),
            access_weight=20.0,
        )
        self.register_buffer(
            "krylov_iters_local",
            1,
            dtype=np.int32,
            phases=(("evaluate", "correct"),),
            enabled=self.iterative,
            access_weight=5.0,
        )
        second_look.register_buffers(self)
        stage_jacobians.register_buffers(self, self.has_stage_jacobians)

    @property
    def has_stage_jacobians(self) -> bool:
        """Whether a second look takes the Jacobian of every stage."""
        coupled = self.equations.couples_stages and self.blocks.n_unknowns > self.n_states
        return self.persists and coupled

    def facts(self) -> tuple:
        return (
            self.equations,
            self.blocks,
            self.filters,
            self.iterative,
            self.per_component,
            self.algebraic,
            self.persists,
        )

    def build(self, context: BuildContext) -> NewtonFunctions:
        device = context.backend.device
        return NewtonFunctions(
            prepare=device(self._build_prepare(context)),
            solve=device(self._build_solve(context), inline=False),
            again=self._build_again(context),
            filter=device(self._build_filter(context)) if self.filters else None,
        )

    def rounding(self, dtype) -> float:
        """Return what times a state is a change, in units of the tolerance, that is rounding.

        Such changes do not shrink any more (as in the code RADAU5).
        """
        return float(ROUNDING * np.finfo(dtype).eps / self.settings.newton_tolerance)

    def _build_prepare(self, context: BuildContext) -> Callable:
        enter = context.phase("prepare")
        prepare_solver = self.build_matrix(context)

        def prepare(shared, persistent, inputs, run, n_runs, t, shift, state, parameters):
            enter(shared, persistent)
            return prepare_solver(
                shared, persistent, inputs, run, n_runs, t, shift, state, parameters
            )

        return prepare

    def build_matrix(self, context: BuildContext) -> Callable:
        """Return the `prepare` of the linear solver, fit for a second look where there is one."""
        prepare = self.child_functions(context, "linear_solver").prepare
        return context.backend.one_copy(forward(prepare)) if self.persists else prepare

    def allocators(self, context: BuildContext) -> tuple[Callable, ...]:
        """Return those of the residual, the change, and the count of linear iterations."""
        return (
            context.allocator("residual"),
            context.allocator("delta"),
            context.allocator("krylov_iters_local"),
        )

    def _build_filter(self, context: BuildContext) -> Callable:
        enter = context.phase("filter")
        filter_linear = self.child_functions(context, "linear_solver").filter
        assert filter_linear is not None  # the blocks name it

        def apply_filter(
            shared, persistent, inputs, run, n_runs, t, shift, state, parameters, rhs, x
        ):
            enter(shared, persistent)
            solved, _ = filter_linear(
                shared, persistent, inputs, run, n_runs, t, shift, state, parameters, rhs, 0, x, 0
            )
            return solved

        return apply_filter

    def _build_solve(self, context: BuildContext) -> Callable:
        backend, size = context.backend, self.blocks.n_unknowns
        change = self.build_change(context)
        judge = self._build_judge(context)
        clear, taken = self.build_counting(context)
        alloc_delta, alloc_residual = context.allocator("delta"), context.allocator("residual")
        alloc_count = context.allocator("krylov_iters_local")
        exp2, log2 = build_exp2(backend), build_log2(backend)
        fading, tiny = backend.constant(second_look.FADING), backend.constant(1e-16)
        zero = backend.constant(0.0)

        def solve(
            shared, persistent, inputs, run, n_runs, t, t_stage, h, shift, state, parameters,
            base, increment, eta,
        ):  # fmt: skip
            residual = alloc_residual(shared, persistent, None)
            delta = alloc_delta(shared, persistent, residual)
            count = alloc_count(shared, persistent, None)
            clear(t, count)
            eta = exp2(fading * log2(maximum(eta, tiny)))
            previous = h * zero
            active = h == h
            solved = h != h
            iterations = select(active, 0, 0)
            while any_lane(active):
                usable = change(
                    shared, persistent, inputs, run, n_runs, t_stage, h, shift, state, parameters,
                    base, increment, t, shift, state, residual, delta, count, active,
                )  # fmt: skip
                previous, eta, converged, goes_on = judge(
                    inputs, run, n_runs, state, increment, delta, previous, eta, iterations,
                    active & usable,
                )  # fmt: skip
                for i in range(size):
                    increment[i] = select(
                        converged | goes_on, increment[i] + delta[i], increment[i]
                    )
                iterations = select(active, iterations + 1, iterations)
                solved = solved | converged
                active = goes_on
            return solved, eta, iterations, taken(t, count)

        return solve

    def _build_again(self, context: BuildContext) -> Callable:
        """Return what is done in lanes where the equations are not solved."""

        def nothing(
            shared, persistent, inputs, run, n_runs, t, t_stage, h, shift, state, parameters,
            base, increment, solved, iterations, linear,
        ):  # fmt: skip
            return solved, iterations, linear

        if self.persists:
            return second_look.build_second_look(self, context)
        return context.backend.device(nothing)

    def build_change(self, context: BuildContext) -> Callable:
        """Find the next change of the increment; the matrix is that of (t, shift, point)."""
        evaluate = context.backend.device(self.build_residual(context))
        correct = context.backend.device(self.build_correction(context))

        def change(
            shared, persistent, inputs, run, n_runs, t_stage, h, stage_shift, state, parameters,
            base, increment, t, shift, point, residual, delta, count, active,
        ):  # fmt: skip
            evaluate(
                shared, persistent, t_stage, h, stage_shift, state, parameters, base, increment,
                residual,
            )  # fmt: skip
            return correct(
                shared, persistent, inputs, run, n_runs, t, shift, point, parameters, residual,
                delta, count, active,
            )  # fmt: skip

        return context.backend.device(change)

    def build_residual(self, context: BuildContext) -> Callable:
        """Store the residual of the equations."""
        rhs = self.child_functions(context, "system")
        form = context.backend.device(self.equations.build(context, rhs, self.add_mass(context)))
        alloc_temp = context.allocator("residual_temp")
        take_argument = self._build_argument(context)
        enter = context.phase("evaluate")

        def evaluate(shared, persistent, t, h, shift, state, parameters, base, increment, residual):
            enter(shared, persistent)
            temp = alloc_temp(shared, persistent, None)
            argument = take_argument(shared, persistent, residual, temp)
            form(t, h, shift, state, parameters, base, increment, argument, temp, residual)

        return evaluate

    def build_correction(self, context: BuildContext) -> Callable:
        """Solve with the matrix of (t, shift, point)."""
        solve_linear = self.child_functions(context, "linear_solver").solve
        enter = context.phase("correct")
        iterative = self.iterative

        def add(count, active, taken):
            count[0] = select(active, count[0] + taken, count[0])

        def ignore(count, active, taken):
            pass

        tally = context.backend.device(add if iterative else ignore)

        def correct(
            shared, persistent, inputs, run, n_runs, t, shift, point, parameters, residual, delta,
            count, active,
        ):  # fmt: skip
            enter(shared, persistent)
            solved, taken = solve_linear(
                shared, persistent, inputs, run, n_runs, t, shift, point, parameters, residual, 0,
                delta, 0,
            )  # fmt: skip
            tally(count, active, taken)
            return solved

        return correct

    def _build_argument(self, context: BuildContext) -> Callable:
        """Return the function that gives the argument's buffer, from those it may lie in."""
        alloc_argument = context.allocator("stage_base_bt")

        def in_residual(shared, persistent, residual, temp):
            return alloc_argument(shared, persistent, residual)

        def in_temp(shared, persistent, residual, temp):
            return alloc_argument(shared, persistent, temp)

        coupled = self.equations.couples_stages
        return context.backend.device(in_temp if coupled else in_residual)

    def _build_judge(self, context: BuildContext) -> Callable:
        """Return the change's size, the rate's estimate, and who is done or goes on."""
        backend, n = context.backend, self.n_states
        sections = self.blocks.n_unknowns // n
        scale = build_scale(backend, n, self.per_component)
        inverse = backend.constant(1.0 / self.blocks.n_unknowns)
        zero, one = backend.constant(0.0), backend.constant(1.0)
        stricter = ALGEBRAIC_TOLERANCE if self.algebraic else 1.0
        tolerance = backend.constant(self.settings.newton_tolerance * stricter)
        rounding = backend.constant(self.rounding(backend.dtype))
        limit = self.settings.max_newton_iterations
        trusted = self.build_trusted(backend)

        def itself(state, increment, i):
            return state[i]

        def where_it_goes(state, increment, i):
            towards = absolute(increment[i])
            for section in range(1, sections):
                towards = towards + absolute(increment[section * n + i])
            return select(state[i] == zero, towards, state[i])

        typical = backend.device(where_it_goes if self.settings.weigh_increments else itself)

        def judge(inputs, run, n_runs, state, increment, delta, previous, eta, iterations, active):
            total = state[0] * zero
            for i in range(n):
                reference = typical(state, increment, i)
                weight = scale(inputs.tolerances, run, n_runs, i, reference, reference)
                weight = maximum(weight, rounding * absolute(state[i]))
                for section in range(sections):
                    ratio = delta[section * n + i] / weight
                    total = total + ratio * ratio
            size = square_root(total * inverse)
            first = iterations == 0
            # Without a change before, the rate is that of earlier equations.
            shrinks = first | (size < previous)
            # What a lane that stopped carries on to its next equations no longer changes: how
            # long its neighbours iterate must not show in it.
            measured = active & shrinks & ~first
            rate = select(measured, size, zero) / select(measured, previous, one)
            eta = select(measured, trusted(rate / (one - rate), iterations), eta)
            # A change of nothing solves the equations, whatever was before.
            converged = active & ((shrinks & (eta * size <= tolerance)) | (size == zero))
            goes_on = active & shrinks & ~converged & (iterations + 1 < limit)
            return size, eta, converged, goes_on

        return backend.device(judge)

    def build_trusted(self, backend: Backend) -> Callable:
        """Return ``trusted(eta, iterations)``: the estimate that a quotient of changes is worth."""
        least = backend.constant(SMALLEST_FIRST_RATE)

        def cautiously(eta, iterations):
            return select(iterations == 1, maximum(eta, least), eta)

        def as_it_is(eta, iterations):
            return eta

        return backend.device(cautiously if self.algebraic else as_it_is)

    def build_counting(self, context: BuildContext) -> tuple[Callable, Callable]:
        """Return ``clear(t, count)`` and ``taken(t, count)``: iterations of the linear solver."""

        def nothing(t, count):
            pass

        def none_taken(t, count):
            return select(t == t, 0, 0)

        def clear(t, count):
            count[0] = select(t == t, 0, 0)

        def taken(t, count):
            return count[0]

        device = context.backend.device
        if not self.iterative:
            return device(nothing), device(none_taken)
        return device(clear), device(taken)
