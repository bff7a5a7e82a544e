"""Direct solution: sparse LU factors of ``shift * M - J``, pivots chosen beforehand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cubie.backend import Backend, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.solvers.dense_lu import build_dense_factorise, build_dense_solves, dense_starts
from cubie.solvers.elimination import Elimination, eliminate
from cubie.solvers.lu_source import FactorLayout, write_lu
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.component import JacobianComponent
from cubie.systems.generated import load_module
from cubie.systems.mass import mass_entries

# A pivot that lost this many units of rounding to cancellation counts as zero.
PIVOT_LOSS = 16.0

# With more products in the factorisation of a block, straight-line text costs more to compile
# than its sparsity saves: 1015 products (Pleiades, 28 states) take 2.3 s of a CPU.
MOST_PRODUCTS = 1500


class LUSolver(LinearSolver):
    """Factorise once in `prepare`, substitute in every `solve`.

    Parameters
    ----------
    system : SystemComponent
    blocks : Blocks
    per_component : bool
        Tolerances are given per component.
    tolerance : float
        Not used: a direct solution is as accurate as it can be.
    dtype : dtype
    options : mapping
    """

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
        self.system = system
        self.mass = mass_entries(system.n_states, getattr(system.system, "mass", None))
        self.jacobian = JacobianComponent(system, per_component, dtype, options)
        self.add_child(self.jacobian, during="jacobian")
        self.register_buffer(
            "lu_factors",
            size=self._n_factors,
            phases=(("jacobian", "solve"),),
            persistent=True,
            access_weight=6.0,
        )

    @functools.cached_property
    def elimination(self) -> Elimination:
        """Order of pivots and fill-in, found on first use."""
        return eliminate(self.blocks.n_states, self.jacobian.pattern, sorted(self.mass))

    @functools.cached_property
    def dense(self) -> bool:
        """Whether all n * n entries are kept, and factorised in loops."""
        return self.elimination.in_place and self.elimination.n_products > MOST_PRODUCTS

    def _n_factors(self) -> int:
        if self.dense:
            return dense_starts(self.blocks)[-1]
        return self.layout.starts[-1]

    @functools.cached_property
    def layout(self) -> FactorLayout:
        """Where the factors of all blocks lie."""
        return FactorLayout(self.elimination, len(self.jacobian.pattern), self.mass, self.blocks)

    @functools.cached_property
    def source(self) -> str:
        """Text of the generated module."""
        return write_lu(self.layout)

    def facts(self) -> tuple:
        return (self.blocks, sorted(self.mass.items()))

    def build(self, context: BuildContext) -> LinearSolverFunctions:
        backend = context.backend
        build = self._build_dense if self.dense else self._build_sparse
        factorise, substitute = build(backend)
        solving = range(len(self.blocks.solved.eigenvalues))
        chain = _in_turn(backend, [substitute[k] for k in solving], _then_solve)
        number, filters = self.blocks.filter, None
        if number is not None:
            alone = backend.device(_moved(substitute[number], self.blocks.filter_at))
            filters = backend.device(self._build_solve(context, alone))
        return LinearSolverFunctions(
            prepare=backend.device(self._build_prepare(context, factorise)),
            solve=backend.device(self._build_solve(context, chain)),
            filter=filters,
        )

    def _build_dense(self, backend: Backend) -> tuple[Callable, list[Callable]]:
        """Return the factorisation of all blocks, and the substitution of each."""
        pattern = self.jacobian.pattern
        factorise = build_dense_factorise(backend, self.blocks, pattern, self.mass)
        return factorise, build_dense_solves(backend, self.blocks)

    def _build_sparse(self, backend: Backend) -> tuple[Callable, list[Callable]]:
        """Return the factorisation of all blocks, and the substitution of each."""
        module = load_module(self.source)
        numbers = range(len(self.blocks.eigenvalues))

        def compiled(name: str) -> Callable:
            return backend.straight_line(getattr(module, name), inline=False)

        # The first block's slots hold the Jacobian of all: it comes last.
        factorise = [compiled(f"factorise_{k}") for k in reversed(numbers)]
        solve = [compiled(f"solve_{k}") for k in numbers]
        return _in_turn(backend, factorise, _then_factorise), solve

    def _build_prepare(self, context: BuildContext, factorise: Callable) -> Callable:
        backend = context.backend
        jacobian = self.child_functions(context, "jacobian")
        alloc_factors = context.allocator("lu_factors")
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")
        eps = backend.constant(PIVOT_LOSS * np.finfo(backend.dtype).eps)
        one = backend.constant(1.0)

        def prepare(memory, launch, matrix):
            enter_jacobian(memory)
            factors = alloc_factors(memory, None)
            jacobian(memory, launch, matrix, factors, 0)
            enter_factorise(memory)
            return factorise(matrix.shift, factors, eps, one)

        return prepare

    def _build_solve(self, context: BuildContext, substitute: Callable) -> Callable:
        alloc_factors = context.allocator("lu_factors")
        enter = context.phase("solve")

        def solve(memory, launch, matrix, rhs, rhs_at, x, x_at):
            enter(memory)
            factors = alloc_factors(memory, None)
            substitute(factors, rhs, rhs_at, x, x_at)
            regular = matrix.shift == matrix.shift
            return regular, select(regular, 0, 0)

        return solve


def _in_turn(backend: Backend, functions: list[Callable], then: Callable) -> Callable:
    """Return one function that runs those of several blocks in order."""
    chain = functions[0]
    for function in functions[1:]:
        chain = backend.device(then(chain, function))
    return chain


def _moved(substitute: Callable, at: int) -> Callable:
    """Return the substitution of a block for vectors that hold this block alone."""

    def moved(factors, rhs, rhs_at, x, x_at):
        substitute(factors, rhs, rhs_at - at, x, x_at - at)

    return moved


def _then_factorise(before: Callable, after: Callable) -> Callable:
    def both(shift, factors, eps, one):
        ok = before(shift, factors, eps, one)
        return ok & after(shift, factors, eps, one)

    return both


def _then_solve(before: Callable, after: Callable) -> Callable:
    def both(factors, rhs, rhs_at, x, x_at):
        before(factors, rhs, rhs_at, x, x_at)
        after(factors, rhs, rhs_at, x, x_at)

    return both
