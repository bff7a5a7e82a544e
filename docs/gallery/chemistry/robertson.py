"""
Sensitivities of Robertson's reaction
=====================================

Three reactions whose rates span nine decades: the standard test of stiff solvers since 1966. On
which of the rates does each species depend, and when? The equations of the derivatives are
solved with the states; nothing is differenced. The numbers at t = 0.4 are those that the manual
of CVODES prints for its example ``cvsRoberts_FSA_dns``.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie


def robertson(t, y, k1, k2, k3):
    a, b, c = y
    return [-k1 * a + k2 * b * c, k1 * a - k2 * b * c - k3 * b**2, k3 * b**2]


rates = np.array([0.04, 1e4, 3e7])
times = np.concatenate([[0.4], np.geomspace(0.5, 4e10, 300)])
run = cubie.solve_ivp(
    robertson,
    (0, 4e10),
    [1.0, 0.0, 0.0],
    method="rodas5p",
    args=tuple(rates),
    t_eval=times,
    sensitivities="parameters",
    rtol=1e-8,
    atol=[1e-12, 1e-18, 1e-12],
)

# %%
# Rows are species, columns rates.
print(run.dy[:, :, 0])
manual = np.array(
    [
        [-3.5595e-01, 9.5431e-08, -1.5833e-11],
        [3.9025e-04, -2.1309e-10, -5.2900e-13],
        [3.5556e-01, -9.5218e-08, 1.6362e-11],
    ]
)
off = np.abs(run.dy[:, :, 0] / manual - 1).max()
print(f"largest relative difference to the manual, of five digits: {off:.0e}")
assert off < 2e-4

# %%
# Late in the reaction what is left of A goes as k2² / (k1² k3): its curves end at -2, 2 and -1.
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharex=True, layout="constrained")
for ax, name, y, dy in zip(axes, "ABC", run.y, run.dy, strict=True):
    for rate, k, by in zip(run.inputs, rates, dy, strict=True):
        ax.semilogx(times, k * by / y, label=rate)
    ax.set(title=name, xlabel="time (s)")
axes[0].set(ylabel="percent of a species by percent of a rate")
axes[0].legend()
plt.show()
