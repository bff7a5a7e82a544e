"""The powers that steer the step size are as accurate as they say, on every target."""

import numpy as np
import pytest

from cubie.backend import make_backend
from cubie.backend.power import build_exp2, build_log2


@pytest.fixture(scope="module", params=["float64", "float32"])
def dtype(request):
    """Both precisions meet the same bounds."""
    return np.dtype(request.param)


@pytest.fixture(scope="module")
def functions(dtype):
    backend = make_backend("python", dtype, fastmath=False)
    return build_log2(backend), build_exp2(backend)


def test_log2_error_is_bounded_over_the_whole_range(functions, dtype):
    """log2 is as close to NumPy's as it says, from 1e-20 to 1e20."""
    log2, _ = functions
    x = np.geomspace(1e-20, 1e20, 4001).astype(dtype)
    error = np.array([log2(v) for v in x]) - np.log2(x)
    assert np.abs(error).max() < (3e-7 if dtype == np.float64 else 2e-5)


def test_exp2_error_is_bounded_over_the_whole_range(functions, dtype):
    """exp2 is as close to NumPy's as it says, from -100 to 100."""
    _, exp2 = functions
    x = np.linspace(-100, 100, 4001).astype(dtype)
    ratio = np.array([exp2(v) for v in x]) / np.exp2(x)
    assert np.abs(ratio - 1).max() < (1e-7 if dtype == np.float64 else 1e-6)


def test_neighbouring_powers_of_two_meet(functions, dtype):
    """Where one polynomial ends and the next begins there is no step worth speaking of."""
    log2, exp2 = functions
    two, four = dtype.type(2.0), dtype.type(4.0)
    gap = log2(four) - log2(np.nextafter(four, two))
    assert abs(gap) < (6e-7 if dtype == np.float64 else 1e-5)
    ratio = exp2(two) / exp2(np.nextafter(two, dtype.type(0.0)))
    assert abs(ratio - 1) < (2e-7 if dtype == np.float64 else 1e-6)
