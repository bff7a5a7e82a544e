"""The component that docs/components.md shows works as the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

from cubie import solve_ivp
from cubie.controllers import CONTROLLERS

PAGE = Path(__file__).parents[2] / "docs" / "components.md"


@pytest.fixture(scope="module", autouse=True)
def example():
    """Run the page's code; its controller is known during this module's tests only."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    namespace: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    yield namespace
    del CONTROLLERS["doubling"]


def test_printed_output_is_what_the_page_shows(example):
    """The result of the second block is the one printed on the page."""
    result = example["result"]
    location = result.plan.placements["loop.controller.streak"].location
    shown = re.search(r"```text\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert shown is not None
    assert f"{result.success.all()} {location}\n" == shown[1]


def test_example_meets_the_tolerance(example):
    """The doubling controller keeps the error of exponential decay near rtol."""
    result = example["result"]
    exact = np.exp(-2 * np.linspace(0.5, 5, 100))
    assert np.abs(result.y[:, 0, -1] - exact).max() < 1e-5


def test_example_is_the_same_on_the_python_target(example):
    """Interpreted, with every dead byte poisoned, the example gives the same runs."""
    options = {"step_controller": "doubling", "rtol": 1e-6, "fastmath": False}
    args = (np.linspace(0.5, 5, 9),)
    runs = [
        solve_ivp(example["decay"], (0, 2), [1.0], args=args, backend=backend, **options)
        for backend in ("python", "cpu")
    ]
    np.testing.assert_array_equal(runs[0].y, runs[1].y)
