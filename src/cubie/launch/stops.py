"""Where the steps of a run must land, as its clock is told: times to save at, and the end.

Times are counted from the start of the run, in float64, before they are rounded to the dtype of
the run: what is lost by rounding does not depend on how far from zero a run starts.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from cubie.errors import InvalidProblem

FIELDS = 4  # rows of `Stops.fields`; with breaks there are
FIELDS_WITH_BREAKS = 8
LARGEST_COUNT = 2**31 - 1

# A stop is on the grid of steps if it misses it by no more than this part of a step,
SLIVER = 1e-6
# or by no more than rounding of the times that were given: spacings of the largest.
ROUNDINGS = 4

# Breaks that are no farther apart are one; on each side of it up to so much is not asked for.
ROUNDINGS_OF_BREAKS = 4
ROUNDINGS_AT_BREAKS = 16

# Of a span, at most, may lie between neighbouring numbers that a right-hand side reads as time.
COARSEST = 1e-4


@frozen
class Stops:
    """Stops of a run, S of them, the last one its end; see the stops of `cubie.run.clock`.

    Where there are breaks, fields and counts have a further axis, of one column for all runs or one
    for each; runs with fewer stops have their end several times.

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
    """

    start: float
    direction: float
    fields: np.ndarray
    counts: np.ndarray

    @property
    def columns(self) -> int:
        """1 where all runs have the same stops, else the number of runs."""
        return 1 if self.counts.ndim == 1 else self.counts.shape[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """What a launch is told: S, columns, and how far apart the columns of two runs are."""
        return len(self.counts), self.columns, int(self.columns > 1)


def lay_out_stops(
    span: tuple[float, float],
    times: np.ndarray | None,
    step: float | None,
    dtype: np.dtype,
    reads_time: bool = False,
    breaks: np.ndarray | None = None,
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
    breaks : ndarray (B,) or (n_runs, B), optional
        Times that no step crosses, in any order; those outside the span do not count.

    Raises
    ------
    InvalidProblem
        For times that the dtype cannot hold, or cannot tell apart; where the right-hand side
        reads the time, that is all times of the span.
    """
    start, end = span
    direction = -1.0 if end < start else 1.0
    targets = np.array([end]) if times is None else times
    if targets[-1] != end:
        targets = np.append(targets, end)
    if breaks is None:
        stops = Stops(start, direction, *_laid_out(span, times, targets, step, dtype))
    else:
        rows = breaks if breaks.ndim == 2 else breaks[None]
        stops = _with_breaks(span, times, targets, step, np.dtype(dtype), rows)
    if reads_time:
        _require_fine(span, np.dtype(dtype))
    return stops


def _laid_out(span, times, targets, step, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return fields (4, S) and counts of targets in order."""
    start, end = span
    direction = -1.0 if end < start else 1.0
    with np.errstate(over="ignore", under="ignore"):
        elapsed = (targets - start) * direction
        rounded = elapsed.astype(dtype)
        correction = (elapsed - rounded).astype(dtype)
    _require_apart(span, times, targets, elapsed, rounded, correction)
    fields = np.zeros((FIELDS, len(targets)), dtype)
    fields[0], fields[1] = rounded, correction
    counts = np.zeros(len(targets), np.int32)
    if step is not None:
        counts[:], fields[2], fields[3] = _grid(span, elapsed, step)
    return fields, counts


def _with_breaks(span, times, points, step, dtype, rows) -> Stops:
    """Return the stops of runs with breaks, a row of them for each column."""
    start, end = span
    direction = -1.0 if end < start else 1.0
    columns = []
    for row in rows:
        at_start, targets, about = _merged(span, points, np.unique(row), dtype)
        about[2, -1] = times is not None and times[-1] == end
        fields, counts = _laid_out(span, times, targets, step, dtype)
        # On the way to the first stop the start is not gone back beyond.
        behind = np.append(at_start, about[1, :-1])
        about = np.stack([about[0], behind, about[2], about[3]])
        columns.append((np.concatenate([fields, about.astype(dtype)]), counts))
    n_stops = max(len(counts) for _, counts in columns)
    all_fields = np.empty((FIELDS_WITH_BREAKS, n_stops, len(columns)), dtype)
    all_counts = np.empty((n_stops, len(columns)), np.int32)
    for column, (fields, counts) in enumerate(columns):
        missing = n_stops - len(counts)
        all_fields[..., column] = np.pad(fields, ((0, 0), (0, missing)), mode="edge")
        all_counts[:, column] = np.pad(counts, (0, missing), mode="edge")
    return Stops(start, direction, all_fields, all_counts)


def _merged(span, points, breaks, dtype):
    """Return the limit at the start, all targets in order, and (4, S) about them.

    That is: the time not passed on the way there, the one not gone back beyond afterwards, whether
    it is one of the points, whether it is a break. Breaks within rounding of a point, or of each
    other, are one.
    """
    start, end = span
    direction = -1.0 if end < start else 1.0
    spacing = float(np.spacing(dtype.type(max(abs(start), abs(end)))))
    near, unlimited = ROUNDINGS_OF_BREAKS * spacing, direction * float(np.finfo(dtype).max)
    breaks = breaks[(breaks >= min(span) - near) & (breaks <= max(span) + near)]
    elapsed = np.sort((breaks - start) * direction)
    at_start, elapsed = elapsed[elapsed <= near], elapsed[elapsed > near]
    place = (points - start) * direction
    apart = np.diff(elapsed) > near
    some = [True] * min(len(elapsed), 1)
    firsts = elapsed[np.concatenate([some, apart]).astype(bool)]
    lasts = elapsed[np.concatenate([apart, some]).astype(bool)]
    point_of = _points_of(firsts, lasts, place, near)
    alone = point_of < 0
    begin = np.concatenate([place, firsts[alone]])
    about = np.zeros((4, len(begin)))
    about[2, : len(place)] = True
    about[3, point_of[~alone]] = about[3, len(place) :] = True
    # A break at a point may lie on either side of it.
    begin_break, finish_break = begin.copy(), np.concatenate([place, lasts[alone]])
    np.minimum.at(begin_break, point_of[~alone], firsts[~alone])
    np.maximum.at(finish_break, point_of[~alone], lasts[~alone])
    order = np.argsort(begin, kind="stable")
    about, begin_break, finish_break = about[:, order], begin_break[order], finish_break[order]
    is_break = about[3] == 1.0
    starts, ends = begin_break[is_break], finish_break[is_break]
    behind, ahead = _limits(starts, ends, at_start, abs(end - start), spacing)
    about[:2] = np.array([[unlimited], [-unlimited]])
    about[0, is_break] = start + direction * ahead
    about[1, is_break] = start + direction * behind[1:]
    first = start + direction * behind[0] if len(at_start) else -unlimited
    targets = np.concatenate([points, start + direction * begin[len(place) :]])
    return first, targets[order], about


def _points_of(firsts, lasts, place, near):
    """Return the number of the point that each group of breaks is at, -1 for none.

    Of several groups that are near one point the nearest is at it: what lies between them counts.
    """
    found = np.full(len(firsts), -1)
    after = np.clip(np.searchsorted(place, firsts), 0, len(place) - 1)
    before = np.maximum(after - 1, 0)
    outside = [np.maximum(firsts - place[k], place[k] - lasts) for k in (before, after)]
    nearest = np.where(outside[0] < outside[1], before, after)
    distance = np.maximum(np.minimum(*outside), 0.0)
    candidates = np.flatnonzero(distance <= near)
    candidates = candidates[np.argsort(-distance[candidates], kind="stable")]
    chosen = np.full(len(place), -1)
    chosen[nearest[candidates]] = candidates  # of several the last one stays
    chosen = chosen[chosen >= 0]
    found[chosen] = nearest[chosen]
    return found


def _limits(starts, ends, at_start, length, spacing):
    """Return times between breaks: not gone back beyond after each, not passed before each.

    Each break reaches from `starts` to `ends`. The first number is for the start of the run, where
    `at_start` holds a break if there is one. So far from a break that rounding does not place a
    time on its other side, but no farther than the middle between two, or between one and an end
    of the run: there may be nothing beyond.
    """
    margin = ROUNDINGS_AT_BREAKS * spacing
    ends = np.concatenate([[at_start.max(initial=0.0)], ends])
    free = np.append(starts, length) - ends
    off = np.minimum(margin, 0.5 * np.maximum(free, 0.0))
    return ends + off, starts - off[:-1]


def _require_apart(span, times, targets, elapsed, rounded, correction) -> None:
    """Refuse times that the dtype of the run cannot hold or tell apart."""
    name, advice = rounded.dtype.name, "Choose another unit of time, or dtype='float64'."
    with np.errstate(invalid="ignore"):
        kept = rounded.astype(float) + correction
        apart = np.diff(kept, prepend=0.0) > 0
        apart |= (elapsed == 0) & (np.arange(len(elapsed)) == 0)
    if np.all(apart) and np.all(np.isfinite(rounded)):
        return
    where = int(np.argmin(apart & np.isfinite(rounded)))
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
    """Return counts, origins and last steps of the stops, for steps of one size."""
    rounding = ROUNDINGS * np.spacing(max(abs(span[0]), abs(span[1])))
    sliver = min(0.5, max(SLIVER, rounding / step))
    before = np.concatenate([[0.0], elapsed[:-1]])
    lengths = elapsed - before
    steps = np.where(lengths > 0, np.maximum(np.ceil(lengths / step - sliver), 1.0), 0.0)
    counts = np.cumsum(steps)
    exact = lengths - (steps - 1.0) * step
    last = np.where(np.abs(exact - step) <= rounding, step, exact)
    # What is within rounding at one stop must not add up over many.
    if np.abs(np.cumsum(last - exact)).max() > rounding:
        last = exact
    origins = before - (counts - steps) * step
    origins = np.where(np.abs(origins) <= rounding, 0.0, origins)
    return np.minimum(counts, LARGEST_COUNT), origins, last
