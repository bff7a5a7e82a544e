"""A plain NumPy integrator of several steps: polynomials through points, and Newton's own method.

It holds values at equal steps, and no differences: a prediction is a polynomial through them, the
formula of a step is its derivative at the new point, and steps of another size are read off it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import Polynomial

SMALLEST_FACTOR, LARGEST_FACTOR = 0.2, 10.0


@dataclass
class Points:
    """Values at ``t - j h``, j = 0, 1, ..., as many as the order and one, shape (m, n)."""

    values: np.ndarray
    correction: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def polynomials(self):
        """Return, for each component, the polynomial in steps from the latest point."""
        nodes = -np.arange(len(self.values))
        return [Polynomial.fit(nodes, v, len(nodes) - 1).convert() for v in self.values.T]

    def at(self, places):
        """Return values at `places`, in steps from the latest point, shape (m, n)."""
        return np.array([p(np.asarray(places, float)) for p in self.polynomials()]).T


def solve_step(system, kappa, t, h, points):
    """Return the solution at t + h and what it corrects of the prediction.

    Backward differentiation is the derivative of the polynomial through old points and new; kappa
    times gamma times the correction is taken from it.
    """
    k, n = len(points.values) - 1, points.values.shape[1]
    gamma = np.sum(1.0 / np.arange(1, k + 1))
    predicted = points.at([1.0])[0]
    slope = np.array([p.deriv()(1.0) for p in points.polynomials()])
    correction = np.zeros(n)
    rate = (1.0 - kappa[k - 1]) * gamma
    for _ in range(50):
        residual = slope + rate * correction - h * system.rhs(t + h, predicted + correction)
        jacobian = rate * np.eye(n) - h * system.jacobian(t + h, predicted + correction)
        change = np.linalg.solve(jacobian, residual)
        correction = correction - change
        if np.max(np.abs(change) / (1e-300 + np.abs(predicted))) < 1e-15:
            break
    return predicted + correction, correction


def difference(values, order):
    """Return the backward difference of an order at the latest of points."""
    found = np.array(values[: order + 1])
    for _ in range(order):
        found = found[:-1] - found[1:]
    return found[0]


def integrate(system, kappa, t_span, y0, first_step, rtol, atol, safety):
    """Return times (m,) and states (m, n) of all accepted steps, and their orders (m - 1,)."""
    constants = [0.0] + [
        kappa[k - 1] * np.sum(1.0 / np.arange(1, k + 1)) + 1.0 / (k + 1)
        for k in range(1, len(kappa) + 1)
    ]
    constants.append(1.0 / (len(kappa) + 2))
    (t, end), y = t_span, np.array(y0, float)
    h, highest, equal = first_step, len(kappa), 0
    points = Points(np.array([y, y - h * system.rhs(t, y)]))
    times, states, orders = [t], [y], []
    while t < end:
        lands = t + h * (1 + 1e-6) >= end
        if lands and abs(end - t - h) > 1e-10 * h:
            # As if the step were a whole one that ends where this one has to.
            back = (end - t) / h - 1.0
            moved = Points(points.at(back - np.arange(len(points.values))), points.correction)
            new, correction = solve_step(system, kappa, end - h, h, moved)
        else:
            moved = points
            new, correction = solve_step(system, kappa, t, h, points)
        order = len(points.values) - 1
        scale = atol + rtol * np.maximum(np.abs(points.values[0]), np.abs(new))

        def size(error, scale=scale):
            return max(np.sqrt(np.mean((error / scale) ** 2)), 1e-10)

        norm = size(constants[order] * correction)
        if norm > 1:
            factor = max(SMALLEST_FACTOR, safety * norm ** (-1 / (order + 1)))
            points = Points(points.at(-factor * np.arange(order + 1)), points.correction)
            h, equal = h * factor, 0
            continue
        orders.append(order)
        ahead = np.vstack([new, moved.values])
        t = end if lands else t + h
        times.append(t)
        states.append(new)
        equal += 1
        following, factor = order, 1.0
        if equal > order:
            wishes = {order: safety * norm ** (-1 / (order + 1))}
            if order > 1:
                error = size(constants[order - 1] * difference(ahead, order))
                wishes[order - 1] = safety * error ** (-1 / order)
            if order < highest:
                error = size(constants[order + 1] * (correction - points.correction))
                wishes[order + 1] = safety * error ** (-1 / (order + 2))
            following = max(wishes, key=lambda k: (wishes[k], -k))
            factor = min(max(wishes[following], SMALLEST_FACTOR), LARGEST_FACTOR)
            equal = 0
        kept = Points(ahead[: following + 1])
        points = Points(kept.at(-factor * np.arange(following + 1)), correction)
        h = h * factor
    return np.array(times), np.array(states), np.array(orders)
