"""The solution as a function of time, evaluated on the host from what was kept of each step."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from cubie.errors import InvalidProblem
from cubie.launch.clocks import Span, direction_of, length_of, span_of_run
from cubie.launch.points import Points
from cubie.launch.ragged import RaggedArray
from cubie.launch.sensitivities import of_inputs
from cubie.reals import NotReal, real_array
from cubie.run.dense import CARRY, ELAPSED, FIRST_STATE, SIZE, StepRecord

# Numbers that are gathered at once; more would go through memory again and again.
NUMBERS_AT_ONCE = 2**18


class OdeSolution:
    """The solution of one run, or of each run of a batch, at any time that it reached.

    Within a step it is the polynomial that times of `t_eval` are read off, too; where steps begin
    and end it is what they were saved as, to the bit. Runs and times are evaluated together, in
    NumPy. It can be pickled by itself.

    ``sol(t)`` is (n,) for a number and (n, k) for k times, of one run; of a batch (n_runs, n) and
    (n_runs, n, k). Times of shape (n_runs, k) are of each run its own. All n states are there,
    whatever `save_states` is, of the dtype of the run, or complex. ``sol[run]`` is the solution of
    that run; any other choice of runs (a slice, a mask, an array of numbers) that of these.

    Outside of `t_span` there is no solution, and to ask for it is an error; so it is beyond
    `t_reached`, of one run that failed. In a batch such a run has NaN there, and so has one whose
    own span does not reach a time that is asked of all. Among times of their own NaN stands for
    none.
    Where the span has no length the solution is constant at all times.

    Attributes
    ----------
    t_min, t_max : float *
        Between which times there is a solution; for a batch (n_runs,).
    ts : ndarray (n_steps + 1,)
        Where steps begin and end; of a batch a `RaggedArray`. In float64 whatever the run's dtype,
        so that late in a long run of float32 they are those that `t` of its result is rounded from.
    n_segments : int *
        Steps.
    interpolants : list of StepSolution
        The solution within each step, of one run.

    Raises
    ------
    InvalidProblem
        For times that are outside of the range, no numbers, or of another shape.
    """

    def __init__(
        self,
        record: StepRecord,
        points: Points,
        span: Span,
        single: bool,
        in_pairs: bool,
        sizes: np.ndarray | None = None,
    ):
        self._record, self._span = record, span
        self._single, self._in_pairs = single, in_pairs
        self._sizes = sizes  # of inputs that it is differentiated by, (P, n_runs)
        self._points = points._replace(blocks={"dense": points.blocks["dense"]}, times=[])

    @property
    def _blocks(self) -> list[np.ndarray]:
        return self._points.blocks["dense"]

    @cached_property
    def _times(self) -> list[np.ndarray]:
        """Where each step begins, or its run ends, with what rounding took from it."""
        elapsed = [block[:, ELAPSED] for block in self._blocks]
        spans = [self._span] * len(elapsed)
        if self._has_own_spans:
            of_rows = self._points._replace(times=elapsed).runs_of_points()
            spans = [(self._span[0][runs], self._span[1][runs]) for runs in of_rows]
        with np.errstate(all="ignore"):  # of what no run wrote to
            return [_times_in(block, span) for block, span in zip(self._blocks, spans, strict=True)]

    @property
    def _has_own_spans(self) -> bool:
        return isinstance(self._span[0], np.ndarray)

    def _span_of(self, runs: np.ndarray) -> Span:
        """Return start and end of some runs: numbers, or columns (r, 1)."""
        if not self._has_own_spans:
            return self._span
        return self._span[0][runs, None], self._span[1][runs, None]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed, and what other runs have."""
        kept = {name: value for name, value in vars(self).items() if name != "_times"}
        if self._points.counts.sum() < sum(map(len, self._blocks)):
            kept["_points"] = _without_gaps(self._points)
        return kept

    # ---- what there is ---------------------------------------------------------------

    def __len__(self) -> int:
        if self._single:
            raise TypeError("The solution of one run has no length: call it, `sol(t)`.")
        return len(self._points.counts)

    def __getitem__(self, run: Any) -> OdeSolution:
        if self._single:
            raise TypeError("The solution of one run has no runs to choose: call it, `sol(t)`.")
        chosen = np.arange(len(self))[run]
        if chosen.ndim > 1:
            raise IndexError(f"{run!r} does not choose runs.")
        points, single, span = self._points, chosen.ndim == 0, self._span
        some = np.atleast_1d(chosen)
        points = points._replace(
            block_of=points.block_of[some], place=points.place[some], counts=points.counts[some]
        )
        if self._has_own_spans:
            span = span_of_run(span, int(chosen)) if single else (span[0][some], span[1][some])
        sizes = None if self._sizes is None else self._sizes[:, some]
        return OdeSolution(self._record, points, span, single, self._in_pairs, sizes)

    @property
    def ts(self) -> np.ndarray | RaggedArray:
        points = self._points
        if not self._single:
            return points.ragged(self._times)
        times = self._times[points.block_of[0]]
        return times[points.place[0] : points.place[0] + points.counts[0]]

    @property
    def n_segments(self) -> Any:
        steps = np.maximum(self._points.counts - 1, 0)
        return int(steps[0]) if self._single else steps

    @property
    def interpolants(self) -> list[StepSolution]:
        if not self._single:
            raise TypeError("Interpolants are of one run: choose it, `sol[run].interpolants`.")
        return [StepSolution(self, float(a), float(b)) for a, b in pairwise(self.ts)]

    @property
    def t_min(self) -> Any:
        return self._of_runs(np.minimum(self._span[0], self._ends))

    @property
    def t_max(self) -> Any:
        return self._of_runs(np.maximum(self._span[0], self._ends))

    def _of_runs(self, values: np.ndarray) -> Any:
        return float(values[0]) if self._single else values

    @cached_property
    def _ends(self) -> np.ndarray:
        """Times that runs reached; the start of those that did not begin."""
        points = self._points
        ends = np.broadcast_to(np.asarray(self._span[0], float), len(points.counts)).copy()
        for number, times in enumerate(self._times):
            own = np.flatnonzero((points.block_of == number) & (points.counts > 0))
            ends[own] = times[points.place[own] + points.counts[own] - 1]
        return ends

    @property
    def _slack(self) -> float:
        """How far beyond the end a time may be that results show, rounded to the runs' dtype."""
        if self._dtype == np.float64:
            return 0.0
        lengths = np.abs(np.subtract(*self._span))
        if not np.all(np.isfinite(lengths)):
            lengths = np.where(np.isfinite(lengths), lengths, np.abs(self._ends - self._span[0]))
            lengths = lengths[np.isfinite(lengths)]  # beyond an infinite end nothing is
        return float(np.spacing(np.max(lengths, initial=0.0).astype(self._dtype)))

    def __repr__(self) -> str:
        n_states = self._record.n_states // (2 if self._in_pairs else self._n_blocks)
        steps, counts = self.n_segments, np.atleast_1d(self.n_segments)
        if counts.size:
            least, most = int(counts.min()), int(counts.max())
            steps = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        runs = "" if self._single else f"{len(self):,} runs x "
        plural = "" if n_states == 1 else "s"
        start, end = np.min(self._span[0]), np.max(self._span[1])
        if self._single:
            start, end = self.t_min, self.t_max
        return (
            f"OdeSolution({runs}{n_states} state{plural}, t from {start:.6g} to {end:.6g}, "
            f"{steps} steps)"
        )

    # ---- its values ------------------------------------------------------------------

    def __call__(self, t: Any) -> np.ndarray:
        times, found = self._found(t)
        found = found[:, : self._record.n_states // self._n_blocks]
        if self._in_pairs:
            found = from_pairs(found)
        found = np.ascontiguousarray(found if times.ndim else found[..., 0])
        return found[0] if self._single else found

    def dy(self, t: Any) -> np.ndarray:
        """Return the derivatives by P inputs, where there are `sensitivities`.

        The shape is that of ``sol(t)`` with P behind n: (n, P) of one run at a time, (n_runs, n, P,
        k) of a batch at k times.

        Raises
        ------
        InvalidProblem
            Where the solve was without, and for times as ``sol(t)``.
        """
        if self._sizes is None:
            raise InvalidProblem("sensitivities", "were not asked for: there are no derivatives.")
        times, found = self._found(t)
        found = of_inputs(found, self._sizes, None)
        found = np.ascontiguousarray(found if times.ndim else found[..., 0])
        return found[0] if self._single else found

    @property
    def _n_blocks(self) -> int:
        return 1 if self._sizes is None else 1 + len(self._sizes)

    def _found(self, t: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the times, checked, and all that is solved for there, (n_runs, N, k)."""
        times = self._checked(t)
        n_runs, k = len(self._points.counts), times.shape[-1] if times.ndim else 1
        of_each = np.broadcast_to(times.reshape(times.shape or (1,)), (n_runs, k))
        values = np.full((n_runs, k, self._record.n_states), np.nan, self._dtype)
        at_once = max(1, NUMBERS_AT_ONCE // self._record.size)
        for number in range(len(self._blocks)):
            own = np.flatnonzero((self._points.block_of == number) & (self._points.counts > 0))
            # Many runs at few times, or some times of one run.
            n_some = max(1, at_once // max(k, 1))
            for first in range(0, len(own), n_some):
                runs = own[first : first + n_some]
                for begin in range(0, k, at_once):
                    some = slice(begin, begin + at_once)
                    values[runs, some] = self._values(number, runs, of_each[runs, some])
        return times, values.transpose(0, 2, 1)

    @property
    def _dtype(self) -> np.dtype:
        return self._blocks[0].dtype if self._blocks else np.dtype(float)

    def _values(self, number: int, runs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the states (r, k, n) of runs, all in one block, at times (r, k)."""
        record, block = self._record, self._blocks[number]
        n, degree = record.n_states, record.degree
        centres = np.asarray(record.centres, block.dtype)
        place, last = self._points.place[runs, None], self._points.counts[runs, None] - 1
        start, end = span = self._span_of(runs)
        direction = direction_of(span)
        step = self._steps(number, place, last, times * direction, direction)
        records = block[place + step]
        elapsed = (times - start) * direction
        begin = records[..., ELAPSED].astype(float) + records[..., CARRY]
        with np.errstate(all="ignore"):  # of the ends of runs, from which no step goes on
            theta = np.clip((elapsed - begin) / records[..., SIZE], 0.0, 1.0)
            theta = theta.astype(block.dtype)[..., None]
            state = records[..., FIRST_STATE : FIRST_STATE + n]
            total = records[..., FIRST_STATE + degree * n :]
            for k in range(degree - 1, 0, -1):
                own = records[..., FIRST_STATE + k * n : FIRST_STATE + (k + 1) * n]
                total = total * (theta - centres[k]) + own
            inside = state + total * theta
        at_start = (step == last) | (self._times[number][place + step] == times)
        values = np.where(at_start[..., None], state, inside)
        known = (times - start) * direction >= 0
        known &= times * direction <= self._ends[runs, None] * direction + self._slack
        values[~(known | ((start == end) & ~np.isnan(times)))] = np.nan
        return values

    def _steps(
        self,
        number: int,
        place: np.ndarray,
        last: np.ndarray,
        ahead: np.ndarray,
        direction: Any,
    ) -> np.ndarray:
        """Return in which of the steps of its run each time lies, up to the `last` record.

        `ahead` are the times, as they grow in the `direction` of the run.
        """
        begins = self._times[number]
        below, above = np.zeros(ahead.shape, np.int64), np.broadcast_to(last, ahead.shape).copy()
        for _ in range(int(last.max(initial=0)).bit_length()):
            middle = (below + above + 1) // 2
            has_begun = begins[place + middle] * direction <= ahead
            below = np.where(has_begun, middle, below)
            above = np.where(has_begun, above, middle - 1)
        return below

    def _checked(self, t: Any) -> np.ndarray:
        try:
            times = np.asarray(real_array(t), dtype=float)
        except (TypeError, ValueError) as error:
            why = f": it {error}" if isinstance(error, NotReal) else ""
            raise InvalidProblem("t", f"must be a time, or a sequence of times{why}.") from error
        n_runs = len(self._points.counts)
        if times.ndim > 1 and (self._single or times.shape[:-1] != (n_runs,)):
            allowed = "a number or (k,)"
            if not self._single:
                allowed += f", or ({n_runs}, k) with times for each run"
            raise InvalidProblem("t", f"has shape {times.shape}, but must be {allowed}.")
        if np.isnan(times).any() and times.ndim < 2:
            raise InvalidProblem("t", "contains NaN, which is no time.")
        self._require_within(times)
        return times

    def _require_within(self, times: np.ndarray) -> None:
        """Refuse times that are outside: of one run, of all of them, or of their own."""
        start, end = self._span
        low, high = np.minimum(start, end), np.maximum(start, end)
        constant = low == high
        if self._single:
            low, high = self.t_min - self._slack, self.t_max + self._slack
        elif times.ndim < 2:
            low, high, constant = np.min(low), np.max(high), np.all(constant)
        elif self._has_own_spans:
            low, high, constant = low[:, None], high[:, None], constant[:, None]
        outside = ((times < low) | (times > high)) & ~constant
        if not outside.any():
            return
        where = tuple(np.argwhere(outside)[0])
        low, high = (np.broadcast_to(one, times.shape)[where] for one in (low, high))
        which = f" for run {where[0]}" if times.ndim == 2 else ""
        remedy = "Ask for times within, or solve over a longer t_span."
        if self._single and end not in (low, high):
            remedy = f"The run ended there, before {end}: see its `message`."
        raise InvalidProblem(
            "t",
            f"contains {times[where]}{which}, and the solution is known from {low} to {high}. "
            f"{remedy}",
        )


class StepSolution:
    """The solution within one step, as SciPy's `DenseOutput`.

    Attributes
    ----------
    t_old, t : float
        Where the step begins and ends.
    t_min, t_max : float
        The same in the order of time.
    """

    def __init__(self, solution: OdeSolution, t_old: float, t: float):
        self._solution, self.t_old, self.t = solution, t_old, t
        self.t_min, self.t_max = min(t_old, t), max(t_old, t)

    def __call__(self, t: Any) -> np.ndarray:
        times = self._solution._checked(t)
        outside = times[(times < self.t_min) | (times > self.t_max)]
        if outside.size:
            raise InvalidProblem(
                "t",
                f"contains {outside.flat[0]}, and this step is from {self.t_min} to {self.t_max}. "
                "Ask the whole solution, `sol(t)`.",
            )
        return self._solution(times)


def _times_in(block: np.ndarray, span: Span) -> np.ndarray:
    """Return the times that the clocks of records showed."""
    (start, end), elapsed, carry = span, block[:, ELAPSED], block[:, CARRY]
    length = length_of(span, block.dtype)
    rounded = np.asarray(length, block.dtype)
    rest = np.asarray(length - rounded.astype(float), block.dtype)
    times = start + direction_of(span) * (elapsed.astype(float) + carry)
    # The end is a number of its own: start and span, rounded, might miss it.
    return np.where((elapsed == rounded) & (carry == rest), end, times)


def from_pairs(values: np.ndarray) -> np.ndarray:
    """Return complex numbers of pairs along the second axis."""
    re, im = values[:, 0::2], values[:, 1::2]
    whole = np.empty(re.shape, np.result_type(values.dtype, np.complex64))
    whole.real, whole.imag = re, im
    return whole


def _without_gaps(points: Points) -> Points:
    """Return the records of these runs in memory of their own, one run after the other."""
    blocks, place = [], np.zeros(len(points.counts), np.int64)
    for number, block in enumerate(points.blocks["dense"]):
        own = np.flatnonzero(points.block_of == number)
        counts = points.counts[own]
        place[own] = np.cumsum(counts) - counts
        rows = np.repeat(points.place[own] - place[own], counts) + np.arange(counts.sum())
        blocks.append(block[rows])
    return points._replace(blocks={"dense": blocks}, place=place)
