"""Drivers made of what users have already: `np.interp`, and interpolators of SciPy.

SciPy is looked at through the objects that users hand over; it is not imported.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np

from cubie.systems.drivers.interpolant import Driver
from cubie.systems.drivers.pieces import Pieces, interpolate, with_ends

_STEPS = ("previous", "next", "nearest", "nearest-up")


def table_of(xp: Any, fp: Any, left: Any, right: Any, period: Any) -> Driver | None:
    """Return what `np.interp` does with plain numbers as a driver; None where they are not."""
    try:
        x, y = np.array(xp, dtype=float), np.array(fp, dtype=float)
        ends = [None if value is None else float(value) for value in (left, right)]
        period = None if period is None else abs(float(period))
    except (TypeError, ValueError):
        return None
    except BaseException as error:  # an expression refuses to be a plain number
        if type(error).__name__ in ("Untraceable", "NeedsInteger"):
            return None
        raise
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    if period:
        x = x % period
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
        x, y = np.append(x, x[0] + period), np.append(y, y[0])
    if len(x) < 2 or not (np.diff(x) > 0).all():
        return None
    pieces = with_ends(*interpolate("linear", x, y[:, None]), "periodic" if period else "hold")
    if not period:
        pieces = _with_fill(pieces, *ends)
    content = hashlib.sha256(repr((ends, period)).encode() + x.tobytes() + y.tobytes())
    label = f"np.interp of {len(x)} samples ({content.hexdigest()[:16]})"
    return Driver(pieces, label=label)


def driver_of(value: Any) -> Driver | None:
    """Return an interpolator of SciPy's, of one variable and one value, as a driver; else None."""
    kind = type(value)
    if not (kind.__module__ or "").startswith("scipy.interpolate"):
        return None
    names = {base.__name__ for base in kind.__mro__}
    if "PPoly" in names:
        return _of_polynomials(value)
    if "BSpline" in names:
        return _of_spline(value)
    return _of_interp1d(value) if "interp1d" in names else None


def _label(value: Any) -> str:
    return f"a scipy.interpolate.{type(value).__name__}"


def _extend(extrapolate: Any) -> str:
    if isinstance(extrapolate, str) and extrapolate == "periodic":
        return "periodic"
    return "polynomial" if extrapolate is None or extrapolate else "error"


def _of_polynomials(value: Any) -> Driver | None:
    x, c = np.array(value.x, dtype=float), np.asarray(value.c)
    if c.ndim != 2 or c.dtype.kind != "f" or len(x) < 2 or not (np.diff(x) > 0).all():
        return None
    # SciPy has the highest power first.
    coefficients = np.ascontiguousarray(c[::-1].T[:, :, None], dtype=float)
    return Driver(with_ends(x, coefficients, _extend(value.extrapolate)), label=_label(value))


def _of_spline(value: Any, column: bool = False) -> Driver | None:
    """Return a spline of one value as a driver; `column`: its coefficients are (n, 1)."""
    if np.ndim(value.c) != 1 and not (column and np.shape(value.c)[1:] == (1,)):
        return None
    k, t = value.k, np.asarray(value.t, dtype=float)
    flat = (value.t, np.ravel(value.c), k)
    polynomials = sys.modules["scipy.interpolate"].PPoly.from_spline(flat)
    # Knots are repeated at the ends; outside of those with a full basis the last piece goes on.
    begins = np.asarray(polynomials.x)[:-1]
    inside = (np.diff(polynomials.x) > 0) & (begins >= t[k]) & (begins < t[len(t) - k - 1])
    x = np.append(begins[inside], t[len(t) - k - 1])
    coefficients = np.asarray(polynomials.c)[::-1, inside].T[:, :, None]
    pieces = with_ends(x, np.ascontiguousarray(coefficients), _extend(value.extrapolate))
    return Driver(pieces, label=_label(value))


def _of_interp1d(value: Any) -> Driver | None:
    x, y, kind = np.asarray(value.x, float), np.asarray(value.y), value._kind
    if y.ndim != 1 or y.dtype.kind not in "fiu" or not (np.diff(x) > 0).all():
        return None
    goes_on = isinstance(value.fill_value, str)  # "extrapolate"
    if kind in _STEPS:
        if goes_on:
            return None
        knots, coefficients = _steps(kind, x, y.astype(float))
    elif kind == "linear":
        knots, coefficients = interpolate("linear", x, y.astype(float)[:, None])
    else:
        spline = _of_spline(value._spline, column=True)
        if spline is None:
            return None
        knots, coefficients = spline.pieces.knots, spline.pieces.coefficients
    if goes_on:
        return Driver(with_ends(knots, coefficients, "polynomial"), label=_label(value))
    if value.bounds_error:
        return Driver(with_ends(knots, coefficients, "error"), label=_label(value))
    fill = [float(np.ravel(end)[0]) for end in (value._fill_value_below, value._fill_value_above)]
    pieces = _with_fill(with_ends(knots, coefficients, "hold"), *fill)
    return Driver(pieces, label=_label(value))


def _steps(kind: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return knots and values of functions that are constant around samples."""
    if kind == "previous":
        return interpolate("previous", x, y[:, None])
    if kind == "next":
        inner = np.nextafter(x[:-1], np.inf)
    elif kind == "nearest-up":
        inner = 0.5 * (x[1:] + x[:-1])
    else:  # halves go down
        inner = np.nextafter(0.5 * (x[1:] + x[:-1]), np.inf)
    return np.concatenate([x[:1], inner, x[-1:]]), y[:, None, None]


def _with_fill(pieces: Pieces, below: float | None, above: float | None) -> Pieces:
    """Return the function with other constants outside of its samples."""
    before, after = np.array(pieces.before), np.array(pieces.after)
    if below is not None:
        before[0] = below
    if above is not None:
        after[0] = above
    return Pieces(pieces.knots, pieces.coefficients, before, after)
