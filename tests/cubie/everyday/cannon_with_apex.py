"""A shot: its highest point and its end, and the path in between."""

import numpy as np
from scipy.integrate import solve_ivp


def shot(t, y):
    return [y[2], y[3], 0, -9.81]


def lands(t, y):
    return y[1]


def apex(t, y):
    return y[3]


lands.terminal, lands.direction = True, -1
sol = solve_ivp(shot, [0, 100], [0, 0, 30, 40], events=(lands, apex), dense_output=True, rtol=1e-8)
path = sol.sol(np.linspace(0, sol.t_events[0][0], 50))
answers = {"apex": sol.sol(sol.t_events[1][0]), "range": path[0, -1], "events": len(sol.t_events)}
tolerance = 1e-6
