"""LSODA finds out by itself whether a system is stiff."""

import numpy as np
from scipy.integrate import solve_ivp


def banded(t, u):
    left, right = np.hstack((0.0, u[:-1])), np.hstack((u[1:], 0.0))
    return 100 * (left - 2 * u + right) - u**3


sol = solve_ivp(
    banded,
    (0, 0.5),
    np.ones(6),
    method="LSODA",
    lband=1,
    uband=1,
    min_step=1e-10,
    rtol=1e-8,
    atol=1e-15,
)
answers = {"end": sol.y[:, -1]}
tolerance = 1e-3
