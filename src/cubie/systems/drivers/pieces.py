"""Piecewise polynomials in one variable, and those that interpolate samples.

Coefficients are found in float64, those of all runs together. Every kind but the spline is local:
a piece depends on a few samples around it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import field, frozen

# What is left of slopes that nearly cancel counts as nothing (as in SciPy's Akima1DInterpolator).
AKIMA_NEGLIGIBLE = 1e-9


@frozen(eq=False)
class Pieces:
    """A function that is a polynomial between neighbouring knots.

    At a knot it has the value of the piece that begins there, and at the last knot that of the
    piece that ends there.

    Attributes
    ----------
    knots : ndarray (M + 1,)
        Strictly increasing.
    coefficients : ndarray (M, C, columns)
        Of (x - the left knot)**0, **1, ...; one column for all runs, or one a run.
    before, after : ndarray (C, columns) or None
        The same of what lies before the first knot, of (x - that knot), and after the last one,
        of (x - the knot before it). None: the function is periodic.
    bounded : bool
        There is nothing before the first knot, and after the last: NaN stands there.
    """

    knots: np.ndarray
    coefficients: np.ndarray
    before: np.ndarray | None = field(default=None)
    after: np.ndarray | None = field(default=None)
    bounded: bool = False

    @property
    def periodic(self) -> bool:
        """Whether the function repeats itself before the first knot, and after the last."""
        return self.before is None

    @property
    def n_coefficients(self) -> int:
        """Of each piece."""
        return self.coefficients.shape[1]

    @property
    def columns(self) -> int:
        """1 where it serves all runs, else how many runs it is for."""
        return self.coefficients.shape[2]

    @property
    def structure(self) -> tuple[int, bool, bool]:
        """What code depends on: everything else is data."""
        return self.n_coefficients, self.periodic, self.bounded

    def run(self, number: int) -> Pieces:
        """Return what one run gets."""
        if self.columns == 1:
            return self
        one = slice(number, number + 1)
        before = None if self.before is None else self.before[..., one]
        after = None if self.after is None else self.after[..., one]
        return Pieces(self.knots, self.coefficients[..., one], before, after, self.bounded)

    def __call__(self, x: np.ndarray, order: int = 0) -> np.ndarray:
        """Return values, or derivatives of an order; runs come first, (columns, *x.shape)."""
        knots = self.knots
        if self.periodic:
            x = x - np.floor((x - knots[0]) / (knots[-1] - knots[0])) * (knots[-1] - knots[0])
        piece = np.clip(np.searchsorted(knots, x, "right") - 1, 0, len(knots) - 2)
        values = _horner(self.coefficients[piece], x - knots[piece], order)
        if self.before is not None and self.after is not None:
            early = _horner(self.before, x - knots[0], order)
            late = _horner(self.after, x - knots[-2], order)
            values = np.where(x < knots[0], early, np.where(x > knots[-1], late, values))
        return np.where(np.isnan(x), x, values)

    def breaks(self, smoothness: int, tolerance: float = 1e-9) -> np.ndarray:
        """Tell at which knots the function jumps (smoothness 0), or has a kink as well (1).

        A difference counts where it is more than `tolerance` of the largest such number of the run.

        Returns
        -------
        ndarray (M + 1, columns) bool
        """
        found = np.zeros((len(self.knots), self.columns), bool)
        for order in range(smoothness + 1):
            left, right = self._sides(order)
            largest = np.abs(left).max(axis=0, initial=0.0, where=np.isfinite(left))
            differs = ~(np.abs(left - right) <= tolerance * np.maximum(largest, 1e-300))
            if self.bounded:  # runs end there
                differs[0] = differs[-1] = False
            found |= differs
        return found

    def _sides(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Return derivatives at the knots from the left and from the right, (M + 1, columns)."""
        lengths = np.diff(self.knots)
        ends = _horner(self.coefficients, lengths, order).T
        begins = _horner(self.coefficients, 0.0 * lengths, order).T
        if self.before is None or self.after is None:
            return np.vstack([ends[-1:], ends]), np.vstack([begins, begins[:1]])
        early = _horner(self.before, np.zeros(()), order)
        late = _horner(self.after, np.asarray(lengths[-1]), order)
        return np.vstack([early[None], ends]), np.vstack([begins, late[None]])


def _horner(coefficients: np.ndarray, s: np.ndarray, order: int) -> np.ndarray:
    """Return (columns, *s.shape) of coefficients (*s.shape or (), C, columns)."""
    c = np.moveaxis(coefficients, (-2, -1), (0, 1))
    total = np.zeros(np.broadcast_shapes(c.shape[1:], s.shape))
    for power in range(len(c) - 1, order - 1, -1):
        total = total * s + _falling(power, order) * c[power]
    return total


def _falling(power: int, order: int) -> float:
    """Return the factor that x**power gets by `order` derivatives."""
    return float(np.prod(np.arange(power - order + 1, power + 1), initial=1.0))


def with_ends(knots: np.ndarray, coefficients: np.ndarray, extend: str) -> Pieces:
    """Return the function with what lies outside of its samples.

    `extend` is "error", "hold", "periodic", "zero" or "polynomial".
    """
    if extend == "periodic":
        if knots[-1] == np.nextafter(knots[-2], np.inf):  # where the next period begins
            knots, coefficients = knots[:-1], coefficients[:-1]
        return Pieces(knots, coefficients)
    if extend == "polynomial":
        return Pieces(knots, coefficients, coefficients[0], coefficients[-1])
    first, last = np.zeros(coefficients.shape[1:]), np.zeros(coefficients.shape[1:])
    if extend == "error":
        first[0] = last[0] = np.nan
    elif extend == "hold":
        lengths = np.diff(knots)
        first[0] = coefficients[0, 0]
        last[0] = _horner(coefficients[-1], np.asarray(lengths[-1]), 0)
    return Pieces(knots, coefficients, first, last, extend == "error")


def interpolate(
    kind: str, times: np.ndarray, values: np.ndarray, periodic: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return knots, and coefficients (M, C, columns), of samples; values (n_samples, columns).

    `periodic`: a spline whose ends meet is smooth there as well.
    """
    if not periodic or kind != "cubic" or len(times) < 4:
        return _KINDS[kind](times, values)
    meets = values[0] == values[-1]  # each run's spline is that of its own samples
    if not meets.any():
        return _cubic(times, values)
    knots, smooth = _periodic_cubic(times, values[:, meets])
    if meets.all():
        return knots, smooth
    coefficients = np.empty((len(times) - 1, 4, len(meets)))
    coefficients[..., meets] = smooth
    coefficients[..., ~meets] = _cubic(times, values[:, ~meets])[1]
    return knots, coefficients


def _previous(times, values):
    # The last sample holds at its own time, if no longer.
    knots = np.append(times, np.nextafter(times[-1], np.inf))
    return knots, values[:, None, :]


def _linear(times, values):
    # Two samples at one time are a jump.
    apart = np.diff(times) > 0
    slopes = np.diff(values, axis=0)[apart] / np.diff(times)[apart, None]
    knots = np.append(times[:-1][apart], times[-1])
    return knots, np.stack([values[:-1][apart], slopes], axis=1)


def _hermite(times, values, slopes):
    """Return the cubics with given values and slopes at the samples."""
    lengths = np.diff(times)[:, None]
    secants = np.diff(values, axis=0) / lengths
    begin, end = slopes[:-1], slopes[1:]
    second = (3.0 * secants - 2.0 * begin - end) / lengths
    third = (begin + end - 2.0 * secants) / lengths**2
    return times, np.stack([values[:-1], begin, second, third], axis=1)


def _straight(times, values):
    slope = np.diff(values, axis=0) / np.diff(times)[:, None]
    nothing = np.zeros_like(slope)
    return times, np.stack([values[:-1], slope, nothing, nothing], axis=1)


def _pchip(times, values):
    """Return the monotone interpolant of Fritsch & Butland (SIAM J. Sci. Stat. Comput. 5, 1984)."""
    if len(times) == 2:
        return _straight(times, values)
    h = np.diff(times)[:, None]
    m = np.diff(values, axis=0) / h
    before, after = m[:-1], m[1:]
    flat = (np.sign(before) != np.sign(after)) | (before == 0) | (after == 0)
    w1, w2 = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (w1 / before + w2 / after) / (w1 + w2)
        inner = np.where(flat, 0.0, 1.0 / mean)
    ends = [_pchip_end(h[i], h[j], m[i], m[j]) for i, j in ((0, 1), (-1, -2))]
    return _hermite(times, values, np.concatenate([ends[0][None], inner, ends[1][None]]))


def _pchip_end(h0, h1, m0, m1):
    """Return the slope at an end: of three points, held to the sign of the first secant."""
    slope = ((2.0 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    turned = np.sign(slope) != np.sign(m0)
    too_steep = (np.sign(m0) != np.sign(m1)) & (np.abs(slope) > 3.0 * np.abs(m0))
    return np.where(turned, 0.0, np.where(too_steep, 3.0 * m0, slope))


def _akima(times, values):
    """Return the interpolant of Akima (J. ACM 17, 1970, p. 589)."""
    if len(times) == 2:
        return _straight(times, values)
    n = len(times)
    m = np.empty((n + 3, values.shape[1]))
    m[2:-2] = np.diff(values, axis=0) / np.diff(times)[:, None]
    m[1] = 2.0 * m[2] - m[3]
    m[0] = 2.0 * m[1] - m[2]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 2.0 * m[-2] - m[-3]
    slopes = 0.5 * (m[3:] + m[:-3])
    change = np.abs(np.diff(m, axis=0))
    ahead, behind = change[2:], change[:-2]
    total = ahead + behind
    usable = total > AKIMA_NEGLIGIBLE * total.max(axis=0, initial=0.0)
    share = behind / np.where(usable, total, 1.0)
    weighted = m[1:-2] + share * (m[2:-1] - m[1:-2])
    return _hermite(times, values, np.where(usable, weighted, slopes))


def _cubic(times, values):
    """Return the spline with two continuous derivatives; the first two pieces are one cubic, too.

    And the last two ("not a knot": de Boor, A Practical Guide to Splines, ch. IV). Three samples
    have one parabola.
    """
    n = len(times)
    if n == 2:
        return _straight(times, values)
    h = np.diff(times)
    m = np.diff(values, axis=0) / h[:, None]
    if n == 3:
        bend = (m[1] - m[0]) / (h[0] + h[1])
        slopes = np.stack([m[0] - h[0] * bend, m[0] + h[0] * bend, m[1] + h[1] * bend])
        return _hermite(times, values, slopes)
    diagonal, right = np.empty(n), np.empty((n, values.shape[1]))
    above, below = np.empty(n - 1), np.empty(n - 1)
    diagonal[1:-1] = 2.0 * (h[:-1] + h[1:])
    above[1:], below[:-1] = h[:-1], h[1:]
    right[1:-1] = 3.0 * (h[1:, None] * m[:-1] + h[:-1, None] * m[1:])
    span = h[0] + h[1]
    diagonal[0], above[0] = h[1], span
    right[0] = ((h[0] + 2.0 * span) * h[1] * m[0] + h[0] ** 2 * m[1]) / span
    span = h[-1] + h[-2]
    diagonal[-1], below[-1] = h[-2], span
    right[-1] = (h[-1] ** 2 * m[-2] + (2.0 * span + h[-1]) * h[-2] * m[-1]) / span
    return _hermite(times, values, _tridiagonal(below, diagonal, above, right))


def _periodic_cubic(times, values):
    """Return the spline that goes on smoothly from its end at its beginning.

    The system is tridiagonal but for two corners, which a second right-hand side takes out
    (Sherman & Morrison).
    """
    h, n = np.diff(times), len(times) - 1
    m = np.diff(values, axis=0) / h[:, None]
    h_before, m_before = np.roll(h, 1), np.roll(m, 1, axis=0)
    right = 3.0 * (h[:, None] * m_before + h_before[:, None] * m)
    diagonal = 2.0 * (h_before + h)
    # Slope i is multiplied by h[i] in the equation of the one after, and by h_before[i] before it.
    corner_first, corner_last = h[0], h_before[-1]
    diagonal_0 = -diagonal[0]
    column = np.zeros((n, 1))
    column[0], column[-1] = diagonal_0, corner_last
    diagonal[-1] -= corner_first * corner_last / diagonal_0
    diagonal[0] -= diagonal_0
    both = _tridiagonal(h[1:], diagonal, h_before[:-1], np.hstack([right, column]))
    found, correction = both[:, :-1], both[:, -1:]
    share = corner_first / diagonal_0
    factor = (found[0] + share * found[-1]) / (1.0 + correction[0] + share * correction[-1])
    slopes = found - correction * factor
    return _hermite(times, values, np.concatenate([slopes, slopes[:1]]))


def _tridiagonal(below, diagonal, above, right):
    """Solve a tridiagonal system by elimination, all columns at once."""
    n = len(diagonal)
    one = right.shape[1] == 1
    rows = right[:, 0].tolist() if one else list(right)
    lower, main, upper = below.tolist(), diagonal.tolist(), above.tolist()
    for i in range(1, n):
        factor = lower[i - 1] / main[i - 1]
        main[i] -= factor * upper[i - 1]
        rows[i] = rows[i] - factor * rows[i - 1]
    rows[-1] = rows[-1] / main[-1]
    for i in range(n - 2, -1, -1):
        rows[i] = (rows[i] - upper[i] * rows[i + 1]) / main[i]
    return np.array(rows).reshape(right.shape)


_KINDS: dict[str, Callable] = {
    "linear": _linear,
    "cubic": _cubic,
    "pchip": _pchip,
    "akima": _akima,
    "previous": _previous,
}
KINDS = tuple(_KINDS)
