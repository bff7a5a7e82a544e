"""A class of solvers in place of a name, and results as an array with a row a time."""

import numpy as np
from scipy import integrate
from scipy.integrate import solve_ivp

result = solve_ivp(
    lambda t, y: [y[1], -0.1 * y[1] - y[0]],
    (0, 20),
    (1.0, 0.0),
    method=integrate.RK23,
    rtol=1e-7,
    atol=1e-9,
)
table = np.column_stack((result.t, result.y.T))
answers = {"end": table[-1], "columns": table.shape[1]}
tolerance = 1e-4
