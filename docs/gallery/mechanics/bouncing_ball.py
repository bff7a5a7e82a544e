"""
A bouncing ball comes to rest
=============================

A ball loses a part of its speed at each bounce, and makes infinitely many of them in a finite
time. One event finds the ground and reverses the velocity; another ends the run when the ball
rises less than a tenth of a millimetre.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

g, height, lowest = 9.81, 2.0, 1e-4


def fall(t, y, rebound):
    return [y[1], -g]


ground = cubie.Event(
    lambda t, y, rebound: y[0],
    direction=-1,
    apply=lambda t, y, rebound: [0.0 * y[0], -rebound * y[1]],
)
at_rest = cubie.Event(
    lambda t, y, rebound: y[0] + y[1] ** 2 / (2 * g) - lowest, direction=-1, terminal=True
)

# %%
# A thousand balls, each of another material. Spans have no end: each run ends by its own event.
rebound = np.linspace(0.3, 0.95, 1000)
balls = cubie.solve_ivp(
    fall,
    (0, np.inf),
    [height, 0.0],
    args=(rebound,),
    events=[ground, at_rest],
    max_events=0,
    rtol=1e-9,
    atol=1e-12,
)

# %%
# The times between bounces are a geometric series, whose sum is known.
first = np.sqrt(2 * height / g)
to_rest = first * (1 + rebound) / (1 - rebound)
bounces = balls.n_events[0]
until_last = to_rest - 2 * first * rebound**bounces / (1 - rebound)
print(f"rebound {rebound[-1]:.2f}: {bounces[-1]} bounces in {balls.t_reached[-1]:.4f} s")
print(f"sum of the series until there: {until_last[-1]:.4f} s; of all of it: {to_rest[-1]:.4f} s")
assert np.allclose(balls.t_reached, until_last, rtol=1e-6)

# %%
few = np.array([0.85, 0.7, 0.5])
times = np.linspace(0, 5, 1001)
paths = cubie.solve_ivp(
    fall, (0, 5), [height, 0.0], args=(few,), events=[ground, at_rest], t_eval=times, rtol=1e-9
)
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for rate, path in zip(few, paths.y[:, 0], strict=True):
    left.plot(times, path, label=f"rebound {rate:g}")
left.set(xlabel="time (s)", ylabel="height (m)")
left.legend()
right.semilogy(rebound, balls.t_reached, label="solved", linewidth=3)
right.semilogy(rebound, to_rest, "k--", label="sum of the series", linewidth=1)
right.set(xlabel="rebound", ylabel="time until it is at rest (s)")
right.legend()
plt.show()
