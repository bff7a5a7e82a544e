"""A function with helpers and constants of its own."""

import numpy as np
from scipy.integrate import solve_ivp

g, length, mass = 9.81, 1.0, 1.0


def accelerations(a, b, da, db):
    d = a - b
    below = length * (2 * mass + mass - mass * np.cos(2 * d))
    first = -g * 3 * mass * np.sin(a) - mass * g * np.sin(a - 2 * b)
    first -= 2 * np.sin(d) * mass * (db**2 * length + da**2 * length * np.cos(d))
    second = 2 * np.sin(d) * (da**2 * length * 2 * mass + g * 2 * mass * np.cos(a))
    second += 2 * np.sin(d) * db**2 * length * mass * np.cos(d)
    return first / below, second / below


def double_pendulum(t, y):
    a, da, b, db = y
    first, second = accelerations(a, b, da, db)
    return np.array([da, first, db, second])


sol = solve_ivp(double_pendulum, [0, 3], [0.5, 0, 0.8, 0], rtol=1e-9, atol=1e-10)
answers = {"end": sol.y[:, -1]}
tolerance = 1e-5
