"""
An outbreak at a boarding school
================================

In January 1978 influenza went through an English boarding school with 763 boys, and the school's
doctor counted those in bed (British Medical Journal, 4 March 1978). The model of Kermack and
McKendrick has two rates to find. Two are few enough to try all pairs on a grid, which shows how
well the data tell them, too.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

boys = 763
in_bed = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])
days = np.arange(in_bed.size)


def sir(t, y, infection, recovery):
    susceptible, infected = y
    new = infection * susceptible * infected / boys
    return [-new, new - recovery * infected]


# %%
# Forty thousand outbreaks, each with the boys in bed at the days of the data.
sweep = cubie.sweep(
    sir,
    (0, 13),
    {"susceptible": boys - 3, "infected": 3},
    over=cubie.grid(infection=np.linspace(1.4, 2.0, 201), recovery=np.linspace(0.35, 0.55, 201)),
    t_eval=days,
    save_states=["infected"],
    rtol=1e-6,
)
runs = sweep.run(progress=False).to_xarray()
misfit = ((runs.y.isel(component=0) - in_bed) ** 2).sum("time")
best = misfit.where(misfit == misfit.min(), drop=True)
infection, recovery = best.infection.item(), best.recovery.item()

# %%
# Murray (Mathematical Biology, 10.2) fitted a threshold of 202 susceptible boys: each boy
# infected 763 / 202 = 3.78 others at the start.
print(f"infection {infection:.3f} and recovery {recovery:.3f} per day")
print(f"R0 = {infection / recovery:.2f}; published: {763 / 202:.2f}")
assert abs(infection / recovery - 3.78) < 0.1

# %%
curve = runs.y.isel(component=0).sel(infection=infection, recovery=recovery)
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
left.plot(days, in_bed, "o", label="counted")
left.plot(days, curve, label="best run")
left.set(xlabel="days", ylabel="boys in bed")
left.legend(loc="upper right")
scatter = np.sqrt(misfit / in_bed.size)
image = right.pcolormesh(scatter.recovery, scatter.infection, scatter, vmax=60, cmap="viridis_r")
right.plot(recovery, infection, "w+", markersize=12)
right.set(xlabel="recovery per day", ylabel="infection per day")
fig.colorbar(image, label="boys off, root mean square")
plt.show()
