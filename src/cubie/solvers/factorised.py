"""A preconditioner that is factorised: LU factors of a part of the matrix, in loops over tables.

The Jacobian's entries are evaluated once for a step; products with the matrix stay those without
one. What is kept of it is said in `cubie.solvers.kept_entries`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import Backend, in_turn
from cubie.factory import BuildContext, CUDAFactory
from cubie.solvers.contract import Blocks
from cubie.solvers.kept_entries import KeptEntries, keep_entries
from cubie.solvers.krylov_settings import KrylovSettings
from cubie.solvers.lu_source import FactorLayout
from cubie.solvers.lu_tables import LUTables
from cubie.solvers.table_lu import build_table_factorise, build_table_solves
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.component import JacobianComponent

# A pivot that lost this many units of rounding to cancellation is replaced.
PIVOT_LOSS = 16.0


class FactorisedFunctions(NamedTuple):
    """Device functions of a factorised preconditioner.

    Attributes
    ----------
    prepare : callable
        ``prepare(memory, launch, matrix)``: evaluates the Jacobian and factorises.
    solve : callable
        ``solve(memory, vec, out)``: stores P vec of all unknowns in `out`, another buffer.
    filter : callable or None
        As `solve`, with the block ``blocks.filter`` alone, for its n unknowns.
    """

    prepare: Callable
    solve: Callable
    filter: Callable | None


class FactorisedPreconditioner(CUDAFactory):
    """Factors of what is kept of the matrices ``shift * eigenvalue * M - J``.

    A pivot that is zero, or lost all its digits to cancellation, is replaced by what it lost them
    from: any regular P will do, and the residual tells what it was good for.

    Parameters
    ----------
    system : SystemComponent
    blocks : Blocks
    mass : mapping of (row, column) to number
    settings : KrylovSettings
        Of the solver that it preconditions.
    per_component : bool
        Tolerances are given per component.
    dtype : dtype
    options : mapping
    """

    name = "preconditioner"
    phases = ("jacobian", "factorise", "solve")
    entries = {"prepare": ("jacobian", "factorise"), "solve": ("solve",)}  # noqa: RUF012

    def __init__(
        self,
        system: SystemComponent,
        blocks: Blocks,
        mass: Mapping[tuple[int, int], float],
        settings: KrylovSettings,
        per_component: bool,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(dtype, options)
        self.blocks, self.mass, self.chosen = blocks, mass, settings
        self.jacobian = JacobianComponent(system, per_component, dtype, options)
        self.add_child(self.jacobian, during="jacobian")
        self.register_buffer(
            "preconditioner_factors",
            size=lambda: self.layout.starts[-1],
            phases=(("jacobian", "solve"),),
            persistent=True,
            access_weight=20.0,
        )
        # The factors' places hold the Jacobian itself where all of it is kept.
        self.register_buffer(
            "jacobian_entries",
            size=lambda: len(self.jacobian.pattern),
            phases=("jacobian",),
            enabled=lambda: not self.keeps_all,
            access_weight=2.0,
        )

    @functools.cached_property
    def kept(self) -> KeptEntries:
        """What is kept of the matrix, found on first use."""
        return keep_entries(self.chosen, self.blocks.n_states, self.jacobian.pattern, self.mass)

    @property
    def keeps_all(self) -> bool:
        """All entries of the Jacobian are in the factors."""
        return len(self.kept.numbers) == len(self.jacobian.pattern)

    @functools.cached_property
    def layout(self) -> FactorLayout:
        """Where the factors of all blocks lie."""
        kept = self.kept
        mass = {place: self.mass[place] for place in kept.mass}
        return FactorLayout(kept.elimination, len(kept.numbers), mass, self.blocks, apart=True)

    def told(self) -> str:
        return f"Preconditioner of {self.blocks.n_states} states: {self.kept.words}"

    def facts(self) -> tuple:
        return (self.blocks, sorted(self.mass.items()), self.chosen)

    def build(self, context: BuildContext) -> FactorisedFunctions:
        backend, layout, blocks = context.backend, self.layout, self.blocks
        tables = LUTables.of(layout.elimination)
        factorise = build_table_factorise(backend, layout, tables, mends=True)
        substitute = build_table_solves(backend, layout, tables)
        chain = in_turn(backend, substitute[: len(blocks.solved.eigenvalues)], 5)
        filters = None
        if blocks.filter is not None:
            alone = substitute[blocks.filter]
            filters = self._build_solve(context, alone, blocks.filter_at)
        return FactorisedFunctions(
            self._build_prepare(context, factorise), self._build_solve(context, chain, 0), filters
        )

    def _build_prepare(self, context: BuildContext, factorise: Callable) -> Callable:
        backend = context.backend
        take = self._build_take(context)
        alloc_factors = context.allocator("preconditioner_factors")
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")
        eps = backend.constant(PIVOT_LOSS * np.finfo(backend.dtype).eps)
        one = backend.constant(1.0)

        def prepare(memory, launch, matrix):
            enter_jacobian(memory)
            factors = alloc_factors(memory, None)
            take(memory, launch, matrix, factors)
            enter_factorise(memory)
            factorise(matrix.shift, factors, eps, one)

        return backend.device(prepare)

    def _build_take(self, context: BuildContext) -> Callable:
        """Return ``take(memory, launch, matrix, factors)``: the entries of J that are kept."""
        jacobian = self.child_functions(context, "jacobian")

        def take_all(memory, launch, matrix, factors):
            jacobian(memory, launch, matrix, factors, 0)

        if self.keeps_all:
            return context.backend.device(take_all)
        alloc_entries = context.allocator("jacobian_entries")
        n_kept = len(self.kept.numbers)
        number = context.backend.table(np.array(self.kept.numbers, np.int64))

        def take_some(memory, launch, matrix, factors):
            found = alloc_entries(memory, None)
            jacobian(memory, launch, matrix, found, 0)
            for k in range(n_kept):
                factors[k] = found[number(k)]

        return context.backend.device(take_some)

    def _build_solve(self, context: BuildContext, substitute: Callable, at: int) -> Callable:
        """Return `solve` for vectors whose first element is unknown `at` of all blocks."""
        backend: Backend = context.backend
        alloc_factors = context.allocator("preconditioner_factors")

        def solve(memory, vec, out):
            factors = alloc_factors(memory, None)
            substitute(factors, vec, -at, out, -at)

        return backend.device(solve)
