"""An epidemic, looked at once a day."""

import numpy as np
from scipy.integrate import solve_ivp

beta, gamma, population = 0.4, 0.1, 1000.0


def sir(t, y):
    susceptible, infected, _ = y
    new = beta * susceptible * infected / population
    return -new, new - gamma * infected, gamma * infected


days = np.arange(0, 161)
sol = solve_ivp(sir, (0, 160), (999.0, 1.0, 0.0), t_eval=days, rtol=1e-6, atol=1e-6)
susceptible, infected, recovered = sol.y
answers = {
    "peak": infected.max(), "day": days[infected.argmax()], "recovered": recovered[-1],
}  # fmt: skip
tolerance = 1e-3
