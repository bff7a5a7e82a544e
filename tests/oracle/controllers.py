"""Standard step-size controllers, each a function of the last errors and steps.

`k` is ``error_order + 1``; errors are scaled norms, at most one when accepted.
H&W = Hairer & Wanner II, 2nd edition.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class History:
    """What a controller may look at; the latest attempt first, accepted steps after it."""

    errors: tuple[float, ...]
    steps: tuple[float, ...]


def integral(history, k):
    """Elementary control: h * err**(-1/k) (HNW I, II.4, eq. 4.13)."""
    return history.errors[0] ** (-1 / k)


def proportional_integral(history, k):
    """PI control of Gustafsson (H&W IV.2, eq. 2.43c, exponents 0.7 and 0.4)."""
    previous = history.errors[1] if len(history.errors) > 1 else 1.0
    return history.errors[0] ** (-0.7 / k) * previous ** (0.4 / k)


def pid(history, k):
    """PID control (Kennedy & Carpenter 2003, section 4.3: 0.49, 0.34, 0.10)."""
    errors = (*history.errors, 1.0, 1.0)
    return errors[0] ** (-0.49 / k) * errors[1] ** (0.34 / k) * errors[2] ** (-0.10 / k)


def gustafsson(history, k):
    """Predictive control for stiff methods (H&W IV.8, eq. 8.25): the smaller of two."""
    elementary = integral(history, k)
    if len(history.errors) < 2:
        return elementary
    ratio = history.steps[0] / history.steps[1]
    predicted = elementary * ratio * (history.errors[1] / history.errors[0]) ** (1 / k)
    return min(elementary, predicted)


CONTROLLERS = {
    "i": integral,
    "pi": proportional_integral,
    "pid": pid,
    "gustafsson": gustafsson,
}
