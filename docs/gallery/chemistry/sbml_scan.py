"""
A model from an SBML file, scanned
==================================

Models of biology are kept as SBML. This file, :download:`brusselator.xml`, has four reactions
between X and Y, of which one makes X from itself. Where its steady state gives way to
oscillations is known: B = 1 + A² (Prigogine and Lefever 1968).
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie

model = cubie.load_model("brusselator.xml")
print(model)
print(model.equations)

# %%
# Constants of the file go by their names.
scan = cubie.sweep(
    model,
    (0, 400),
    over=cubie.grid(A=np.linspace(0.5, 1.5, 101), B=np.linspace(1.0, 4.0, 151)),
    summaries={"X": ["min", "max"]},
    after=300.0,
    method="tsit5",
    rtol=1e-6,
    atol=1e-8,
)
runs = scan.run(progress=False).to_xarray()
swing = runs["max of X"] - runs["min of X"]
oscillates = swing > 0.2
onset = swing.B.where(oscillates).min("B")
print("A     from B on  closed form")
for a in (0.5, 1.0, 1.5):
    print(f"{a:.2f}  {onset.sel(A=a).item():.2f}       {1 + a**2:.2f}")
assert np.allclose(onset, 1 + onset.A**2, atol=0.08)

# %%
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
image = ax.pcolormesh(swing.A, swing.B, swing.T, cmap="magma")
ax.plot(swing.A, 1 + swing.A**2, "w--", linewidth=1, label="B = 1 + A²")
ax.set(xlabel="A", ylabel="B")
ax.legend(loc="lower right", labelcolor="w", facecolor="k")
fig.colorbar(image, label="swing of X")
plt.show()
