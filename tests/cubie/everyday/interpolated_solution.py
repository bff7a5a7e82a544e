"""A solution as a function of time."""

import numpy as np
from scipy.integrate import solve_ivp

sol = solve_ivp(
    lambda t, y: [y[1], -y[0]], (0, 10), [0.0, 1.0], dense_output=True, rtol=1e-8, atol=1e-10
)
t = np.linspace(0, 10, 101)
answers = {"within": np.abs(sol.sol(t)[0] - np.sin(t)).max() < 1e-5, "at": sol.sol(1.0)}
tolerance = 1e-5
