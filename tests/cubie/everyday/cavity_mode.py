"""A driven mode with complex parameters in args."""

import numpy as np
from scipy.integrate import solve_ivp


def mode(t, a, kappa, drive):
    return -kappa * a + drive * np.exp(-1j * t)


sol = solve_ivp(mode, (0, 5), [0j], args=(0.5 + 2j, 0.1j), rtol=1e-8, atol=1e-10)
answers = {"end": sol.y[:, -1], "size": abs(sol.y[0, -1])}
tolerance = 1e-5
