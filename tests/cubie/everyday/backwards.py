"""From a later time to an earlier one."""

import numpy as np
from scipy.integrate import solve_ivp

sol = solve_ivp(lambda t, y: [y[1], -y[0]], [5, 0], [np.cos(5), -np.sin(5)], rtol=1e-8, atol=1e-10)
assert sol.t[0] == 5
assert sol.t[-1] == 0
answers = {"end": sol.y[:, -1], "falls": np.all(np.diff(sol.t) < 0)}
tolerance = 1e-5
