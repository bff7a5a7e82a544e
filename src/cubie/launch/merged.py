"""Breaks and times to save at, put in order for many runs together: arrays (R, S), a row a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from attrs import frozen

from cubie.launch.clocks import Span, Targets, direction_of, spacing_of

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


@frozen(eq=False)
class _Points:
    """Points of rows, or of all rows the same."""

    place: np.ndarray  # (R or 1, P): elapsed from the start; infinity beyond the last one
    counts: np.ndarray  # (R or 1,)

    def _row(self, row: np.ndarray) -> np.ndarray:
        return row if len(self.place) > 1 else np.zeros_like(row)

    def last(self, row: np.ndarray) -> np.ndarray:
        """Return the number of the last point of rows."""
        return self.counts[self._row(row)] - 1

    def at(self, row: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Return the place of point `number` of rows."""
        return self.place[self._row(row), number]

    def passed(self, row: np.ndarray, values: np.ndarray, or_met: bool = False) -> np.ndarray:
        """Return how many points of rows come before values; with `or_met` also those there."""
        if len(self.place) == 1:
            return np.searchsorted(self.place[0], values, "right" if or_met else "left")
        low, high = np.zeros(len(row), int), np.full(len(row), self.place.shape[1])
        while (low < high).any():
            middle = (low + high) // 2
            there = self.place[row, np.minimum(middle, self.place.shape[1] - 1)]
            before = (low < high) & ((there <= values) if or_met else (there < values))
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
        return low


def merge(span: Span, points: Targets, rows: np.ndarray, dtype: np.dtype) -> Merged:
    """Put the breaks of each row between the points.

    Parameters
    ----------
    span : (float, float) or (ndarray (R, 1), ndarray (R, 1))
    points : Targets
        Times to save at, and the end.
    rows : ndarray (R, B)
        Breaks, in any order; NaN is none, and those outside of the span do not count. Those within
        rounding of a point, or of each other, are one.
    dtype : dtype
        Of the runs.
    """
    n_rows = len(rows)
    start, direction, spacing = (
        np.broadcast_to(one, (n_rows, 1))[:, 0]
        for one in (span[0], direction_of(span), spacing_of(span, dtype, _within(span, rows)))
    )
    length = np.broadcast_to(np.abs(span[1] - span[0]), (n_rows, 1))[:, 0]
    near, unlimited = ROUNDINGS_OF_BREAKS * spacing, direction * float(np.finfo(dtype).max)
    elapsed = _in_order(span, rows, near[:, None])
    in_order = _elapsed_points(span, points)
    at_start = elapsed <= near[:, None]
    last_at_start = np.where(at_start, elapsed, 0.0).max(axis=1, initial=0.0)
    groups = _grouped(elapsed, at_start, near[:, None])
    point_of = _points_of(groups, in_order, near)
    # What is beyond the end, and not at it, is outside of the span.
    at_end = in_order.at(groups.row, in_order.last(groups.row))
    alone = (point_of < 0) & (groups.first < at_end)
    row, first = groups.row[alone], groups.first[alone]
    counts, at, first_at, between = _places(row, first, in_order, n_rows)
    width = int(counts.max())

    def filled(of_points, of_breaks, dtype=float):
        values = np.zeros(n_rows * width, dtype)
        values[at], values[between] = of_points, of_breaks
        return values

    there = np.broadcast_to(np.isfinite(in_order.place), (n_rows, in_order.place.shape[1]))
    place = np.broadcast_to(in_order.place, there.shape)[there]
    times = np.broadcast_to(points.times, there.shape)[there]
    targets = filled(times, start[row] + direction[row] * first)
    is_point, is_break = filled(True, False, bool), filled(False, True, bool)
    begin, finish = filled(place, first), filled(place, groups.last[alone])
    # A break at a point may lie on either side of it.
    at_point = point_of >= 0
    where = at[first_at[groups.row[at_point]] + point_of[at_point]]
    is_break[where] = True
    begin[where] = np.minimum(begin[where], groups.first[at_point])
    finish[where] = np.maximum(finish[where], groups.last[at_point])

    breaks = np.flatnonzero(is_break)
    of = breaks // width
    before, after, after_start = _limits(
        of, begin[breaks], finish[breaks], last_at_start, length, spacing
    )
    ahead = np.repeat(unlimited, width)
    behind = -ahead
    ahead[breaks] = start[of] + direction[of] * before
    # A break is behind on the way to the stop after it, and the start on the way to the first one.
    follows = (breaks + 1) % width > 0
    behind[breaks[follows] + 1] = (start[of] + direction[of] * after)[follows]
    behind[::width] = np.where(at_start.any(axis=1), start + direction * after_start, -unlimited)
    flat = targets, ahead, behind, is_point, is_break
    return Merged(counts, *(values.reshape(-1, width) for values in flat))


def most_of_a_row(span: Span, rows: np.ndarray, dtype: np.dtype) -> int:
    """Return how many breaks on the way the row with most of them has."""
    near = ROUNDINGS_OF_BREAKS * spacing_of(span, dtype, _within(span, rows))
    elapsed = _in_order(span, rows, near)
    groups = _grouped(elapsed, elapsed <= near, near)
    return int(np.bincount(groups.row, minlength=1).max())


def _elapsed_points(span: Span, points: Targets) -> _Points:
    elapsed = (points.times - span[0]) * direction_of(span)
    if len(elapsed) > len(points.counts):
        points = points._replace(counts=np.repeat(points.counts, len(elapsed)))
    return _Points(np.where(np.isnan(elapsed), np.inf, elapsed), points.counts)


def _within(span: Span, rows: np.ndarray) -> np.ndarray:
    """Return the times of rows that are in a span; NaN for others."""
    within = (rows >= np.minimum(*span)) & (rows <= np.maximum(*span))
    return np.where(within, rows, np.nan)


def _in_order(span, rows, near) -> np.ndarray:
    """Return how long after the start breaks are, in order; infinity is none."""
    within = (rows >= np.minimum(*span) - near) & (rows <= np.maximum(*span) + near)
    elapsed = np.where(within, (rows - span[0]) * direction_of(span), np.inf)
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


def _points_of(groups: _Groups, points: _Points, near) -> np.ndarray:
    """Return the number of the point that each group of breaks is at, -1 for none.

    Of several groups that are near one point the nearest is at it: what lies between them counts.
    """
    row, firsts, lasts = groups.row, groups.first, groups.last
    found = np.full(len(firsts), -1)
    after = np.minimum(points.passed(row, firsts), points.last(row))
    before = np.maximum(after - 1, 0)
    places = [points.at(row, number) for number in (before, after)]
    outside = [np.maximum(firsts - place, place - lasts) for place in places]
    distance = np.maximum(np.minimum(*outside), 0.0)
    candidates = np.flatnonzero(distance <= near[row])
    nearest = np.where(outside[0] < outside[1], before, after)[candidates]
    # By row, then by point, then the nearest last: the order is kept where these are equal.
    order = np.lexsort((-distance[candidates], nearest, groups.row[candidates]))
    candidates, nearest = candidates[order], nearest[order]
    row = groups.row[candidates]
    chosen = np.ones(len(candidates), bool)
    chosen[:-1] = (row[1:] != row[:-1]) | (nearest[1:] != nearest[:-1])
    found[candidates[chosen]] = nearest[chosen]
    return found


def _places(row, first, points: _Points, n_rows):
    """Return how many stops rows have, and where points and breaks beside them come, flat.

    Of the places of points also where those of each row begin. `row` and `first` are those of the
    breaks, in order; a point comes before a break at its time.
    """
    n_alone, n_points = np.bincount(row, minlength=n_rows), points.last(np.arange(n_rows)) + 1
    counts = n_alone + n_points
    width = int(counts.max())
    number = np.arange(len(row)) - np.repeat(np.cumsum(n_alone) - n_alone, n_alone)
    where_alone = row * width + number + points.passed(row, first, or_met=True)
    free = (np.arange(width) < counts[:, None]).reshape(-1)
    free[where_alone] = False
    return counts, np.flatnonzero(free), np.cumsum(n_points) - n_points, where_alone


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
    following = np.where(is_last, length[row], np.roll(starts, -1))

    def off(free, spacing):
        return np.minimum(ROUNDINGS_AT_BREAKS * spacing, 0.5 * np.maximum(free, 0.0))

    to_first = length.copy()
    to_first[row[is_first]] = starts[is_first]
    after_start = last_at_start + off(to_first - last_at_start, spacing)
    of = spacing[row]
    return starts - off(starts - previous, of), ends + off(following - ends, of), after_start
