"""A band of the Jacobian and a least step, where the method knows of both."""

import warnings

import numpy as np
from scipy.integrate import solve_ivp

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # some methods have no use for them
    sol = solve_ivp(
        lambda t, u: np.array([-u[0] + u[1], u[0] - 2 * u[1] + u[2], u[1] - u[2]]), (0, 2),
        [1.0, 0.0, 0.0], method="Radau", lband=1, uband=1, min_step=1e-9, rtol=1e-7, atol=1e-9,
    )  # fmt: skip
answers = {"end": sol.y[:, -1]}
tolerance = 1e-5
