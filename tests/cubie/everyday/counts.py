"""What a solve cost, and the fields of the result by name."""

import numpy as np
from scipy.integrate import solve_ivp

sol = solve_ivp(lambda t, y: [-2 * y[0] + np.sin(t)], (0, 3), [1.0], rtol=1e-6, method="RK45")
assert sol.nfev > 0
assert sol["njev"] == 0
assert sol.nlu == 0
assert sol.sol is None
assert sol.t_events is None
assert sol.y_events is None
answers = {"end": sol.y[0, -1], "points": sol.t.shape[0] == sol.y.shape[1]}
tolerance = 1e-4
