"""What matrix-free iterations share; they are preconditioned from the right.

Every lane stops by itself: what a converged lane holds no longer changes, so that a result does
not depend on the lane's neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from attrs import frozen

from cubie.backend import Backend, absolute, is_finite, maximum
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.solvers.factorised import FactorisedPreconditioner
from cubie.solvers.kept_entries import FACTORISED
from cubie.solvers.krylov_settings import KrylovSettings
from cubie.solvers.operator import build_operator
from cubie.solvers.preconditioners import (
    build_invert_diagonal,
    build_preconditioner,
    build_scale,
)
from cubie.solvers.scaled import build_diagonal_solve, build_scaled_product
from cubie.solvers.weighting import build_measure
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.component import DiagonalComponent, JVPComponent
from cubie.systems.mass import build_mass_product, is_identity, mass_entries

# Entries of a Jacobian whose products contain Jacobi's preconditioner. Compiling them takes
# milliseconds each.
MOST_FOLDED = 1000
# Units of rounding of its right-hand side that a residual may keep.
ROUNDING = 1000.0


@frozen
class Part:
    """Blocks that are solved together, and where those of `inverse_diagonal` start."""

    blocks: Blocks
    at: int
    filters: bool = False


class Iteration(NamedTuple):
    """What an iteration works on: buffers of the unknowns, and one value of lanes."""

    x: Any  # the solution that is added up, from element x_at on
    x_at: Any
    residual: Any
    inverse: Any  # reciprocal diagonal of the matrices
    per_shift: Any  # what weighs a residual; lanes
    room: Any  # what a preconditioner writes to
    temp: Any  # scratch


class KrylovSolver(LinearSolver):
    """Base of the iterative solvers: operator, preconditioner, iteration limit.

    Parameters
    ----------
    system : SystemComponent
    blocks : Blocks
    per_component : bool
        Tolerances are given per component.
    tolerance : float
        Error that Newton's method may leave, as a fraction of the error allowed in a step.
    dtype : dtype
    options : mapping
    """

    Settings = KrylovSettings
    settings: KrylovSettings
    kind: ClassVar[str]
    # Of z = P v not only x is made: iterations cannot run on v, and form x at the end.
    needs_preconditioned: ClassVar[bool] = False

    def __init__(
        self,
        system: SystemComponent,
        blocks: Blocks,
        per_component: bool,
        tolerance: float,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(blocks, per_component, dtype, options)
        self.system, self.tolerance = system, tolerance
        self.mass = mass_entries(system.n_states, getattr(system.system, "mass", None))
        self.jvp = JVPComponent(system, per_component, dtype, options)
        self.diagonal = DiagonalComponent(system, per_component, dtype, options)
        self._require_diagonal()
        self.add_child(self.jvp, during="solve")
        self.add_child(self.diagonal, during="jacobian")
        if self.factorises:
            factorised = FactorisedPreconditioner(
                system, blocks, self.mass, self.settings, per_component, dtype, options
            )
            self.factorised_jacobian = factorised.jacobian
            self.add_child(factorised, during={"prepare": "factorise", "solve": "solve"})
        n = blocks.n_unknowns
        self.register_buffer("krylov_residual", n, phases=("solve",), access_weight=20.0)
        # Without a preconditioner the vector itself is taken.
        self.register_buffer(
            "preconditioned_vec",
            n,
            phases=("solve",),
            enabled=self._preconditions_apart,
            access_weight=20.0,
        )
        self.register_buffer("temp", n, phases=("solve",), access_weight=20.0)
        # The reciprocal diagonal of the matrices.
        self.register_buffer(
            "inverse_diagonal",
            blocks.n_elements,
            phases=(("jacobian", "solve"),),
            persistent=True,
            enabled=self._keeps_diagonal,
            access_weight=20.0,
        )

    def _require_diagonal(self) -> None:
        """Refuse equations without a diagonal: what is left of them would have no weight."""
        if is_identity(self.mass, self.blocks.n_states) or self.jvp.by_differences():
            return
        held = {*self.jvp.derivatives.pattern, *self.mass}
        for i in range(self.blocks.n_states):
            if (i, i) not in held:
                raise InvalidOption(
                    "linear_solver",
                    self.kind,
                    advice=f"It weighs what is left of an equation by its diagonal, and equation "
                    f"{i} holds neither y[{i}] nor its derivative. Put the equations, with the "
                    "rows of `mass_matrix`, in an order in which each holds its own state, or "
                    "give linear_solver='lu'.",
                )

    @property
    def factorises(self) -> bool:
        """The preconditioner has factors of its own."""
        return self.settings.preconditioner in FACTORISED

    def _folded(self) -> bool:
        """Tell whether products contain the preconditioner: Jacobi's, of known derivatives.

        Those take parameters, and no `Given`; they are text, which must not become long.
        """
        if self.settings.preconditioner != "jacobi" or self.needs_preconditioned:
            return False
        if self.jvp.by_differences() or self.system.takes_given:
            return False
        weight = max(3 if value.imag else 1 for value in self.blocks.eigenvalues)
        return weight * len(self.jvp.derivatives.pattern) <= MOST_FOLDED

    def _preconditions_apart(self) -> bool:
        return self.settings.preconditioner != "none" and not self._folded()

    def _keeps_diagonal(self) -> bool:
        """Tell whether the reciprocal diagonal is stored: for a preconditioner, or to weigh by."""
        by_diagonal = self._preconditions_apart() and not self.factorises
        return by_diagonal or not is_identity(self.mass, self.blocks.n_states)

    def facts(self) -> tuple:
        return (
            self.kind, self.blocks, sorted(self.mass.items()), self.per_component, self.tolerance
        )  # fmt: skip

    def build(self, context: BuildContext) -> LinearSolverFunctions:
        backend, blocks, filters = context.backend, self.blocks, None
        if blocks.filter is not None:
            part = Part(blocks.filtering, blocks.filter_at, filters=True)
            filters = backend.device(self._build_solve(context, part))
        return LinearSolverFunctions(
            prepare=backend.device(self._build_prepare(context)),
            solve=backend.device(self._build_solve(context, Part(blocks.solved, 0))),
            filter=filters,
        )

    def _build_prepare(self, context: BuildContext) -> Callable:
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")
        take_diagonal, invert = self._build_diagonal(context)
        factorise = self._build_factorise(context)

        def prepare(memory, launch, matrix):
            enter_jacobian(memory)
            take_diagonal(memory, launch, matrix)
            enter_factorise(memory)
            invert(memory, matrix)
            factorise(memory, launch, matrix)
            return matrix.shift == matrix.shift

        return prepare

    def _build_diagonal(self, context: BuildContext) -> tuple[Callable, Callable]:
        """Return ``take(memory, launch, matrix)`` and ``invert(memory, matrix)``."""
        backend = context.backend

        def take_none(memory, launch, matrix):
            pass

        def invert_none(memory, matrix):
            pass

        if not self._keeps_diagonal():
            return backend.device(take_none), backend.device(invert_none)
        diagonal = self.child_functions(context, "diagonal")
        reciprocals = build_invert_diagonal(backend, self.blocks, self.mass)
        alloc_inverse = context.allocator("inverse_diagonal")
        one = backend.constant(1.0)

        def take(memory, launch, matrix):
            diagonal(memory, launch, matrix, alloc_inverse(memory, None), 0)

        def invert(memory, matrix):
            reciprocals(matrix.shift, alloc_inverse(memory, None), one)

        return backend.device(take), backend.device(invert)

    def _build_factorise(self, context: BuildContext) -> Callable:
        """Return ``factorise(memory, launch, matrix)``, of the preconditioner."""

        def nothing(memory, launch, matrix):
            pass

        if not self.factorises:
            return context.backend.device(nothing)
        return self.child_functions(context, "preconditioner").prepare

    def _build_solve(self, context: BuildContext, part: Part) -> Callable:
        backend, n = context.backend, part.blocks.n_unknowns
        iterate = self._build_iterate(context, part)
        alloc_residual = context.allocator("krylov_residual")
        alloc_inverse = context.allocator("inverse_diagonal")
        alloc_room, alloc_temp = context.allocator("preconditioned_vec"), context.allocator("temp")
        enter = context.phase("solve")
        measure, finish = self._build_measure(backend, part), self._build_finish(context, part)
        eps = np.finfo(backend.dtype).eps
        zero, rounding = backend.constant(0.0), backend.constant((ROUNDING * eps) ** 2)
        allowed = backend.constant(n * (self.settings.krylov_tolerance * self.tolerance) ** 2)
        smallest = backend.constant(1.0 / self._least_factor(part.blocks))

        def solve(memory, launch, matrix, rhs, rhs_at, x, x_at):
            enter(memory)
            residual = alloc_residual(memory, None)
            for i in range(n):
                residual[i] = rhs[rhs_at + i]
                x[x_at + i] = matrix.shift * zero
            inverse = alloc_inverse(memory, None)
            per_shift = smallest / absolute(matrix.shift)
            size = measure(launch, matrix.y, inverse, per_shift, residual)
            # Below rounding of its own right-hand side no residual means anything.
            target = maximum(size * zero + allowed, rounding * size)
            room, temp = alloc_room(memory, None), alloc_temp(memory, None)
            work = Iteration(x, x_at, residual, inverse, per_shift, room, temp)
            ok, iterations = iterate(memory, launch, matrix, work, target)
            finish(matrix, x, x_at)
            # A right-hand side whose square overflows would be below a target that did, too.
            return ok & is_finite(target), iterations

        return solve

    def _build_finish(self, context: BuildContext, part: Part) -> Callable:
        """Return what makes the solution of what iterations added up."""
        backend = context.backend

        def nothing(matrix, x, x_at):
            pass

        if not self._folded():
            return backend.device(nothing)
        return build_diagonal_solve(backend, self.system.system, part.blocks, self.mass)

    def _build_product(self, context: BuildContext, part: Part) -> Callable:
        """Return ``product(memory, launch, matrix, work, vec, out) -> z``.

        It stores A P vec in `out`; `work` is an `Iteration`. z is P vec, or `vec` itself if
        `_build_finish` multiplies by P.
        """
        if self._folded():
            return self._build_folded(context, part)
        backend, blocks, settings = context.backend, part.blocks, self.settings
        jvp = self.child_functions(context, "jvp")
        add_mass = build_mass_product(backend, blocks.n_states, self.mass)
        apply = build_operator(backend, blocks, jvp, add_mass)
        if self.factorises:
            precondition = self._build_factorised(context, part)
        else:
            kind, order = settings.preconditioner, settings.neumann_order
            scale = build_scale(backend, blocks, part.at)
            precondition = build_preconditioner(backend, kind, order, blocks, apply, scale)

        def product(memory, launch, matrix, work, vec, out):
            z = precondition(memory, launch, matrix, work.inverse, vec, work.room, work.temp)
            apply(memory, launch, matrix, z, 0, out, 0)
            return z

        return backend.device(product)

    def _build_factorised(self, context: BuildContext, part: Part) -> Callable:
        """Return what `build_preconditioner` does, by factors."""
        functions = self.child_functions(context, "preconditioner")
        solve = functions.filter if part.filters else functions.solve

        def precondition(memory, launch, matrix, inverse, vec, out, temp):
            solve(memory, vec, out)
            return out

        return context.backend.device(precondition)

    def _build_folded(self, context: BuildContext, part: Part) -> Callable:
        backend, system = context.backend, self.system.system
        scaled = build_scaled_product(backend, system, part.blocks, self.mass)

        def product(memory, launch, matrix, work, vec, out):
            scaled(matrix, vec, out)
            return vec

        return backend.device(product)

    def _build_measure(self, backend: Backend, part: Part) -> Callable:
        """Return the size of a residual: see `build_measure`."""
        diagonal_at = None if is_identity(self.mass, self.blocks.n_states) else part.at
        return build_measure(backend, part.blocks, self.per_component, self.tolerance, diagonal_at)

    def _least_factor(self, blocks: Blocks) -> float:
        """Return what the shift is multiplied by in the blocks: of large factors, the least."""
        largest = max(abs(value) for value in self.mass.values())
        return largest * min(abs(eigenvalue) for eigenvalue in blocks.eigenvalues)

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        """Return ``iterate(memory, launch, matrix, work, target) -> (ok, iterations)``.

        `work` is an `Iteration`, `target` the size that a residual must not exceed.
        """
        raise NotImplementedError


def build_dot(backend: Backend, n: int) -> Callable:
    """Return ``dot(a, b)`` of two buffers of n elements."""

    def dot(a, b):
        total = a[0] * b[0]
        for i in range(1, n):
            total = total + a[i] * b[i]
        return total

    return backend.device(dot)
