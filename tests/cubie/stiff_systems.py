"""Right-hand sides whose derivatives and linear systems are tested."""

import numpy as np

from tests.oracle.stiff_problems import STIFF


def brusselator(t, y):
    """Brusselator with diffusion in one dimension, 20 points of two species, interleaved."""
    n, a, b = len(y) // 2, 1.0, 3.0
    diffusion = 0.02 * (n + 1) ** 2
    u = [a, *[y[2 * i] for i in range(n)], a]
    v = [b, *[y[2 * i + 1] for i in range(n)], b]
    derivative = []
    for i in range(1, n + 1):
        reaction = u[i] * u[i] * v[i]
        spread_u = diffusion * (u[i - 1] - 2 * u[i] + u[i + 1])
        spread_v = diffusion * (v[i - 1] - 2 * v[i] + v[i + 1])
        derivative += [a + reaction - (b + 1) * u[i] + spread_u, b * u[i] - reaction + spread_v]
    return derivative


def lorenz96(t, y, forcing):
    """Cyclic advection: every state depends on three others."""
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + forcing for i in range(n)]


def coupled(t, y, strength):
    """Every state depends on every other: a full Jacobian."""
    total = sum(y[j] * (1.0 + 0.1 * j) for j in range(len(y)))
    return [-(2.0 + i) * y[i] + strength * total * total / (1.0 + i) for i in range(len(y))]


# name -> (right-hand side, states, parameters, typical size of the states)
SYSTEMS = {
    **{p.name: (p.fun, len(p.y0), p.args, 1.0) for p in STIFF},
    "brusselator": (brusselator, 40, (), 1.0),
    "lorenz96": (lorenz96, 20, (8.0,), 3.0),
    "coupled": (coupled, 20, (1e-3,), 1.0),
}
# The diodes' currents grow by a factor of e every 0.056 V.
SYSTEMS["ring_modulator"] = (*SYSTEMS["ring_modulator"][:3], 0.05)


def sample(name, n_points, seed=0):
    """Return positive states, (n_points, n)."""
    _, n, _, size = SYSTEMS[name]
    return size * np.random.default_rng(seed).uniform(0.5, 1.5, (n_points, n))
