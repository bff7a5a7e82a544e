"""What the user gets back: SciPy's names and shapes, with a leading run axis for a batch."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import field, fields, frozen

from cubie.algorithms import StepAlgorithm
from cubie.backend import DeviceArray, OutputBlock
from cubie.launch.points import Points
from cubie.launch.ragged import RaggedArray
from cubie.launch.result_text import result_text
from cubie.launch.summaries import summaries_of
from cubie.run.saving import SaveMode, Sizes
from cubie.run.summaries.request import Tracking
from cubie.status import RunStatus
from cubie_planner import Plan

FIELDS = (
    "t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "status", "message", "success",
)  # fmt: skip


@frozen
class Work:
    """What each step and iteration of a method evaluates, beyond what the kernel counts."""

    rhs_at_start: int
    rhs_per_step: int
    rhs_per_iteration: int
    rhs_per_reading: int
    jacobians_per_step: int
    factorizations_per_step: int
    stiff: tuple[int, int, int] | None = None  # the last but one of these, of stiff steps

    @classmethod
    def of(cls, algorithm: StepAlgorithm, rhs_for_first_step: int) -> Work:
        """Read it off an algorithm; `rhs_for_first_step` finds the size of the first step."""
        stiff = (
            algorithm.rhs_per_stiff_step,
            algorithm.jacobians_per_stiff_step,
            algorithm.factorizations_per_stiff_step,
        )
        return cls(
            algorithm.rhs_per_start + rhs_for_first_step,
            algorithm.rhs_per_step,
            algorithm.rhs_per_iteration,
            algorithm.rhs_per_reading,
            algorithm.jacobians_per_step,
            algorithm.factorizations_per_step,
            None if None in stiff else stiff,  # pyright: ignore[reportArgumentType]
        )

    def of_steps(self, number: int, attempts: Any, n_stiff: Any) -> Any:
        """Return what all steps evaluate: the right-hand side, its Jacobian, or factors."""
        each = (self.rhs_per_step, self.jacobians_per_step, self.factorizations_per_step)[number]
        if self.stiff is None:
            return attempts * each
        return (attempts - n_stiff) * each + n_stiff * self.stiff[number]


@frozen
class ResultKind:
    """What the results of alike solves have in common.

    Attributes
    ----------
    mode : SaveMode
    sizes : tuple of (str, int)
        What is kept of each point, and how many numbers that is.
    observables : tuple of str
        Names of those that are kept.
    work : Work
    plan : cubie_planner.Plan
    notes : tuple of str
    tracking : Tracking or None
        What is summarised of runs.
    counters : tuple of str
        What is counted of each run.
    in_pairs : bool
        States are complex: their parts were kept side by side.
    state_names : tuple of str
        Of those that are kept, where users named them.
    """

    mode: SaveMode
    sizes: Sizes
    observables: tuple[str, ...]
    work: Work
    plan: Plan
    notes: tuple[str, ...]
    tracking: Tracking | None = None
    counters: tuple[str, ...] = ()
    in_pairs: bool = False
    state_names: tuple[str, ...] = ()


def _counter(name: str) -> Any:
    """Return the attribute of a result that one of the kernel's counters is."""

    def read(result: Result) -> Any:
        counters, names = result._outputs.arrays.counters, result._kind.counters
        counters = counters.reshape(-1, result._columns)
        # Methods that do not iterate keep no counters of it.
        values = counters[names.index(name)] if name in names else np.zeros_like(counters[0])
        return int(values[0]) if result._single else values

    return cached_property(read)


def _of_points(name: str) -> Any:
    """Return the attribute of a result that something kept of each point is; None if it is not."""

    def read(result: Result) -> Any:
        points, sizes = result._points, dict(result._kind.sizes)
        if name not in sizes:
            return None
        whole = _complex if name == "states" and result._kind.in_pairs else _as_it_is
        if points is not None:
            if result._single:
                return whole(points.blocks[name][0][: points.counts[0]]).T
            return points.ragged([whole(block) for block in points.blocks[name]])
        if result._outputs.stays:
            return _on_device(result, name, sizes[name])
        array = getattr(result._outputs.arrays, name).reshape(-1, sizes[name], result._columns)
        values = whole(array).transpose(2, 1, 0)  # run, component, point
        if not result._single:
            return values
        final = result._kind.mode is SaveMode.FINAL
        return values[0] if final else values[0, :, : result._outputs.arrays.saved[0]]

    return cached_property(read)


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _complex(values: np.ndarray) -> np.ndarray:
    """Return complex numbers of pairs along the second axis."""
    re, im = values[:, 0::2], values[:, 1::2]
    whole = np.empty(re.shape, np.result_type(values.dtype, np.complex64))
    whole.real, whole.imag = re, im
    return whole


def _on_device(result: Result, name: str, size: int) -> Any:
    """Return what is kept of points and stays on a device, in the shape it has on the host."""
    outputs, columns = result._outputs, result._columns
    n_points = getattr(outputs.layout.counts, name) // (size * columns)
    if not result._single:
        return outputs.on_device(name, (columns, size, n_points), (1, columns, size * columns))
    final = result._kind.mode is SaveMode.FINAL
    n_points = n_points if final else int(outputs.arrays.saved[0])
    return outputs.on_device(name, (size, n_points), (1, size))


@frozen(eq=False, slots=False, repr=False)
class Result:
    """Solution of one initial value problem, or of a batch.

    For one run the shapes are SciPy's; for a batch those marked * have a leading
    axis of runs. Arrays are views of what the kernel wrote, made when asked for.

    Attributes
    ----------
    t : ndarray (n_points,)
        Times of `y`. Of a batch saved at every step a `RaggedArray`: ``t[run]`` are
        the times of a run, (n_points of the run,).
    y : ndarray (n, n_points) *
        Solution; NaN where a run of a batch did not get so far. Of a final state
        alone, that of a failed run is the last one it reached, at `t_reached`.
        Of a batch saved at every step a `RaggedArray`: ``y[run]`` is the solution of
        a run, (n, n_points of the run).
        With `on_device` a `DeviceArray` of that shape.
        With `save_states` it has the chosen states alone, in the order chosen; None where
        there are none. Complex where `y0` was.
    state_names : tuple of str
        Of the states in `y`, where the equations name them; else empty.
    observables : mapping of str to ndarray (n_points,) *
        Values of each observable that is kept, in the order given, at the points of `y`, with
        NaN and as a `RaggedArray` where `y` is; empty where there are none. It cannot be written
        to.
    sol, t_events, y_events : None
    nfev, njev, nlu : int *
        Evaluations of the right-hand side, of its Jacobian, LU factorizations.
    n_steps, n_rejected : int *
        Accepted and rejected steps.
    n_newton, n_linear : int *
        Iterations of Newton's method, and of an iterative linear solver.
    n_stiff : int *
        Steps that ``method="auto"`` made by its implicit method, accepted or not.
    status : int *
        A `RunStatus`: 0 success, negative for failures.
    success : bool *
    message : str
        What happened, and what to do about failures.
    t_reached : float *
        Time that the run got to.
    summaries : dict of dict
        Of `summaries=`: ``summaries["v"]["max"]`` is (n_runs,) for a batch, a number for one run;
        empty where none were asked for. NaN where nothing of a run was summarised; of a run that
        failed they are of the time until `t_reached`.
    plan : cubie_planner.Plan
        Where every buffer lived.
    notes : tuple of str
        What the solver wants you to know, such as a right-hand side that could
        not be traced.
    solve_seconds : float
        Wall time of the solve, without compilation: of copies to a device and back, too.
    kernel_seconds : float
        Of the kernel alone, by the clock of the device that it ran on.
    """

    _outputs: OutputBlock
    _kind: ResultKind
    _n_runs: int | None  # None for one run, given without a run axis
    _times: np.ndarray | None  # `t_eval`
    _span: tuple[float, float]
    _points: Points | None = field(default=None)  # where every step is saved
    _own_notes: tuple[str, ...] = field(default=())  # of this solve alone
    solve_seconds: float = field(default=0.0)
    kernel_seconds: float = field(default=0.0)

    sol = None
    t_events = None
    y_events = None

    y = _of_points("states")
    _observables = _of_points("observables")
    n_steps = _counter("steps")
    n_rejected = _counter("rejected")
    n_newton = _counter("newton")
    n_linear = _counter("linear")
    _n_read = _counter("read")
    n_stiff = _counter("stiff")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed when it is asked for; the plan is many small objects."""
        kept = {name: vars(self)[name] for name in _KEPT}
        return kept | {"_kind": zlib.compress(pickle.dumps(self._kind))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kind = pickle.loads(zlib.decompress(state["_kind"]))
        vars(self).update(state | {"_kind": kind})

    @property
    def plan(self) -> Plan:
        return self._kind.plan

    @property
    def state_names(self) -> tuple[str, ...]:
        return self._kind.state_names

    @property
    def notes(self) -> tuple[str, ...]:
        return self._kind.notes + self._own_notes

    @cached_property
    def observables(self) -> Mapping[str, Any]:
        names, values = self._kind.observables, self._observables
        if isinstance(values, RaggedArray):
            return MappingProxyType({name: values.row(i) for i, name in enumerate(names)})
        if isinstance(values, DeviceArray):
            return MappingProxyType({n: values.component(i) for i, n in enumerate(names)})
        return MappingProxyType({name: values[..., i, :] for i, name in enumerate(names)})

    @property
    def _single(self) -> bool:
        return self._n_runs is None

    @property
    def _columns(self) -> int:
        return self._n_runs or 1

    @cached_property
    def t(self) -> np.ndarray | RaggedArray:
        points, times = self._points, self._times
        if points is not None:
            if self._single:
                return self._at(points.times[0][: points.counts[0]])
            with np.errstate(invalid="ignore"):  # of what no run wrote to
                return points.ragged([self._at(times) for times in points.times])
        if times is None:
            return np.array([self.t_reached if self._single else self._span[1]])
        return times[: self._outputs.arrays.saved[0]] if self._single else times

    def _at(self, elapsed: np.ndarray) -> np.ndarray:
        """Return the times that a clock showed, which counts from the start of a run."""
        start, end = self._span
        times = start + np.where(end < start, -1.0, 1.0) * elapsed.astype(float)
        # The end is a number of its own: start and span, rounded, might miss it.
        return np.where(elapsed == elapsed.dtype.type(abs(end - start)), end, times)

    @cached_property
    def t_reached(self) -> Any:
        points = self._points
        times = self._outputs.arrays.times if points is None else points.last_times()
        reached = np.where(self._outputs.arrays.status >= 0, self._span[1], self._at(times))
        return reached[0] if self._single else reached

    @cached_property
    def summaries(self) -> dict[Any, dict[str, Any]]:
        tracking = self._kind.tracking
        if tracking is None:
            return {}
        written = self._outputs.arrays.summaries
        return summaries_of(written, tracking, self._n_runs, self._span)

    @cached_property
    def nfev(self) -> Any:
        work = self._kind.work
        rhs = work.rhs_at_start + self._of_steps(0)
        rhs += self.n_newton * work.rhs_per_iteration
        return rhs + self._n_read * work.rhs_per_reading

    @cached_property
    def njev(self) -> Any:
        return self._of_steps(1)

    @cached_property
    def nlu(self) -> Any:
        return self._of_steps(2)

    def _of_steps(self, number: int) -> Any:
        attempts = self.n_steps + self.n_rejected
        return self._kind.work.of_steps(number, attempts, self.n_stiff)

    @cached_property
    def status(self) -> Any:
        status = self._outputs.arrays.status
        return int(status[0]) if self._single else status

    @property
    def success(self) -> Any:
        return self.status >= 0

    @property
    def message(self) -> str:
        if np.ndim(self.status) == 0:
            return RunStatus(int(self.status)).message
        codes, counts = np.unique(self.status, return_counts=True)
        total = len(self.status)
        return " ".join(
            f"{count} of {total} runs: {RunStatus(int(code)).message}"
            for code, count in zip(codes[::-1], counts[::-1], strict=True)
        )

    def __getitem__(self, name: str):
        """Return an attribute by name, as SciPy's results allow."""
        if name.startswith("_") or not hasattr(self, name):
            raise KeyError(name)
        return getattr(self, name)

    def keys(self) -> tuple[str, ...]:
        """Return the names of SciPy's fields: `dict(result)` is a dictionary of them."""
        return FIELDS

    def __repr__(self) -> str:
        return result_text(self)


_KEPT = tuple(part.name for part in fields(Result))


def with_partial_result(cause: BaseException, partial: Result) -> BaseException:
    """Attach what was solved before a signal ended a solve: `result` of the exception."""
    ended = int(np.count_nonzero(np.atleast_1d(partial.status) != RunStatus.INTERRUPTED))
    cause.result = partial  # pyright: ignore[reportAttributeAccessIssue]
    cause.add_note(
        f"{ended} of {np.size(partial.status)} runs had ended: `result` of this exception has "
        f"them, the others with status {int(RunStatus.INTERRUPTED)} ({RunStatus.INTERRUPTED.name})."
    )
    return cause
