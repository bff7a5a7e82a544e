"""Where the steps of a run must land, as its clock is told: times to save at, and the end.

Times are counted from the start of the run, in float64, before they are rounded to the dtype of
the run: what is lost by rounding does not depend on how far from zero a run starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import evolve, frozen

from cubie import checks
from cubie.errors import InvalidProblem, OutOfMemory
from cubie.launch.breaks import Breaks
from cubie.launch.capacity import ALWAYS_THERE, Free, no_device, shortage, takes
from cubie.launch.merged import merge, most_of_a_row

FIELDS = 4  # rows of `Stops.fields`; with breaks there are
FIELDS_WITH_BREAKS = 8
LARGEST_COUNT = 2**31 - 1

# A stop is on the grid of steps if it misses it by no more than this part of a step,
SLIVER = 1e-6
# or by no more than rounding of the times that were given: spacings of the largest.
ROUNDINGS = 4

# Breaks of so many numbers are laid out together: of few runs in large memory, or many.
NUMBERS_AT_ONCE = 2**17

# Of a span, at most, may lie between neighbouring numbers that a right-hand side reads as time.
COARSEST = 1e-4


@frozen
class Stops:
    """Stops of a run, S of them, the last one its end; see the stops of `cubie.run.clock`.

    Where there are breaks, fields and counts have a further axis, of one column for all runs or one
    for each; runs with fewer stops have their end several times. So what they take grows with the
    number of runs times the most stops of a run: `size_of` bytes.

    Attributes
    ----------
    start : float
    direction : float
        1, or -1 where time runs backwards.
    fields : ndarray (4, S), dtype of the run
        Time elapsed, what its rounding took, origin of the grid of steps, last step. With breaks
        also the time that is not passed on the way there, the one not gone back beyond, whether it
        is a time to save at, and whether it is a break: (8, S, columns).
    counts : ndarray (S,) int32
        Steps of given size from the start of the run; 0 where step sizes are chosen.
    cut : ndarray (columns,) int
        How many steps of a run end early, at a time to save or at a break.
    points : ndarray (2, T, columns of points), dtype of the run
        Times to save at that steps do not land on: time elapsed, what its rounding took.
    """

    start: float
    direction: float
    fields: np.ndarray
    counts: np.ndarray
    cut: np.ndarray
    points: np.ndarray

    @property
    def columns(self) -> int:
        """1 where all runs have the same stops, else the number of runs."""
        return 1 if self.counts.ndim == 1 else self.counts.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """What a launch is told: S, columns, and how far apart the columns of two runs are.

        Then the last two of points.
        """
        columns = self.points.shape[-1]
        return len(self.counts), self.columns, int(self.columns > 1), columns, int(columns > 1)

    def least_attempts(self, max_steps: int) -> int:
        """Return how many attempts every run may make.

        Steps that end at a time to save, or at a break, do not count: each may cost one.
        """
        return min(max_steps + int(self.cut.min()), checks.LARGEST_COUNT)

    def counts_and_attempts(self, max_steps: int) -> np.ndarray:
        """Return what a launch is told, flat: `counts`, and with breaks the attempts of each run.

        Those are a further row: a run is not given more for the breaks of others.
        """
        if self.counts.ndim == 1:
            return self.counts
        attempts = np.minimum(max_steps + self.cut, checks.LARGEST_COUNT)
        return np.concatenate([self.counts.reshape(-1), attempts.astype(np.int32)])


def size_of(n_stops: int, columns: int, dtype: np.dtype) -> int:
    """Return how many bytes the stops of runs with breaks take."""
    one = FIELDS_WITH_BREAKS * np.dtype(dtype).itemsize + np.dtype(np.int32).itemsize
    return n_stops * columns * one


def lay_out_stops(
    span: tuple[float, float],
    times: np.ndarray | None,
    step: float | None,
    dtype: np.dtype,
    reads_time: bool = False,
    breaks: Breaks | None = None,
    on_device: Free = no_device,
    inside: bool = False,
) -> Stops:
    """Return the stops of runs over `span` that save at `times`.

    Parameters
    ----------
    span : (float, float)
    times : ndarray (n_points,) or None
        In order along the span.
    step : float or None
        Size of all steps; None where sizes are chosen as the run goes.
    dtype : dtype
    reads_time : bool
        Whether the right-hand side, or an observable, depends on the time itself.
    breaks : Breaks, optional
        Times that no step crosses.
    on_device : callable
        ``on_device()``: bytes that a device with memory of its own has left.
    inside : bool
        Times to save at lie inside steps, which do not land on them.

    Raises
    ------
    OutOfMemory
        If the stops of runs with breaks of their own exceed what memory is left.
    InvalidProblem
        For times that the dtype cannot hold, or cannot tell apart; where the right-hand side
        reads the time, that is all times of the span.
    """
    start, end = span
    direction = -1.0 if end < start else 1.0
    points = np.zeros((2, 1, 1), dtype)
    if inside and times is not None:
        points = _laid_out(span, times, times, None, np.dtype(dtype))[0][:2, :, None]
        times = None
    targets = np.array([end]) if times is None else times
    if targets[-1] != end:
        targets = np.append(targets, end)
    if breaks is None:
        fields, counts = _laid_out(span, times, targets, step, dtype)
        stops = Stops(
            start,
            direction,
            fields,
            counts,
            np.array([0 if times is None else len(times)]),
            points,
        )
    else:
        stops = evolve(
            _with_breaks(span, times, targets, step, np.dtype(dtype), breaks, on_device),
            points=points,
        )
    if reads_time:
        _require_fine(span, np.dtype(dtype))
    return stops


def _laid_out(span, times, targets, step, dtype, valid=None) -> tuple[np.ndarray, np.ndarray]:
    """Return fields (4, ..., S) and counts (..., S) of targets in order.

    Of rows of targets those beyond what is `valid` are the last one again.
    """
    start, end = span
    direction = -1.0 if end < start else 1.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        elapsed = (targets - start) * direction
        rounded = elapsed.astype(dtype)
        correction = (elapsed - rounded).astype(dtype)
    _require_apart(span, times, targets, elapsed, rounded, correction, valid)
    fields = np.zeros((FIELDS, *targets.shape), dtype)
    fields[0], fields[1] = rounded, correction
    counts = np.zeros(targets.shape, np.int32)
    if step is not None:
        counts[...], fields[2], fields[3] = _grid(span, elapsed, step)
    return fields, counts


def _with_breaks(span, times, points, step, dtype, breaks, on_device) -> Stops:
    """Return the stops of runs with breaks, a row of them for each column."""
    columns, most = breaks.columns, len(points) + breaks.width
    if size_of(most, columns, dtype) > ALWAYS_THERE:  # more than there are, where runs have fewer
        rows = (breaks.of(runs) for runs in _parts(breaks, 0))
        most = len(points) + max(most_of_a_row(span, part, dtype) for part in rows)
    fields, counts = _room_for(most, columns, dtype, on_device)
    cut, n_stops = np.empty(columns, np.int64), 0
    for runs in _parts(breaks, len(points)):
        of_rows, steps, cut[runs] = _of_rows(span, times, points, step, dtype, breaks.of(runs))
        width = steps.shape[1]
        fields[:, :width, runs] = of_rows.transpose(0, 2, 1)
        fields[:, width:, runs] = of_rows[:, None, :, -1]
        counts[:width, runs], counts[width:, runs] = steps.T, steps[:, -1]
        n_stops = max(n_stops, width)
    fields, counts = _cut_to(fields, n_stops), counts[:n_stops]
    if columns > 1 and _same_columns(fields, counts):
        fields, counts, cut = fields[..., :1].copy(), counts[:, :1].copy(), cut[:1]
    direction = -1.0 if span[1] < span[0] else 1.0
    return Stops(span[0], direction, fields, counts, cut, np.zeros((2, 1, 1), dtype))


def _parts(breaks: Breaks, n_points: int) -> Iterator[slice]:
    """Yield all runs, some at a time: their breaks are put in order together."""
    n_runs = max(1, NUMBERS_AT_ONCE // max(breaks.width + n_points, 1))
    for first in range(0, breaks.columns, n_runs):
        yield slice(first, min(first + n_runs, breaks.columns))


def _room_for(n_stops, columns, dtype, on_device) -> tuple[np.ndarray, np.ndarray]:
    """Return room for fields and counts, or refuse what nothing can hold."""
    n_bytes = size_of(n_stops, columns, dtype)
    lacking = shortage(n_bytes, on_device)
    try:
        if lacking is None:
            shape = n_stops, columns
            return np.empty((FIELDS_WITH_BREAKS, *shape), dtype), np.empty(shape, np.int32)
    except MemoryError:
        lacking = None, ""
    runs = f"{columns:,} runs with breaks of their own" if columns > 1 else "a run with breaks"
    fewer = "Solve fewer runs at once, give" if columns > 1 else "Give"
    raise OutOfMemory(
        f"To lay out the stops of {runs}, up to {n_stops:,} of each, {takes(n_bytes, *lacking)} "
        f"{fewer} fewer breakpoints, or interpolants with stops='jumps' or 'none'"
        f"{', or take dtype=' + repr('float32') if dtype == np.float64 else ''}."
    )


def _cut_to(fields: np.ndarray, n_stops: int) -> np.ndarray:
    """Return the first stops of each field, in the same memory."""
    n_fields, room, columns = fields.shape
    if n_stops == room:
        return fields
    flat, size = fields.reshape(-1), n_stops * columns
    for k in range(1, n_fields):
        flat[k * size : (k + 1) * size] = fields[k, :n_stops].reshape(-1)
    return flat[: n_fields * size].reshape(n_fields, n_stops, columns)


def _same_columns(fields: np.ndarray, counts: np.ndarray) -> bool:
    """Tell whether all runs have the same stops."""
    return all(np.array_equal(rows[:, 1:], rows[:, :-1]) for rows in (counts, *fields))


def _of_rows(span, times, points, step, dtype, rows):
    """Return fields (8, R, S) and counts (R, S) of rows of breaks, and the steps cut by them.

    Rows with fewer stops have their end several times.
    """
    merged = merge(span, points, rows, dtype)
    last = merged.counts - 1
    is_saved = times is not None and times[-1] == span[1]
    merged.is_point[np.arange(len(rows)), last] = is_saved
    width = merged.targets.shape[1]
    number = np.arange(width)
    about = [merged.targets, merged.ahead, merged.behind, merged.is_point, merged.is_break]
    valid = number <= last[:, None]
    if not valid.all():
        index = np.minimum(number, last[:, None])
        about = [np.take_along_axis(values, index, axis=1) for values in about]
    fields = np.empty((FIELDS_WITH_BREAKS, len(rows), width), dtype)
    fields[:FIELDS], counts = _laid_out(span, times, about[0], step, dtype, valid)
    fields[FIELDS:] = about[1:]
    if not valid.all():
        edge = last[None, :, None]
        repeated = np.where(valid, fields, np.take_along_axis(fields, edge, axis=2))
        fields, counts = (
            repeated,
            np.where(valid, counts, np.take_along_axis(counts, last[:, None], 1)),
        )
    return fields, counts, merged.counts if is_saved else last


def _require_apart(span, times, targets, elapsed, rounded, correction, valid) -> None:
    """Refuse times that the dtype of the run cannot hold or tell apart."""
    name, advice = rounded.dtype.name, "Choose another unit of time, or dtype='float64'."
    with np.errstate(invalid="ignore"):
        kept = rounded.astype(float) + correction
        fits = np.diff(kept, prepend=0.0) > 0
    fits |= (elapsed == 0) & (np.arange(targets.shape[-1]) == 0)
    fits &= np.isfinite(rounded)
    if valid is not None:
        fits |= ~valid
    if fits.all():
        return
    *row, where = (int(k) for k in np.argwhere(~fits)[0])
    targets, elapsed, rounded = (values[tuple(row)] for values in (targets, elapsed, rounded))
    which = "t_span" if times is None or where >= len(times) else "t_eval"
    if not np.isfinite(rounded[where]):
        raise InvalidProblem(
            which,
            f"reaches {targets[where]}, {elapsed[where]} from the start, but {name} holds numbers "
            f"up to {np.finfo(rounded.dtype).max:.3g}. {advice}",
        )
    before = span[0] if where == 0 else targets[where - 1]
    raise InvalidProblem(
        which,
        f"contains {before} and {targets[where]}, which {name}, counting from the start "
        f"{span[0]}, cannot tell apart. {advice}",
    )


def _require_fine(span, dtype) -> None:
    """Refuse a span so far from zero that the times in it are hardly distinct numbers."""
    start, end = span
    spacing = float(np.spacing(dtype.type(max(abs(start), abs(end)))))
    if spacing > COARSEST * abs(end - start):
        raise InvalidProblem(
            "t_span",
            f"is ({start}, {end}), where {dtype.name} has numbers {spacing:.3g} apart, and the "
            "right-hand side reads the time (or an observable does). Shift time so that the span "
            "starts near zero, or use dtype='float64'.",
        )


def _grid(span, elapsed, step):
    """Return counts, origins and last steps of the stops, for steps of one size; (..., S)."""
    rounding = ROUNDINGS * np.spacing(max(abs(span[0]), abs(span[1])))
    sliver = min(0.5, max(SLIVER, rounding / step))
    before = np.zeros_like(elapsed)
    before[..., 1:] = elapsed[..., :-1]
    lengths = elapsed - before
    steps = np.where(lengths > 0, np.maximum(np.ceil(lengths / step - sliver), 1.0), 0.0)
    counts = np.cumsum(steps, axis=-1)
    exact = lengths - (steps - 1.0) * step
    last = np.where(np.abs(exact - step) <= rounding, step, exact)
    # What is within rounding at one stop must not add up over many.
    adds_up = np.abs(np.cumsum(last - exact, axis=-1)).max(axis=-1, keepdims=True) > rounding
    last = np.where(adds_up, exact, last)
    origins = before - (counts - steps) * step
    origins = np.where(np.abs(origins) <= rounding, 0.0, origins)
    return np.minimum(counts, LARGEST_COUNT), origins, last
