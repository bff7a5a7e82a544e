"""
A plan from the cliff to the cure
=================================

Fast memory of a GPU is shared: what every run takes of it decides how many runs are resident,
and past a size not one block of them is. Here a ring of Lorenz's model of 1996 grows until its
plan falls off that cliff. The error says why and what would help, and "auto" takes the cure. No
GPU is needed to plan for one.
"""

import matplotlib.pyplot as plt
import numpy as np

import cubie
from cubie_planner import PlanInfeasible
from cubie_planner.explain import explain
from cubie_planner.report.device_use import device_use


def ring(t, y, forcing):
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + forcing for i in range(n)]


def planned(n, locations):
    """Plan the kernel of a ring of n states in double precision for an H100."""
    solver = cubie.Solver(ring, locations=locations, device="H100", verify=False)
    return solver.prepare(np.ones(n), args=(8.0,))


# %%
# Forty states, all in shared memory. What is the peak made of?
print(explain(planned(40, "shared")))

# %%
# Eighty do not fit, and that is proven.
try:
    planned(80, "shared")
except PlanInfeasible as error:
    print(error)

# %%
# The five stages, the state and the sum of the stages live together: seven arrays of n numbers,
# and 24 bytes besides. Of the 227 KiB of a block each of 64 runs has 3624 bytes.
sizes = np.arange(4, 81, 4)
resident = {"shared": [], "auto": []}
for locations, counts in resident.items():
    for n in sizes:
        try:
            use = device_use(planned(int(n), locations))
        except PlanInfeasible:
            counts.append(0)
        else:
            counts.append(use.occupancy.threads)
largest = sizes[np.array(resident["shared"]) > 0].max()
known = (3624 - 24) // (7 * 8)
print(f"everything shared: up to {largest} states; by hand: {known}")
assert largest == known

# %%
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.step(sizes, resident["shared"], where="mid", label="everything shared")
ax.step(sizes, resident["auto"], where="mid", label="auto")
ax.axvline(known + 2, color="k", linestyle="--", linewidth=1, label="the cliff")
ax.set(xlabel="states", ylabel="resident runs of a multiprocessor", ylim=(0, None))
ax.legend()
plt.show()
