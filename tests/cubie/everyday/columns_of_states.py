"""A function written for many states at once, and said to be so."""

import numpy as np
from scipy.integrate import solve_ivp


def brusselator(t, y):
    u, v = y
    return np.vstack((1 + u**2 * v - 4 * u, 3 * u - u**2 * v))


sol = solve_ivp(
    brusselator, (0, 10), [1.5, 3.0], method="Radau", vectorized=True, rtol=1e-7, atol=1e-9
)
answers = {"end": sol.y[:, -1]}
tolerance = 1e-4
