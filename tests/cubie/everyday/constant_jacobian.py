"""A linear system whose Jacobian is a matrix."""

import numpy as np
from scipy.integrate import solve_ivp

matrix = np.array([[-1.0, -5.0], [1.0, 1.0]])
sol = solve_ivp(
    lambda t, y: matrix @ y, [0, 2], [0, 2], method="Radau", jac=matrix, rtol=1e-6, atol=1e-8
)
t = sol.t
exact = np.vstack((-5 * np.sin(2 * t), 2 * np.cos(2 * t) + np.sin(2 * t)))
answers = {"within": np.abs(sol.y - exact).max() < 1e-4, "end": sol.y[:, -1]}
tolerance = 1e-4
