"""A stiff oscillator by an implicit method."""

from scipy.integrate import solve_ivp

mu = 100.0


def van_der_pol(t, y):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


sol = solve_ivp(van_der_pol, (0, 150), [2.0, 0.0], method="Radau", rtol=1e-6, atol=1e-8)
answers = {"end": sol.y[0, -1], "message": len(sol.message) > 0}
tolerance = 1e-3
