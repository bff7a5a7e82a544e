"""Where the steps of runs with breaks must land: one run after the other, as it is described.

Fields are those of `cubie.launch.stops.Stops`.
"""

import numpy as np

SLIVER, ROUNDINGS, ROUNDINGS_OF_BREAKS, ROUNDINGS_AT_BREAKS = 1e-6, 4, 4, 16
LARGEST_COUNT = 2**31 - 1


def fields_of_runs(span, times, step, dtype, rows):
    """Return fields (8, S, R) and counts (S, R); runs with fewer stops repeat their end."""
    runs = [fields_of_run(span, times, step, dtype, row) for row in rows]
    most = max(len(counts) for _, counts in runs)

    def filled(values):
        missing = most - values.shape[-1]
        return np.concatenate([values, np.repeat(values[..., -1:], missing, axis=-1)], axis=-1)

    fields = np.stack([filled(fields) for fields, _ in runs], axis=-1)
    return fields, np.stack([filled(counts) for _, counts in runs], axis=-1)


def fields_of_run(span, times, step, dtype, breaks):
    """Return fields (8, S) and counts (S,) of one run; `breaks` (B,) hold NaN for none."""
    start, end = span
    direction = -1.0 if end < start else 1.0
    points = np.array([end]) if times is None else times
    if points[-1] != end:
        points = np.append(points, end)
    at_start, targets, about = _merged(span, points, np.unique(breaks[~np.isnan(breaks)]), dtype)
    about[2, -1] = times is not None and times[-1] == end
    elapsed = (targets - start) * direction
    fields = np.zeros((8, len(targets)), dtype)
    fields[0] = elapsed.astype(dtype)
    fields[1] = (elapsed - fields[0]).astype(dtype)
    counts = np.zeros(len(targets), np.int32)
    if step is not None:
        counts[:], fields[2], fields[3] = _grid(span, elapsed, step)
    # On the way to the first stop the start is not gone back beyond.
    fields[4:] = about[0], np.append(at_start, about[1, :-1]), about[2], about[3]
    return fields, counts


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
    inside = (point_of >= 0) | (firsts < place[-1])  # what is beyond the end is at it, or nowhere
    firsts, lasts, point_of = firsts[inside], lasts[inside], point_of[inside]
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
