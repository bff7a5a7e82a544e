"""Simplified Newton iteration with convergence-rate control (Hairer & Wanner II, IV.8).

The matrix is that of the step's start; the linear systems may be solved inexactly. Every lane
stops by itself, and what a lane that stopped holds no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from cubie.backend import any_lane, maximum, select
from cubie.factory import BuildContext, CUDAFactory
from cubie.numerics.power import build_exp2, build_log2
from cubie.solvers import second_look, stage_jacobians
from cubie.solvers.contract import Blocks, LinearSolver
from cubie.solvers.convergence import build_judge
from cubie.solvers.newton_contract import Equations, NewtonFunctions, NewtonSettings
from cubie.systems.component import SystemComponent
from cubie_planner import Alias

# Exponent by which an old rate of convergence loses its weight (H&W II, IV.8, eq. 8.10).
FADING = 0.8


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
        judge = build_judge(self, context)
        clear, taken = self.build_counting(context)
        alloc_delta, alloc_residual = context.allocator("delta"), context.allocator("residual")
        alloc_count = context.allocator("krylov_iters_local")
        exp2, log2 = build_exp2(backend), build_log2(backend)
        fading, tiny = backend.constant(FADING), backend.constant(1e-16)
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
