"""
How often an axon fires under a noisy current
=============================================

The axon of Hodgkin and Huxley (1952) begins to fire at some fifty spikes a second, all at once,
when a steady current is strong enough: 6.26 microamperes per square centimetre keep it going
(Hassard 1978). Under a current as electrodes record it, with noise, the edge is washed out, and
spikes come far below it.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie


def axon(t, y, mean, noise, recorded):
    v, m, h, n = y  # mV above rest, and the gates
    current = mean + noise * recorded(t)
    am, bm = 0.1 * (25 - v) / (np.exp((25 - v) / 10) - 1), 4 * np.exp(-v / 18)
    ah, bh = 0.07 * np.exp(-v / 20), 1 / (np.exp((30 - v) / 10) + 1)
    an, bn = 0.01 * (10 - v) / (np.exp((10 - v) / 10) - 1), 0.125 * np.exp(-v / 80)
    ions = 120 * m**3 * h * (v - 115) + 36 * n**4 * (v + 12) + 0.3 * (v - 10.613)
    return [
        current - ions,
        am * (1 - m) - bm * m,
        ah * (1 - h) - bh * h,
        an * (1 - n) - bn * n,
    ]


# %%
# A recording of a second at 2 kHz: noise that is correlated over 5 ms. It stands in ``args`` as
# it is, and the equations call it as a function of time.
samples = np.arange(0, 1000.1, 0.5)
rng, decay = np.random.default_rng(1), np.exp(-0.5 / 5)
values = np.zeros(samples.size)
for i, kick in enumerate(rng.normal(0, np.sqrt(1 - decay**2), samples.size - 1)):
    values[i + 1] = decay * values[i] + kick
recorded = cubie.Interpolant(samples, values, "linear")

# %%
# Spikes are maxima above 50 mV; they are counted from the solution between the steps.
sweep = cubie.sweep(
    axon,
    (0, 1000),
    {"v": 0.0, "m": 0.0529, "h": 0.5961, "n": 0.3177},
    over=cubie.grid(mean=np.linspace(0, 20, 201), noise=[0.0, 2.0, 4.0]),
    args={"recorded": recorded},
    summaries={"v": {"spikes": "n_peaks(height=50)"}},
    after=200.0,
    rtol=1e-5,
    atol=1e-6,
)
rate = sweep.run(progress=False).to_xarray()["spikes of v"] / 0.8

# %%
# Without noise one spike answers a weak current, and a train a strong one.
steady = rate.sel(noise=0.0)
onset = steady["mean"][steady > 20].min().item()
count = steady.sel(mean=onset).item()
print(f"firing goes on from {onset:.1f}, at {count:.0f} spikes a second; published: 6.26")
assert abs(onset - 6.26) < 0.15

# %%
fig, (left, right) = plt.subplots(
    1, 2, figsize=(8.5, 3.6), layout="constrained", width_ratios=[2, 3]
)
left.plot(samples[:401], values[:401], linewidth=0.8)
left.set(xlabel="time (ms)", ylabel="recorded noise, in standard deviations")
for noise in rate.noise.values:
    label = f"noise {noise:g} µA/cm²" if noise else "steady"
    right.plot(rate["mean"], rate.sel(noise=noise), label=label)
right.axvline(6.26, color="k", linestyle="--", linewidth=1, label="published onset")
right.set(xlabel="mean current (µA/cm²)", ylabel="spikes a second")
right.legend()
plt.show()
