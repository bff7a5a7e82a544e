"""Matrix-free iterations: what they share, minimal residual and steepest descent (Saad, Iterative
Methods for Sparse Linear Systems, 2nd edition, 5.3), preconditioned from the right.

Every lane stops by itself: what a converged lane holds no longer changes, so that a result does
not depend on the lane's neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from cubie.backend import Backend, any_lane, select
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.solvers.operator import build_operator
from cubie.solvers.preconditioners import (
    PRECONDITIONERS,
    build_invert_diagonal,
    build_preconditioner,
    build_scale,
)
from cubie.solvers.scaled import build_diagonal_solve, build_scaled_product
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives_component import DiagonalComponent, JVPComponent
from cubie.systems.mass import build_mass_product, mass_entries
from cubie.systems.store import Store


def _one_of(allowed):
    def check(instance, attribute, value):
        if value not in allowed:
            raise InvalidOption(attribute.name, value, allowed)

    return check


def _count(low: int, high: int):
    def check(instance, attribute, value):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            advice = f"It must be an int from {low} to {high}."
            raise InvalidOption(attribute.name, value, advice=advice)

    return check


def _fraction(instance, attribute, value):
    if not (isinstance(value, (int, float)) and 0.0 < value < 1.0):
        raise InvalidOption(attribute.name, value, advice="It must lie between 0 and 1.")


@frozen
class Part:
    """Blocks that are solved together, and where those of `inverse_diagonal` start."""

    blocks: Blocks
    at: int


@frozen
class KrylovSettings:
    """Options of the iterative solvers.

    Attributes
    ----------
    preconditioner : {"none", "jacobi", "neumann"}
    neumann_order : int
        Powers that the Neumann series adds to the inverse diagonal.
    krylov_tolerance : float
        Solved when the residual is that much smaller than the right-hand side, in the Euclidean
        norm.
    max_linear_iterations : int
    """

    preconditioner: str = field(default="jacobi", validator=_one_of(PRECONDITIONERS))
    neumann_order: int = field(default=2, validator=_count(1, 20))
    krylov_tolerance: float = field(default=1e-6, validator=_fraction)
    max_linear_iterations: int = field(default=100, validator=_count(1, 100_000))


class KrylovSolver(LinearSolver):
    """Base of the iterative solvers: operator, preconditioner, iteration limit.

    Parameters
    ----------
    system : SystemComponent
    blocks : Blocks
    dtype : dtype
    options : mapping
    """

    Settings = KrylovSettings
    settings: KrylovSettings
    kind: ClassVar[str]
    # Of z = P v not only x is made: iterations cannot run on v, and form x at the end.
    needs_preconditioned: ClassVar[bool] = False

    def __init__(self, system: SystemComponent, blocks: Blocks, dtype, options: Mapping[str, Any]):
        super().__init__(blocks, dtype, options)
        self.system = system
        self.mass = mass_entries(system.n_states, getattr(system.system, "mass", None))
        self.jvp = JVPComponent(system, dtype, options)
        self.diagonal = DiagonalComponent(system, dtype, options)
        self.add_child(self.jvp, during="solve")
        self.add_child(self.diagonal, during="jacobian")
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
            enabled=self._preconditions_apart,
            access_weight=20.0,
        )

    def _folded(self) -> bool:
        """Tell whether products contain the preconditioner: Jacobi's, of known derivatives."""
        if self.settings.preconditioner != "jacobi" or self.needs_preconditioned:
            return False
        return not self.jvp.by_differences()

    def _preconditions_apart(self) -> bool:
        return self.settings.preconditioner != "none" and not self._folded()

    def facts(self) -> tuple:
        return (self.kind, self.blocks, sorted(self.mass.items()))

    def build(self, context: BuildContext) -> LinearSolverFunctions:
        backend, blocks, filters = context.backend, self.blocks, None
        if blocks.filter is not None:
            part = Part(blocks.filtering, blocks.filter_at)
            filters = backend.device(self._build_solve(context, part))
        return LinearSolverFunctions(
            prepare=backend.device(self._build_prepare(context)),
            solve=backend.device(self._build_solve(context, Part(blocks.solved, 0))),
            filter=filters,
        )

    def _store(self) -> Store:
        return Store(self.system.system.path.parents[1])

    def _build_prepare(self, context: BuildContext) -> Callable:
        backend = context.backend
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")

        def nothing(shared, persistent, t, shift, y, parameters):
            enter_jacobian(shared, persistent)
            enter_factorise(shared, persistent)
            return shift == shift

        if not self._preconditions_apart():
            return nothing
        diagonal = self.child_functions(context, "diagonal")
        invert = build_invert_diagonal(backend, self.blocks, self.mass, self._store())
        alloc_inverse = context.allocator("inverse_diagonal")
        one = backend.constant(1.0)

        def prepare(shared, persistent, t, shift, y, parameters):
            enter_jacobian(shared, persistent)
            inverse = alloc_inverse(shared, persistent, None)
            diagonal(shared, persistent, t, y, parameters, inverse, 0)
            enter_factorise(shared, persistent)
            invert(shift, inverse, one)
            return shift == shift

        return prepare

    def _build_solve(self, context: BuildContext, part: Part) -> Callable:
        backend, n = context.backend, part.blocks.n_unknowns
        iterate = self._build_iterate(context, part)
        alloc_residual = context.allocator("krylov_residual")
        alloc_inverse = context.allocator("inverse_diagonal")
        alloc_room, alloc_temp = context.allocator("preconditioned_vec"), context.allocator("temp")
        enter = context.phase("solve")
        dot, finish = build_dot(backend, n), self._build_finish(context, part)
        zero = backend.constant(0.0)
        tolerance_squared = backend.constant(self.settings.krylov_tolerance**2)

        def solve(shared, persistent, t, shift, y, parameters, rhs, rhs_at, x, x_at):
            enter(shared, persistent)
            residual = alloc_residual(shared, persistent, None)
            for i in range(n):
                residual[i] = rhs[rhs_at + i]
                x[x_at + i] = shift * zero
            target = tolerance_squared * dot(residual, residual)
            inverse = alloc_inverse(shared, persistent, None)
            room = alloc_room(shared, persistent, None)
            temp = alloc_temp(shared, persistent, None)
            ok, iterations = iterate(
                shared, persistent, t, shift, y, parameters, inverse, room, temp, residual,
                x, x_at, target,
            )  # fmt: skip
            finish(t, shift, y, parameters, x, x_at)
            return ok, iterations

        return solve

    def _build_finish(self, context: BuildContext, part: Part) -> Callable:
        """Return what makes the solution of what iterations added up."""
        backend = context.backend

        def nothing(t, shift, y, p, x, x_at):
            pass

        if not self._folded():
            return backend.device(nothing)
        return build_diagonal_solve(backend, self.system.system, part.blocks, self.mass)

    def _build_product(self, context: BuildContext, part: Part) -> Callable:
        """Return ``product(shared, persistent, t, shift, y, p, scratch..., vec, out) -> z``.

        It stores A P vec in `out`; `scratch...` are the buffers of `_build_iterate`. z is P vec, or
        `vec` itself if `_build_finish` multiplies by P.
        """
        if self._folded():
            return self._build_folded(context, part)
        backend, blocks, settings = context.backend, part.blocks, self.settings
        jvp = self.child_functions(context, "jvp")
        add_mass = build_mass_product(backend, blocks.n_states, self.mass, self._store())
        apply = build_operator(backend, blocks, jvp, add_mass)
        kind, order = settings.preconditioner, settings.neumann_order
        scale = build_scale(backend, blocks, part.at)
        precondition = build_preconditioner(backend, kind, order, blocks, apply, scale)

        def product(shared, persistent, t, shift, y, p, inverse, room, temp, vec, out):
            z = precondition(shared, persistent, t, shift, y, p, inverse, vec, room, temp)
            apply(shared, persistent, t, shift, y, p, z, 0, out, 0)
            return z

        return backend.device(product)

    def _build_folded(self, context: BuildContext, part: Part) -> Callable:
        backend, system = context.backend, self.system.system
        scaled = build_scaled_product(backend, system, part.blocks, self.mass)

        def product(shared, persistent, t, shift, y, p, inverse, room, temp, vec, out):
            scaled(t, shift, y, p, vec, out)
            return vec

        return backend.device(product)

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        """Return ``iterate(..., inverse, room, temp, residual, x, x_at, target)``.

        It gives (ok, iterations). `inverse` is the reciprocal diagonal, `room` what a
        preconditioner writes to, `temp` scratch.
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


class _OneDirection(KrylovSolver):
    """Iterations along the preconditioned residual z, with A z in `temp`."""

    def _build_length(self, backend: Backend, n: int) -> Callable:
        """Return ``length(residual, z, image) -> (numerator, denominator)`` of the step."""
        raise NotImplementedError

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        backend, n = context.backend, part.blocks.n_unknowns
        product = self._build_product(context, part)
        length, dot = self._build_length(backend, n), build_dot(backend, n)
        limit = self.settings.max_linear_iterations
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def iterate(
            shared, persistent, t, shift, y, p, inverse, room, image, residual, x, x_at, target
        ):
            size = dot(residual, residual)
            active = size > target
            iterations = select(active, 0, 0)
            while any_lane(active):
                z = product(
                    shared, persistent, t, shift, y, p, inverse, room, image, residual, image
                )
                above, below = length(residual, z, image)
                usable = active & (below != zero)
                step = select(usable, above, zero) / select(usable, below, one)
                for i in range(n):
                    x[x_at + i] = select(usable, x[x_at + i] + step * z[i], x[x_at + i])
                    residual[i] = select(usable, residual[i] - step * image[i], residual[i])
                size = dot(residual, residual)
                iterations = select(active, iterations + 1, iterations)
                active = usable & (size > target) & (iterations < limit)
            return size <= target, iterations

        return backend.device(iterate)


class MinimalResidual(_OneDirection):
    """Each step makes the residual as small as its direction allows (Saad, 5.3.2)."""

    kind = "minimal_residual"

    def _build_length(self, backend: Backend, n: int) -> Callable:
        dot = build_dot(backend, n)

        def length(residual, z, image):
            return dot(image, residual), dot(image, image)

        return backend.device(length)


class SteepestDescent(_OneDirection):
    """The step of an exact line search, for matrices close to symmetric (Saad, 5.3.1)."""

    kind = "steepest_descent"
    needs_preconditioned = True

    def _build_length(self, backend: Backend, n: int) -> Callable:
        dot = build_dot(backend, n)

        def length(residual, z, image):
            return dot(z, residual), dot(z, image)

        return backend.device(length)
