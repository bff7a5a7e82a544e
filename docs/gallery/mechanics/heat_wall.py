"""
Cooling of a wall: Heisler's chart by the method of lines
=========================================================

A hot plane wall is put into a cold stream. How its middle cools depends on one number, that of
Biot, Bi = h L / k: the chart that Heisler drew for engineers in 1947. Here the wall is forty
layers between its middle (an axis of symmetry) and its surface, and each curve of the chart is a
run.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

n = 40
dx = 1 / n


def wall(fourier, u, biot):
    # Into each layer from the side of the middle; at the end through half a layer and the stream.
    flux = [0.0, *((u[i] - u[i + 1]) / dx for i in range(n - 1))]
    flux.append(u[n - 1] / (dx / 2 + 1 / biot))
    return [(flux[i] - flux[i + 1]) / dx for i in range(n)]


# %%
# The equations are stiff, and tridiagonal: the factorisation of their Jacobian is derived from
# what is written above.
biot = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0])
fourier = np.linspace(0, 4, 81)
runs = cubie.solve_ivp(
    wall,
    (0, 4),
    np.ones(n),
    t_eval=fourier,
    args=(biot,),
    method="rodas5p",
    rtol=1e-8,
    atol=1e-10,
)
middle = 1.125 * runs.y[:, 0] - 0.125 * runs.y[:, 1]  # a parabola through the first two layers

# %%
# After a while a wall cools by one exponential, C exp(-z^2 Fo) with z tan z = Bi. Textbooks
# tabulate z = 0.8603 and C = 1.1191 for Bi = 1 (Incropera, table 5.1).
one = middle[biot == 1.0][0]
z = np.sqrt(np.log(one[40] / one[60]) / (fourier[60] - fourier[40]))
c = one[40] * np.exp(z**2 * fourier[40])
print(f"z = {z:.4f}, C = {c:.4f}; tabulated: 0.8603, 1.1191")
assert abs(z - 0.8603) < 2e-4
assert abs(c - 1.1191) < 2e-4

# %%
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for number, curve in zip(biot, middle, strict=True):
    ax.semilogy(fourier, curve, label=f"Bi = {number:g}")
later = fourier[fourier > 0.2]
ax.semilogy(later, 1.1191 * np.exp(-(0.8603**2) * later), "k:", label="tabulated, Bi = 1")
ax.set(xlabel="Fourier number", ylabel="temperature in the middle", ylim=(1e-3, 1.1))
ax.legend(ncols=2)
plt.show()
