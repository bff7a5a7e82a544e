"""
Bifurcations of the Lorenz system
=================================

The maxima of z, as Lorenz followed them, while the heating rho grows: windows of periodic
convection open in the chaos. The largest ends at rho = 166.06, where bursts set in: the
intermittency of Pomeau and Manneville (Commun. Math. Phys. 74, 1980).
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie


def lorenz(t, y, rho, sigma, beta):
    x, y, z = y
    return [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]


# %%
# Each run keeps the first forty maxima behind the transient. They are found between the steps,
# and no trajectory is stored.
sweep = cubie.sweep(
    lorenz,
    (0, 80),
    {"x": 1, "y": 1, "z": 100},
    over=cubie.grid(rho=np.linspace(90, 190, 2001)),
    args={"sigma": 10, "beta": 8 / 3},
    summaries={"z": {"maxima": "peaks(k=40)"}},
    after=40.0,
    rtol=1e-6,
)
runs = sweep.run(progress=False).to_xarray()
maxima = runs["maxima of z: values"].values.reshape(2001, 40)
rho = runs.rho.values

# %%
# Where convection is periodic, the same few maxima come again: the last ten of them are among the
# ten before, to a ten-thousandth. At rho = 160 they do; from there on we look for the first that
# do not.
again = np.abs(maxima[:, -10:, None] - maxima[:, None, -20:-10]).min(axis=2).max(axis=1)
onset = rho[(rho > 160) & (again > 1e-4 * rho)].min()
print(f"intermittency sets in at rho = {onset:.2f}; published: 166.06")
assert abs(onset - 166.06) < 0.2  # the first bursts may be long in coming

# %%
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(np.repeat(rho, 40), maxima.ravel(), ",", color="#1f3b5c")
ax.axvline(166.06, color="#c05621", linewidth=1, label="intermittency")
ax.set(xlabel="heating rho", ylabel="maxima of z", xlim=(90, 190))
ax.legend(loc="upper left")
plt.show()
