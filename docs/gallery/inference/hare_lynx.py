"""
Hares and lynxes: a posterior with emcee
========================================

The pelts that the Hudson's Bay Company bought from 1900 to 1920 are the classic data of predator
and prey. The posterior of a Lotka-Volterra model, with the priors of Carpenter's case study for
Stan (2018), is sampled by emcee; all walkers of a step are one batch.
"""

import emcee
import matplotlib.pyplot as plt
import numpy as np

import cubie

hares = """30 47.2 70.2 77.4 36.3 20.6 18.1 21.4 22 25.4 27.1
           40.3 57 76.6 52.3 19.5 11.2 7.6 14.6 16.2 24.7"""
lynxes = """4 6.1 9.8 35.2 59.4 41.7 19 13 8.3 9.1 7.4
            8 12.3 19.5 45.7 51.1 29.7 15.8 9.7 10.1 8.6"""
pelts = np.array([hares.split(), lynxes.split()], dtype=float)  # thousands
years = np.arange(1900, 1921)


def chase(t, y, birth, catch, death, growth):
    hare, lynx = y
    return [hare * (birth - catch * lynx), lynx * (growth * hare - death)]


solver = cubie.Solver(chase, rtol=1e-6, atol=1e-6)


# %%
# What is sampled are logarithms of the four rates, of both populations in 1900, and of two
# errors; rates that are sampled by their logarithm add it to the density.
def populations(x, times):
    rates = np.ascontiguousarray(np.exp(x[:, :4]).T)
    return solver.solve((1900, 1920), np.exp(x[:, 4:6]), times, args=tuple(rates)).y


def log_posterior(x):
    rates, errors = np.exp(x[:, :4]), np.exp(x[:, 6:])
    with np.errstate(all="ignore"):  # of walkers that went astray
        off = (np.log(pelts) - np.log(populations(x, years))) / errors[:, :, None]
    fit = -0.5 * np.sum(off**2, axis=(1, 2)) - years.size * x[:, 6:].sum(axis=1)
    fit -= 0.5 * np.sum(((rates - [1, 0.05, 1, 0.05]) / [0.5, 0.05, 0.5, 0.05]) ** 2, axis=1)
    fit += x[:, :4].sum(axis=1)
    fit -= 0.5 * np.sum((x[:, 4:6] - np.log(10)) ** 2, axis=1)
    fit -= 0.5 * np.sum((x[:, 6:] + 1) ** 2, axis=1)
    return np.where(np.isfinite(fit), fit, -np.inf)


seeded = np.random.RandomState(1)  # the kind that emcee draws from
centre = np.log([0.5, 0.03, 0.8, 0.03, 34, 6, 0.25, 0.25])
walkers = centre + 0.1 * seeded.standard_normal((48, 8))
sampler = emcee.EnsembleSampler(48, 8, log_posterior, vectorize=True)
sampler.run_mcmc(emcee.State(walkers, random_state=seeded.get_state()), 2000)
chain = sampler.get_chain(discard=500, flat=True)

# %%
# Carpenter reports means and standard deviations with two digits.
published = {"birth": 0.55, "catch": 0.028, "death": 0.80, "growth": 0.024}
means, deviations = np.exp(chain[:, :4]).mean(axis=0), np.exp(chain[:, :4]).std(axis=0)
for name, mean, deviation in zip(published, means, deviations, strict=True):
    print(f"{name:7} {mean:.3f} ± {deviation:.3f}  published {published[name]}")
assert np.all(np.abs(means - list(published.values())) < 0.2 * deviations)

# %%
fine = np.linspace(1900, 1920, 201)
some = populations(chain[:: len(chain) // 500], fine)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, seen, runs, colour in zip(
    ("hares", "lynxes"), pelts, np.moveaxis(some, 1, 0), ("#4a6fa5", "#c05621"), strict=True
):
    low, middle, high = np.quantile(runs, [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(fine, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.plot(fine, middle, color=colour, label=name)
    ax.plot(years, seen, "o", color=colour, markersize=4)
ax.set(xlabel="year", ylabel="thousands of pelts", xticks=years[::5])
ax.legend()
plt.show()
