"""Draw the picture of docs/summaries.md: how often a neuron fires, over its current.

python -m benchmarks.summaries_docs
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import cubie

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "summaries.svg"
CURRENTS = np.linspace(0.0, 1.6, 1000)


def neuron(t, y, current):
    v, w = y
    return [v - v**3 / 3 - w + current, 0.08 * (v + 0.7 - 0.8 * w)]


def sweep(currents: np.ndarray = CURRENTS) -> dict[str, np.ndarray]:
    """Return the firing rate (spikes in 300) and the highest potential of each current."""
    result = cubie.solve_ivp(
        neuron, (0, 400), [-1.2, -0.6], args=(currents,), rtol=1e-6, atol=1e-8,
        summaries={"y0": {"n": cubie.peaks(k=0, prominence=0.5), "max": "max"}}, after=100.0,
        backend="cpu",
    )  # fmt: skip
    found = result.summaries["y0"]
    return {"spikes": found["n"].count, "max": found["max"]}


def draw(found: dict[str, np.ndarray], path: Path = PICTURE) -> None:
    """Write the picture, with what it is of as its description."""
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6, 4), layout="constrained")
    above.plot(CURRENTS, found["spikes"], lw=1)
    above.set_ylabel("spikes in 300")
    below.plot(CURRENTS, found["max"], lw=1)
    below.set_ylabel("highest v")
    below.set_xlabel("current")
    every = {name: values[::100].round(4).tolist() for name, values in found.items()}
    with plt.rc_context({"svg.hashsalt": "summaries"}):
        figure.savefig(path, metadata={"Date": None, "Description": json.dumps(every)})
    plt.close(figure)


if __name__ == "__main__":
    draw(sweep())
