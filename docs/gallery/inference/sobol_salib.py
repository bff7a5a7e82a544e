"""
What the effect of a drug depends on: Sobol indices
===================================================

A drug is swallowed. Four properties of a body decide how much of it reaches the blood, and when.
Which of them explain that people differ? SALib draws the sample and takes it apart; cubie solves
its runs. For the area under the curve, dose x available / clearance, the indices are known in
closed form.
"""

import matplotlib.pyplot as plt
import numpy as np
from SALib.analyze import sobol as analysis
from SALib.sample import sobol as sample

import cubie

dose = 100.0


def body(t, y, available, absorption, volume, clearance):
    gut, blood = y
    absorbed = absorption * gut
    return [-absorbed, available * absorbed - clearance / volume * blood]


def level(t, y, available, absorption, volume, clearance):
    return {"level": y[1] / volume}


problem = {
    "num_vars": 4,
    "names": ["available", "absorption", "volume", "clearance"],
    "bounds": [[0.5, 1.0], [0.5, 2.0], [20.0, 40.0], [2.0, 6.0]],
}
points = sample.sample(problem, 2048, calc_second_order=False, seed=1)

# %%
# The rows of the sample are runs. Peak and area are those of the solution between the steps.
sweep = cubie.sweep(
    body,
    (0, 200),
    {"gut": dose, "blood": 0.0},
    over=cubie.table(points, problem["names"]),
    observables=level,
    summaries={"level": ["integral", "max"]},
    rtol=1e-6,
)
runs = sweep.run(progress=False).to_xarray()
indices = {
    name: analysis.analyze(problem, runs[f"{what} of level"].values, False, seed=1)
    for name, what in (("area", "integral"), ("peak", "max"))
}

# %%
# Moments of the two uniform distributions that count for the area give its indices.
low, high = 2.0, 6.0
share = np.array([0.75, (1**3 - 0.5**3) / 1.5])  # of what is available: mean, mean square
inverse = np.array([np.log(high / low), 1 / low - 1 / high]) / (high - low)
variance = share[1] * inverse[1] - (share[0] * inverse[0]) ** 2
known = np.zeros(4)
known[0] = (share[1] - share[0] ** 2) * inverse[0] ** 2 / variance
known[3] = (inverse[1] - inverse[0] ** 2) * share[0] ** 2 / variance
print(f"{len(points)} runs")
for name, found, exact in zip(problem["names"], indices["area"]["S1"], known, strict=True):
    print(f"{name:10} {found:6.3f}  closed form {exact:.3f}")
assert np.allclose(indices["area"]["S1"], known, atol=0.02)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")
where = np.arange(4)
for ax, (name, found) in zip(axes, indices.items(), strict=True):
    ax.bar(where - 0.2, found["S1"], 0.4, label="alone")
    ax.bar(where + 0.2, found["ST"], 0.4, label="with others")
    ax.set(title=f"{name} of the level", xticks=where, xticklabels=problem["names"])
axes[0].plot(where - 0.2, known, "k_", markersize=14, label="closed form")
axes[0].set(ylabel="part of the variance")
axes[0].legend()
plt.show()
