"""One equation, all defaults: every step is kept."""

from scipy.integrate import solve_ivp

sol = solve_ivp(lambda t, y: -0.5 * y, [0, 10], [2, 4, 8])
assert sol.success
assert sol.status == 0
assert sol.t[0] == 0
assert sol.t[-1] == 10
answers = {"end": sol.y[:, -1], "start": sol.y[:, 0]}
