"""
Paradox of enrichment: predator and prey on a limit cycle
=========================================================

More food for the prey makes a predator-prey system of Rosenzweig and MacArthur (1963) oscillate:
the coexistence that was stable gives way to a limit cycle, whose minima are ever closer to
extinction. The carrying capacity at which this happens is known in closed form.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

attack, handling, conversion, mortality = 1.0, 0.5, 0.6, 0.4


def community(t, y, capacity):
    prey, predator = y
    eaten = attack * prey / (1 + attack * handling * prey) * predator
    return [prey * (1 - prey / capacity) - eaten, conversion * eaten - mortality * predator]


# %%
# Of each of 400 habitats only the extremes behind the transient are kept.
sweep = cubie.sweep(
    community,
    (0, 2000),
    {"prey": 1.0, "predator": 1.0},
    over=cubie.grid(capacity=np.linspace(2, 7, 401)),
    summaries={"prey": "extrema", "predator": "extrema"},
    after=1500.0,
    rtol=1e-8,
    atol=1e-10,
)
runs = sweep.run(progress=False).to_xarray()
low, high = runs["extrema of prey"].values.T
capacity = runs.capacity.values

# %%
# Behind a Hopf bifurcation the square of the amplitude grows in proportion to the distance from
# it.
near = (capacity > 4.1) & (capacity < 4.4)
slope, offset = np.polyfit(capacity[near], (high - low)[near] ** 2, 1)
loss = mortality * handling
known = (conversion + loss) / (attack * handling * (conversion - loss))
print(f"oscillations begin at a capacity of {-offset / slope:.3f}; closed form: {known:.3f}")
assert abs(-offset / slope - known) < 0.02

# %%
few = np.array([3.0, 4.5, 7.0])
cycles = cubie.solve_ivp(
    community, (0, 300), [1.0, 1.0], t_eval=np.linspace(0, 300, 3001), args=(few,), rtol=1e-8
)
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.fill_between(capacity, low, high, alpha=0.4, label="from least to most prey")
left.axvline(known, color="k", linestyle="--", linewidth=1, label="closed form")
left.set(xlabel="carrying capacity", ylabel="prey")
left.legend(loc="upper left")
for size, (prey, predator) in zip(few, cycles.y, strict=True):
    right.plot(prey, predator, linewidth=0.8, label=f"capacity {size:g}")
right.set(xlabel="prey", ylabel="predator")
right.legend()
plt.show()
