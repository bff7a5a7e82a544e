"""What every step algorithm offers the loop: one contract for all families.

An algorithm is called at three points. Its phases `solution` and
`error_estimate` tell the loop when the proposed state and the error are first
written, so that their bytes are free for the stages before. Either may be the
first of the two.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from attrs import frozen

from cubie.backend import in_turn, rounded_sum
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import SystemComponent


class Proposed(NamedTuple):
    """Buffers that an attempted step writes."""

    state: Any  # (n,)
    error: Any  # (n * n_error_estimates,), in units of y
    counters: Any  # (2,): iterations of Newton's method and of the linear solver


@frozen
class StepFunctions:
    """Device functions of a step algorithm. All buffers are those of one run (group).

    Attributes
    ----------
    start : callable
        ``start(memory, fresh, t, state, parameters)``, before the first
        step of a run: fills what the algorithm keeps from step to step, in the
        lanes of the mask `fresh` only, since others may be in the middle of a run.
    step : callable
        ``step(memory, launch, t, h, state, parameters, proposed) -> failure``: attempts a
        step of signed size `h`. Reads `state` (n,) and `parameters` (m,); writes what is
        `Proposed`: the counters at its end, and only if it `iterates`. `failure` is 0 in
        lanes whose equations were solved, elsewhere the code of a `RunStatus`: the step is then
        rejected, and if none of any size can be made, the run ends with that
        status.
    commit : callable
        ``commit(memory, accept)``, after every attempt: keeps or
        drops what the algorithm carries, per lane.
    restore : callable or None
        ``restore(memory, launch, t, h, state, parameters, fresh) -> found``, before `start` of a
        run that goes on behind a break, at `t`, in the lanes of the mask `fresh`: it makes `state`
        consistent where algebraic equations have another solution than before. `h` is the signed
        size of a step. None unless the algorithm `restores`.
    """

    start: Callable
    step: Callable
    commit: Callable
    restore: Callable | None = None


class Inside(NamedTuple):
    """The solution of a step at a fraction theta of it, as weighted sums over stages.

    Attributes
    ----------
    value, slope : list of (int, float)
        Offset of a stage in its buffer, and its weight in the solution's distance from the
        state, and in the derivative of that by theta.
    """

    value: list[tuple[int, float]]
    slope: list[tuple[int, float]]


class StepAlgorithm(CUDAFactory):
    """Base of the algorithm families: one step of a tableau of its kind, for a system.

    A family implements `_compose`; what it finds there are the attributes below.

    Parameters
    ----------
    tableau : Tableau
    system : SystemComponent
        The right-hand side.
    dtype : dtype
    options : mapping
        Options of the whole tree; its own are picked out.
    per_component : bool
        Tolerances are given per component.

    Attributes
    ----------
    order : int
    error_order : int or None
        The error shrinks as h**(error_order + 1); None without an estimate.
    proportional_below : float or None
        Relative tolerance below which the estimate is magnified (`Tableau`).
    n_error_estimates : int
        0, 1, or 2 where a second, lower-order estimate damps the first.
    rhs_per_start, rhs_per_step : int
        Evaluations of the right-hand side in `start` and in each `step`, without
        those of Newton iterations.
    rhs_per_iteration : int
        Evaluations in each Newton iteration.
    jacobians_per_step, factorizations_per_step : int
        Evaluations of the Jacobian, and LU factorizations, in each `step`.
    iterates : bool
        Steps differ in work, and count it.
    default_controller : str
        The step-size controller that suits the family, where errors are estimated.
    followed : bool
        `build_inside` is asked for the solution at given parts of a step, before its `commit`.
    is_read : bool
        And `build_polynomial` for all of it.
    """

    name = "algorithm"
    default_controller: ClassVar[str]
    entries: ClassVar[Mapping[str, tuple[str, ...]]]

    order: int
    error_order: int | None
    proportional_below: float | None
    n_error_estimates: int
    rhs_per_start: int
    rhs_per_step: int
    rhs_per_iteration: int = 0
    jacobians_per_step: int = 0
    factorizations_per_step: int = 0
    iterates: bool = False

    def __init__(
        self,
        tableau: Any,
        system: SystemComponent,
        dtype,
        options: Mapping[str, Any],
        per_component: bool = False,
        followed: bool = False,
        is_read: bool = False,
    ):
        super().__init__(dtype, options)
        self.followed, self.is_read = followed, is_read
        self.tableau: Any = tableau
        self.system, self.n_states = system, system.n_states
        self.per_component = per_component
        self.order, self.error_order = tableau.order, tableau.error_order
        self.proportional_below = tableau.error_proportional_below
        self.n_error_estimates = int(tableau.error_weights is not None)
        self._compose()

    @classmethod
    def is_memoryless(cls, tableau: Any) -> bool:
        """Tell whether steps of a tableau cannot fail, and carry nothing over to the next one.

        `commit` and `start` then do nothing.
        """
        return False

    @property
    def restores(self) -> bool:
        """Whether states may jump behind a break, and are made consistent there."""
        return False

    @property
    def keeps_stages(self) -> bool:
        """Whether the stages of a step are there until its `commit`."""
        return self.followed or self.is_read

    # Buffer that holds the stages, and whether they are derivatives rather than increments.
    stages_in: ClassVar[tuple[str, bool]]

    @property
    def n_pieces(self) -> int:
        """Into how many cubics a step's solution is to be cut: one is exact up to degree three."""
        return max(1, self.tableau.continuous.degree - 2)

    def _kept_rows(self) -> list[Sequence[float]]:
        """Return rows of weights on the stages, of all that is read after the step."""
        rows: list[Sequence[float]] = []
        if self.followed:
            rows += zip(*self.tableau.continuous.weights, strict=True)
        if self.is_read:
            dense = self.tableau.dense
            rows += [*dense.rows, *zip(*dense.interpolant.weights, strict=True)]
        return rows

    def _stages_until(self, last: str) -> str:
        """Return the phase until which stages are kept: `last`, or longer where they are read."""
        return "inside" if self.keeps_stages else last

    def inside(self, theta: float) -> Inside:
        """Return the sums that make the solution at ``t + theta*h``."""
        extension = self.tableau.continuous
        value, slope = extension.values_at(theta), extension.slopes_at(theta)
        return Inside(self._stage_terms(value), self._stage_terms(slope))

    @abstractmethod
    def _stage_terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        """Return (offset in the stages' buffer, weight) of a weighted sum over all stages."""

    def build_inside(self, context: BuildContext, theta: float) -> Callable:
        """Return ``inside(memory, h, state, i) -> (value, slope)``, between `step` and `commit`.

        Both of state i at the fraction `theta` of the step; the slope is the derivative by theta.
        """
        name, derivatives = self.stages_in
        allocate, terms = context.allocator(name), self.inside(theta)
        value = context.backend.weighted_sum(terms.value)
        slope = context.backend.weighted_sum(terms.slope)

        def of_derivatives(memory, h, state, i):
            stages = allocate(memory, None)
            # Rounded as a sum of its own: two ways to add it up would be two values.
            return rounded_sum(state[i], h * value(stages, i)), h * slope(stages, i)

        def of_increments(memory, h, state, i):
            stages = allocate(memory, None)
            return rounded_sum(state[i], value(stages, i)), slope(stages, i)

        return context.backend.device(of_derivatives if derivatives else of_increments)

    @property
    def degree_inside(self) -> int:
        """Of the polynomial that is the solution inside a step."""
        return self.tableau.dense.interpolant.degree

    @property
    def rhs_per_reading(self) -> int:
        """Evaluations of the right-hand side where points are read off a step."""
        return len(self.tableau.dense.nodes)

    def build_polynomial(self, context: BuildContext) -> Callable:
        """Return ``polynomial(memory, t, h, state, given, scratch, coefficients)``.

        Between `step` and `commit`, it writes the polynomial in the fraction theta of the step
        that, added to the state, is the solution there: the coefficient of ``theta**(1 + k)`` of
        state i to place ``k * n + i``. Other arguments are those of the step, and `scratch` (n,).
        """
        name, derivatives = self.stages_in
        allocate, rows = context.allocator(name), self.tableau.dense.interpolant.weights
        add_stages = self._build_added_stages(context)
        make = _power_of_derivatives if derivatives else _power_of_increments
        parts = []
        for k in range(self.degree_inside):
            terms = self._stage_terms([row[k] for row in rows])
            total = context.backend.weighted_sum(terms)
            parts.append(context.backend.device(make(total, k * self.n_states, self.n_states)))
        fill = in_turn(context.backend, parts, 3)

        def polynomial(memory, t, h, state, given, scratch, coefficients):
            stages = allocate(memory, None)
            add_stages(t, h, state, given, scratch, stages)
            fill(stages, h, coefficients)

        return context.backend.device(polynomial)

    def _build_added_stages(self, context: BuildContext) -> Callable:
        """Return ``add(t, h, state, given, scratch, stages)``: stages for points inside alone."""
        return context.backend.device(_nothing_added)

    @abstractmethod
    def _compose(self) -> None:
        """Count the work of a step, add the components it calls, and register its buffers."""


def _nothing_added(t, h, state, given, scratch, stages):
    pass


def _power_of_derivatives(total: Callable, at: int, n: int) -> Callable:
    def power(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = h * total(stages, i)

    return power


def _power_of_increments(total: Callable, at: int, n: int) -> Callable:
    def power(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = total(stages, i)

    return power
