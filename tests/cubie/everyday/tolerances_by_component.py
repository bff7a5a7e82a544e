"""Components of different sizes have tolerances of their own."""

from scipy.integrate import solve_ivp

sol = solve_ivp(
    lambda t, y: [-1e-3 * y[0], 1e-9 * y[0] - 0.1 * y[1]], (0, 100), [1e6, 1e-3],
    rtol=[1e-4, 1e-7], atol=[1.0, 1e-10],
)  # fmt: skip
answers = {"end": sol.y[:, -1]}
tolerance = 1e-3
