"""Two species, parameters in args, times to plot at in t_eval."""

import numpy as np
from scipy.integrate import solve_ivp


def lotka_volterra(t, z, a, b, c, d):
    x, y = z
    return [a * x - b * x * y, -c * y + d * x * y]


t = np.linspace(0, 15, 300)
sol = solve_ivp(
    lotka_volterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), t_eval=t, rtol=1e-6, atol=1e-8
)
x, y = sol.y
answers = {"prey": x[::30], "predators": y[::30], "largest": x.max(), "times": sol.t}
tolerance = 1e-3
