"""Problems without states: no kernel, and results of the shapes that others have.

As in SciPy a run is one step, from its start to its end; events depend on the time alone. They are
looked at in Python, run by run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.errors import InvalidOption
from cubie.launch.capacity import Kept
from cubie.launch.clocks import Span, direction_of, length_of
from cubie.launch.event_results import EventsKept, warn_of_lost
from cubie.launch.labelled import StateNames
from cubie.launch.outputs import PerRun, make_outputs
from cubie.launch.points import Points
from cubie.launch.result_kind import ResultKind
from cubie.launch.results import Result
from cubie.launch.work import Work
from cubie.run.dense import FIRST_STATE, SIZE, StepRecord
from cubie.run.parts import OF_ATTEMPTS
from cubie.run.saving import SaveMode
from cubie.status import RunStatus
from cubie.systems.batch import args_of_run
from cubie.systems.errors import EventError
from cubie.systems.events.given import Rule, Rules, function_of, read_events
from cubie.systems.wrapped import asked, in_columns
from cubie_planner import Problem, plan

NOTE = "There are no states: each run is one step, and nothing was compiled."
RECORD = StepRecord(0, (0.0,))
# What needs states, or steps that go through a kernel.
NOT_HERE = ("observables", "summaries", "breakpoints", "on_device")


def has_no_states(y0: Any) -> bool:
    """Tell whether initial states are none, of one run, (0,), or of each, (n_runs, 0)."""
    if type(y0) is np.ndarray:
        return y0.size == 0 and (y0.ndim == 1 or (y0.ndim == 2 and len(y0) > 0))
    if type(y0) in (list, tuple):
        return not y0 or all(_is_empty(row) for row in y0)
    return False


def _is_empty(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.shape == (0,)
    return type(row) in (list, tuple) and not row


class NoStates(NamedTuple):
    """A problem without states.

    Attributes
    ----------
    fun : callable
    args : tuple
    n_runs : int or None
        None for one run, without a run axis.
    span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,))
    times : ndarray (n_points,) or (n_runs, n_points), or None
    mode : SaveMode
    dtype : dtype
    in_pairs : bool
        The states that there are not are complex.
    """

    fun: Callable
    args: Any
    n_runs: int | None
    span: Span
    times: np.ndarray | None
    mode: SaveMode
    dtype: np.dtype
    in_pairs: bool


class _Run(NamedTuple):
    """What became of a run."""

    elapsed: float  # from its start to where it ended
    status: int
    events: list[list[float]]  # when each happened, from its start


class ResultWithoutStates(Result):
    """A `Result` whose `y` has no rows."""

    @cached_property
    def y(self) -> Any:
        kind, points, columns = self._kind, self._saved_steps, self._columns
        dtype = np.result_type(self._outputs.arrays.states, np.complex64 if kind.in_pairs else "f4")
        if points is not None:
            block = np.zeros((int(points.counts.sum()), 0), dtype)
            return block.T if self._single else points.ragged([block])
        n_points = 1 if self._times is None else self._times.shape[-1]
        if self._single:
            n_points = n_points if self._times is None else int(self._outputs.arrays.saved[0])
            return np.zeros((0, n_points), dtype)
        return np.zeros((columns, 0, n_points), dtype)


def solve_without_states(problem: NoStates, settings: Any) -> Result:
    """Return the result of a problem without states.

    Parameters
    ----------
    problem : NoStates
    settings : SolverSettings

    Raises
    ------
    InvalidOption
        For what there is nothing of without states.
    RightHandSideError
        If `fun` returns something.
    EventError
        For an event that is text, or does not return one number.
    """
    rules = _rules(settings)
    _require_nothing(problem, settings.vectorized)
    runs = _Runs(problem, settings, rules)
    events = [] if rules is None else [_function(event) for event in read_events(settings.events)]
    found = [runs.solved(i, events) for i in range(problem.n_runs or 1)]
    return _result(problem, settings, rules, found)


def _rules(settings: Any) -> Rules | None:
    for name in NOT_HERE:
        given = getattr(settings, name)
        if given is not None and given is not False and np.size(given):
            raise InvalidOption(
                name, given, advice="Without states it has no effect: leave it out."
            )
    rules = settings.event_rules()
    if rules is not None and rules.applies:
        k = next(k for k, rule in enumerate(rules.each) if rule.applies)
        event = read_events(settings.events)[k]
        advice = "There are no states that it could change: leave it out."
        raise InvalidOption(f"events[{k}].apply", event.apply, advice=advice)
    return rules


def _require_nothing(problem: NoStates, vectorized: bool) -> None:
    """Refuse a right-hand side that returns something."""
    # Others, whose equations are found on disk, need no tracer.
    from cubie.systems.tracing.checking import plain_results
    from cubie.systems.tracing.returned import OfStates

    fun = in_columns(problem.fun) if vectorized else problem.fun
    args, start = args_of_run(problem.args, problem.n_runs, 0), float(np.ravel(problem.span[0])[0])
    near = ((start, np.zeros(0)),)
    plain_results(fun, 0, args, asked(fun), OfStates(0), near)


def _function(event: Any) -> Callable:
    function = function_of(event)
    if not callable(function):
        raise EventError(
            f"The event {function!r:.60} is text, which is for equations given as text: give a "
            "function (t, y, *args)."
        )
    return function


@frozen
class _Runs:
    """Looks at the events of runs."""

    problem: NoStates
    settings: Any
    rules: Rules | None

    def solved(self, run: int, events: Sequence[Callable]) -> _Run:
        """Follow a run from its start to its end, or to the event that ends it."""
        problem, rules = self.problem, self.rules
        start, end = (float(np.ravel(one)[run if np.size(one) > 1 else 0]) for one in problem.span)
        length = float(length_of((start, end), problem.dtype))
        found: list[list[float]] = [[] for _ in events]
        if rules is None:
            return _Run(length, int(RunStatus.SUCCESS), found)
        from cubie.systems.events.returned import EventValue  # knows the tracer

        args = args_of_run(problem.args, problem.n_runs, run)
        direction = direction_of((start, end))

        def value(k: int, elapsed: float) -> float:
            t = end if elapsed == length else start + direction * elapsed
            of_event = EventValue(k, rules.each[k].at_steps)
            return float(of_event.entries(events[k](np.float64(t), np.zeros(0), *args))[0])

        try:
            return self._followed(length, value, found, rules)
        except EventError:
            raise
        except Exception:
            return _Run(0.0, int(RunStatus.EVENT_RAISED), [[] for _ in events])

    def _followed(self, length: float, value: Callable, found: list, rules: Rules) -> _Run:
        looks = np.linspace(0.0, length, rules.samples + 1).tolist()
        before = [value(k, 0.0) for k in range(len(found))]
        for low, high in pairwise(looks):
            after, roots = [value(k, high) for k in range(len(found))], []
            for k, rule in enumerate(rules.each):
                at = _root(rule, before[k], after[k], low, high, high == length, _of(value, k))
                roots += [] if at is None else [(at, k)]
            ended = _recorded(sorted(roots), found, rules)
            if ended is not None:
                # Conditions are looked at where a step ends.
                for k, rule in enumerate(rules.each):
                    if rule.at_steps and ended < length and value(k, ended) > 0.0:
                        found[k].append(ended)
                return _Run(ended, int(RunStatus.EVENT), found)
            before = after
        return _Run(length, int(RunStatus.SUCCESS), found)


def _of(value: Callable, k: int) -> Callable[[float], float]:
    def of_event(elapsed: float) -> float:
        return value(k, elapsed)

    return of_event


def _recorded(roots: list[tuple[float, int]], found: list, rules: Rules) -> float | None:
    """Keep roots in order of time up to the first that ends the run; return where that is."""
    ended = None
    for at, k in roots:
        if ended is not None and at > ended:
            break
        found[k].append(at)
        if len(found[k]) >= rules.each[k].terminal:
            ended = at
    return ended


def _root(
    rule: Rule, before: float, after: float, low: float, high: float, last: bool, value: Callable
) -> float | None:
    """Return where an event happens in a part of a run; None where it does not."""
    if rule.at_steps:
        return high if last and after > 0.0 else None
    rises, falls = before <= 0.0 <= after, before >= 0.0 >= after
    if not ((rises and rule.direction >= 0) or (falls and rule.direction <= 0)):
        return None
    if before == 0.0 or high <= low:
        return low if before == 0.0 or after != 0.0 else high
    # Halved until there is no number in between.
    while low < (middle := low + 0.5 * (high - low)) < high:
        number = value(middle)
        if number == 0.0:
            return middle
        low, high = (low, middle) if (number > 0.0) == (after > 0.0) else (middle, high)
    return high


def _result(problem: NoStates, settings: Any, rules: Rules | None, found: list[_Run]) -> Result:
    """Write down what a kernel would have written."""
    n_runs, mode = len(found), problem.mode
    n_events = 0 if rules is None else len(rules)
    room = settings.event_room()
    counts = np.array([[len(times) for times in run.events] for run in found]).reshape(n_runs, -1)
    width = int(counts.max(initial=0)) if room is None else room
    record = RECORD if settings.dense_output else None
    elapsed = np.array([run.elapsed for run in found])
    n_points = np.where(elapsed > 0.0, 2, 1)
    steps, points = mode is SaveMode.STEPS, 1 if problem.times is None else problem.times.shape[-1]
    kept = Kept(mode, n_runs, (), problem.dtype, 0 if record is None else record.size)
    per_run = PerRun(len(OF_ATTEMPTS) + n_events, n_events * width, points if record else 0)
    total = int(n_points.sum())
    outputs = make_outputs(kept, total if steps or record else points, per_run)
    arrays = outputs.arrays
    arrays.status[:] = [run.status for run in found]
    arrays.counters.reshape(-1, n_runs)[:] = 0
    rows = arrays.counters.reshape(-1, n_runs)
    rows[0], rows[len(OF_ATTEMPTS) :] = n_points - 1, counts.T
    slots = arrays.summaries[: n_events * width * n_runs].reshape(n_events, width, n_runs)
    for i, run in enumerate(found):
        for k, times in enumerate(run.events):
            slots[k, : len(times[:width]), i] = times[:width]
    arrays.saved[:] = 1 if mode is SaveMode.FINAL else n_points
    if problem.times is not None:
        starts = np.broadcast_to(problem.span[0], n_runs)[:, None]
        length = np.abs(np.broadcast_to(problem.times, (n_runs, points)) - starts)
        arrays.saved[:] = np.count_nonzero(length <= elapsed[:, None], axis=1)
    clocks = _clocks(elapsed, n_points)
    arrays.times[:] = clocks[:, 0] if steps else elapsed
    kept_events = None
    if settings.events is not None:
        ends_runs = rules is not None and rules.ends
        kept_events = EventsKept(n_events, 0, 0, len(OF_ATTEMPTS), room is None, ends_runs)
    if kept_events is not None and n_events and room is not None:
        warn_of_lost(kept_events, outputs, n_runs, room)
    kind = ResultKind(
        mode, (), (), Work(1, 0, 0, 0, 0, 0), plan(Problem(())), (NOTE,), None, OF_ATTEMPTS,
        problem.in_pairs, StateNames(), record, kept_events,
    )  # fmt: skip
    all_points = None
    if steps or record:
        all_points = _points(clocks, n_points, problem.dtype, steps)
    return ResultWithoutStates(
        outputs, kind, problem.n_runs, problem.times, problem.span, all_points
    )


def _clocks(elapsed: np.ndarray, n_points: np.ndarray) -> np.ndarray:
    """Return when runs begin and end, one after the other, and how long the step from there is."""
    last = np.cumsum(n_points) - 1
    clocks = np.zeros((int(n_points.sum()), 2))
    clocks[last, 0] = elapsed
    clocks[last - (n_points - 1), 1] = elapsed
    return clocks


def _points(clocks: np.ndarray, n_points: np.ndarray, dtype: np.dtype, steps: bool) -> Points:
    records = np.zeros((len(clocks), FIRST_STATE), dtype)
    records[:, 0], records[:, SIZE] = clocks.T
    blocks = {"dense": [records]}
    times = [clocks[:, 0].astype(dtype)] if steps else []
    place = np.cumsum(n_points) - n_points
    return Points(blocks, times, np.zeros(len(n_points), np.int64), place, n_points)
