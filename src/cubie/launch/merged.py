"""Breaks and times to save at, put in order for many runs together: arrays (R, S), a row a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Breaks that are no farther apart are one; on each side of it up to so much is not asked for.
ROUNDINGS_OF_BREAKS = 4
ROUNDINGS_AT_BREAKS = 16


class Merged(NamedTuple):
    """Where the steps of R runs must land; beyond a row's count its entries mean nothing.

    Attributes
    ----------
    counts : ndarray (R,)
    targets : ndarray (R, S)
    ahead, behind : ndarray (R, S)
        The time not passed on the way there, and the one not gone back beyond on that way.
    is_point, is_break : ndarray (R, S) bool
        Whether it is a time to save at (or the end of the run), and whether it is a break.
    """

    counts: np.ndarray
    targets: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray
    is_point: np.ndarray
    is_break: np.ndarray


class _Groups(NamedTuple):
    """Breaks of all rows, one after the other; those within rounding of each other are one."""

    row: np.ndarray
    first: np.ndarray  # elapsed from the start of the run
    last: np.ndarray


def merge(
    span: tuple[float, float], points: np.ndarray, rows: np.ndarray, dtype: np.dtype
) -> Merged:
    """Put the breaks of each row between the points.

    Parameters
    ----------
    span : (float, float)
    points : ndarray (P,)
        Times to save at, and the end, in order along the span.
    rows : ndarray (R, B)
        Breaks, in any order; NaN is none, and those outside of the span do not count. Those within
        rounding of a point, or of each other, are one.
    dtype : dtype
        Of the runs.
    """
    start, end = span
    direction, length = (-1.0 if end < start else 1.0), abs(end - start)
    spacing = _spacing(span, dtype)
    near, unlimited = ROUNDINGS_OF_BREAKS * spacing, direction * float(np.finfo(dtype).max)
    elapsed = _in_order(span, rows, near)
    place = (points - start) * direction
    at_start = elapsed <= near
    last_at_start = np.where(at_start, elapsed, 0.0).max(axis=1, initial=0.0)
    groups = _grouped(elapsed, at_start, near)
    point_of = _points_of(groups, place, near)
    # What is beyond the end, and not at it, is outside of the span.
    alone = (point_of < 0) & (groups.first < place[-1])
    row, first = groups.row[alone], groups.first[alone]
    counts, at, between = _places(row, first, place, len(rows))
    width = int(counts.max())

    def filled(of_points, of_breaks, dtype=float):
        values = np.zeros(len(rows) * width, dtype)
        values[at], values[between] = of_points, of_breaks
        return values

    targets = filled(points, start + direction * first)
    is_point, is_break = filled(True, False, bool), filled(False, True, bool)
    begin, finish = filled(place, first), filled(place, groups.last[alone])
    # A break at a point may lie on either side of it.
    at_point = point_of >= 0
    where = at[groups.row[at_point], point_of[at_point]]
    is_break[where] = True
    begin[where] = np.minimum(begin[where], groups.first[at_point])
    finish[where] = np.maximum(finish[where], groups.last[at_point])

    breaks = np.flatnonzero(is_break)
    before, after, after_start = _limits(
        breaks // width, begin[breaks], finish[breaks], last_at_start, length, spacing
    )
    ahead, behind = np.full((2, len(rows) * width), [[unlimited], [-unlimited]])
    ahead[breaks] = start + direction * before
    # A break is behind on the way to the stop after it, and the start on the way to the first one.
    follows = (breaks + 1) % width > 0
    behind[breaks[follows] + 1] = start + direction * after[follows]
    behind[::width] = np.where(at_start.any(axis=1), start + direction * after_start, -unlimited)
    flat = targets, ahead, behind, is_point, is_break
    return Merged(counts, *(values.reshape(-1, width) for values in flat))


def most_of_a_row(span: tuple[float, float], rows: np.ndarray, dtype: np.dtype) -> int:
    """Return how many breaks on the way the row with most of them has."""
    near = ROUNDINGS_OF_BREAKS * _spacing(span, dtype)
    elapsed = _in_order(span, rows, near)
    groups = _grouped(elapsed, elapsed <= near, near)
    return int(np.bincount(groups.row, minlength=1).max())


def _spacing(span: tuple[float, float], dtype: np.dtype) -> float:
    """Return the spacing of numbers at the end of the span that is farther from zero."""
    return float(np.spacing(dtype.type(max(map(abs, span)))))


def _in_order(span, rows, near) -> np.ndarray:
    """Return how long after the start breaks are, in order; infinity is none."""
    start, end = span
    direction = -1.0 if end < start else 1.0
    within = (rows >= min(span) - near) & (rows <= max(span) + near)
    elapsed = np.where(within, (rows - start) * direction, np.inf)
    elapsed.sort(axis=1)
    return elapsed


def _grouped(elapsed, at_start, near) -> _Groups:
    """Return the groups of breaks that are not at the start."""
    counted = ~at_start & (elapsed < np.inf)
    with np.errstate(invalid="ignore"):
        apart = np.diff(elapsed, axis=1) > near
    heads, tails = counted.copy(), counted.copy()
    heads[:, 1:] &= apart | ~counted[:, :-1]
    tails[:, :-1] &= apart
    return _Groups(np.nonzero(heads)[0], elapsed[heads], elapsed[tails])


def _points_of(groups: _Groups, place, near) -> np.ndarray:
    """Return the number of the point that each group of breaks is at, -1 for none.

    Of several groups that are near one point the nearest is at it: what lies between them counts.
    """
    firsts, lasts = groups.first, groups.last
    found = np.full(len(firsts), -1)
    after = np.clip(np.searchsorted(place, firsts), 0, len(place) - 1)
    before = np.maximum(after - 1, 0)
    outside = [np.maximum(firsts - place[k], place[k] - lasts) for k in (before, after)]
    distance = np.maximum(np.minimum(*outside), 0.0)
    candidates = np.flatnonzero(distance <= near)
    nearest = np.where(outside[0] < outside[1], before, after)[candidates]
    # By row, then by point, then the nearest last: the order is kept where these are equal.
    order = np.lexsort((-distance[candidates], nearest, groups.row[candidates]))
    candidates, nearest = candidates[order], nearest[order]
    row = groups.row[candidates]
    chosen = np.ones(len(candidates), bool)
    chosen[:-1] = (row[1:] != row[:-1]) | (nearest[1:] != nearest[:-1])
    found[candidates[chosen]] = nearest[chosen]
    return found


def _places(row, first, place, n_rows):
    """Return how many stops rows have, and where points and breaks beside them come, flat.

    `row` and `first` are those of the breaks, in order; a point comes before a break at its time.
    """
    n_alone = np.bincount(row, minlength=n_rows)
    counts = n_alone + len(place)
    width = int(counts.max())
    number = np.arange(len(row)) - np.repeat(np.cumsum(n_alone) - n_alone, n_alone)
    where_alone = row * width + number + np.searchsorted(place, first, "right")
    free = (np.arange(width) < counts[:, None]).reshape(-1)
    free[where_alone] = False
    return counts, np.flatnonzero(free).reshape(n_rows, len(place)), where_alone


def _limits(row, starts, ends, last_at_start, length, spacing):
    """Return times not passed before each break, not gone back beyond after it, and after starts.

    Each break of a row, in order, reaches from `starts` to `ends`; at the start of the run
    `last_at_start` is the last one, if there is one. The times are so far from a break that
    rounding does not place a time on its other side, but no farther than the middle between two, or
    between one and an end of the run: there may be nothing beyond.
    """
    is_first = np.diff(row, prepend=-1) != 0
    is_last = np.diff(row, append=-1) != 0
    previous = np.where(is_first, last_at_start[row], np.roll(ends, 1))
    following = np.where(is_last, length, np.roll(starts, -1))

    def off(free):
        return np.minimum(ROUNDINGS_AT_BREAKS * spacing, 0.5 * np.maximum(free, 0.0))

    to_first = np.full(len(last_at_start), length)
    to_first[row[is_first]] = starts[is_first]
    after_start = last_at_start + off(to_first - last_at_start)
    return starts - off(starts - previous), ends + off(following - ends), after_start
