"""Schroedinger's equation of two levels: complex states."""

import numpy as np
from scipy.integrate import solve_ivp

omega, detuning = 1.0, 0.3
hamiltonian = 0.5 * np.array([[detuning, omega], [omega, -detuning]])


def schroedinger(t, psi):
    return -1j * (hamiltonian @ psi)


sol = solve_ivp(
    schroedinger, (0, 10), np.array([1, 0], dtype=complex), t_eval=np.linspace(0, 10, 21),
    rtol=1e-8, atol=1e-10,
)  # fmt: skip
excited = np.abs(sol.y[1]) ** 2
answers = {"psi": sol.y, "excited": excited, "norm": np.sum(np.abs(sol.y) ** 2, axis=0)}
tolerance = 1e-5
