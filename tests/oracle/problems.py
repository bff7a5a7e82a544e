"""Known problems in plain SciPy form, and reference solutions of them.

HNW = Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.integrate import solve_ivp


@dataclass(frozen=True)
class Problem:
    """An initial value problem as SciPy takes it.

    Parameters
    ----------
    name : str
    fun : callable (t, y, *args) -> sequence of n
    t_span : (float, float)
    y0 : tuple of n floats
    args : tuple
    jac : callable (t, y, *args) -> rows, optional
        Jacobian, where differences are not good enough.
    published : tuple of n floats, optional
        Solution at the end as the source prints it.
    floor : float
        Errors of smaller components are compared with this instead.
    source : str
    """

    name: str
    fun: Callable
    t_span: tuple[float, float]
    y0: tuple[float, ...]
    source: str
    args: tuple = ()
    jac: Callable | None = None
    published: tuple[float, ...] | None = None
    floor: float = 0.0

    def rhs(self, t, y):
        """Right-hand side with the arguments filled in, shape (n,)."""
        return np.asarray(self.fun(t, y, *self.args), dtype=float)


def reference_solution(problem, t_eval=None, *, method="DOP853", rtol=1e-12, atol=1e-12):
    """Solve with SciPy at the tightest sensible tolerance.

    Parameters
    ----------
    problem : Problem
    t_eval : sequence of m floats, optional
        The end alone without it.

    Returns
    -------
    array (n,) or (n, m)
    """
    options = {"t_eval": t_eval, "rtol": rtol, "atol": atol}
    if problem.jac is not None and method in ("Radau", "BDF", "LSODA"):
        options["jac"] = lambda t, y: np.array(problem.jac(t, y, *problem.args))
    solution = solve_ivp(problem.rhs, problem.t_span, problem.y0, method, **options)
    if not solution.success:
        raise ArithmeticError(f"{problem.name}: {solution.message}")
    return solution.y[:, -1] if t_eval is None else solution.y


def linear(t, y, rate):
    """y' = rate * y, component by component."""
    return [rate * y[0]]


def lorenz(t, y, sigma=10.0, rho=28.0, beta=8.0 / 3.0):
    """Lorenz' convection model."""
    return [sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - beta * y[2]]


def lotka_volterra(t, y, alpha=1.5, beta=1.0, gamma=3.0, delta=1.0):
    """Prey and predators."""
    return [alpha * y[0] - beta * y[0] * y[1], delta * y[0] * y[1] - gamma * y[1]]


def arenstorf(t, y, mu=0.012277471):
    """Satellite between earth and moon in rotating coordinates: x, y, x', y'."""
    earth = ((y[0] + mu) ** 2 + y[1] ** 2) ** 1.5
    moon = ((y[0] - (1 - mu)) ** 2 + y[1] ** 2) ** 1.5
    return [
        y[2],
        y[3],
        y[0] + 2 * y[3] - (1 - mu) * (y[0] + mu) / earth - mu * (y[0] - (1 - mu)) / moon,
        y[1] - 2 * y[2] - (1 - mu) * y[1] / earth - mu * y[1] / moon,
    ]


def lorenz96(t, y, forcing=8.0):
    """Lorenz' ring of coupled cells, of any number."""
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + forcing for i in range(n)]


def forced(t, y):
    """A problem that depends on time, y' = y cos t, so that abscissae matter."""
    return [y[0] * np.cos(t)]


def turning(t, y):
    """A rotation whose pace changes: (sin, cos) of exp(sin(t))."""
    pace = math.exp(math.sin(t)) * math.cos(t)
    return [pace * y[1], -pace * y[0]]


def turned(t):
    """Return the solution of `turning` that is (sin(1), cos(1)) at 0, shape (2, ...)."""
    angle = np.exp(np.sin(t))
    return np.array([np.sin(angle), np.cos(angle)])


LINEAR = Problem("linear", linear, (0.0, 1.0), (1.0,), "y = exp(rate * t)", args=(-1.0,))

FORCED = Problem("forced", forced, (0.0, 5.0), (1.0,), "y = exp(sin t); HNW II.4 in spirit")

LORENZ = Problem(
    "lorenz", lorenz, (0.0, 2.0), (1.0, 0.0, 0.0), "Lorenz, J. Atmos. Sci. 20 (1963), 130-141"
)

LOTKA_VOLTERRA = Problem(
    "lotka_volterra", lotka_volterra, (0.0, 10.0), (1.0, 1.0), "Volterra (1926); HNW I.1"
)

_ARENSTORF_START = (0.994, 0.0, 0.0, -2.00158510637908252240537862224)

ARENSTORF = Problem(
    "arenstorf",
    arenstorf,
    (0.0, 17.0652165601579625588917206249),
    _ARENSTORF_START,
    "Arenstorf, Amer. J. Math. 85 (1963); HNW II.0, eq. 0.1 and 0.2",
    published=_ARENSTORF_START,
)


def lorenz96_problem(n=40, t_end=2.0, forcing=8.0):
    """Lorenz-96 with `n` cells, started off its equilibrium."""
    y0 = tuple(forcing + 2.0 * np.sin(np.arange(n)))
    source = "Lorenz, Predictability: a problem partly solved, ECMWF (1996)"
    return Problem("lorenz96", lorenz96, (0.0, t_end), y0, source, args=(forcing,))


@cache
def brusselator(n_cells=20, alpha=1.0 / 50.0):
    """One-dimensional Brusselator with diffusion on `n_cells` inner points (H&W II, IV.10).

    The state interleaves ``u_1, v_1, u_2, v_2, ...``, so that the Jacobian is banded.
    """

    def fun(t, y):
        scale = alpha * (n_cells + 1) ** 2
        derivative = []
        for i in range(n_cells):
            u, v = y[2 * i], y[2 * i + 1]
            u_left, v_left = (1.0, 3.0) if i == 0 else (y[2 * i - 2], y[2 * i - 1])
            u_right, v_right = (1.0, 3.0) if i == n_cells - 1 else (y[2 * i + 2], y[2 * i + 3])
            derivative.append(1 + u * u * v - 4 * u + scale * (u_left - 2 * u + u_right))
            derivative.append(3 * u - u * u * v + scale * (v_left - 2 * v + v_right))
        return derivative

    points = np.arange(1, n_cells + 1) / (n_cells + 1)
    y0 = np.column_stack([1 + np.sin(2 * np.pi * points), np.full(n_cells, 3.0)]).ravel()
    source = "Hairer & Wanner II, IV.1, eq. 1.6, and IV.10, problem BRUSS"
    return Problem(f"brusselator_{2 * n_cells}", fun, (0.0, 10.0), tuple(y0), source)
