"""A call for each of some parameters, results collected in a list."""

import numpy as np
from scipy.integrate import solve_ivp

ends = []
for damping in (0.1, 0.5, 1.0, 2.0):
    sol = solve_ivp(
        lambda t, y, c: [y[1], -y[0] - c * y[1]], [0, 8], [1, 0], args=(damping,), rtol=1e-7
    )
    ends.append(sol["y"][0, -1])
answers = {"ends": np.array(ends)}
tolerance = 1e-3
