"""A sweep in a file that tests of `cubie-sweep` share, and the same from Python."""

from pathlib import Path

import numpy as np

from cubie import grid, sweep

EQUATIONS = ["dx = -k*x", "dy = k*x - c*y"]
MODEL = """
equations = ["dx = -k*x", "dy = k*x - c*y"]
method = "rk4"
t_span = [0, 1]

[options]
first_step = 0.1

[states]
x = 1
y = 0

[parameters]
k = 2
c = 0.5
"""
GRID = (
    MODEL
    + """
[sweep]
chunk = 4

[sweep.grid]
k = {start = 1, stop = 2, num = 5}
c = [0.5, 1.0]
"""
)


def in_folder(tmp_path, monkeypatch):
    """Go to a folder to work in, with a sweep."""
    monkeypatch.chdir(tmp_path)
    write("sweep.toml", GRID)
    return tmp_path


def write(name: str, text: str) -> None:
    """Write a file."""
    Path(name).write_text(text, encoding="utf-8")


def wanted(**options):
    """Return the same sweep from Python."""
    space = grid(k=np.linspace(1, 2, 5), c=[0.5, 1.0])
    made = sweep(
        EQUATIONS, (0, 1), {"x": 1, "y": 0}, over=space, method="rk4", first_step=0.1, chunk=4,
        **options,
    )  # fmt: skip
    return made.run(progress=False).to_xarray()
