"""
A controller whose actuator saturates
=====================================

A PID controller holds a plant of three lags, 1 / (s + 1)^3. Ziegler and Nichols (1942) tune it
by the gain at which the plant would swing for ever, which for this one is 8. Real valves open
only so far, and meanwhile the integral winds up; back-calculation lets it follow the valve.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

wanted, lowest, highest = 1.0, 0.0, 1.2


def loop(t, y, gain, integral, derivative, follow, limited):
    x1, x2, x3, total = y
    error = wanted - x3
    asked = gain * error + total - derivative * (x2 - x3)
    given = np.where(limited > 0, np.minimum(np.maximum(asked, lowest), highest), asked)
    return [given - x1, x1 - x2, x2 - x3, integral * error + follow * (given - asked)]


# %%
# With the gain alone and a valve without limits: is the swing of the last minute larger than that
# of the minute before?
gains = np.linspace(6, 10, 401)
swings = []
for window in ((0, 60), (60, 120)):
    runs = cubie.solve_ivp(
        loop,
        (0, 120),
        [0.01, 0.0, 0.0, 0.0],
        args=(gains, 0.0, 0.0, 0.0, 0.0),
        summaries={"y2": "std"},
        window=window,
        rtol=1e-8,
        atol=1e-10,
    )
    swings.append(runs.summaries["y2"]["std"])
ultimate = np.interp(0.0, np.log(swings[1] / swings[0]), gains)
print(f"it swings for ever at a gain of {ultimate:.2f}; known: 8.00")
assert abs(ultimate - 8) < 0.1

# %%
# The rule of Ziegler and Nichols, with a period of 2 pi / sqrt(3): with the valve's limits, and
# without and with back-calculation.
gain, period = 0.6 * ultimate, 2 * np.pi / np.sqrt(3)
integral, derivative = gain / (period / 2), gain * period / 8
cases = {"no limits": (0.0, 0.0), "limits": (0.0, 1.0), "limits, back-calculation": (1.0, 1.0)}
follow, limited = np.array(list(cases.values())).T
times = np.linspace(0, 40, 801)
steps = cubie.solve_ivp(
    loop,
    (0, 40),
    np.zeros(4),
    args=(gain, integral, derivative, follow, limited),
    t_eval=times,
    rtol=1e-6,
)

# %%
# An overshoot for each integral gain tells what winds up.
integrals = np.linspace(0.5, 4, 200)
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for name, (back, limits), course in zip(cases, cases.values(), steps.y[:, 2], strict=True):
    left.plot(times, course, label=name)
    runs = cubie.solve_ivp(
        loop,
        (0, 60),
        np.zeros(4),
        args=(gain, integrals, derivative, back, limits),
        summaries={"y2": "max"},
        rtol=1e-6,
    )
    right.plot(integrals, runs.summaries["y2"]["max"] - wanted)
left.set(xlabel="time", ylabel="controlled quantity")
left.legend()
right.set(xlabel="integral gain", ylabel="overshoot")
plt.show()
