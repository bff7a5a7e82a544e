"""Drivers laid out as the arrays of a launch; `cubie.systems.drivers.lookup` reads them.

A look-up finds the *bucket* of an argument by one multiplication. Buckets are as wide as pieces are
on average, and tell within which pieces the argument lies: of equally spaced samples in one of
two, so that one comparison is left; of others a search by halves follows, of as many steps as the
fullest bucket needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cubie.systems.drivers.pieces import Pieces

# Plain numbers about each driver, (index in `layout`): where its parts begin in the samples (ends:
# what the look-up starts from), how long, and the first step of the search.
N_FIELDS = 10
ENDS, KNOTS, ORIGINS, CORRECTIONS, COEFFICIENTS, *_REST = range(N_FIELDS)
COLUMNS, STRIDE, GUIDE, FIRST_STEP, N_KNOTS = _REST
PARTS = (ENDS, KNOTS, ORIGINS, CORRECTIONS, COEFFICIENTS)
N_ENDS = 7
FROM, PER_BUCKET, LAST_BUCKET, START, START_CORRECTION, PERIOD, PER_PERIOD = range(N_ENDS)

# Spacings of numbers by which a time may miss the first or last sample.
ROUNDINGS = 8

# What rounding of an argument's bucket may be off by, in buckets; kept small by having so few.
SLACK, MOST_BUCKETS = 0.125, 2**18
NO_LENGTH = 1e-9  # of the longest piece


def lay_out(drivers: Sequence[Pieces], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return (samples, layout) of all drivers, in a run's dtype and int64; one element if none."""
    if not drivers:
        return np.zeros(1, dtype), np.zeros(1, np.int64)
    samples: list[np.ndarray] = []
    fields = np.zeros((len(drivers), N_FIELDS), np.int64)
    guides: list[np.ndarray] = []
    at, guide_at = 0, fields.size
    for row, pieces in zip(fields, drivers, strict=True):
        knots = _search_knots(pieces, dtype)
        ends, guide, row[FIRST_STEP] = _guide(pieces, knots, dtype)
        origins, corrections = _origins(pieces, dtype)
        coefficients = _coefficients(pieces).astype(dtype).reshape(-1)
        parts = (ends, knots, origins, corrections, coefficients)
        for place, part in zip(
            (ENDS, KNOTS, ORIGINS, CORRECTIONS, COEFFICIENTS), parts, strict=True
        ):
            row[place] = at
            at += part.size
        samples += parts
        row[COLUMNS], row[STRIDE] = pieces.columns, int(pieces.columns > 1)
        row[GUIDE], row[N_KNOTS] = guide_at, len(knots)
        guides.append(guide)
        guide_at += guide.size
    return np.concatenate(samples), np.concatenate([fields.reshape(-1), *guides])


def _search_knots(pieces: Pieces, dtype: np.dtype) -> np.ndarray:
    """Return the knots as arguments are compared with them.

    Both ends are moved out by what rounding may do to a time: a run over all samples asks for none
    beyond them.
    """
    knots = pieces.knots.astype(dtype)
    margin = ROUNDINGS * np.spacing(np.abs(knots[[0, -1]]).max())
    knots[0] -= margin
    knots[-1] += margin
    return knots


def _guide(pieces: Pieces, knots: np.ndarray, dtype: np.dtype):
    """Return what finds the bucket, and for each bucket the first and last piece that it meets."""
    exact = pieces.knots
    span, lengths = exact[-1] - exact[0], np.diff(exact)
    # Of no length are the pieces that hold a last sample at its own time.
    n_pieces = max(int(np.count_nonzero(lengths > NO_LENGTH * lengths.max())), 1)
    n_buckets = min(n_pieces + 1, MOST_BUCKETS)
    # Half a piece before the first knot: equally spaced knots lie in the middle of buckets.
    width = span / max(n_buckets - 1, 1)
    begin = dtype.type(exact[0] - 0.5 * width)
    per_bucket = dtype.type(1.0 / width)
    edges = float(begin) + np.arange(n_buckets + 1) / float(per_bucket)
    slack = SLACK / float(per_bucket)
    first = np.searchsorted(knots, (edges[:-1] - slack), "right")
    last = np.searchsorted(knots, (edges[1:] + slack), "right")
    first[0], last[-1] = 0, len(knots)
    widest = int((last - first).max())
    step = 1 << (widest.bit_length() - 1) if widest else 0
    start = dtype.type(exact[0])
    ends = np.zeros(N_ENDS, dtype)
    ends[FROM], ends[PER_BUCKET], ends[LAST_BUCKET] = begin, per_bucket, n_buckets - 1
    ends[START], ends[START_CORRECTION] = start, exact[0] - float(start)
    ends[PERIOD], ends[PER_PERIOD] = span, 1.0 / span
    return ends, np.stack([first, last], axis=1).reshape(-1).astype(np.int64), step


def _origins(pieces: Pieces, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return where each piece measures its argument from, and what rounding took from that."""
    knots = pieces.knots
    exact = np.concatenate([knots[:1], knots[:-1], knots[-2:-1]])
    rounded = exact.astype(dtype)
    return rounded, (exact - rounded).astype(dtype)


def _coefficients(pieces: Pieces) -> np.ndarray:
    """Return those of all pieces, what lies outside included: (M + 2, C, columns)."""
    inside = pieces.coefficients
    if pieces.before is not None and pieces.after is not None:
        return np.concatenate([pieces.before[None], inside, pieces.after[None]])
    # Rounding may place an argument just outside of a period.
    return np.concatenate([inside[:1], inside, inside[-1:]])


def of_runs(
    samples: np.ndarray, layout: np.ndarray, n_runs: int, runs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays for some runs of a batch."""
    if len(layout) == 1:
        return samples, layout
    n_drivers = int(layout[GUIDE]) // N_FIELDS
    layout = layout.copy()
    rows = layout[: n_drivers * N_FIELDS].reshape(n_drivers, N_FIELDS)
    bounds = [*rows[:, ENDS].tolist(), len(samples)]
    parts, at = [], 0
    for row, begin, end in zip(rows, bounds, bounds[1:], strict=False):
        head, tail = np.split(samples[begin:end], [row[COEFFICIENTS] - begin])
        if row[STRIDE]:
            tail = tail.reshape(-1, n_runs)[:, runs].reshape(-1)
            row[COLUMNS] = len(runs)
        row[[*PARTS]] += at - begin
        parts += [head, tail]
        at += len(head) + len(tail)
    return np.concatenate(parts), layout
