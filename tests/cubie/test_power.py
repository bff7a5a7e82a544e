"""The powers that steer the step size are as accurate as they say, on every target."""

import numpy as np
import pytest

from cubie.backend import make_backend
from cubie.backend.power import build_exp2, build_log2


@pytest.fixture(scope="module")
def functions():
    backend = make_backend("python", np.float64, fastmath=False)
    return build_log2(backend), build_exp2(backend)


def test_log2_error_is_bounded_over_the_whole_range(functions):
    """log2 is within 1e-7 of NumPy's from 1e-20 to 1e20."""
    log2, _ = functions
    x = np.geomspace(1e-20, 1e20, 4001)
    error = np.array([log2(v) for v in x]) - np.log2(x)
    assert np.abs(error).max() < 1e-7


def test_exp2_error_is_bounded_over_the_whole_range(functions):
    """exp2 is within 2e-7 relative of NumPy's from -100 to 100."""
    _, exp2 = functions
    x = np.linspace(-100, 100, 4001)
    ratio = np.array([exp2(v) for v in x]) / np.exp2(x)
    assert np.abs(ratio - 1).max() < 2e-7
