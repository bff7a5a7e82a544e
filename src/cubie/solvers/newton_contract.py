"""What Newton's method is asked with, what it is given, and the device functions that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from attrs import field, frozen, validators

from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.reals import as_float, as_int, is_flag


def _tolerance(instance, attribute, value):
    if not (isinstance(value, float) and 0.0 < value <= 1.0):
        raise InvalidOption(attribute.name, value, advice="It must be above 0 and at most 1.")


def _iterations(instance, attribute, value):
    if type(value) is not int or not 1 <= value <= 1000:
        raise InvalidOption(attribute.name, value, advice="It must be an int from 1 to 1000.")


@frozen
class NewtonSettings:
    """Options of Newton's method.

    Attributes
    ----------
    newton_tolerance : float
        Error that may be left in a stage, as a fraction of the error allowed in a step.
    max_newton_iterations : int
        A step that needs more is rejected.
    jacobian_reuse : bool, optional
        Keep the Jacobian and its factors from step to step while Newton's method converges with
        them; only of ``linear_solver="lu"``. By default methods of several steps do.
    weigh_increments : bool
        Weigh a state of zero by where it goes: without an absolute tolerance no change of it would
        be small. Set by the solver where there is none, since it takes a few percent.
    """

    newton_tolerance: float = field(default=0.01, converter=as_float, validator=_tolerance)
    max_newton_iterations: int = field(default=10, converter=as_int, validator=_iterations)
    jacobian_reuse: bool | None = field(default=None, validator=validators.optional(is_flag))
    weigh_increments: bool = field(default=False, validator=is_flag)


class Stage(NamedTuple):
    """What the equations of a stage (or of all stages) are made of."""

    t: Any  # time of the stage
    h: Any  # signed size of the step
    shift: Any  # what the mass matrix is multiplied by
    state: Any  # buffer, (n,)
    parameters: Any  # buffer, (m,)
    base: Any  # buffer; what it holds is between the equations and the step
    increment: Any  # buffer of the N unknowns


@frozen
class NewtonFunctions:
    """Device functions of Newton's method.

    Attributes
    ----------
    begin : callable
        ``begin(memory, fresh)``, before the first step of runs in the lanes of the mask.
    prepare : callable
        ``prepare(memory, launch, matrix, h) -> regular``: builds the `Matrix` at the step's start;
        the mask tells where it can be solved with. `h` is the size of the step.
    first_eta : callable
        ``first_eta(memory, h) -> eta`` for the first equations of a step.
    solve : callable
        ``solve(memory, launch, matrix, stage, eta, fit) -> (solved, eta, iterations, linear)``:
        improves the increment of a `Stage` until its equations hold. `matrix` is that of
        `prepare`. `eta` estimates how much of the last change is left as error, from equations
        solved before (1 at first). `fit` tells in which lanes the matrix is of use: it is
        regular, and has solved the step's earlier equations. In others an infinite
        pivot, or one that is far too large, makes changes of nothing; they are left unsolved.
        `iterations` are those taken (int32 lanes), `linear` those of the linear solver in them.
    again : callable
        ``again(memory, launch, matrix, stage, solved, iterations, linear)
        -> (solved, iterations, linear)``, after `solve`: where no smaller step will be tried,
        equations that are not solved are looked at again.
    settle : callable
        ``settle(memory, h, solved, eta, iterations, counters)``, after the last equations of a
        step: it decides what becomes of a matrix that is kept, and counts what was built.
    commit : callable
        ``commit(memory, accept)``, after every attempt.
    retries : callable or None
        ``retries(memory) -> mask``, after `settle`: where the equations are not solved, and the
        matrix was an old one. The step is to be attempted again as it was. None where none is kept.
    filter : callable or None
        ``filter(memory, launch, matrix, rhs, x) -> solved``: solves once with the filter's block,
        for the n elements of x, which may be `rhs`.
    restore : callable or None
        ``restore(memory, launch, t, h, state, parameters, fresh) -> found``: makes a state
        consistent, see `cubie.solvers.restoring`.
    """

    begin: Callable
    prepare: Callable
    first_eta: Callable
    solve: Callable
    again: Callable
    settle: Callable
    commit: Callable
    retries: Callable | None
    filter: Callable | None
    restore: Callable | None


class Equations(Protocol):
    """The nonlinear equations of one stage, or of all; its `repr` tells all that it computes."""

    @property
    def couples_stages(self) -> bool:
        """Whether they are those of all stages."""
        ...

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        """Return ``evaluate(stage, argument, out)``.

        It stores the residual, the right-hand side of the linear system for the next change, in
        `out` (N,). `argument` (n,) is scratch, which may be the last elements of `out`.
        """
        ...

    def build_place(self, context: BuildContext) -> Callable:
        """Return ``place(stage, out) -> t``.

        It stores in `out` (n,) where the right-hand side is evaluated, or the middle of where it
        is, and returns the time there.
        """
        ...


class SeparateStages(NamedTuple):
    """Equations of all stages, each with one right-hand side: functions to compile for the device.

    Attributes
    ----------
    residual, jacobians : callable
        ``(launch, stage, argument, temp, out)``: the first stores N residuals, the second minus
        the Jacobian of every stage on the diagonal of a matrix of N columns.
    mass : callable
        ``mass(shift, unit, column, matrix)``: adds what the mass matrix is multiplied by to the
        columns of state `column`, of which `unit` (n,) is the unit vector.
    back : callable
        ``back(change, delta)``: from increments of stages to those of blocks.
    """

    residual: Callable
    jacobians: Callable
    mass: Callable
    back: Callable


class CoupledStages(Equations, Protocol):
    """Those of all stages."""

    def build_separate(
        self, context: BuildContext, rhs: Callable, add_mass: Callable, scale: Callable
    ) -> SeparateStages:
        """Return the same equations stage by stage; `scale` is that of `build_scale`."""
        ...
