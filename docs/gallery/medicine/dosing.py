"""
The same doses in a thousand bodies
===================================

Theophylline, 300 mg every twelve hours, has to stay between 10 and 20 mg/l. People differ in how
fast they absorb and eliminate it, and how far it spreads: what part of them is in that window?
The quantiles of a population answer, and show the first days, when nobody is.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import lognorm

import cubie

dose, every = 300.0, 12.0


def body(t, y, intake, absorption, volume, clearance):
    gut, blood = y
    return [
        intake(t) - absorption * gut,
        absorption * gut - clearance / volume * blood,
    ]


# %%
# A dose dissolves within a quarter of an hour. The samples of the regimen hold until the next one
# and repeat; no step crosses their jumps.
regimen = cubie.Interpolant([0, 0.25, every], [dose / 0.25, 0, dose / 0.25], "previous", "periodic")
sweep = cubie.sweep(
    body,
    (0, 120),
    {"gut": 0.0, "blood": 0.0},
    over=cubie.sampled(
        1024,
        absorption=lognorm(0.4, scale=1.5),
        volume=lognorm(0.15, scale=32.0),
        clearance=lognorm(0.3, scale=2.0),
        by="sobol",
        seed=1,
    ),
    args={"intake": regimen},
    t_eval=np.linspace(0, 120, 481),
    observables=lambda t, y, intake, absorption, volume, clearance: {"level": y[1] / volume},
    summaries={"level": ["mean", "min", "max"]},
    window=(108, 120),
    rtol=1e-6,
)
runs = sweep.run(progress=False).to_xarray()
level = runs.level

# %%
# In the steady state what is eliminated in twelve hours is what was given, so that the mean level
# is dose / (clearance x 12 h), whatever absorption and volume are.
known = dose / (runs.clearance * every)
settled = runs["mean of level"] / known
print(f"mean level over the closed form, of the middle body: {settled.median().item():.4f}")
inside = ((runs["min of level"] > 10) & (runs["max of level"] < 20)).mean().item()
print(f"in the window all of the last twelve hours: {inside:.0%}")
assert abs(settled.median() - 1) < 3e-3

# %%
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for low, high, shade in ((0.05, 0.95, 0.25), (0.25, 0.75, 0.5)):
    band = level.quantile([low, high], dim="sample")
    label = f"{high - low:.0%} of the bodies"
    ax.fill_between(level.time, *band, color="#4a6fa5", alpha=shade, linewidth=0, label=label)
ax.plot(level.time, level.median("sample"), color="#1f3b5c", label="median")
ax.axhspan(10, 20, color="#2f855a", alpha=0.12, label="wanted")
ax.set(xlabel="hours", ylabel="theophylline (mg/l)", xlim=(0, 120))
ax.legend(loc="upper left", ncols=2)
plt.show()
