"""
Rates of a reaction from one experiment
=======================================

Heated alpha-pinene turns into dipentene and allo-ocimene, which reacts on to pyronene and a
dimer, and back. Box, Hunter, MacGregor and Erjavec (Technometrics 15, 1973) fitted the five
rates to these data; the problem is a standard one since, with 19.872 as the least sum of
squares.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares

import cubie

minutes = np.array([1230.0, 3060, 4920, 7800, 10680, 15030, 22620, 36420])
percent = np.array(
    [
        [88.35, 76.4, 65.1, 50.4, 37.5, 25.9, 14.0, 4.5],  # alpha-pinene
        [7.3, 15.6, 23.1, 32.9, 42.7, 49.1, 57.4, 63.1],  # dipentene
        [2.3, 4.5, 5.3, 6.0, 6.0, 5.9, 5.1, 3.8],  # allo-ocimene
        [0.4, 0.7, 1.1, 1.5, 1.9, 2.2, 2.6, 2.9],  # pyronene
        [1.75, 2.8, 5.8, 9.3, 12.0, 17.0, 21.0, 25.7],  # dimer
    ]
)


def pinene(t, y, k1, k2, k3, k4, k5):
    alpha, dipentene, ocimene, pyronene, dimer = y
    back = k4 * ocimene - k5 * dimer
    return [-(k1 + k2) * alpha, k1 * alpha, k2 * alpha - k3 * ocimene - back, k3 * ocimene, back]


# %%
# The residuals are traced like the equations, and both are differentiated exactly: one solve
# gives SciPy the residuals and their Jacobian.
fit = cubie.LeastSquares(
    lambda run, data: run.y - data,
    pinene,
    (0, 36420),
    [100.0, 0, 0, 0, 0],
    t_eval=minutes,
    args=(1e-4, 1e-4, 1e-4, 1e-4, 1e-4),
    data=percent,
    sensitivities="parameters",
    log=True,
    rtol=1e-8,
    atol=1e-8,
)
found = least_squares(fit.fun, fit.x0, fit.jac)
covariance = np.linalg.inv(found.jac.T @ found.jac) * 2 * found.cost / (percent.size - 5)
errors = np.sqrt(np.diag(covariance))
published = [5.926e-5, 2.963e-5, 2.047e-5, 27.45e-5, 3.998e-5]
print("rate  per minute  error  published")
for row in zip(fit.inputs, fit.values(found.x), errors, published, strict=True):
    print("{:4}  {:.3e}   {:4.1%}  {:.3e}".format(*row))
print(f"sum of squares {2 * found.cost:.3f}; published: 19.872")
assert abs(2 * found.cost - 19.872) < 1e-3

# %%
times = np.linspace(0, 36420, 200)
best = fit.solve(found.x, t_eval=times)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
names = ("alpha-pinene", "dipentene", "allo-ocimene", "pyronene", "dimer")
for name, curve, seen in zip(names, best.y[0], percent, strict=True):
    (line,) = ax.plot(times / 1440, curve, label=name)
    ax.plot(minutes / 1440, seen, "o", color=line.get_color(), markersize=4)
ax.set(xlabel="days at 189.5 °C", ylabel="percent of the mass")
ax.legend()
plt.show()
