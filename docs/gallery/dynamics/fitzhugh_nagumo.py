"""
Where a FitzHugh-Nagumo neuron oscillates
=========================================

Between two currents the resting state of a FitzHugh-Nagumo neuron is unstable, and it fires
without end. Where, depends on how slowly it recovers; the border is that of a Hopf bifurcation,
known in closed form. The picture is a hundred thousand neurons, each with one number kept.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

a, b = 0.7, 0.8


def neuron(t, y, current, recovery):
    v, w = y
    return [v - v**3 / 3 - w + current, recovery * (v + a - b * w)]


# %%
# The swing of v behind the transient: nothing where the neuron rests.
sweep = cubie.sweep(
    neuron,
    (0, 600),
    {"v": 0.0, "w": 0.5},
    over=cubie.grid(current=np.linspace(0, 1.75, 351), recovery=np.linspace(0.03, 0.6, 286)),
    summaries={"v": "extrema"},
    after=500.0,
    rtol=1e-5,
)
swing = sweep.run(progress=False).to_xarray()["extrema of v"].diff("extrema of v, nth").squeeze()

# %%
# The resting state loses its stability where the trace of its Jacobian is zero, at v = ±sqrt(1 -
# b * recovery). Oscillations begin with their full swing, and a little outside of the border both
# are stable: these runs, which begin far from rest, find the oscillation there.
recovery = swing.recovery.values
v = np.sqrt(1 - b * recovery)[:, None] * np.array([-1, 1])
border = (v + a) / b - v + v**3 / 3
oscillates = swing.values > 0.5
slow = np.argmin(np.abs(recovery - 0.3))
currents = swing.current.values[oscillates[:, slow]]
print(f"recovery {recovery[slow]:.2f}: oscillates from {currents[0]:.3f} to {currents[-1]:.3f}")
print("closed form: from {:.3f} to {:.3f}".format(*border[slow]))
assert np.allclose(currents[[0, -1]], border[slow], atol=0.03)

# %%
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
image = ax.pcolormesh(swing.current, recovery, swing.values.T, cmap="magma")
ax.plot(border, recovery, color="w", linestyle="--", linewidth=1)
ax.plot([], [], color="w", linestyle="--", label="closed form")
ax.set(xlabel="current", ylabel="speed of recovery")
ax.legend(loc="upper center", labelcolor="w", facecolor="k")
fig.colorbar(image, label="swing of v")
plt.show()
