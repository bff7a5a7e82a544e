"""Random systems with known solutions, whose errors do not grow: five kinds, one right-hand side.

Every system is an instance of `random_system`, with terms of no part in its kind set to zero, so
that one kernel of a method solves them all. The part that depends on y is contractive in the
Euclidean norm, or absent: an error that a step makes is never larger later. What a solver makes of
its tolerance then measures the solver, not the problem.
"""

from dataclasses import dataclass

import numpy as np
import scipy.integrate
from scipy.linalg import expm

T_END = 5.0
# Where solutions are compared: not at the end alone, where contraction has forgotten much.
TIMES = np.array([1.25, 2.5, 3.75, T_END])
VECTORS = ("input_weight", "damping", "amplitude", "frequency", "phase", "slope", "power")


def random_system(t, y, *p):
    """A y + W tanh(V y + u cos(2 t)) - g y**3 + b cos(w t + phi) + c t**m."""
    n = len(y)
    linear, outer, inner = (p[k * n * n : (k + 1) * n * n] for k in range(3))
    u, g, b, w, phi, c, m = (p[3 * n * n + k * n : 3 * n * n + (k + 1) * n] for k in range(7))
    wave = np.cos(2.0 * t)
    hidden = [
        np.tanh(sum(inner[i * n + j] * y[j] for j in range(n)) + u[i] * wave) for i in range(n)
    ]
    return [
        sum(linear[i * n + j] * y[j] for j in range(n))
        + sum(outer[i * n + j] * hidden[j] for j in range(n))
        - g[i] * y[i] * y[i] * y[i]
        + b[i] * np.cos(w[i] * t + phi[i])
        + c[i] * t ** m[i]
        for i in range(n)
    ]


@dataclass(frozen=True)
class RandomSystem:
    """Coefficients, start and solution.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    matrices : array (3, n, n)
        A, W and V.
    vectors : array (7, n)
        In the order of `VECTORS`.
    y0 : array (n,)
    """

    kind: str
    matrices: np.ndarray
    vectors: np.ndarray
    y0: np.ndarray

    @property
    def parameters(self):
        """What `random_system` takes behind t and y, (3 n**2 + 7 n,)."""
        return np.concatenate([self.matrices.ravel(), self.vectors.ravel()])

    def rhs(self, t, y):
        """The right-hand side in NumPy, (n,)."""
        a, outer, inner = self.matrices
        u, g, b, w, phi, c, m = self.vectors
        hidden = np.tanh(inner @ y + u * np.cos(2.0 * t))
        return a @ y + outer @ hidden - g * y**3 + b * np.cos(w * t + phi) + c * t**m

    def solution(self):
        """Values at `TIMES`, (len(TIMES), n): in closed form where there is one, else by SciPy."""
        if self.kind in ("network", "cubic"):
            tight = {"method": "DOP853", "rtol": 3e-14, "atol": 1e-15, "t_eval": TIMES}
            return scipy.integrate.solve_ivp(self.rhs, (0.0, T_END), self.y0, **tight).y.T
        _, _, b, w, phi, c, m = self.vectors
        if self.kind == "quadrature":
            t = TIMES[:, None]
            waves = b / w * (np.sin(w * t + phi) - np.sin(phi))
            return self.y0 + waves + c * t ** (m + 1) / (m + 1)
        return np.array([self._linear_solution(t) for t in TIMES])

    def _linear_solution(self, t):
        """y0's part and those of the waves, each of which is a mode exp(i w t) of its own."""
        a, unit = self.matrices[0], np.eye(self.y0.size)
        _, _, b, w, phi, _, _ = self.vectors
        forced = [
            np.linalg.solve(1j * w[i] * unit - a, b[i] * np.exp(1j * phi[i]) * unit[i])
            for i in range(self.y0.size)
        ]
        there = sum((part * np.exp(1j * w[i] * t)).real for i, part in enumerate(forced))
        start = self.y0 - sum(part.real for part in forced)
        if np.array_equal(a, a.T):
            rates, modes = np.linalg.eigh(a)
            return modes @ (np.exp(rates * t) * (modes.T @ start)) + there
        return expm(a * t) @ start + there


def random_systems(number, seed=0, states=4):
    """Return that many systems, of the kinds in turn."""
    rng = np.random.default_rng(seed)
    makers = list(KINDS.items())
    return [_filled(rng, states, *makers[i % len(makers)]) for i in range(number)]


def stacked(systems):
    """Return y0 (runs, n) and the arguments of `random_system`, each (runs,)."""
    parameters = np.array([system.parameters for system in systems])
    return np.array([system.y0 for system in systems]), tuple(parameters.T.copy())


def error_in_tolerances(found, solution, rtol, atol):
    """Largest of the errors at `TIMES` in the norm that step control uses, shape (runs,).

    The root mean square over components of error / (atol + rtol * abs(y)); arguments have shape
    (runs, times, n).
    """
    scaled = (found - solution) / (atol + rtol * np.abs(solution))
    return np.sqrt(np.mean(scaled**2, axis=-1)).max(axis=-1)


def _filled(rng, n, kind, make):
    """Make a system of a kind, with zeros for the terms that it lacks."""
    given = make(rng, n)
    zeros, ones = np.zeros(n), np.ones(n)
    # Frequencies and powers of absent terms: any that make the term finite.
    absent = dict.fromkeys(VECTORS, zeros) | {"frequency": ones, "power": ones}
    matrices = [given.get(name, np.zeros((n, n))) for name in ("linear", "outer", "inner")]
    vectors = [given.get(name, absent[name]) for name in VECTORS]
    return RandomSystem(kind, np.array(matrices), np.array(vectors), rng.uniform(-1.5, 1.5, n))


def _contractive(rng, n, margin):
    """A random matrix with y.A y <= -margin y.y: oscillations, couplings, decay."""
    a = rng.normal(size=(n, n))
    return a - (np.linalg.eigvalsh((a + a.T) / 2).max() + margin) * np.eye(n)


def _waves(rng, n):
    return {
        "amplitude": rng.uniform(-2, 2, n),
        "frequency": rng.uniform(0.5, 6.0, n),
        "phase": rng.uniform(0, 2 * np.pi, n),
    }


def _linear(rng, n):
    """Without time: the estimate has the powers of A alone to see."""
    return {"linear": _contractive(rng, n, rng.uniform(0, 0.3))}


def _quadrature(rng, n):
    """Waves and powers of time; of one in three the derivative vanishes at the start."""
    waves = _waves(rng, n)
    if rng.random() < 1 / 3:
        waves["amplitude"] = np.zeros(n)
    power = rng.integers(1, 7, n).astype(float)
    return waves | {"slope": rng.uniform(-2, 2, n) / T_END**power, "power": power}


def _stiff(rng, n):
    """Driven, with rates of decay from 0.1 to 1e4, and a start off the smooth solution."""
    modes, _ = np.linalg.qr(rng.normal(size=(n, n)))
    rates = -(10.0 ** np.array([*rng.uniform(-1, 1, n - 1), rng.uniform(1, 4)]))
    a = modes @ np.diag(rates) @ modes.T
    return {"linear": (a + a.T) / 2} | _waves(rng, n)


def _network(rng, n):
    """A small driven network: the decay of A outweighs what the saturating part can grow."""
    outer, inner = rng.normal(size=(2, n, n))
    return {
        "linear": _contractive(rng, n, 2.0),
        "outer": outer / np.linalg.norm(outer, 2),
        "inner": 2.0 * inner / np.linalg.norm(inner, 2),
        "input_weight": rng.uniform(-2, 2, n),
    } | _waves(rng, n)


def _cubic(rng, n):
    """Driven, coupled, with a damping of the third power."""
    damping = {"linear": _contractive(rng, n, 0.0), "damping": rng.uniform(0, 3, n)}
    return damping | _waves(rng, n)


KINDS = {
    "linear": _linear,
    "quadrature": _quadrature,
    "stiff": _stiff,
    "network": _network,
    "cubic": _cubic,
}
"""Makers by name: of a generator and the number of states, the terms that are not zero."""
