"""
Spiking neurons of a network, with reset
========================================

Networks of many neurons use Izhikevich's (IEEE Trans. Neural Netw. 14, 2003): two equations, and
a rule. At 30 mV a neuron has fired; its potential is reset to c, and its recovery grows by d.
Where c and d are, decides which kind of cell it is: here a plane of 14,400 cells, by how many
spikes come in a burst.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie


def neuron(t, y, a, c, d, current):
    v, u = y
    return [0.04 * v**2 + 5 * v + 140 - u + current, a * (0.2 * v - u)]


fires = cubie.Event(
    lambda t, y, a, c, d, current: y[0] - 30,
    direction=1,
    apply=lambda t, y, a, c, d, current: [c, y[1] + d],
)

# %%
# The times of spikes are kept by the events of a sweep. Bursts are parted by pauses that are more
# than twice as long as the shortest one.
cells = cubie.sweep(
    neuron,
    (0, 1000),
    {"v": -70.0, "u": -14.0},
    over=cubie.grid(c=np.linspace(-65, -48, 120), d=np.linspace(0.5, 9, 120)),
    args={"a": 0.02, "current": 10.0},
    events=fires,
    max_events=400,
    rtol=1e-4,
)
runs = cells.run(progress=False).to_xarray()
times = runs.t_events.isel(event=0)
pauses = times.where(times > 300).diff("occurrence")
shortest = pauses.min("occurrence")
bursts = (pauses > 2 * shortest).sum("occurrence")
spikes = pauses.notnull().sum("occurrence")
in_burst = (spikes / bursts).where(bursts > 0, 1.0)

# %%
# Without recovery (a = d = u = 0) the time from a reset to the next spike is an integral with
# arctangents.
current, c = 20.0, -65.0
alone = cubie.solve_ivp(
    neuron,
    (0, 200),
    [c, 0.0],
    args=(0.0, c, 0.0, current),
    events=fires,
    rtol=1e-9,
    atol=1e-9,
)
q = np.sqrt(4 * 0.04 * (140 + current) - 5**2)
period = 2 / q * (np.arctan((0.08 * 30 + 5) / q) - np.arctan((0.08 * c + 5) / q))
found = np.diff(alone.t_events[0]).mean()
print(f"{found:.5f} ms between spikes; closed form: {period:.5f} ms")
assert np.isclose(found, period, rtol=1e-6)

# %%
kinds = {"regular": (-65, 8), "bursting": (-55, 4), "chattering": (-50, 2)}
c, d = np.array(list(kinds.values())).T.astype(float)
traces = cubie.solve_ivp(
    neuron,
    (0, 300),
    [-70.0, -14.0],
    args=(0.02, c, d, 10.0),
    events=fires,
    t_eval=np.linspace(0, 300, 3001),
    rtol=1e-6,
)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for row, (name, trace) in enumerate(zip(kinds, traces.y[:, 0], strict=True)):
    left.plot(traces.t, np.minimum(trace, 30) - 140 * row, linewidth=0.8)
    left.text(0, 38 - 140 * row, name)
left.set(ylim=(-380, 70), xlabel="time (ms)", yticks=[])
image = right.pcolormesh(in_burst.d, in_burst.c, in_burst, vmin=1, vmax=10, cmap="YlGnBu")
right.plot(d, c, "k.")
for name, x, y in zip(kinds, d, c, strict=True):
    right.annotate(name, (x, y), (3, 3), textcoords="offset points")
right.set(xlabel="growth of recovery d", ylabel="reset c (mV)")
fig.colorbar(image, label="spikes in a burst")
plt.show()
