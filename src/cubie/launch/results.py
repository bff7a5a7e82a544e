"""What the user gets back: SciPy's names and shapes, with a leading run axis for a batch."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import evolve, field, fields, frozen

from cubie.backend import DeviceArray, OutputBlock
from cubie.launch.clocks import Span, times_at
from cubie.launch.dense_output import OdeSolution, from_pairs
from cubie.launch.event_results import MoreEvents, OfEvents
from cubie.launch.gradients import Differentiated
from cubie.launch.labelled import Labelled
from cubie.launch.points import Points
from cubie.launch.ragged import RaggedArray
from cubie.launch.result_kind import ResultKind
from cubie.launch.result_text import checked_key, result_text
from cubie.launch.sensitivities import RunInputs, of_inputs, of_states
from cubie.launch.summaries import goes_on_for_ever, summaries_of
from cubie.run.saving import SaveMode
from cubie.status import RunStatus
from cubie_planner import Plan

FIELDS = (
    "t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "status", "message", "success",
)  # fmt: skip


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
        points, sizes = result._saved_steps, dict(result._kind.sizes)
        if name not in sizes:
            return None
        whole = from_pairs if name == "states" and result._kind.in_pairs else _as_it_is
        if points is not None:
            if result._single:
                return whole(points.blocks[name][0][: points.counts[0]]).T
            return points.ragged([whole(block) for block in points.blocks[name]])
        if result._outputs.stays:
            return _on_device(result, name, sizes[name])
        values = whole(result._outputs.points(name, sizes[name], result._columns))
        if not result._single:
            return values
        final = result._kind.mode is SaveMode.FINAL
        return values[0] if final else values[0, :, : result._outputs.arrays.saved[0]]

    return cached_property(read)


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


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
class Result(OfEvents, Differentiated, Labelled):
    """Solution of one initial value problem, or of a batch.

    For one run the shapes are SciPy's; for a batch those marked * have a leading
    axis of runs. Arrays are views of what the kernel wrote, made when asked for.

    Attributes
    ----------
    t : ndarray (n_points,)
        Times of `y`; (n_runs, n_points) where runs have times or spans of their own, NaN where
        one has fewer, and (n_runs, 1) of final states where events may end runs. Of a batch saved
        at every step a `RaggedArray`: ``t[run]`` are the times of a run, (n_points of the run,).
    y : ndarray (n, n_points) *
        Solution; NaN where a run of a batch did not get so far. Of a final state
        alone, that of a failed run is the last one it reached, at `t_reached`.
        Of a batch saved at every step a `RaggedArray`: ``y[run]`` is the solution of
        a run, (n, n_points of the run).
        With `on_device` a `DeviceArray` of that shape.
        With `save_states` it has the chosen states alone, in the order chosen; None where
        there are none. Complex where `y0` was.
    dy : ndarray (n, P, n_points) or None, *
        With `sensitivities` the derivative of each state in `y` by each of P inputs, at the points
        of `y`, with NaN and as a `RaggedArray` (``dy[run]`` is (n, P, n_points of the run)) where
        `y` is; else None.
    inputs : tuple of str
        What `dy` are derivatives by; empty without them.
    state_names : tuple of str
        Of the states in `y`, where the equations name them; else empty.
    observables : mapping of str to ndarray (n_points,) *
        Values of each observable that is kept, in the order given, at the points of `y`, with
        NaN and as a `RaggedArray` where `y` is; empty where there are none. It cannot be written
        to.
    dobservables : mapping of str to ndarray (P, n_points) *
        With `sensitivities` the derivatives of `observables` by P inputs; else empty.
    sol : OdeSolution or None
        Of `dense_output=True` the solution as a function of time: ``sol(t)``.
    t_events : list of ndarray (n_times,) or None, *
        Of each of `events=` the times at which it happened, of a batch (n_runs, max_events) with
        NaN behind them. None where there are none.
    y_events : list of ndarray (n_times, n) or None, *
        The states then: before `apply`, where an event has it.
    dt_events : list of ndarray (n_times, P) or None, *
        With `sensitivities` the derivatives of `t_events` by the inputs, with NaN where those have
        it; None in the place of a condition that is looked at once a step.
    dy_events : list of ndarray (n_times, n, P) or None, *
        And of `y_events`: of the state at the event, whose time depends on inputs, too.
    n_events : list of int or None, *
        How often each happened, kept or not.
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
    dsummaries : dict of dict
        With `sensitivities` the derivatives of `summaries`: ``dsummaries["v"]["max"]`` is (n_runs,
        P) for a batch, (P,) for one run. `notes` tell which have none.
    plan : cubie_planner.Plan
        Where every buffer lived.
    notes : tuple of str
        What the solver wants you to know, such as a right-hand side that could not be traced.
    parameters : mapping of str to (float or ndarray (n_runs,)), of a model's constants
    solve_seconds, kernel_seconds : float
        Wall time of the solve, without compilation: of copies to a device and back, too; and of the
        kernel alone, by the clock of the device that it ran on.
    """

    _outputs: OutputBlock
    _kind: ResultKind
    _n_runs: int | None  # None for one run, given without a run axis
    _times: np.ndarray | None  # `t_eval`
    _span: Span
    _points: Points | None = field(default=None)  # where every step is saved, or kept by itself
    _own_notes: tuple[str, ...] = field(default=())  # of this solve alone
    solve_seconds: float = field(default=0.0)
    kernel_seconds: float = field(default=0.0)
    _more_events: tuple[MoreEvents, ...] = field(default=())  # of runs with many
    _by: RunInputs | None = field(default=None)  # what it is differentiated by
    parameters: Mapping[str, Any] = field(factory=dict)

    _states = _of_points("states")
    _observables = _of_points("observables")
    n_steps = _counter("steps")
    n_rejected = _counter("rejected")
    n_newton = _counter("newton")
    n_linear = _counter("linear")
    _n_read = _counter("read")
    _n_anew = _counter("anew")  # evaluations of the right-hand side
    n_stiff = _counter("stiff")
    _n_jacobians = _counter("jacobians")
    _n_factors = _counter("factors")

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
        states = self._kind.states
        return states.kept if states.are_given else ()

    @property
    def notes(self) -> tuple[str, ...]:
        return self._kind.notes + self._own_notes + self._notes_on_grazing

    def with_note(self, note: str) -> Result:
        """Return this result with a note more."""
        return evolve(self, own_notes=(*self._own_notes, note))

    @cached_property
    def observables(self) -> Mapping[str, Any]:
        return self._by_name(self._observables)

    @cached_property
    def dobservables(self) -> Mapping[str, Any]:
        by = self._by
        if by is None:
            return MappingProxyType({})
        return self._by_name(of_inputs(self._observables, by.sizes, self._points))

    def _by_name(self, values: Any) -> Mapping[str, Any]:
        names = self._kind.observables
        if isinstance(values, RaggedArray):
            return MappingProxyType({name: values.row(i) for i, name in enumerate(names)})
        if isinstance(values, DeviceArray):
            return MappingProxyType({n: values.component(i) for i, n in enumerate(names)})
        before = np.ndim(self.status)
        return MappingProxyType({n: np.moveaxis(values, before, 0)[i] for i, n in enumerate(names)})

    @cached_property
    def y(self) -> Any:
        return of_states(self._states, self._kind.n_blocks_kept)

    @cached_property
    def dy(self) -> Any:
        by = self._by
        return None if by is None else of_inputs(self._states, by.sizes, self._points)

    @property
    def inputs(self) -> tuple[str, ...]:
        joint = self._kind.joint
        return joint.names if joint is not None and self._kind.differentiates else ()

    @property
    def _single(self) -> bool:
        return self._n_runs is None

    @property
    def _columns(self) -> int:
        return self._n_runs or 1

    @property
    def _saved_steps(self) -> Points | None:
        return self._points if self._kind.mode is SaveMode.STEPS else None

    @cached_property
    def sol(self) -> OdeSolution | None:
        record, points = self._kind.record, self._points
        if record is None or points is None:
            return None
        sizes = None if self._by is None else self._by.sizes
        about = self._span, self._single, self._kind.in_pairs, sizes
        return OdeSolution(record, points, *about)

    @cached_property
    def t(self) -> np.ndarray | RaggedArray:
        points, times = self._saved_steps, self._times
        if points is not None:
            if self._single:
                return self._at(points.times[0][: points.counts[0]])
            with np.errstate(invalid="ignore"):  # of what no run wrote to
                return points.ragged(self._at_points(points))
        if times is None and not self._single and self._ends_differ:
            return self.t_reached.reshape(-1, 1)
        if times is None:
            return np.array([self.t_reached if self._single else self._span[1]])
        return times[: self._outputs.arrays.saved[0]] if self._single else times

    @property
    def _ends_differ(self) -> bool:
        """Whether runs have ends of their own, by what was asked for."""
        events = self._kind.events
        return isinstance(self._span[1], np.ndarray) or (events is not None and events.ends)

    def _at(self, elapsed: np.ndarray) -> np.ndarray:
        """Return the times that a clock showed, which counts from the start of a run."""
        return times_at(self._span, elapsed)

    def _at_points(self, points: Points) -> list[np.ndarray]:
        if not isinstance(self._span[0], np.ndarray):
            return [self._at(times) for times in points.times]
        found = []
        for run_of, elapsed in zip(points.runs_of_points(), points.times, strict=True):
            start, end = (one[run_of] for one in self._span)
            found.append(times_at((start, end), elapsed))
        return found

    @cached_property
    def t_reached(self) -> Any:
        points = self._saved_steps
        times = self._outputs.arrays.times if points is None else points.last_times()
        whole = self._outputs.arrays.status == RunStatus.SUCCESS
        if whole.all():  # of most batches: the clocks need not be read
            reached = np.array(np.broadcast_to(self._span[1], whole.shape), dtype=float)
        else:
            reached = np.where(whole, self._span[1], self._at(times))
        return reached[0] if self._single else reached

    @cached_property
    def summaries(self) -> dict[Any, dict[str, Any]]:
        tracking = self._kind.tracking
        if tracking is None:
            return {}
        written = self._outputs.arrays.summaries
        endless = goes_on_for_ever(self._kind.window, self._span, self.t_reached)
        return summaries_of(written, tracking, self._n_runs, self._span, endless)

    @cached_property
    def nfev(self) -> Any:
        work, counted = self._kind.work, self._kind.counters
        rhs = self._of_steps(0)
        rhs += work.rhs_at_start
        if "newton" in counted:
            rhs += self.n_newton * work.rhs_per_iteration
        if "read" in counted:
            rhs += self._n_read * work.rhs_per_reading
        return rhs + self._n_anew if "anew" in counted else rhs

    @cached_property
    def njev(self) -> Any:
        if "jacobians" in self._kind.counters:
            return self._n_jacobians * self._kind.work.jacobians_per_step
        return self._of_steps(1)

    @cached_property
    def nlu(self) -> Any:
        if "factors" in self._kind.counters:
            return self._n_factors * self._kind.work.factorizations_per_step
        return self._of_steps(2)

    def _of_steps(self, number: int) -> Any:
        attempts = self.n_steps + self.n_rejected
        stiff = self.n_stiff if "stiff" in self._kind.counters else 0
        return self._kind.work.of_steps(number, attempts, stiff)

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
        if checked_key(name).startswith("_") or not hasattr(self, name):
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
