"""
Shared memory of a tiled matrix product
=======================================

A block of threads multiplies two matrices tile by tile, and turns its result in a tile of its
own before it writes it, so that neighbouring threads write neighbouring numbers. Two of the
three tiles are dead by then. ``cubie_planner`` knows nothing of matrices, or of ODEs: it is told
the arrays and when they are needed, and proves where they lie.
"""

import matplotlib.pyplot as plt
import numpy as np

from cubie_planner import Component, Limits, PhasedBuffer, Problem, check, compose, plan
from cubie_planner.report import text


def tiles(size):
    """Plan a product with tiles of so many rows and columns."""
    loop = ("load", "multiply")
    product = Component(
        "product",
        phases=(*loop, "stage", "store"),
        buffers=[
            PhasedBuffer("a", (size, size), "f4", phases=loop, locations="tile"),
            PhasedBuffer("b", (size, size), "f4", phases=loop, locations="tile"),
            PhasedBuffer("turned", (size, size), "f4", phases=("stage", "store"), locations="tile"),
            PhasedBuffer("bias", size, "f4", locations="tile"),
        ],
    )
    return plan(Problem(compose(product).buffers, Limits(64 * 1024), "shared"))


made = tiles(16)
print(text(made))

# %%
# The plan is checked by code that shares nothing with what found it. The bytes are those of the
# two tiles that live together, and of the bias.
check(made.problem, made)
known = 2 * 16 * 16 * 4 + 16 * 4
print(f"planned {made.shared_bytes_per_block} B; two tiles and the bias are {known} B")
assert made.shared_bytes_per_block == known

# %%
# What it is good for: larger tiles in the 48 KiB that every card gives to a block.
sizes = np.arange(8, 89)
planned = np.array([tiles(int(size)).shared_bytes_per_block for size in sizes])
by_hand = 3 * sizes**2 * 4 + sizes * 4
for name, taken in (("each its own", by_hand), ("planned", planned)):
    print(f"{name}: tiles of up to {sizes[taken <= 48 * 1024].max()} rows")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for number, (name, place) in enumerate(made.placements.items()):
    for start, end in place.lifetime or [(0, 4)]:
        left.bar((start + end) / 2, place.size_bytes, end - start, place.offset, color=f"C{number}")
    left.bar(0, 0, color=f"C{number}", label=name.removeprefix("product."))
left.set(xticks=np.arange(4) + 0.5, xticklabels=("load", "multiply", "stage", "store"))
left.set(ylabel="byte of shared memory", ylim=(0, 2900))
left.legend(loc="upper right", ncols=2)
right.plot(sizes, by_hand / 1024, label="each its own")
right.plot(sizes, planned / 1024, label="planned")
right.axhline(48, color="k", linestyle="--", linewidth=1, label="48 KiB")
right.set(xlabel="rows of a tile", ylabel="KiB of a block")
right.legend()
plt.show()
