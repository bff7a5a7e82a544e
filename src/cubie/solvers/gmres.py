"""GMRES with restarts, preconditioned from the right (Saad, Iterative Methods for Sparse Linear
Systems, 2nd edition, 6.5 and 9.3.2).

Residuals are scaled by what weighs them at the end of an iteration (`cubie.solvers.weighting`), as
in SUNDIALS' SPGMR: each is the least that its products can make in the measure that it is judged
by, and its size is known without forming it. Modified Gram-Schmidt makes the basis, Givens
rotations the least squares.

At the end of a cycle the residual is formed by one more product, and that one decides. Where a
cycle did not make it smaller the iteration gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from attrs import field, frozen

from cubie.backend import Backend, any_lane, is_finite, select, square_root
from cubie.factory import BuildContext
from cubie.reals import as_int
from cubie.solvers.contract import Blocks
from cubie.solvers.krylov import KrylovSolver, Part
from cubie.solvers.krylov_settings import KrylovSettings, count
from cubie.solvers.weighting import build_factors
from cubie.systems.component import SystemComponent
from cubie.systems.mass import is_identity


class Cycle(NamedTuple):
    """Buffers of what happens between two restarts."""

    basis: Any  # vector j from element j * n on, scaled
    factors: Any  # what a residual is scaled by
    direction: Any  # a vector that is not scaled
    upper: Any  # columns of the triangle one after another
    turns: Any  # cosines, and sines behind the last of them
    coefficients: Any  # of the least squares, one for each vector of the basis


@frozen
class GMRESSettings(KrylovSettings):
    """Options of GMRES.

    Attributes
    ----------
    gmres_restart : int
        Vectors of the basis, and products, between two restarts; at most as many as unknowns.
    """

    gmres_restart: int = field(default=20, converter=as_int, validator=count(1, 1000))


class GMRES(KrylovSolver):
    """Generalised minimal residuals (Saad & Schultz, SIAM J. Sci. Stat. Comput. 7 (1986))."""

    kind = "gmres"
    Settings = GMRESSettings
    settings: GMRESSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        system: SystemComponent,
        blocks: Blocks,
        per_component: bool,
        tolerance: float,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(system, blocks, per_component, tolerance, dtype, options)
        n = blocks.n_unknowns
        vectors = self._vectors(blocks)
        sizes = {
            "krylov_basis": vectors * n,
            "residual_factors": n,
            "krylov_direction": n,
            "hessenberg_triangle": vectors * (vectors + 1) // 2,
            "givens_rotations": 2 * vectors,
            "basis_coefficients": vectors,
        }
        for name, size in sizes.items():
            self.register_buffer(name, size, phases=("solve",), access_weight=20.0)

    def _vectors(self, blocks: Blocks) -> int:
        """Return how many products there are between two restarts."""
        return min(self.settings.gmres_restart, blocks.n_unknowns)

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        backend, n, vectors = context.backend, part.blocks.n_unknowns, self._vectors(part.blocks)
        product, measure = self._build_product(context, part), self._build_measure(backend, part)
        diagonal_at = None if is_identity(self.mass, self.blocks.n_states) else part.at
        weigh = build_factors(backend, part.blocks, self.per_component, self.tolerance, diagonal_at)
        begin = _build_begin(backend, n, vectors)
        extend = _build_extend(backend, n, vectors, product)
        take_back = _build_take_back(backend, n, vectors, product)
        allocators = [
            context.allocator(name)
            for name in (
                "krylov_basis", "residual_factors", "krylov_direction",
                "hessenberg_triangle", "givens_rotations", "basis_coefficients",
            )
        ]  # fmt: skip
        take_basis, take_factors, take_direction, take_upper, take_turns, take_coefficients = (
            allocators
        )
        limit = self.settings.max_linear_iterations

        def iterate(memory, launch, matrix, work, target):
            residual, inverse, per_shift = work.residual, work.inverse, work.per_shift
            cycle = Cycle(
                take_basis(memory, None),
                take_factors(memory, None),
                take_direction(memory, None),
                take_upper(memory, None),
                take_turns(memory, None),
                take_coefficients(memory, None),
            )
            weigh(launch, matrix.y, inverse, per_shift, cycle.factors)
            size = measure(launch, matrix.y, inverse, per_shift, residual)
            active = size > target
            iterations = select(active, 0, 0)
            while any_lane(active):
                begin(cycle, residual, size, active)
                rest, going = square_root(size), active
                for j in range(vectors):
                    if any_lane(going):
                        iterations = select(going, iterations + 1, iterations)
                        rest, going = extend(memory, launch, matrix, work, cycle, j, rest, going)
                        going = going & (rest * rest > target) & (iterations < limit)
                take_back(memory, launch, matrix, work, cycle, active)
                iterations = select(active, iterations + 1, iterations)
                before = size
                size = measure(launch, matrix.y, inverse, per_shift, residual)
                active = active & (size > target) & (size < before) & (iterations < limit)
            return (size <= target) & is_finite(size), iterations

        return backend.iterated(iterate)


def _build_begin(backend: Backend, n: int, vectors: int) -> Callable:
    """Return ``begin(cycle, residual, size, active)``: the first vector of a basis.

    Lanes that have come to their end have vectors of zeros.
    """
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def begin(cycle, residual, size, active):
        per_length = one / square_root(select(active, size, one))
        for i in range(n):
            scaled = residual[i] * cycle.factors[i] * per_length
            cycle.basis[i] = select(active, scaled, zero)
        for j in range(vectors):
            cycle.coefficients[j] = per_length * zero

    return backend.device(begin)


def _build_extend(backend: Backend, n: int, vectors: int, product: Callable) -> Callable:
    """Return ``extend(memory, launch, matrix, work, cycle, j, rest, going) -> (rest, going)``.

    It makes column j of the least squares, and vector j + 1, but for what the last product gives:
    nothing is made of that. `rest` is the size of the residual.
    """
    orthogonalise, turn = _build_orthogonalise(backend, n), _build_turn(backend, vectors)
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def extend(memory, launch, matrix, work, cycle, j, rest, going):
        basis, factors, direction, image = cycle.basis, cycle.factors, cycle.direction, work.temp
        at = j * n
        for i in range(n):
            direction[i] = basis[at + i] / factors[i]
        product(memory, launch, matrix, work, direction, image)
        for i in range(n):
            image[i] = image[i] * factors[i]
        length = orthogonalise(cycle, image, j)
        cosine, sine, usable = turn(cycle, j, length, going)
        goes_on = usable & (length > zero)
        per_length = one / select(goes_on, length, one)
        if j + 1 < vectors:
            for i in range(n):
                basis[at + n + i] = select(goes_on, image[i] * per_length, zero)
        cycle.coefficients[j] = select(usable, cosine * rest, zero)
        return select(usable, -sine * rest, rest), usable

    return backend.device(extend)


def _build_orthogonalise(backend: Backend, n: int) -> Callable:
    """Return ``orthogonalise(cycle, image, j) -> length``.

    From `image` it takes what lies along vectors 0 to j, and keeps that as column j.
    """

    def orthogonalise(cycle, image, j):
        basis, first = cycle.basis, j * (j + 1) // 2
        for k in range(j + 1):
            at = k * n
            part = basis[at] * image[0]
            for i in range(1, n):
                part = part + basis[at + i] * image[i]
            cycle.upper[first + k] = part
            for i in range(n):
                image[i] = image[i] - part * basis[at + i]
        square = image[0] * image[0]
        for i in range(1, n):
            square = square + image[i] * image[i]
        return square_root(square)

    return backend.device(orthogonalise)


def _build_turn(backend: Backend, vectors: int) -> Callable:
    """Return ``turn(cycle, j, length, going) -> (cosine, sine, usable)``.

    Column j is turned as those before it, and then so that `length` below it becomes zero. A
    column of nothing but zeros is not usable: the matrix is singular on the basis. Of lanes that do
    not use it the column is that of a matrix of ones.
    """
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def turn(cycle, j, length, going):
        upper, turns, first = cycle.upper, cycle.turns, j * (j + 1) // 2
        for k in range(j):
            a, b = upper[first + k], upper[first + k + 1]
            upper[first + k] = turns[k] * a + turns[vectors + k] * b
            upper[first + k + 1] = turns[k] * b - turns[vectors + k] * a
        last = upper[first + j]
        radius = square_root(last * last + length * length)
        usable = going & (radius > zero)
        per_radius = one / select(usable, radius, one)
        cosine, sine = last * per_radius, length * per_radius
        turns[j], turns[vectors + j] = cosine, sine
        for k in range(j):
            upper[first + k] = select(usable, upper[first + k], zero)
        upper[first + j] = select(usable, radius, one)
        return cosine, sine, usable

    return backend.device(turn)


def _build_take_back(backend: Backend, n: int, vectors: int, product: Callable) -> Callable:
    """Return ``take_back(memory, launch, matrix, work, cycle, active)``.

    It solves the least squares of the columns that were made, adds the solution to x, and takes its
    product from the residual. Columns that a lane did not use have coefficients of zero, which add
    nothing, not even to the sign of a zero.

    How many columns a group made depends on all its lanes. No sum is as long as that: compilers
    may regroup sums by their length, and a lane's numbers would depend on its neighbours.
    """
    zero = backend.constant(0.0)

    def take_back(memory, launch, matrix, work, cycle, active):
        x, x_at, residual, image = work.x, work.x_at, work.residual, work.temp
        basis, direction, coefficients = cycle.basis, cycle.direction, cycle.coefficients
        for i in range(n):
            direction[i] = matrix.shift * zero
        for step in range(vectors):
            j = vectors - 1 - step
            if any_lane(coefficients[j] != zero):
                first = j * (j + 1) // 2
                part = coefficients[j] / cycle.upper[first + j]
                for k in range(j):
                    coefficients[k] = select(
                        part != zero,
                        coefficients[k] - part * cycle.upper[first + k],
                        coefficients[k],
                    )
                for i in range(n):
                    direction[i] = select(
                        part != zero, direction[i] + part * basis[j * n + i], direction[i]
                    )
        for i in range(n):
            direction[i] = direction[i] / cycle.factors[i]
        z = product(memory, launch, matrix, work, direction, image)
        for i in range(n):
            x[x_at + i] = select(active, x[x_at + i] + z[i], x[x_at + i])
            residual[i] = select(active, residual[i] - image[i], residual[i])

    return backend.device(take_back)
