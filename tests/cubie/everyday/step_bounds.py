"""The first and the largest step are chosen, and nothing is missed between."""

import numpy as np
from scipy.integrate import solve_ivp


def pulse(t, y):
    return [np.exp(-(((t - 50) / 0.5) ** 2)) - 0.01 * y[0]]


sol = solve_ivp(pulse, (0, 100), [0.0], first_step=0.01, max_step=0.25, rtol=1e-6, atol=1e-9)
answers = {
    "first": sol.t[1], "largest": np.diff(sol.t).max() <= 0.25 + 1e-12, "end": sol.y[0, -1],
}  # fmt: skip
tolerance = 1e-5
