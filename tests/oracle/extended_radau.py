"""Radau IIA of order 13 in extended precision: reference solutions of stiff problems.

Independent of the package: the coefficients come from mpmath, the arithmetic is that of
`numpy.longdouble`, the right-hand side is the problem's plain Python. Linear systems are solved
in double precision, which costs Newton's iteration some changes but no accuracy.

H&W = Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd edition.
"""

from dataclasses import dataclass
from functools import cache
from math import comb, perm

import mpmath
import numpy as np
import scipy.linalg

REAL = np.longdouble
STAGES = 7
NEWTON_LIMIT = 20
DIGITS = 30


@dataclass(frozen=True)
class Scheme:
    """Coefficients of the collocation method on `STAGES` Radau points.

    Attributes
    ----------
    c : (s,) array
    a_inverse : (s, s) array
    error_weights : (s,) array
        Of the increments, in the estimate of order s (H&W IV.8, eq. 8.19).
    gamma : float
        One over the real eigenvalue of `a_inverse`.
    """

    c: np.ndarray
    a_inverse: np.ndarray
    error_weights: np.ndarray
    gamma: float

    @property
    def eigenvalues(self):
        """Eigenvalues and eigenvectors of `a_inverse`, in double precision."""
        return np.linalg.eig(self.a_inverse.astype(float))

    def extrapolate(self, increments, ratio):
        """Continue the collocation polynomial over a next step, `ratio` times as long."""
        nodes = np.concatenate([[REAL(0)], self.c])
        values = np.concatenate([np.zeros_like(increments[:1]), increments])
        weights = np.array([_lagrange(nodes, x) for x in 1 + ratio * self.c])
        return weights @ values - increments[-1]


def _lagrange(nodes, x):
    """Return the weights of the values at the nodes in the polynomial's value at x."""
    others = [np.delete(nodes, i) for i in range(len(nodes))]
    return np.array([np.prod((x - o) / (at - o)) for at, o in zip(nodes, others, strict=True)])


@cache
def scheme():
    """Compute the coefficients with fifty digits."""
    with mpmath.workdps(50):
        # The (s-1)th derivative of x^(s-1) (x-1)^s, from its highest power on (H&W IV.5).
        signed = [comb(STAGES, k) * (-1) ** (STAGES - k) for k in range(STAGES + 1)]
        coefficients = [x * perm(STAGES - 1 + k, STAGES - 1) for k, x in enumerate(signed)][::-1]
        c = sorted(mpmath.re(root) for root in mpmath.polyroots(coefficients, 500, extraprec=200))
        moments = range(STAGES)
        inverse = mpmath.matrix([[node**q for q in moments] for node in c]) ** -1
        a = mpmath.matrix([[node ** (q + 1) / (q + 1) for q in moments] for node in c]) * inverse
        a_inverse = a**-1
        values = mpmath.eig(a_inverse)[0]
        gamma = 1 / mpmath.re(min(values, key=lambda value: abs(mpmath.im(value))))
        rest = [mpmath.mpf(1) / (q + 1) - (gamma if q == 0 else 0) for q in moments]
        error = (mpmath.matrix([rest]) * inverse - a[STAGES - 1, :]) * a_inverse
        return Scheme(_real(mpmath.matrix([c]))[0], _real(a_inverse), _real(error)[0], float(gamma))


def _real(matrix):
    """Return an mpmath matrix in extended precision."""
    rows = [[mpmath.nstr(x, DIGITS) for x in row] for row in matrix.tolist()]
    return np.array(rows, dtype=REAL)


@dataclass
class Integration:
    """One integration: the problem, its scale, and what is carried from step to step.

    Parameters
    ----------
    problem : Problem
    rtol : float
        The estimate, of far lower order than the solution, is kept below it.
    atol : float
        Of every component.
    """

    problem: object
    rtol: float
    atol: float
    steps: int = 0
    rejected: int = 0

    def rhs(self, t, y):
        """Evaluate in extended precision."""
        return np.array(self.problem.fun(t, y, *self.problem.args), dtype=REAL)

    def jacobian(self, t, y):
        """Return central differences, good to some twelve digits."""
        columns = []
        for i in range(y.size):
            bump = np.zeros_like(y)
            bump[i] = REAL(1e-7) * max(abs(y[i]), REAL(self.atol) / REAL(self.rtol))
            columns.append((self.rhs(t, y + bump) - self.rhs(t, y - bump)) / (2 * bump[i]))
        return np.array(columns).T.astype(float)

    def scale(self, y):
        """Return the error allowed in each component."""
        return self.atol + self.rtol * np.abs(y)

    def solve(self, first_step=None):
        """Return the solution at the end, in extended precision."""
        t, t_end = (REAL(x) for x in self.problem.t_span)
        y = np.array(self.problem.y0, dtype=REAL)
        slope = self.rhs(t, y)
        speed = np.max(np.abs(slope) / self.scale(y))
        h = REAL(first_step or min(float(t_end - t), 1e-2 / max(float(speed), 1e-300)))
        guess = np.zeros((STAGES, y.size), dtype=REAL)
        matrix = self.jacobian(t, y)
        while t < t_end:
            last = t + h * REAL(1 + 1e-9) >= t_end
            h = t_end - t if last else h
            increments = self._increments(t, y, h, matrix, guess)
            size = np.inf if increments is None else self._error(t, y, h, matrix, increments, slope)
            if size > 1:
                self.rejected += 1
                h = h * REAL(
                    0.3 if not np.isfinite(size) else max(0.2, 0.9 * size ** (-1 / (STAGES + 1)))
                )
                guess = np.zeros_like(guess)
                continue
            self.steps += 1
            t, y = (t_end if last else t + h), y + increments[-1]
            slope, matrix = self.rhs(t, y), self.jacobian(t, y)
            factor = min(6.0, 0.9 * max(size, 1e-30) ** (-1 / (STAGES + 1)))
            guess = scheme().extrapolate(increments, REAL(factor))
            h = h * REAL(factor)
        return y

    def _increments(self, t, y, h, matrix, guess):
        """Solve ``A^-1 z / h = f(t + c h, y + z)`` to extended precision; None if it fails."""
        method = scheme()
        values, vectors = method.eigenvalues
        to_blocks = np.linalg.inv(vectors)
        one = np.eye(y.size)
        shift = 1.0 / float(h)
        factors = [scipy.linalg.lu_factor(value * shift * one - matrix) for value in values]
        z, previous = guess.copy(), np.inf
        scale = np.abs(y) + REAL(self.atol) / REAL(self.rtol)
        for iteration in range(NEWTON_LIMIT):
            slopes = np.array(
                [self.rhs(t + c * h, y + part) for c, part in zip(method.c, z, strict=True)]
            )
            residual = slopes - method.a_inverse @ z / h
            if not np.isfinite(residual.astype(float)).all():
                return None
            parts = to_blocks @ residual.astype(float)
            solved = [
                scipy.linalg.lu_solve(f, part) for f, part in zip(factors, parts, strict=True)
            ]
            change = (vectors @ np.array(solved)).real
            z = z + change
            size = float(np.max(np.abs(change) / scale))
            # At the level of rounding the changes stop shrinking.
            if size < 1e-18 or (size < 1e-2 * self.rtol and size >= previous):
                return z
            if iteration > 2 and size > 2 * previous and size > self.rtol:
                return None
            previous = size
        return z if size < 1e-2 * self.rtol else None

    def _error(self, t, y, h, matrix, increments, slope):
        """Return the norm of the filtered estimate."""
        method = scheme()
        raw = (method.gamma * h * slope + method.error_weights @ increments).astype(float)
        filtered = np.linalg.solve(np.eye(y.size) - method.gamma * float(h) * matrix, raw)
        return float(np.sqrt(np.mean((filtered / self.scale(y + increments[-1])) ** 2)))
