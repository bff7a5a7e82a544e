"""A plain NumPy integrator: fixed or controlled steps, with any tableau."""

from dataclasses import dataclass

import numpy as np

from tests.oracle.controllers import CONTROLLERS, History
from tests.oracle.steps import System, take_step

SAFETY, SMALLEST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Trajectory:
    """Accepted points and counters.

    `t` has shape (m,), `y` (m, n), `errors` (m - 1,): the accepted error norms.
    """

    t: np.ndarray
    y: np.ndarray
    errors: np.ndarray
    n_steps: int
    n_rejected: int
    n_rhs: int


def fixed_steps(tableau, system, t_span, y0, n_steps):
    """Integrate with `n_steps` equal steps; return the solution at the end, shape (n,)."""
    t0, t_end = t_span
    h = (t_end - t0) / n_steps
    y = np.array(y0, dtype=float)
    for i in range(n_steps):
        y = take_step(tableau, system, t0 + i * h, y, h).y
    return y


def error_norm(result, y, rtol, atol):
    """Weighted RMS norm of the estimate; two estimators combine as in DOP853."""
    scale = atol + rtol * np.maximum(np.abs(y), np.abs(result.y))
    mean_square = np.mean((result.error / scale) ** 2)
    if result.error_low is None:
        return np.sqrt(mean_square)
    low = np.mean((result.error_low / scale) ** 2)
    # Both zero: an equilibrium, with nothing to combine.
    return mean_square / np.sqrt(mean_square + 0.01 * low) if mean_square else 0.0


def first_step(tableau, system, t, y, span, rtol, atol):
    """Starting step (HNW I, II.4, algorithm a to f)."""
    scale = atol + rtol * np.abs(y)
    f0 = system.rhs(t, y)
    d0, d1 = np.sqrt(np.mean((y / scale) ** 2)), np.sqrt(np.mean((f0 / scale) ** 2))
    h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    sign = np.sign(span)
    h0 = min(h0, abs(span))
    f1 = system.rhs(t + sign * h0, y + sign * h0 * f0)
    d2 = np.sqrt(np.mean(((f1 - f0) / scale) ** 2)) / h0
    k = tableau.error_order + 1
    h1 = max(1e-6, h0 * 1e-3) if max(d1, d2) <= 1e-15 else (0.01 / max(d1, d2)) ** (1 / k)
    return sign * min(100 * h0, h1, abs(span))


def adaptive(
    tableau,
    system: System,
    t_span,
    y0,
    *,
    rtol=1e-3,
    atol=1e-6,
    controller="i",
    h=None,
    t_stops=(),
    max_attempts=100_000,
):
    """Integrate with controlled steps, landing on `t_stops` and on the end.

    Raises
    ------
    ArithmeticError
        If the step becomes too small for the clock, or attempts run out.
    """
    t, t_end = (float(x) for x in t_span)
    y = np.array(y0, dtype=float)
    system.evaluations = 0
    k = tableau.error_order + 1
    propose = CONTROLLERS[controller]
    h = first_step(tableau, system, t, y, t_end - t, rtol, atol) if h is None else h
    stops = iter([*t_stops, t_end])
    stop = next(stops)
    times, states, errors, steps = [t], [y], [], []
    rejected, just_rejected = 0, False
    for _ in range(max_attempts):
        # A step that would leave a crumb before the stop is stretched or cut to land on it.
        landing = abs(stop - t) <= abs(h) * (1 + 1e-12)
        attempt = stop - t if landing else h
        if abs(attempt) <= 4 * np.spacing(abs(t)):
            raise ArithmeticError(f"step {attempt:g} at t={t:g} is below the clock's resolution")
        result = take_step(tableau, system, t, y, attempt)
        norm = max(error_norm(result, y, rtol, atol), 1e-10)
        history = History((norm, *errors[:-3:-1]), (attempt, *steps[:-3:-1]))
        factor = SAFETY * (propose(history, k) if norm <= 1 else norm ** (-1 / k))
        factor = min(LARGEST_FACTOR, max(SMALLEST_FACTOR, factor))
        if not norm <= 1:
            rejected, just_rejected = rejected + 1, True
            h = attempt * (factor if np.isfinite(norm) else SMALLEST_FACTOR)
            continue
        t, y = (stop if landing else t + attempt), result.y
        times.append(t)
        states.append(y)
        errors.append(norm)
        steps.append(attempt)
        # Growing again right after a rejection would only be rejected again.
        proposal = attempt * (min(1.0, factor) if just_rejected else factor)
        h = proposal if not landing or abs(proposal) < abs(h) else h
        just_rejected = False
        if landing:
            stop = next(stops, None)
            if stop is None:
                return Trajectory(
                    t=np.array(times),
                    y=np.array(states),
                    errors=np.array(errors),
                    n_steps=len(steps),
                    n_rejected=rejected,
                    n_rhs=system.evaluations,
                )
    raise ArithmeticError(f"{max_attempts} attempts did not reach t={t_end:g}; got to {t:g}")
