"""Samples of an input, interpolated in the right-hand side."""

import numpy as np
from scipy.integrate import solve_ivp

hours = np.arange(0.0, 25.0)
outside = 10 + 5 * np.sin(2 * np.pi * hours / 24)


def room(t, temperature):
    return 0.3 * (np.interp(t, hours, outside) - temperature)


sol = solve_ivp(room, (0, 24), [20.0], max_step=0.5, t_eval=hours, rtol=1e-6)
answers = {"temperature": sol.y[0]}
tolerance = 1e-4
