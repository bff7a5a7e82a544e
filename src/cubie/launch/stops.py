"""Where the steps of a run must land, as its clock is told: times to save at, and the end.

Times are counted from the start of the run, in float64, before they are rounded to the dtype of
the run: what is lost by rounding does not depend on how far from zero a run starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from cubie import checks
from cubie.errors import InvalidProblem, OutOfMemory
from cubie.launch.breaks import Breaks
from cubie.launch.capacity import ALWAYS_THERE, Free, no_device, shortage, takes
from cubie.launch.clocks import (
    Clocks,
    Span,
    direction_of,
    ends_of,
    farthest_of,
    spacing_of,
    span_of_run,
)
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

    Where there are breaks, or runs have clocks of their own, fields and counts have a further axis,
    of one column for all runs or one for each; runs with fewer stops have their end several times.
    So what they take grows with the number of runs times the most stops of a run: `size_of` bytes.

    Attributes
    ----------
    start : float, or ndarray (n_runs, 1)
    direction : float, or ndarray (n_runs, 1)
        1, or -1 where time runs backwards.
    fields : ndarray (4, S), dtype of the run
        Time elapsed, what its rounding took, origin of the grid of steps, last step. With columns
        also the time that is not passed on the way there, the one not gone back beyond, whether it
        is a time to save at, and whether it is a break: (8, S, columns).
    counts : ndarray (S,) int32
        Steps of given size from the start of the run; 0 where step sizes are chosen.
    cut : ndarray (columns,) int
        How many steps of a run end early, at a time to save or at a break.
    points : ndarray (2, T, columns of points), dtype of the run
        Times to save at that steps do not land on: time elapsed, what its rounding took.
    """

    start: float | np.ndarray
    direction: float | np.ndarray
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
        """Return what a launch is told, flat: `counts`, and with columns the attempts of each run.

        Those are a further row: a run is not given more for the stops of others.
        """
        if self.counts.ndim == 1:
            return self.counts
        attempts = np.minimum(max_steps + self.cut, checks.LARGEST_COUNT)
        return np.concatenate([self.counts.reshape(-1), attempts.astype(np.int32)])


def size_of(n_stops: int, columns: int, dtype: np.dtype) -> int:
    """Return how many bytes the stops of runs take that are told of by columns."""
    one = FIELDS_WITH_BREAKS * np.dtype(dtype).itemsize + np.dtype(np.int32).itemsize
    return n_stops * columns * one


def lay_out_stops(
    span: Span,
    times: np.ndarray | None,
    step: float | np.ndarray | None,
    dtype: np.dtype,
    reads_time: bool = False,
    breaks: Breaks | None = None,
    on_device: Free = no_device,
    inside: bool = False,
    own: bool = False,
) -> Stops:
    """Return the stops of runs over `span` that save at `times`.

    Parameters
    ----------
    span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,))
    times : ndarray (n_points,) or (n_runs, n_points), or None
        In order along the span; of runs with fewer the rest is NaN.
    step : float or ndarray (n_runs,), or None
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
    own : bool
        The kernel is one of runs with clocks of their own.

    Raises
    ------
    OutOfMemory
        If the stops of runs with breaks of their own exceed what memory is left.
    InvalidProblem
        For times that the dtype cannot hold, or cannot tell apart; where the right-hand side
        reads the time, that is all times of the span.
    """
    dtype, points = np.dtype(dtype), np.zeros((2, 1, 1), dtype)
    if inside and times is not None:
        points, times = _points_inside(Clocks.of(span, times, None), dtype), None
    clocks = Clocks.of(span, times, step)
    if breaks is None and not own:
        stops = _shared(clocks, points)
    else:
        stops = _by_columns(clocks, points, breaks or Breaks.given(None), on_device)
    if reads_time:
        _require_fine(clocks, dtype)
    return stops


def _shared(clocks: Clocks, points: np.ndarray) -> Stops:
    """Return the stops of runs that all have the same, without breaks."""
    span, times = clocks.span, clocks.times
    end = ends_of(span, points.dtype)
    targets = np.array([end], dtype=float) if times is None else times
    if targets[-1] != end:
        targets = np.append(targets, end)
    fields, counts = _laid_out(clocks, targets, points.dtype)
    cut = np.array([0 if times is None else len(times)])
    return Stops(span[0], direction_of(span), fields, counts, cut, points)


def _points_inside(clocks: Clocks, dtype: np.dtype) -> np.ndarray:
    """Return the times of `Stops.points`; beyond those of a run there is none that it reaches."""
    times = clocks.times
    if clocks.columns is None or times is None:
        return _laid_out(clocks, times, dtype)[0][:2, :, None]
    rows = np.broadcast_to(np.atleast_2d(times), (clocks.columns, times.shape[-1]))
    # Fields, and what they are made of, are laid out together.
    n_bytes = rows.size * (FIELDS * dtype.itemsize + 2 * 8)
    lacking = shortage(n_bytes, no_device)
    if lacking is not None:
        raise OutOfMemory(
            f"To lay out the times of {clocks.columns:,} runs with clocks of their own, "
            f"{rows.shape[1]:,} of each, {takes(n_bytes, *lacking)} Solve fewer runs at once, as "
            "cubie.sweep does in chunks, or give fewer times in t_eval."
        )
    valid = ~np.isnan(rows)
    points = _laid_out(clocks, rows, dtype, valid)[0][:2]
    points[0][~valid], points[1][~valid] = np.finfo(dtype).max, 0.0
    same = all(np.array_equal(rows[1:], rows[:-1]) for rows in points)
    return np.ascontiguousarray((points[:, :1] if same else points).transpose(0, 2, 1))


def _laid_out(clocks: Clocks, targets, dtype, valid=None) -> tuple[np.ndarray, np.ndarray]:
    """Return fields (4, ..., S) and counts (..., S) of targets in order.

    Of rows of targets those beyond what is `valid` are the last one again.
    """
    span, step = clocks.span, clocks.step
    start, direction = span[0], direction_of(span)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        elapsed = (targets - start) * direction
        rounded = elapsed.astype(dtype)
        correction = (elapsed - rounded).astype(dtype)
    _require_apart(clocks, targets, elapsed, rounded, correction, valid)
    fields = np.zeros((FIELDS, *targets.shape), dtype)
    fields[0], fields[1] = rounded, correction
    counts = np.zeros(targets.shape, np.int32)
    if step is not None:
        counts[...], fields[2], fields[3] = _grid(span, elapsed, step)
    return fields, counts


def _by_columns(clocks: Clocks, points: np.ndarray, breaks: Breaks, on_device: Free) -> Stops:
    """Return the stops of runs with breaks, or clocks, of their own: a row of them a column."""
    columns, dtype = clocks.columns or breaks.columns, points.dtype
    n_points = 1 if clocks.times is None else clocks.times.shape[-1] + 1
    most, number = n_points + breaks.width, max(1, NUMBERS_AT_ONCE // (breaks.width + n_points))

    def parts() -> Iterator[tuple[slice, Clocks, np.ndarray]]:
        # Some runs at a time: their breaks are put in order together.
        for first in range(0, columns, number):
            runs = slice(first, min(first + number, columns))
            rows = breaks.of(runs if breaks.columns > 1 else slice(0, 1))
            shape = runs.stop - first, rows.shape[1]
            yield runs, clocks.part(runs), np.broadcast_to(rows, shape)

    if size_of(most, columns, dtype) > ALWAYS_THERE:  # more than there are, where runs have fewer
        most = n_points + max(most_of_a_row(part.span, rows, dtype) for _, part, rows in parts())
    fields, counts = _room_for(most, columns, dtype, on_device, breaks.width > 0)
    cut, n_stops = np.empty(columns, np.int64), 0
    for runs, part, rows in parts():
        of_rows, steps, cut[runs] = _of_rows(part, rows, dtype)
        width = steps.shape[1]
        fields[:, :width, runs] = of_rows.transpose(0, 2, 1)
        fields[:, width:, runs] = of_rows[:, None, :, -1]
        counts[:width, runs], counts[width:, runs] = steps.T, steps[:, -1]
        n_stops = max(n_stops, width)
    fields, counts = _cut_to(fields, n_stops), counts[:n_stops]
    if columns > 1 and _same_columns(fields, counts):
        fields, counts, cut = fields[..., :1].copy(), counts[:, :1].copy(), cut[:1]
    return Stops(clocks.span[0], direction_of(clocks.span), fields, counts, cut, points)


def _room_for(n_stops, columns, dtype, on_device, has_breaks) -> tuple[np.ndarray, np.ndarray]:
    """Return room for fields and counts, or refuse what nothing can hold."""
    n_bytes = size_of(n_stops, columns, dtype)
    lacking = shortage(n_bytes, on_device)
    try:
        if lacking is None:
            shape = n_stops, columns
            return np.empty((FIELDS_WITH_BREAKS, *shape), dtype), np.empty(shape, np.int32)
    except MemoryError:
        lacking = None, ""
    what = "breaks" if has_breaks else "times"
    runs = f"{columns:,} runs with {what} of their own" if columns > 1 else f"a run with {what}"
    fewer = "Solve fewer runs at once (cubie.sweep), give" if columns > 1 else "Give"
    less = "fewer times in t_eval, or t_eval_exact=False"
    if has_breaks:
        less = "fewer breakpoints, or interpolants with stops='jumps' or 'none'"
    raise OutOfMemory(
        f"To lay out the stops of {runs}, up to {n_stops:,} of each, {takes(n_bytes, *lacking)} "
        f"{fewer} {less}{', or take dtype=' + repr('float32') if dtype == np.float64 else ''}."
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


def _of_rows(clocks: Clocks, rows: np.ndarray, dtype: np.dtype):
    """Return fields (8, R, S) and counts (R, S) of rows of breaks, and the steps cut by stops.

    Rows with fewer stops have their end several times.
    """
    points = clocks.targets(dtype)
    merged = merge(clocks.span, points, rows, dtype)
    last, is_saved = merged.counts - 1, points.end_is_saved
    merged.is_point[np.arange(len(rows)), last] = is_saved
    width = merged.targets.shape[1]
    number = np.arange(width)
    about = [merged.targets, merged.ahead, merged.behind, merged.is_point, merged.is_break]
    valid = number <= last[:, None]
    if not valid.all():
        index = np.minimum(number, last[:, None])
        about = [np.take_along_axis(values, index, axis=1) for values in about]
    fields = np.empty((FIELDS_WITH_BREAKS, len(rows), width), dtype)
    fields[:FIELDS], counts = _laid_out(clocks, about[0], dtype, valid)
    fields[FIELDS:] = about[1:]
    if not valid.all():
        edge = last[None, :, None]
        repeated = np.where(valid, fields, np.take_along_axis(fields, edge, axis=2))
        fields, counts = (
            repeated,
            np.where(valid, counts, np.take_along_axis(counts, last[:, None], 1)),
        )
    return fields, counts, np.where(is_saved, merged.counts, last)


def _require_apart(clocks: Clocks, targets, elapsed, rounded, correction, valid) -> None:
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
    saved = clocks.times is not None and np.isin(targets[where], clocks.times)
    which, number = "t_eval" if saved else "t_span", row[0] if row else 0
    start, of_run = span_of_run(clocks.span, number)[0], clocks.of_run(number)
    if not np.isfinite(rounded[where]):
        raise InvalidProblem(
            which,
            f"reaches {targets[where]}{of_run}, {elapsed[where]} from the start, but {name} holds "
            f"numbers up to {np.finfo(rounded.dtype).max:.3g}. {advice}",
        )
    before = start if where == 0 else targets[where - 1]
    raise InvalidProblem(
        which,
        f"contains {before} and {targets[where]}{of_run}, which {name}, counting from the start "
        f"{start}, cannot tell apart. {advice}",
    )


def _require_fine(clocks: Clocks, dtype: np.dtype) -> None:
    """Refuse a span so far from zero that the times in it are hardly distinct numbers."""
    span, spacing = clocks.span, spacing_of(clocks.span, dtype)
    length = np.abs(span[1] - span[0])
    coarse = (spacing > COARSEST * length) & (length > 0)
    if coarse.any():
        run = int(np.argmax(coarse))
        spacing, (start, end) = float(np.reshape(spacing, -1)[run]), span_of_run(span, run)
        raise InvalidProblem(
            "t_span",
            f"is ({start}, {end}){clocks.of_run(run)}, where {dtype.name} has numbers "
            f"{spacing:.3g} apart, and the right-hand side reads the time (or an observable does). "
            "Shift time so that the span starts near zero, or use dtype='float64'.",
        )


def _grid(span, elapsed, step):
    """Return counts, origins and last steps of the stops, for steps of one size; (..., S)."""
    before = np.zeros_like(elapsed)
    before[..., 1:] = elapsed[..., :-1]
    endless = np.broadcast_to(~np.isfinite(span[1]), elapsed.shape) & (elapsed > before)
    endless = endless & (elapsed >= elapsed[..., -1:])
    # No run takes so many steps.
    elapsed = np.where(endless, before + step * LARGEST_COUNT, elapsed)
    rounding = ROUNDINGS * np.spacing(farthest_of(span, before))
    sliver = np.minimum(0.5, np.maximum(SLIVER, rounding / step))
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
