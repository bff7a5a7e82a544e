"""A rod by the method of lines, with the sparsity of its Jacobian."""

import numpy as np
from scipy.integrate import solve_ivp

n = 10
x = np.linspace(0, 1, n + 2)[1:-1]
pattern = np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)


def heat(t, u):
    padded = np.hstack((0.0, u, 0.0))
    return (padded[2:] - 2 * u + padded[:-2]) * (n + 1) ** 2


sol = solve_ivp(
    heat, (0, 0.05), np.sin(np.pi * x), method="Radau", jac_sparsity=pattern, rtol=1e-6, atol=1e-9
)
answers = {"end": sol.y[:, -1]}
tolerance = 1e-4
