"""What the solution of a stage's equations is made of: its components, buffers, and pieces of code.

The iterations are put together from them in `cubie.solvers.newton` and `cubie.solvers.second_look`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from cubie.backend import select
from cubie.factory import BuildContext, CUDAFactory
from cubie.solvers.contract import Blocks, LinearSolver
from cubie.solvers.newton_contract import Equations, NewtonSettings
from cubie.systems.component import SystemComponent
from cubie_planner import Alias

# Elements of the largest matrix of all stages that a second look forms.
MOST_ELEMENTS = 1000


def stage_matrix_fits(n_unknowns: int) -> bool:
    """Tell whether the matrix of so many unknowns is formed."""
    return n_unknowns**2 <= MOST_ELEMENTS


def forward(prepare: Callable) -> Callable:
    """Return a function of its own that calls `prepare`."""

    def build_matrix(memory, launch, matrix):
        return prepare(memory, launch, matrix)

    return build_matrix


def _as_it_is(memory, matrix, delta):
    pass


class NewtonParts(CUDAFactory):
    """The base of Newton's method: see `cubie.solvers.newton.NewtonSolver`.

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
    restores : bool
        States are made consistent behind breaks, see `cubie.solvers.restoring`.
    dtype : dtype
    options : mapping
    """

    name = "newton"
    phases = ("restore", "prepare", "look", "evaluate", "correct", "filter")
    entries: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "restore": ("restore",),
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
        restores: bool,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(dtype, options)
        self.n_states = system.n_states
        self.blocks: Blocks = linear_solver.blocks
        self.equations, self.add_mass = equations, add_mass
        self.iterative, self.per_component = iterative, per_component
        self.algebraic, self.persists, self.restores = algebraic, persists, restores
        self.filters = self.blocks.filter is not None
        self.linear_solver: Any = linear_solver
        self.keeps = linear_solver.keeps_jacobian
        again = ("restore",) * restores
        prepares = ("prepare", "look") if persists else ("prepare",)
        calls = {"prepare": (*again, *prepares), "solve": (*again, "correct")}
        if self.filters:
            calls["filter"] = ("filter",)
        self.add_child(linear_solver, during=calls)
        self.add_child(system, during=(*again, "evaluate"))
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
        # The right-hand side of one stage, where those of all others are not to be.
        self.register_buffer(
            "residual_temp",
            n,
            phases=("evaluate",),
            enabled=self.has_stage_matrix,
            access_weight=20.0,
        )
        # Where the right-hand side is evaluated: the base, changed by an increment. It may lie
        # where the last one of all stages is stored.
        last = (size - n) * np.dtype(self.buffer_registry.dtype).itemsize
        place = Alias("residual_temp", 0) if self.has_stage_matrix else Alias("residual", last)
        self.register_buffer(
            "stage_base_bt",
            n,
            phases=("evaluate",),
            aliases=(place,) if in_place else (),
            access_weight=20.0,
        )
        self.register_buffer(
            "krylov_iters_local",
            1,
            dtype=np.int32,
            phases=(("look", "correct"),),
            enabled=self.iterative,
            access_weight=5.0,
        )

    @property
    def renewal_worth(self) -> float:
        """How many iterations take about as much work as a new Jacobian and its factors."""
        return self.linear_solver.renewal_worth

    @property
    def has_stage_matrix(self) -> bool:
        """Whether a second look forms the matrix of all stages."""
        return self._looks_at_stages and stage_matrix_fits(self.blocks.n_unknowns)

    @property
    def has_stage_jacobians(self) -> bool:
        """Whether a second look multiplies by the Jacobian of every stage."""
        return self._looks_at_stages and not stage_matrix_fits(self.blocks.n_unknowns)

    @property
    def _looks_at_stages(self) -> bool:
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
            self.restores,
            self.keeps,
        )

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

    def temp_allocator(self, context: BuildContext) -> Callable:
        """Return that of a state's worth of elements, where the matrix of all stages is formed."""
        return context.allocator("residual_temp")

    def build_change(self, context: BuildContext, relax: Callable | None = None) -> Callable:
        """Find the next change of the increment; the matrix is that of (t, shift, point).

        Where it is that of another step, ``relax(memory, matrix, delta)`` scales the change.
        """
        evaluate = context.backend.device(self.build_residual(context))
        correct = context.backend.device(self.build_correction(context))
        scale = relax or context.backend.device(_as_it_is)

        def change(memory, launch, stage, matrix, residual, delta, count, active):
            evaluate(memory, stage, residual)
            solved = correct(memory, launch, matrix, residual, delta, count, active)
            scale(memory, matrix, delta)
            return solved

        return context.backend.device(change)

    def build_residual(self, context: BuildContext) -> Callable:
        """Store the residual of the equations."""
        rhs = self.child_functions(context, "system")
        form = context.backend.device(self.equations.build(context, rhs, self.add_mass(context)))
        alloc_temp = self.temp_allocator(context)
        take_argument = self.build_argument(context)
        enter = context.phase("evaluate")

        def evaluate(memory, stage, residual):
            enter(memory)
            temp = alloc_temp(memory, None)
            argument = take_argument(memory, residual, temp)
            form(stage, argument, residual)

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

        def correct(memory, launch, matrix, residual, delta, count, active):
            enter(memory)
            solved, taken = solve_linear(memory, launch, matrix, residual, 0, delta, 0)
            tally(count, active, taken)
            return solved

        return correct

    def build_argument(self, context: BuildContext) -> Callable:
        """Return the function that gives the argument's buffer, from those it may lie in."""
        alloc_argument = context.allocator("stage_base_bt")

        def in_residual(memory, residual, temp):
            return alloc_argument(memory, residual)

        def in_temp(memory, residual, temp):
            return alloc_argument(memory, temp)

        return context.backend.device(in_temp if self.has_stage_matrix else in_residual)

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
