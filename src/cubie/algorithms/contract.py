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

from cubie.algorithms.reading import (
    ReadingFunctions,
    coefficient_of_derivatives,
    coefficient_of_increments,
    coefficients_of_slopes,
    nothing_added,
    value_of_polynomial,
)
from cubie.backend import in_turn, rounded_sum
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import SystemComponent
from cubie.tableaus.nested import leja_points, nested, slopes_of
from cubie_planner import Alias

# What all algorithms that iterate count, in this order.
OF_ITERATIONS = ("newton", "linear")


class Proposed(NamedTuple):
    """Buffers that an attempted step writes."""

    state: Any  # (n,)
    error: Any  # (n * n_error_estimates,), in units of y
    counters: Any  # (n_counters,): see `StepAlgorithm`


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
        `Proposed`: the counters at its end, if it has any. `failure` is 0 in
        lanes whose equations were solved, elsewhere the code of a `RunStatus`: the step is then
        rejected, and if none of any size can be made, the run ends with that
        status.
    commit : callable
        ``commit(memory, accept)``, after every attempt: keeps or
        drops what the algorithm carries, per lane.
    control : callable or None
        ``control(memory, launch, norm_squared, dt, accept_step)``, between a `step` and its
        `commit`: judges an attempt whose scaled error has the squared norm `norm_squared`. It
        writes ``accept_step[0]`` (1 accept, 0 reject) and the next size ``dt[0]`` > 0. None
        unless the method `controls_steps`.
    restore : callable or None
        ``restore(memory, launch, t, h, state, parameters, fresh) -> found``, before `start` of a
        run that goes on behind a break, at `t`, in the lanes of the mask `fresh`: it makes `state`
        consistent where algebraic equations have another solution than before. `h` is the signed
        size of a step. None unless the algorithm `restores`.
    retries : callable or None
        ``retries(memory) -> mask``, between a `step` and its `commit`: where a step that failed is
        to be attempted again as it was, since what it failed with was kept from steps before.
    """

    start: Callable
    step: Callable
    commit: Callable
    control: Callable | None = None
    restore: Callable | None = None
    retries: Callable | None = None


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
    """Base of the algorithm families: one step of a method of its kind, for a system.

    A family implements `_compose`; what it finds there are the attributes below.

    Parameters
    ----------
    tableau : Method
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
    rhs_per_reading : int
        Evaluations where points are read off a step.
    jacobians_per_step, factorizations_per_step : int
        Evaluations of the Jacobian, and LU factorizations, in each `step`; where it counts new
        ones, of each that is new.
    rhs_per_stiff_step, jacobians_per_stiff_step, factorizations_per_stiff_step : int or None
        The same of steps that it counts as stiff, where it switches between two kinds.
    iterates : bool
        Steps differ in work, and count it.
    counts : tuple of str
        What it counts of a step: iterations of Newton's method and of the linear solver, if it
        `iterates`; where it switches also whether the step was a stiff one; where it keeps
        Jacobians whether there was a new one, and whether there were new factors.
    default_controller : str
        The step-size controller that suits the family, where errors are estimated.
    followed : bool
        `build_inside` is asked for the solution at given parts of a step, before its `commit`.
    is_read : bool
        And `build_reading` for that at any other.
    is_recorded : bool
        And what its `prepare` writes is kept, see there.
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
    rhs_per_reading: int = 0
    jacobians_per_step: int = 0
    factorizations_per_step: int = 0
    rhs_per_stiff_step: int | None = None
    jacobians_per_stiff_step: int | None = None
    factorizations_per_stiff_step: int | None = None
    iterates: bool = False
    # Buffers that go on from a step to the next, each of so many vectors of all states: linear in
    # those of them that are sensitivities.
    carried: tuple[tuple[str, int], ...] = ()

    def __init__(
        self,
        tableau: Any,
        system: SystemComponent,
        dtype,
        options: Mapping[str, Any],
        per_component: bool = False,
        followed: bool = False,
        is_read: bool = False,
        is_recorded: bool = False,
    ):
        super().__init__(dtype, options)
        self.followed, self.is_read, self.is_recorded = followed, is_read, is_recorded
        self.tableau: Any = tableau
        self.system, self.n_states = system, system.n_states
        self.per_component = per_component
        self.order, self.error_order = tableau.order, tableau.error_order
        self.proportional_below = tableau.error_proportional_below
        self.n_error_estimates = int(tableau.has_error_estimate)
        self._compose()

    @classmethod
    def is_memoryless(cls, tableau: Any) -> bool:
        """Tell whether steps of a tableau cannot fail, and carry nothing over to the next one.

        `commit` and `start` then do nothing.
        """
        return False

    @classmethod
    def always_succeeds(cls, tableau: Any) -> bool:
        """Tell whether steps of a tableau cannot fail.

        What they carry over to the next one is made by `commit`, and again by `start`.
        """
        return cls.is_memoryless(tableau)

    @property
    def restores(self) -> bool:
        """Whether states may jump behind a break, and are made consistent there."""
        return False

    @property
    def counts(self) -> tuple[str, ...]:
        return OF_ITERATIONS if self.iterates else ()

    # Phase of a step in which its counters are written first.
    counted_in: str = "solution"

    @property
    def n_counters(self) -> int:
        """How many things it counts."""
        return len(self.counts)

    @property
    def controls_steps(self) -> bool:
        """Whether it chooses the size of its steps, and has a `control`."""
        return self.tableau.controls_steps

    @property
    def keeps_stages(self) -> bool:
        """Whether the stages of a step are there until its `commit`."""
        return self.followed or self.is_read

    def carried_vectors(self, context: BuildContext) -> list[tuple[Callable, int]]:
        """Return allocators of what is `carried`, and of how many vectors each is."""
        return [(context.allocator(name), count) for name, count in self.carried]

    @property
    def result_aliases(self) -> tuple[tuple[Alias, ...], tuple[Alias, ...]]:
        """Where in its buffers the proposed state and the error may lie."""
        return (), ()

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

    def _stage_terms(self, weights: Sequence[float]) -> list[tuple[int, float]]:
        """Return (offset in the stages' buffer, weight) of a weighted sum over all stages."""
        raise NotImplementedError(f"{type(self).__name__} has no stages to add up")

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
    def n_coefficients(self) -> int:
        """Coefficients of each state that the solution inside a step is made of."""
        return self.tableau.dense.interpolant.degree

    @property
    def centres(self) -> tuple[float, ...]:
        """Centres of the polynomial that is recorded, one for each coefficient: see `nested`."""
        return leja_points(self.n_coefficients)

    def build_reading(self, context: BuildContext, first: int = 0) -> ReadingFunctions:
        """Return what reads the solution off a step, between its `step` and `commit`.

        The coefficients of all states begin at place `first` of their buffer: number k of state i
        is in place ``first + k * n + i``. Where it `is_recorded` that holds for every algorithm:
        they are those of the solution's distance from the state at the start of the step, in
        Newton's form over `centres`.
        """
        prepare = self._build_polynomial(context, first)
        value = value_of_polynomial(context.backend, self.n_states, self.centres, first)
        made = ReadingFunctions(prepare, value, from_coefficients=True)
        return context.backend.called(context.path, ("inside",), made)

    def _build_polynomial(self, context: BuildContext, first: int) -> Callable:
        name, derivatives = self.stages_in
        weights = self.tableau.dense.interpolant.weights
        allocate, rows = context.allocator(name), [nested(row) for row in weights]
        add_stages = self._build_added_stages(context)
        make = coefficient_of_derivatives if derivatives else coefficient_of_increments
        parts, slopes = [], slopes_of(weights)
        for k in range(self.n_coefficients):
            if slopes is not None and k in (1, 2):
                continue
            terms = self._stage_terms([row[k] for row in rows])
            total, place = context.backend.weighted_sum(terms), first + k * self.n_states
            parts.append(context.backend.device(make(total, place, self.n_states)))
        if slopes is not None:
            told = slopes, self._stage_terms, first, self.n_states, derivatives
            parts.append(coefficients_of_slopes(context.backend, *told))
        fill = in_turn(context.backend, parts, 3)

        def polynomial(memory, t, h, state, given, scratch, coefficients):
            stages = allocate(memory, None)
            add_stages(t, h, state, given, scratch, stages)
            fill(stages, h, coefficients)

        return context.backend.device(polynomial)

    def _build_added_stages(self, context: BuildContext) -> Callable:
        """Return ``add(t, h, state, given, scratch, stages)``: stages for points inside alone."""
        return context.backend.device(nothing_added)

    @abstractmethod
    def _compose(self) -> None:
        """Count the work of a step, add the components it calls, and register its buffers."""
