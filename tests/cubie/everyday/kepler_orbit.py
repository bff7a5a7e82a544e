"""An orbit: energy is kept to the tolerance."""

import numpy as np
from scipy.integrate import solve_ivp


def kepler(t, w):
    r = np.sqrt(w[0] ** 2 + w[1] ** 2)
    return np.concatenate((w[2:], -w[:2] / r**3))


sol = solve_ivp(
    kepler, (0, 4 * np.pi), [0.5, 0, 0, np.sqrt(3)], method="DOP853", rtol=1e-10, atol=1e-10
)
energy = 0.5 * (sol.y[2] ** 2 + sol.y[3] ** 2) - 1 / np.hypot(sol.y[0], sol.y[1])
answers = {"end": sol.y[:, -1] + 1, "energy": energy[-1], "kept": np.ptp(energy) < 1e-6}
tolerance = 1e-5
