"""A trajectory for a picture, by the method of order eight."""

import numpy as np
from scipy.integrate import solve_ivp

sigma, rho, beta = 10.0, 28.0, 8.0 / 3.0


def lorenz(t, state):
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


sol = solve_ivp(
    lorenz, (0.0, 5.0), [1.0, 1.0, 1.0], method="DOP853", t_eval=np.linspace(0, 5, 51),
    rtol=1e-10, atol=1e-12,
)  # fmt: skip
answers = {"x": sol.y[0], "z": sol.y[2]}
tolerance = 1e-5
