"""Linear systems of states and their sensitivities: one matrix, factorised once, for all of them.

The matrix ``shift * eigenvalue * M - J`` of the joint equations is block triangular: on its
diagonal stands that of the states alone, once for them and once for each input; below, in the first
columns, what couples the right-hand side J s + df/dp of a sensitivity s with the states. So the
states come first, and then each sensitivity is one more right-hand side for the same factors (the
staggered direct method of Caracotsios & Stewart, Comput. Chem. Eng. 9 (1985) 359-365; one LU
decomposition as in Maly & Petzold, Appl. Numer. Math. 20 (1996) 57-79).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.systems.component import SystemComponent
from cubie.systems.sensitivities.component import CouplingComponent


class SensitivitySolver(LinearSolver):
    """Solve with the matrices of the states alone, for them and for each sensitivity.

    Parameters
    ----------
    make : callable
        ``make(system, blocks, ...)``: the linear solver of the states.
    system : SystemComponent
        Of a joint system.
    blocks : Blocks
        Of the joint system's states.
    per_component, tolerance, dtype, options, keeps_jacobian
        As of any linear solver.
    """

    # Factors of the states live until they have solved for the inputs, which needs the coupling.
    phases = ("prepare", "solve", "couple", "inputs")
    entries = {  # noqa: RUF012
        "prepare": ("prepare",),
        "solve": ("solve", "couple", "inputs"),
        "filter": ("solve", "couple", "inputs"),
    }

    def __init__(
        self,
        make: Callable[..., LinearSolver],
        system: SystemComponent,
        blocks: Blocks,
        per_component: bool,
        tolerance: float,
        dtype,
        options: Mapping[str, Any],
        keeps_jacobian: bool = False,
    ):
        super().__init__(blocks, per_component, dtype, options)
        alone = system.of_states()
        self.n_inputs = system.n_blocks - 1
        own = evolve(blocks, n_states=alone.n_states)
        given = (alone, own, per_component, tolerance, dtype, options)
        self.of_states: Any = make(*given, True) if keeps_jacobian else make(*given)
        self.keeps_jacobian, self.note = keeps_jacobian, self.of_states.note
        self.factorised_jacobian = self.of_states.factorised_jacobian
        self.coupling = CouplingComponent(system, per_component, dtype, options)
        calls = {"prepare": ("prepare",), "solve": ("solve", "inputs")}
        if blocks.filter is not None:
            calls["filter"] = ("solve", "inputs")
        self.add_child(self.of_states, during=calls)
        self.add_child(self.coupling, during="couple")
        self.register_buffer(
            "sensitivity_coupling",
            lambda: 0 if self.coupling.vanishes else own.n_states * self.n_inputs,
            phases=("couple",),
            access_weight=4.0,
        )
        # Of several blocks the unknowns of one input lie apart from each other.
        self.register_buffer(
            "sensitivity_unknowns",
            own.solved.n_unknowns,
            phases=("solve", "inputs"),
            enabled=own.solved.n_unknowns > own.n_states,
            access_weight=4.0 * (1 + self.n_inputs),
        )

    @property
    def narrows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.of_states.narrows

    @property
    def reads_entries(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What it reads are states and parameters, of which the joint ones are the first."""
        return self.of_states.reads_entries

    @reads_entries.setter
    def reads_entries(self, value: bool) -> None:
        self.of_states.reads_entries = value

    @property
    def jacobian(self) -> Any:
        """What evaluates the Jacobian of the states."""
        return self.of_states.jacobian

    @property
    def renewal_worth(self) -> float:
        """How many iterations take about as much work as a new Jacobian and its factors.

        An iteration substitutes once for each input, too.
        """
        return self.of_states.renewal_worth / (1 + self.n_inputs)

    def facts(self) -> tuple:
        return (self.blocks, self.n_inputs, self.keeps_jacobian)

    def build(self, context: BuildContext) -> LinearSolverFunctions:
        own = self.child_functions(context, "linear_solver")
        device, solved = context.backend.device, self.blocks.solved
        n_sections = solved.n_unknowns // solved.n_states
        filters = None
        if own.filter is not None:
            filters = device(self._build_solve(context, own.filter, 1))
        return LinearSolverFunctions(
            prepare=own.prepare,
            solve=device(self._build_solve(context, own.solve, n_sections)),
            filter=filters,
            renew=own.renew,
        )

    def _build_solve(self, context: BuildContext, solve: Callable, n_sections: int) -> Callable:
        """Return `solve` of the joint system, from that of the states.

        Of each section of the unknowns, real parts or imaginary ones of a block, the states come
        first, and then what there is of each input.
        """
        n = self.of_states.blocks.n_states
        couple = self._build_couple(context, n_sections)
        solve_alone = self._build_alone(context, solve, n_sections)
        n_inputs, begin = self.n_inputs, context.phase("solve")
        enter_couple, enter_inputs = context.phase("couple"), context.phase("inputs")
        alloc_unknowns = context.allocator("sensitivity_unknowns")
        alloc_coupling = context.allocator("sensitivity_coupling")

        def solve_jointly(memory, launch, matrix, rhs, rhs_at, x, x_at):
            begin(memory)
            unknowns = alloc_unknowns(memory, None)
            coupled = alloc_coupling(memory, None)
            solved, taken = solve_alone(memory, launch, matrix, rhs, rhs_at, x, x_at, unknowns)
            enter_couple(memory)
            couple(memory, launch, matrix, rhs, rhs_at, x, x_at, coupled)
            enter_inputs(memory)
            for number in range(1, n_inputs + 1):
                at = x_at + number * n
                also, more = solve_alone(memory, launch, matrix, x, at, x, at, unknowns)
                solved = solved & also
                taken = taken + more
            return solved, taken

        return solve_jointly

    def _build_alone(self, context: BuildContext, solve: Callable, n_sections: int) -> Callable:
        """Return a function that solves for one part of all sections: states, or one input."""
        size, n = self.blocks.n_states, self.of_states.blocks.n_states

        def at_once(memory, launch, matrix, rhs, rhs_at, x, x_at, unknowns):
            return solve(memory, launch, matrix, rhs, rhs_at, x, x_at)

        def gathered(memory, launch, matrix, rhs, rhs_at, x, x_at, unknowns):
            for section in range(n_sections):
                for i in range(n):
                    unknowns[section * n + i] = rhs[rhs_at + section * size + i]
            solved, taken = solve(memory, launch, matrix, unknowns, 0, unknowns, 0)
            for section in range(n_sections):
                for i in range(n):
                    x[x_at + section * size + i] = unknowns[section * n + i]
            return solved, taken

        return context.backend.device(at_once if n_sections == 1 else gathered)

    def _build_couple(self, context: BuildContext, n_sections: int) -> Callable:
        """Return ``couple(...)``: right-hand sides of all inputs, stored where solutions go."""
        size, n, m = self.blocks.n_states, self.of_states.blocks.n_states, self.n_inputs

        def alone(memory, launch, matrix, rhs, rhs_at, x, x_at, coupled):
            for section in range(n_sections):
                for k in range(n, n * (m + 1)):
                    x[x_at + section * size + k] = rhs[rhs_at + section * size + k]

        if self.coupling.vanishes:
            return context.backend.device(alone)
        coupling = self.child_functions(context, "coupling")

        def couple(memory, launch, matrix, rhs, rhs_at, x, x_at, coupled):
            for section in range(n_sections):
                at = x_at + section * size
                coupling(memory, launch, matrix, x, at, coupled, 0)
                for k in range(n * m):
                    x[at + n + k] = rhs[rhs_at + section * size + n + k] + coupled[k]

        return context.backend.device(couple)
