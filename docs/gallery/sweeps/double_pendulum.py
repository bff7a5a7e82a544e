"""
A sweep that is stopped, and goes on
====================================

How long does a double pendulum swing until one of its arms turns over? The picture is a fractal,
but for a lens in the middle where the energy forbids it (Heyl 2008). With a store on disk such a
sweep may have a million runs and be stopped at any time; this one has fewer, so that the page is
built soon, and is stopped in the middle on purpose.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

import cubie


def pendulum(t, y):
    """Two equal masses on equal arms; time in units of sqrt(length / g)."""
    a, b, da, db = y
    s, c = np.sin(a - b), np.cos(a - b)
    gap = 2 - c * c
    dda = (np.sin(b) * c - 2 * np.sin(a) - s * (da * da * c + db * db)) / gap
    ddb = (2 * np.sin(a) * c - 2 * np.sin(b) + s * (2 * da * da + db * db * c)) / gap
    return [da, db, dda, ddb]


# %%
# A run ends where an arm points upwards. The other half of the picture is this one, turned; with
# ``side = 1415`` it is a million runs.
side = 160
store = Path(tempfile.mkdtemp()) / "pendulums.zarr"
sweep = cubie.sweep(
    pendulum,
    (0, 60),
    {"a": 0.0, "b": 0.0, "da": 0.0, "db": 0.0},
    over=cubie.grid(a=np.linspace(-3.1, 3.1, side), b=np.linspace(0, 3.1, side // 2)),
    events=[
        cubie.Event(lambda t, y: np.cos(y[0] / 2), terminal=True),
        cubie.Event(lambda t, y: np.cos(y[1] / 2), terminal=True),
    ],
    max_events=0,
    save_states=False,
    rtol=1e-6,
    store=store,
    chunk=side * side // 8,
)


# %%
# As if somebody had pressed Ctrl-C, or the machine had been taken away, after half of it.
def stop(done):
    if done.runs_done >= done.n_runs // 2:
        raise KeyboardInterrupt


with suppress(KeyboardInterrupt):
    sweep.run(progress=stop)
print(f"{sweep.n_chunks_done} of {sweep.n_chunks} chunks are on disk")

# %%
# Another process needs nothing but the store.
rest = cubie.Sweep.resume(store)
rest.run(progress=False)
print(f"{rest.n_chunks_done} of {rest.n_chunks} chunks are on disk")
runs = rest.to_xarray().load()

# %%
# Upright arms have at least the energy of the lower one alone, -1. Pendulums that begin with less
# never turn over.
forbidden = 2 * np.cos(runs.a) + np.cos(runs.b) > 1
turned = runs.status == int(cubie.RunStatus.EVENT)
print(f"{turned.sum().item()} of {turned.size} turned over")
print(
    f"of {forbidden.sum().item()} that have too little energy: {(turned & forbidden).sum().item()}"
)
assert not (turned & forbidden).any()

# %%
upper = runs.t_reached.where(turned)
whole = np.concatenate([upper.values[::-1, ::-1], upper.values], axis=1)
b = np.concatenate([-runs.b.values[::-1], runs.b.values])
fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
image = ax.pcolormesh(runs.a, b, whole.T, cmap="inferno_r", norm=LogNorm(1, 60))
border = 2 * np.cos(runs.a.values) + np.cos(b)[:, None]
ax.contour(runs.a, b, border, levels=[1], colors="k", linewidths=1)
ax.set(xlabel="angle of the upper arm", ylabel="angle of the lower arm", facecolor="0.85")
fig.colorbar(image, label="time until an arm turns over")
plt.show()
