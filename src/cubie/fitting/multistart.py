"""The Levenberg-Marquardt method of many starts at once, within bounds.

In a region of trust, with the damping and the tests of convergence of More, in: Numerical Analysis,
Lecture Notes in Mathematics 630 (1978) 105-116. Steps are projected onto the bounds as by Kanzow,
Yamashita & Fukushima, J. Comput. Appl. Math. 172 (2004) 375-397.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.errors import InvalidOption, InvalidProblem
from cubie.reals import NotReal, real_array

LEAST_GAIN = 1e-4  # of what the linear model promises, for a step to be taken
POOR_GAIN, GOOD_GAIN = 0.25, 0.75  # beyond which the region shrinks and grows
AS_LONG = 0.1  # part of the radius that the length of a step may be off by
MOST_SOLVED = 10  # iterations for the damping of a step
FAILED, TOO_MANY, ORTHOGONAL, REDUCED, SHORT = (
    -1,
    0,
    1,
    2,
    3,
)  # as SciPy has them, but for the first


@frozen(eq=False)
class Multistart:
    """Where fits from many starts ended, in the order of the starts.

    Attributes
    ----------
    x : ndarray (N, P)
    cost : ndarray (N,)
        Half the sum of squares; infinite where the start failed.
    status : ndarray (N,)
        1: the residuals are orthogonal to their derivatives (`gtol`); 2: the cost hardly changes
        (`ftol`); 3: the vector hardly does (`xtol`); 0: after `max_iterations`; -1: runs failed at
        the start itself.
    n_iterations : ndarray (N,)
        Steps that were tried.
    n_solves : int
        Batches that were solved.
    """

    x: np.ndarray = field(repr=False)
    cost: np.ndarray
    status: np.ndarray
    n_iterations: np.ndarray
    n_solves: int

    @property
    def success(self) -> np.ndarray:
        """Which converged, (N,)."""
        return self.status > TOO_MANY

    @property
    def best(self) -> int:
        """The number of the start with the least cost."""
        return int(np.argmin(self.cost))


@frozen
class Tolerances:
    """When a fit has converged; see `Multistart.status`."""

    ftol: float = 1e-8
    xtol: float = 1e-8
    gtol: float = 1e-8
    max_iterations: int = 100


def minimised(
    evaluate: Callable,
    starts: np.ndarray,
    sizes: np.ndarray,
    bounds: Any,
    tolerances: Tolerances,
) -> Multistart:
    """Minimise sums of squares from each start.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(x)``, (k, P), returns residuals (k, m) and derivatives (k, m, P), NaN where
        there are none.
    starts : ndarray (N, P)
    sizes : ndarray (N, P)
        What is a long way for a variable: the first steps of all are at most that.
    bounds : (array_like, array_like)
        Least and largest values of all variables, or of each, (P,).
    tolerances : Tolerances

    Raises
    ------
    InvalidProblem
        For bounds that are none, or that a start is not within.
    """
    lower, upper = _bounds(bounds, starts)
    x = starts.copy()
    f, jac = evaluate(x)
    n_solves, n, n_starts = 1, tolerances.max_iterations, len(x)
    cost = _cost(f)
    status = np.where(np.isfinite(cost), TOO_MANY, FAILED)
    n_iterations = np.zeros(n_starts, int)
    scale, radius = 1.0 / sizes, np.ones(n_starts)
    going = np.flatnonzero(np.isfinite(cost))
    f, jac = f[going], jac[going]
    for _ in range(n):
        norms = np.linalg.norm(jac, axis=1)
        slopes = np.einsum("kmp,km->kp", jac, f)
        free = ~((x[going] <= lower) & (slopes > 0.0) | (x[going] >= upper) & (slopes < 0.0))
        largest = norms * np.sqrt(2.0 * cost[going])[:, None]
        cosines = np.abs(slopes) / np.where(largest > 0.0, largest, np.inf)
        ended = np.max(np.where(free, cosines, 0.0), axis=1) <= tolerances.gtol
        status[going[ended]] = ORTHOGONAL
        going, f, jac, free = (one[~ended] for one in (going, f, jac, free))
        if not going.size:
            break
        step = _steps(f, jac, free, scale[going], radius[going])
        tried = np.clip(x[going] + step, lower, upper)
        step = tried - x[going]
        predicted = cost[going] - _cost(f + np.einsum("kmp,kp->km", jac, step))
        new_f, new_jac = evaluate(tried)
        n_solves += 1
        n_iterations[going] += 1
        reduced = cost[going] - _cost(new_f)
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.where(predicted > 0.0, reduced / predicted, -1.0)
        taken = gain > LEAST_GAIN
        allowed = tolerances.ftol * cost[going]
        length = _lengths(step, scale[going])
        at_rest = length <= tolerances.xtol * (tolerances.xtol + _lengths(x[going], scale[going]))
        status[going[at_rest]] = SHORT
        small = (predicted <= allowed) & (np.abs(reduced) <= allowed) & (gain <= 2.0)
        status[going[small]] = REDUCED
        x[going[taken]] = tried[taken]
        cost[going] -= np.where(taken, reduced, 0.0)
        f, jac = (
            np.where(taken.reshape(-1, *[1] * (old.ndim - 1)), new, old)
            for old, new in ((f, new_f), (jac, new_jac))
        )
        grown = (gain > GOOD_GAIN) & (length > (1.0 - AS_LONG) * radius[going])
        new_radius = np.where(grown, 2.0 * radius[going], radius[going])
        radius[going] = np.where(gain < POOR_GAIN, POOR_GAIN * length, new_radius)
        goes_on = status[going] == TOO_MANY
        going, f, jac = (one[goes_on] for one in (going, f, jac))
        if not going.size:
            break
    return Multistart(x, cost, status, n_iterations, n_solves)


def _steps(
    f: np.ndarray, jac: np.ndarray, free: np.ndarray, scale: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    """Return the steps (k, P) that minimise ``|f + J step|`` with ``|scale step|`` within radii.

    That is ``(J^T J + damping scale^2) step = -J^T f`` with the damping that makes it so long.
    """
    left, sizes, right = np.linalg.svd(jac * (free / scale)[:, None], full_matrices=False)
    along = -np.einsum("kmp,km->kp", left, f)
    least = np.finfo(float).eps * f.shape[1] * sizes[:, :1]  # what is smaller is rounding
    known = sizes > least
    weighed = np.where(known, sizes * along, 0.0)
    squares = np.where(known, sizes**2, 1.0)

    def parts(damping):
        return weighed / (squares + damping[:, None])

    damping = np.zeros(len(f))
    too_long = np.linalg.norm(parts(damping), axis=1) > radius
    lower, upper = np.zeros(len(f)), np.linalg.norm(weighed, axis=1) / radius
    for _ in range(MOST_SOLVED):
        found = parts(damping)
        length = np.linalg.norm(found, axis=1)
        off = length - radius
        wrong = too_long & (np.abs(off) > AS_LONG * radius)
        if not wrong.any():
            break
        lower, upper = np.where(off > 0.0, damping, lower), np.where(off > 0.0, upper, damping)
        slope = -np.sum(found**2 / (squares + damping[:, None]), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            better = damping - off * length**2 / (radius * slope)
        between = np.maximum(1e-3 * upper, np.sqrt(lower * upper))
        better = np.where((better > lower) & (better < upper), better, between)
        damping = np.where(wrong, better, damping)
    return np.einsum("kpq,kp->kq", right, parts(damping)) * free / scale


def _lengths(step: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.linalg.norm(scale * step, axis=1)


def _cost(f: np.ndarray) -> np.ndarray:
    """Return half the sums of squares; infinite where they are no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = 0.5 * np.einsum("km,km->k", f, f)
    return np.where(np.isfinite(found), found, np.inf)


def _bounds(given: Any, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_variables = starts.shape[1]
    try:
        pair = [np.broadcast_to(real_array(one).astype(float), n_variables) for one in given]
        lower, upper = pair
    except (NotReal, TypeError, ValueError) as error:
        advice = f"It is (least, largest), each a number or an array ({n_variables},)."
        raise InvalidOption("bounds", given, advice=advice) from error
    if not np.all(lower < upper):
        raise InvalidOption("bounds", given, advice="The least must lie below the largest.")
    outside = ~np.all((starts >= lower) & (starts <= upper), axis=1)
    if outside.any():
        told = f"are not within the bounds: {int(outside.sum())} of {len(starts)}, the first is "
        raise InvalidProblem("starts", f"{told}row {int(np.argmax(outside))}.")
    return lower, upper
