"""What `make wheel` runs where only the built wheel and what it asks for are installed."""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np

import cubie
import cubie_planner

prefix = Path(sys.prefix).resolve()
for package in (cubie, cubie_planner):
    home = Path(package.__file__).resolve()
    assert home.is_relative_to(prefix), f"{package.__name__} comes from {home}, not the wheel"
    assert (home.parent / "py.typed").exists(), f"{package.__name__} ships no py.typed"
page = tuple(f"report/assets/{name}" for name in ("page.html", "page.css", "page.js", "map.css"))
for name in ("gpu/cost.json", "gpu/devices.json", "plans/schema.json", *page):
    assert (Path(cubie_planner.__file__).parent / name).exists(), f"the wheel lacks {name}"
assert not any(module in sys.modules for module in ("pytest", "scipy", "matplotlib"))

rates = np.array([1.0, 2.0])
result = cubie.solve_ivp(
    lambda t, y, rate: [-rate * y[0]],
    (0.0, 1.0),
    [1.0],
    args=(rates,),
    rtol=1e-8,
    atol=1e-10,
    backend="cpu",
    state_location="shared",
    max_shared="48k",
)
assert np.allclose(result.y[:, 0, -1], np.exp(-rates), rtol=1e-6), result.message
assert result.plan.shared_bytes_per_run == 8

version = importlib.metadata.version("cubie-ode")
assert version == cubie.__version__
print(f"the wheel of cubie {version} works on its own, from {prefix.name}")
