"""Stiff kinetics by backward differentiation."""

from scipy.integrate import solve_ivp


def kinetics(t, y):
    return [-1e3 * y[0] + y[1], 1e3 * y[0] - 2 * y[1]]


sol = solve_ivp(kinetics, (0, 5), [1.0, 0.0], method="BDF", rtol=1e-7, atol=1e-9)
answers = {"end": sol.y[1, -1]}
tolerance = 1e-3
