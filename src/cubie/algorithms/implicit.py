"""What the implicit families share: mass matrix, linear solver, Newton's method, outcome."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import evolve, field, fields, frozen

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.backend import Backend, select
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.solvers import LINEAR_SOLVERS, Blocks, LinearSolver
from cubie.solvers.newton import NewtonSolver
from cubie.solvers.newton_contract import Equations, NewtonSettings
from cubie.solvers.restoring import restores
from cubie.solvers.sensitivities import SensitivitySolver
from cubie.status import RunStatus
from cubie.systems.mass import (
    MassEntries,
    build_mass_product,
    is_identity,
    is_singular,
    mass_entries,
)


def _known(instance, attribute, value):
    if value not in tuple(LINEAR_SOLVERS):
        raise InvalidOption(attribute.name, value, LINEAR_SOLVERS)


@frozen
class ImplicitSettings:
    """Options of all implicit algorithms.

    Attributes
    ----------
    linear_solver : str
        A name of `LINEAR_SOLVERS`.
    """

    linear_solver: str = field(default="lu", validator=_known)

    @property
    def direct(self) -> bool:
        """Linear systems are factorised, not iterated on."""
        return self.linear_solver == "lu"


# What those count that keep matrices.
OF_MATRICES = ("jacobians", "factors")


class ImplicitStep(StepAlgorithm):
    """Base of the implicit families: a mass matrix, a linear solver, Newton's method for some.

    Attributes
    ----------
    mass : dict of (row, column) to number
        Entries of the mass matrix that are not zero.
    """

    Settings = ImplicitSettings
    settings: ImplicitSettings
    has_newton: ClassVar[bool] = True

    @property
    def reuses_by_default(self) -> bool:
        """Keeping Jacobians saves more than the iterations that it takes."""
        return False

    @property
    @abstractmethod
    def coefficients(self) -> tuple:
        """What of the tableau goes into the code."""

    @functools.cached_property
    def mass(self) -> MassEntries:
        return mass_entries(self.n_states, getattr(self.system.system, "mass", None))

    @property
    def no_mass(self) -> bool:
        """The mass matrix is the identity."""
        return is_identity(self.mass, self.n_states)

    @functools.cached_property
    def algebraic(self) -> bool:
        """Some equations hold no derivative: the mass matrix is singular."""
        return not self.no_mass and is_singular(self.mass, self.n_states)

    @property
    def restores(self) -> bool:
        jumps = self.system.breakpoints or self.system.jumps
        return self.algebraic and jumps and restores(self.system.system)

    @property
    def persists(self) -> bool:
        """Nothing chooses the step: equations have to be solved for the one that is given."""
        return self.n_error_estimates == 0

    def facts(self) -> tuple:
        return (*self.coefficients, self.n_states, sorted(self.mass.items()))

    def _linear_solver(self, blocks: Blocks) -> LinearSolver:
        """Return the linear solver that the settings name, and count what it costs."""
        dtype = self.buffer_registry.dtype
        self.iterates = not self.settings.direct
        make: Any = LINEAR_SOLVERS[self.settings.linear_solver]
        if self.system.n_blocks > 1:
            make = functools.partial(SensitivitySolver, make)
        # Rosenbrock steps have no Newton's method to hold the option: its default is theirs.
        by_default = NewtonSettings().newton_tolerance
        tolerance = self._options.get("newton_tolerance", by_default)
        given = (self.system, blocks, self.per_component, tolerance, dtype, self._options)
        solver = make(*given, True) if self.keeps_jacobian else make(*given)
        if solver.narrows and not self.has_newton:
            raise InvalidOption(
                "factor_dtype",
                self._options["factor_dtype"],
                (dtype.name, None),
                "Solutions of linear systems are the stages of a Rosenbrock method, and nothing "
                "corrects them. Choose one with Newton's method, such as 'kvaerno5', 'radau_iia_5' "
                "or 'bdf'.",
            )
        # A Jacobian that is kept is that of another state, and one of a second look of a point
        # whose bytes are others' by then.
        solver.reads_entries = not self.keeps_jacobian and not self.persists
        # Of a preconditioner, too, it is entries that are evaluated, and factorised.
        factorises = solver.factorised_jacobian is not None
        self.factorizations_per_step = len(blocks.eigenvalues) if factorises else 0
        self._solver = solver
        return solver

    @property
    def jacobians_per_step(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        jacobian = self._solver.factorised_jacobian
        return int(jacobian is not None and jacobian.is_evaluated)

    @functools.cached_property
    def keeps_jacobian(self) -> bool:
        """Jacobians and their factors stay from step to step."""
        if not self.has_newton:
            return False
        asked = self._newton_settings.jacobian_reuse
        if asked and not self.settings.direct:
            raise InvalidOption(
                "jacobian_reuse",
                asked,
                (False, None),
                f"With linear_solver={self.settings.linear_solver!r} there are no factors to keep.",
            )
        return self.settings.direct and (self.reuses_by_default if asked is None else asked)

    @functools.cached_property
    def _newton_settings(self) -> NewtonSettings:
        known = {field.name for field in fields(NewtonSettings)}
        return NewtonSettings(**{k: v for k, v in self._options.items() if k in known})

    @property
    def counts(self) -> tuple[str, ...]:
        return (*super().counts, *(OF_MATRICES if self.keeps_jacobian else ()))

    def _add_newton(self, equations: Equations, blocks: Blocks) -> None:
        """Add Newton's method for the phases `prepare` and `stages`, and one that filters."""
        newton = NewtonSolver(
            self.system, self._linear_solver(blocks), equations, self._add_mass,
            not self.settings.direct, self.per_component, self.algebraic, self.persists,
            self.restores, self.buffer_registry.dtype, self._options,
        )  # fmt: skip
        self.iterates = True
        calls = {"prepare": "prepare", "solve": "stages"}
        if blocks.filter is not None:
            calls["filter"] = "error_estimate"
        if self.restores:
            calls["restore"] = "restore"
        self.add_child(newton, during=calls)

    def _with_newton(self, context: BuildContext, functions: StepFunctions) -> StepFunctions:
        """Return them with what Newton's method does before a run, and after an attempt."""
        newton = self.child_functions(context, "newton")
        start, commit = functions.start, functions.commit
        begin_newton, commit_newton = newton.begin, newton.commit

        def start_both(memory, fresh, t, state, parameters):
            start(memory, fresh, t, state, parameters)
            begin_newton(memory, fresh)

        def commit_both(memory, accept):
            commit(memory, accept)
            commit_newton(memory, accept)

        device = context.backend.device
        return evolve(
            functions,
            start=device(start_both),
            commit=device(commit_both),
            restore=self._build_restore(context, newton.restore),
            retries=newton.retries,
        )

    def _build_restore(self, context: BuildContext, restore: Callable | None) -> Callable | None:
        """Return the `restore` of `StepFunctions`, from that of the solver's owner."""
        if restore is None:
            return None
        enter = context.phase("restore")

        def restore_state(memory, launch, t, h, state, parameters, fresh):
            enter(memory)
            return restore(memory, launch, t, h, state, parameters, fresh)

        return context.backend.device(restore_state)

    def _add_mass(self, context: BuildContext) -> Callable:
        """Return the product with the mass matrix, see `build_mass_product`."""
        return build_mass_product(context.backend, self.n_states, self.mass)


def build_failure(backend: Backend, persists: bool) -> Callable:
    """Return ``failure(regular, solved)``: what a step returns.

    An algorithm that `persists` may have solved its equations with other matrices than the first.
    """
    singular, diverged = int(RunStatus.SINGULAR_JACOBIAN), int(RunStatus.NEWTON_DIVERGED)

    def failure(regular, solved):
        return select(regular, select(solved, 0, diverged), singular)

    def why_unsolved(regular, solved):
        return select(solved, 0, select(regular, diverged, singular))

    return backend.device(why_unsolved if persists else failure)
