"""Direct solution: sparse LU factors of ``shift * M - J``, pivots chosen beforehand."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.backend import Backend, any_lane, package_digest, select
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.solvers.dense_lu import build_dense_factorise
from cubie.solvers.dense_substitution import build_dense_solves
from cubie.solvers.elimination import Elimination, eliminate
from cubie.solvers.lu_form import (
    DENSE,
    FORMS,
    STRAIGHT_LINE,
    TABLES,
    FormChoice,
    choose_form,
    read_choice,
    written_choice,
)
from cubie.solvers.lu_source import FactorLayout, write_lu
from cubie.solvers.lu_tables import LUTables
from cubie.solvers.mixed_precision import RunPrecision, SinglePrecision
from cubie.solvers.read_entries import build_gather, factorise_at, solve_at
from cubie.solvers.table_lu import build_table_factorise, build_table_solves
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.component import JacobianComponent
from cubie.systems.generated import load_module
from cubie.systems.mass import mass_entries
from cubie.systems.store import Store

# Of fewer states the form is found sooner than read.
LEAST_KEPT = 64
CHOICES = ("auto", *FORMS)
PRECISIONS = ("float32", "float64")


def _one_of_choices(instance, attribute, value):
    if value not in CHOICES:
        raise InvalidOption(attribute.name, value, CHOICES)


def _name_of_dtype(value):
    """Return the name of a dtype; what is none stays as it is."""
    try:
        return None if value is None else np.dtype(value).name
    except TypeError:
        return value


def _precision(instance, attribute, value):
    if value not in (None, *PRECISIONS):
        raise InvalidOption(attribute.name, value, (*PRECISIONS, None))


@frozen
class LUSettings:
    """Options of the direct solver.

    Attributes
    ----------
    lu_form : {"auto", "straight_line", "tables", "dense"}
        How factorisations are compiled: see `cubie.solvers.lu_form`.
    factor_dtype : {"float32", "float64"}, optional
        Precision of the factors, at most that of the run; by default the same. In single precision
        they take half the bytes, see `cubie.solvers.mixed_precision`; only of methods that solve
        their equations by Newton's method.
    """

    lu_form: str = field(default="auto", validator=_one_of_choices)
    factor_dtype: str | None = field(default=None, converter=_name_of_dtype, validator=_precision)


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
    keeps_jacobian : bool
        Jacobians and factors stay from step to step.
    """

    Settings = LUSettings
    settings: LUSettings

    def __init__(
        self,
        system: SystemComponent,
        blocks: Blocks,
        per_component: bool,
        tolerance: float,
        dtype,
        options: Mapping[str, Any],
        keeps_jacobian: bool = False,
    ):
        super().__init__(blocks, per_component, dtype, options)
        self.keeps_jacobian = keeps_jacobian
        self.system = system
        self.mass = mass_entries(system.n_states, getattr(system.system, "mass", None))
        self.precision = self._precision()
        stored = self.precision.dtype
        self.jacobian = JacobianComponent(system, per_component, dtype, options, stored)
        self.factorised_jacobian = self.jacobian
        self.jacobian.left_out = self._entries_read
        self.add_child(self.jacobian, during="jacobian")
        self.register_buffer(
            "lu_factors",
            size=self._n_factors,
            dtype=stored,
            phases=None if keeps_jacobian else (("jacobian", "solve"),),
            persistent=True,
            access_weight=6.0,
        )
        self.register_buffer(
            "kept_jacobian",
            size=lambda: len(self.jacobian.pattern),
            dtype=stored,
            persistent=True,
            enabled=keeps_jacobian,
            access_weight=1.0,
        )
        self.precision.register_buffers()

    def _precision(self) -> RunPrecision:
        """Return what is asked of factors.

        Raises
        ------
        InvalidOption
            For factors that are more precise than the run.
        """
        dtype, asked = self.buffer_registry.dtype, self.settings.factor_dtype
        if asked in (None, dtype.name):
            return RunPrecision(self)
        if asked == "float64":
            raise InvalidOption(
                "factor_dtype",
                asked,
                (dtype.name, None),
                "The run itself has no more.",
            )
        return SinglePrecision(self)

    @functools.cached_property
    def elimination(self) -> Elimination:
        """Order of pivots and fill-in, found on first use."""
        return eliminate(self.blocks.n_states, self.jacobian.pattern, sorted(self.mass))

    @functools.cached_property
    def choice(self) -> FormChoice:
        """In which form the factorisation is compiled, and why.

        A process that finds its kernel in the cache finds this beside it, and eliminates nothing.
        """
        asked, entries = self.settings.lu_form, (self.jacobian.pattern, sorted(self.mass))
        costs = self.system.form_costs
        if self.blocks.n_states < LEAST_KEPT:
            return choose_form(self.elimination, self.blocks, asked, costs)
        parts = "lu form", package_digest(), self.blocks, asked, costs, entries
        key = hashlib.sha256(repr(parts).encode()).hexdigest()
        store = Store.beside(self.system.system.path)
        found = read_choice(store.read_entry(key))
        if found is None:
            found = choose_form(self.elimination, self.blocks, asked, costs)
            store.write_entry(key, written_choice(found))
        return found

    @property
    def form(self) -> str:
        return self.choice.form

    @property
    def narrows(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.precision.dtype != self.buffer_registry.dtype

    @property
    def in_loops(self) -> bool:
        """Factorisations are no straight-line text."""
        return self.form != STRAIGHT_LINE

    def _n_factors(self) -> int:
        if self.form == STRAIGHT_LINE:
            return self.layout.starts[-1]
        return self.choice.estimates[self.form].n_entries

    @functools.cached_property
    def layout(self) -> FactorLayout:
        """Where the factors of all blocks lie, where they are sparse."""
        apart, n_entries, elimination = False, len(self.jacobian.pattern), self.elimination
        if self.form == TABLES:
            apart, elimination = True, elimination.with_tail(self.choice.n_tail)
        # In single precision entries are scaled.
        reads = self.reads_entries and not apart and not self.narrows
        plain = self.jacobian.plain if reads else {}
        return FactorLayout(elimination, n_entries, self.mass, self.blocks, apart, plain)

    def _entries_read(self) -> frozenset[int]:
        """Return the entries of the Jacobian that factors are without."""
        return frozenset() if self.in_loops or not self.reads_entries else self.layout.read

    @property
    def renewal_worth(self) -> float:
        """How many iterations of Newton's method take about as much work as a new Jacobian.

        Counted in products: an entry of a Jacobian is about one, and so it is in a residual.
        """
        blocks = self.blocks.eigenvalues
        weight, slots = sum(4 if value.imag else 1 for value in blocks), self.choice.n_entries
        entries = len(self.jacobian.pattern)
        iteration = entries * self.blocks.n_unknowns // self.blocks.n_states + weight * slots
        # By differences a Jacobian takes residuals, one for each state or group of them.
        groups = self.jacobian.n_evaluations
        return (entries * max(groups, 1) + weight * self.choice.n_products) / iteration

    @functools.cached_property
    def source(self) -> str:
        """Text of the generated module."""
        return write_lu(self.layout)

    def told(self) -> str:
        in_single = "\n  factors in single precision" if self.narrows else ""
        return f"{self.choice}{in_single}"

    def facts(self) -> tuple:
        return (self.blocks, sorted(self.mass.items()), self.keeps_jacobian)

    def build(self, context: BuildContext) -> LinearSolverFunctions:
        backend, blocks, precision = context.backend, self.blocks, self.precision
        builds = {
            STRAIGHT_LINE: self._build_straight_line,
            TABLES: self._build_tables,
            DENSE: self._build_dense,
        }
        eliminate, substitute = builds[self.form](precision.backend(backend))
        factorise = precision.build_factorise(context, eliminate)
        solving = range(len(blocks.solved.eigenvalues))
        chain = _in_turn(backend, [substitute[k] for k in solving], _then_solve)
        number, filters = blocks.filter, None
        if number is not None:
            alone = backend.device(_moved(substitute[number], blocks.filter_at))
            filters = backend.device(self._build_solve(context, alone, blocks.n_states))
        return LinearSolverFunctions(
            prepare=backend.device(self._build_prepare(context, factorise)),
            solve=backend.device(self._build_solve(context, chain, blocks.n_unknowns)),
            filter=filters,
            renew=self._build_renew(context, factorise) if self.keeps_jacobian else None,
        )

    def _build_dense(self, backend: Backend) -> tuple[Callable, list[Callable]]:
        """Return the factorisation of all blocks, and the substitution of each."""
        pattern = self.jacobian.pattern
        factorise = build_dense_factorise(backend, self.blocks, pattern, self.mass)
        return factorise, build_dense_solves(backend, self.blocks)

    def _build_tables(self, backend: Backend) -> tuple[Callable, list[Callable]]:
        """Return the factorisation of all blocks, and the substitution of each."""
        layout, tables = self.layout, LUTables.of(self.layout.elimination)
        factorise = build_table_factorise(backend, layout, tables)
        return factorise, build_table_solves(backend, layout, tables)

    def _build_straight_line(self, backend: Backend) -> tuple[Callable, list[Callable]]:
        """Return the factorisation of all blocks, and the substitution of each."""
        module = load_module(self.source)
        numbers = range(len(self.blocks.eigenvalues))

        def compiled(name: str, wrap: Callable) -> Callable:
            function = backend.straight_line(getattr(module, name), inline=False)
            return backend.device(wrap(function)) if self._entries_read() else function

        # The first block's slots hold the Jacobian of all: it comes last.
        factorise = [compiled(f"factorise_{k}", factorise_at) for k in reversed(numbers)]
        solve = [compiled(f"solve_{k}", solve_at) for k in numbers]
        return _in_turn(backend, factorise, _then_factorise), solve

    def _build_prepare(self, context: BuildContext, factorise: Callable) -> Callable:
        jacobian = self.child_functions(context, "jacobian")
        alloc_factors = context.allocator("lu_factors")
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")
        weigh = self.precision.build_weigh(context)
        gather = build_gather(context.backend, bool(self._entries_read()))

        def prepare(memory, launch, matrix):
            enter_jacobian(memory)
            factors = alloc_factors(memory, None)
            jacobian(memory, launch, matrix, factors, 0)
            weigh(memory, launch, matrix.y)
            enter_factorise(memory)
            return factorise(memory, matrix.shift, gather(factors, matrix))

        return prepare

    def _build_renew(self, context: BuildContext, factorise: Callable) -> Callable:
        """Return the `renew` of `LinearSolverFunctions`.

        All lanes are factorised, those whose matrix stays as they were: from the same numbers
        comes the same to the last bit.
        """
        backend, n_entries = context.backend, len(self.jacobian.pattern)
        jacobian = self.child_functions(context, "jacobian")
        alloc_factors = context.allocator("lu_factors")
        alloc_kept = context.allocator("kept_jacobian")
        enter_jacobian, enter_factorise = context.phase("jacobian"), context.phase("factorise")
        weigh = self.precision.build_weigh_anew(context)

        def renew(memory, launch, matrix, anew, shift):
            enter_jacobian(memory)
            factors, kept = alloc_factors(memory, None), alloc_kept(memory, None)
            if any_lane(anew):
                jacobian(memory, launch, matrix, factors, 0)
                for k in range(n_entries):
                    kept[k] = select(anew, factors[k], kept[k])
            weigh(memory, launch, matrix.y, anew)
            for k in range(n_entries):
                factors[k] = kept[k]
            enter_factorise(memory)
            return factorise(memory, shift, factors)

        return backend.device(renew)

    def _build_solve(self, context: BuildContext, substitute: Callable, n: int) -> Callable:
        """Return `solve` for n unknowns."""
        substitute_all = self.precision.build_substitution(context, substitute, n)
        alloc_factors = context.allocator("lu_factors")
        gather = build_gather(context.backend, bool(self._entries_read()))
        enter = context.phase("solve")

        def solve(memory, launch, matrix, rhs, rhs_at, x, x_at):
            enter(memory)
            factors = gather(alloc_factors(memory, None), matrix)
            substitute_all(memory, factors, rhs, rhs_at, x, x_at)
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
