"""Coupled cells, with a Jacobian that is a sparse matrix."""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import diags

n = 8
links = diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n)).tocsc()


def cells(t, u):
    return links @ u - u**3


sol = solve_ivp(
    cells, (0, 3), np.linspace(1, 2, n), method="Radau", jac=lambda t, u: links - diags(3 * u**2),
    rtol=1e-6, atol=1e-8,
)  # fmt: skip
answers = {"end": sol.y[:, -1]}
tolerance = 1e-4
