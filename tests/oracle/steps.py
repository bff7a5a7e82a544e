"""One step of any method, in plain NumPy, with stages solved to rounding.

Written for clarity and independence: dense Jacobians, Newton until nothing
changes, no reuse between steps. Nothing but tableau data comes from `cubie`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

NEWTON_LIMIT = 60


@dataclass
class System:
    """A right-hand side with what implicit methods need.

    Parameters
    ----------
    fun : callable (t, y) -> (n,)
    jac : callable (t, y) -> (n, n), optional
        Central differences where missing.
    dfdt : callable (t, y) -> (n,), optional
        Central differences where missing.
    mass : (n, n) array, optional
        ``mass @ y' = fun(t, y)``.
    """

    fun: Callable
    jac: Callable | None = None
    dfdt: Callable | None = None
    mass: np.ndarray | None = None
    evaluations: int = field(default=0)

    def rhs(self, t, y):
        """Evaluate the right-hand side, counting."""
        self.evaluations += 1
        return np.asarray(self.fun(t, y), dtype=float)

    def jacobian(self, t, y):
        """Jacobian by the user's function or central differences."""
        if self.jac is not None:
            return np.asarray(self.jac(t, y), dtype=float)
        columns = []
        for i in range(y.size):
            bump = np.zeros(y.size)
            bump[i] = np.cbrt(np.finfo(float).eps) * max(1e-8, abs(y[i]))
            upper, lower = self.fun(t, y + bump), self.fun(t, y - bump)
            columns.append((np.asarray(upper) - np.asarray(lower)) / (2 * bump[i]))
        return np.array(columns, dtype=float).T

    def time_derivative(self, t, y):
        """df/dt by the user's function or central differences."""
        if self.dfdt is not None:
            return np.asarray(self.dfdt(t, y), dtype=float)
        bump = np.cbrt(np.finfo(float).eps) * max(1.0, abs(t))
        upper, lower = np.asarray(self.fun(t + bump, y)), np.asarray(self.fun(t - bump, y))
        return (upper - lower) / (2 * bump)

    def mass_matrix(self, n):
        """Mass matrix, the identity where there is none."""
        return np.eye(n) if self.mass is None else np.asarray(self.mass, dtype=float)


@dataclass(frozen=True)
class StepResult:
    """New solution, error estimates (None without) and stage derivatives or increments."""

    y: np.ndarray
    error: np.ndarray | None
    error_low: np.ndarray | None
    stages: np.ndarray


def take_step(tableau, system, t, y, h):
    """Advance by one step of the tableau's method."""
    if hasattr(tableau, "gamma_exact"):
        return _rosenbrock_step(tableau, system, t, y, h)
    a, b, c = (np.array(x) for x in (tableau.a, tableau.b, tableau.c))
    stages = _stage_derivatives(a, c, system, t, y, h)
    error = _estimate(tableau, system, t, y, h, stages)
    low = getattr(tableau, "error_weights_low", None)
    return StepResult(
        y=y + h * (b @ stages),
        error=error,
        error_low=None if low is None else h * (np.array(low) @ stages),
        stages=stages,
    )


def interpolate(tableau, y, h, stages, theta):
    """Solution at ``t + theta*h`` by the tableau's interpolant."""
    powers = theta ** np.arange(1, len(tableau.interpolant[0]) + 1)
    return y + h * ((np.array(tableau.interpolant) @ powers) @ stages)


def _estimate(tableau, system, t, y, h, stages):
    if tableau.error_weights is None:
        return None
    error = h * (np.array(tableau.error_weights) @ stages)
    start = getattr(tableau, "error_start_weight", None)
    if start is None:
        return error
    raw = system.mass_matrix(y.size) @ error + h * start * system.rhs(t, y)
    filtered = system.mass_matrix(y.size) - h * tableau.smoothing * system.jacobian(t, y)
    return np.linalg.solve(filtered, raw)


def _stage_derivatives(a, c, system, t, y, h):
    if np.any(np.triu(a, 1)):
        return _coupled_stages(a, c, system, t, y, h)
    stages = np.zeros((len(c), y.size))
    for i in range(len(c)):
        base = y + h * (a[i, :i] @ stages[:i])
        if a[i, i] == 0:
            derivative = system.rhs(t + c[i] * h, base)
            stages[i] = np.linalg.solve(system.mass_matrix(y.size), derivative)
        else:
            stages[i] = _coupled_stages(a[i : i + 1, i : i + 1], c[i : i + 1], system, t, base, h)
    return stages


def _coupled_stages(a, c, system, t, y, h):
    """Solve ``M z_i = h * sum(a_ij * f(t + c_j h, y + z_j))`` for all increments at once."""
    s, n = len(c), y.size
    mass = np.kron(np.eye(s), system.mass_matrix(n))
    increments = np.zeros(s * n)
    previous = np.inf
    for _ in range(NEWTON_LIMIT):
        z = increments.reshape(s, n)
        values = np.array([system.rhs(t + c[i] * h, y + z[i]) for i in range(s)])
        residual = mass @ increments - h * (a @ values).ravel()
        jacobians = [system.jacobian(t + c[i] * h, y + z[i]) for i in range(s)]
        newton = mass - h * np.block([[a[i, j] * jacobians[j] for j in range(s)] for i in range(s)])
        change = np.linalg.solve(newton, -residual)
        increments = increments + change
        size = np.max(np.abs(change) / (np.abs(np.tile(y, s)) + np.abs(increments) + 1e-300))
        # At the level of rounding the changes stop shrinking; that is as exact as it gets.
        if size < 1e-15 or (size < 1e-8 and size >= previous):
            return np.linalg.solve(a * h, increments.reshape(s, n))
        previous = size
    raise ArithmeticError(f"Newton's iteration did not settle at t={t:g} with h={h:g}")


def _rosenbrock_step(tableau, system, t, y, h):
    n = y.size
    mass = system.mass_matrix(n)
    matrix = mass / (h * tableau.gamma) - system.jacobian(t, y)
    slope = system.time_derivative(t, y)
    increments = np.zeros((tableau.n_stages, n))
    for i in range(tableau.n_stages):
        state = y + np.array(tableau.a[i]) @ increments
        coupled = mass @ (np.array(tableau.C[i]) @ increments) / h
        right = system.rhs(t + tableau.c[i] * h, state) + coupled + tableau.d[i] * h * slope
        increments[i] = np.linalg.solve(matrix, right)
    weights = tableau.error_weights
    return StepResult(
        y=y + np.array(tableau.b) @ increments,
        error=None if weights is None else np.array(weights) @ increments,
        error_low=None,
        stages=increments,
    )
