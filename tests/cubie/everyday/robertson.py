"""Robertson's reactions over eight decades, with the Jacobian as a function."""

import numpy as np
from scipy.integrate import solve_ivp


def robertson(t, y):
    slow, fast = 0.04 * y[0], 3e7 * y[1] ** 2
    back = 1e4 * y[1] * y[2]
    return [-slow + back, slow - back - fast, fast]


def jacobian(t, y):
    return np.array(
        [
            [-0.04, 1e4 * y[2], 1e4 * y[1]],
            [0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]],
            [0.0, 6e7 * y[1], 0.0],
        ]
    )


times = np.logspace(-5, 5, 11)
sol = solve_ivp(
    robertson,
    (0, 1e5),
    [1, 0, 0],
    "Radau",
    times,
    jac=jacobian,
    rtol=1e-6,
    atol=[1e-8, 1e-12, 1e-8],
)
answers = {"y": sol.y * [[1], [1e4], [1]], "sum": sol.y.sum(axis=0)}
tolerance = 1e-4
