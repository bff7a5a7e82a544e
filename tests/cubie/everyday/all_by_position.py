"""Everything by its position, up to args."""

import numpy as np
from scipy.integrate import solve_ivp

times = np.array([0.5, 1.0, 2.0])


def decay(t, y, k):
    return [-k * y[0]]


sol = solve_ivp(
    decay, (0, 2), [1.0], "RK45", times, False, None, False, (0.7,), rtol=1e-7,
    atol=1e-9,
)  # fmt: skip
answers = {"y": sol.y, "t": sol.t}
tolerance = 1e-5
