"""The powers that steer the step size are as accurate as they say, in the code of every target."""

import numpy as np
import pytest

from cubie.numerics.power import build_exp2, build_log2
from tests.cubie.evaluate import TARGETS, backend_of, evaluate_component


@pytest.fixture(scope="module", params=["float64", "float32"])
def dtype(request):
    """Both precisions meet the same bounds."""
    return np.dtype(request.param)


@pytest.fixture(
    scope="module",
    params=[(target, fastmath) for target in TARGETS for fastmath in (False, True)],
    ids=lambda param: f"{param[0][0]}-{param[0][1]}-{'fast' if param[1] else 'exact'}",
)
def evaluate(request, dtype):
    """Function of (builder, values): what the target computes in place of the builder's function.

    With fast-math the compiler may reassociate, and did once take apart what must stay together.
    """
    target, fastmath = request.param
    backend = backend_of(target, dtype, fastmath)
    return lambda build, x: evaluate_component(backend, build, x)


def test_log2_error_is_bounded_over_the_whole_range(evaluate, dtype):
    """log2 is as close to NumPy's as it says, from 1e-20 to 1e20."""
    x = np.geomspace(1e-20, 1e20, 4001).astype(dtype)
    error = evaluate(build_log2, x) - np.log2(x.astype(float))
    assert np.abs(error).max() < (3e-7 if dtype == np.float64 else 2e-5)


def test_exp2_error_is_bounded_over_the_whole_range(evaluate, dtype):
    """exp2 is as close to NumPy's as it says, from -100 to 100."""
    x = np.linspace(-100, 100, 4001).astype(dtype)
    ratio = evaluate(build_exp2, x) / np.exp2(x.astype(float))
    assert np.abs(ratio - 1).max() < (1e-7 if dtype == np.float64 else 1e-6)


def test_neighbouring_powers_of_two_meet(evaluate, dtype):
    """Where one polynomial ends and the next begins there is no step worth speaking of."""
    two, four = dtype.type(2.0), dtype.type(4.0)
    after, before = evaluate(build_log2, [four, np.nextafter(four, two)])
    assert abs(after - before) < (6e-7 if dtype == np.float64 else 1e-5)
    after, before = evaluate(build_exp2, [two, np.nextafter(two, dtype.type(0.0))])
    assert abs(after / before - 1) < (2e-7 if dtype == np.float64 else 1e-6)
