"""Where the steps of a run must land, as its clock is told: times to save at, and the end.

Times are counted from the start of the run, in float64, before they are rounded to the dtype of
the run: what is lost by rounding does not depend on how far from zero a run starts.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from cubie.errors import InvalidProblem

FIELDS = 4  # rows of `Stops.fields`
LARGEST_COUNT = 2**31 - 1

# A stop is on the grid of steps if it misses it by no more than this part of a step,
SLIVER = 1e-6
# or by no more than rounding of the times that were given: spacings of the largest.
ROUNDINGS = 4

# Of a span, at most, may lie between neighbouring numbers that a right-hand side reads as time.
COARSEST = 1e-4


@frozen
class Stops:
    """Stops of a run, S of them, the last one its end; see the stops of `cubie.run.clock`.

    Attributes
    ----------
    start : float
    direction : float
        1, or -1 where time runs backwards.
    fields : ndarray (4, S), dtype of the run
        Time elapsed, what its rounding took, origin of the grid of steps, last step.
    counts : ndarray (S,) int32
        Steps of given size from the start of the run; 0 where step sizes are chosen.
    """

    start: float
    direction: float
    fields: np.ndarray
    counts: np.ndarray


def lay_out_stops(
    span: tuple[float, float],
    times: np.ndarray | None,
    step: float | None,
    dtype: np.dtype,
    reads_time: bool = False,
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
    with np.errstate(over="ignore", under="ignore"):
        elapsed = (targets - start) * direction
        rounded = elapsed.astype(dtype)
        correction = (elapsed - rounded).astype(dtype)
    _require_apart(span, times, targets, elapsed, rounded, correction)
    if reads_time:
        _require_fine(span, np.dtype(dtype))
    fields = np.zeros((FIELDS, len(targets)), dtype)
    fields[0], fields[1] = rounded, correction
    counts = np.zeros(len(targets), np.int32)
    if step is not None:
        counts[:], fields[2], fields[3] = _grid(span, elapsed, step)
    return Stops(start, direction, fields, counts)


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
