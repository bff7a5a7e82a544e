"""
Synchrony of coupled oscillators
================================

A hundred oscillators, each with a frequency of its own, pull at each other. Below a coupling
they run as they like; above it more and more of them run together. For frequencies of Lorentz's
distribution Kuramoto (1975) found where, K = 2 gamma, and how much, r = sqrt(1 - 2 gamma / K).
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

n, gamma = 100, 0.5
frequencies = gamma * np.tan(np.pi * ((np.arange(n) + 0.5) / n - 0.5))  # quantiles of the law


def kuramoto(t, theta, coupling):
    s, c = np.sin(theta), np.cos(theta)
    mean_s, mean_c = np.sum(s) / n, np.sum(c) / n
    return frequencies + coupling * (mean_s * c - mean_c * s)


def order(t, theta, coupling):
    return {"r": np.sqrt(np.sum(np.cos(theta)) ** 2 + np.sum(np.sin(theta)) ** 2) / n}


# %%
# A hundred states in each run, and of each only the mean of the order parameter is kept.
couplings = np.linspace(0, 3, 121)
phases = np.random.default_rng(0).uniform(0, 2 * np.pi, n)
runs = cubie.solve_ivp(
    kuramoto,
    (0, 100),
    phases,
    args=(couplings,),
    observables=order,
    save_states=False,
    summaries={"r": ["mean", "std"]},
    after=50.0,
    rtol=1e-4,
    atol=1e-4,
)
mean, std = runs.summaries["r"]["mean"], runs.summaries["r"]["std"]

print(f"coupling 2: r = {mean[couplings == 2][0]:.3f}; Kuramoto: {np.sqrt(1 / 2):.3f}")
assert abs(mean[couplings == 2][0] - np.sqrt(1 / 2)) < 0.01

# %%
# Of so few oscillators the order is never zero: without coupling it is about 1 / sqrt(n).
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.fill_between(couplings, mean - std, mean + std, alpha=0.25, label="fluctuations")
ax.plot(couplings, mean, label="a hundred oscillators")
above = couplings[couplings >= 2 * gamma]
known = np.sqrt(1 - 2 * gamma / above)
ax.plot([0, *above], [0, *known], "k--", linewidth=1, label="Kuramoto, infinitely many")
ax.set(xlabel="coupling K", ylabel="order r")
ax.legend(loc="upper left")
plt.show()
