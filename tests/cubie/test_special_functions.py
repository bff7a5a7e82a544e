"""Gamma and error functions: values and derivatives, on every target."""

import math

import numpy as np
import pytest
import scipy.special

from cubie import Solver, solve_ivp
from cubie.backend.special import SPECIAL
from cubie.systems import trace
from cubie.systems.derivatives.choice import derivatives_of

POINTS = [-30.5, -3.7, -2.5, -1.1, -0.5, 0.1, 0.5, 0.9, 1.0, 1.25, 1.5, 2.0, 3.3, 7.0, 12.5, 30.0]
NAMES = ("gamma", "lgamma", "erf", "erfc")
EXACT = {
    "gamma": scipy.special.gamma,
    "lgamma": scipy.special.gammaln,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
}


def of_math(t, y):
    """Call them as Python has them."""
    x = y[0]
    return [math.gamma(x), math.lgamma(x), math.erf(x), math.erfc(x), y[0]]


def of_scipy(t, y):
    """Call them as SciPy has them."""
    x = y[0]
    return [
        scipy.special.gamma(x), scipy.special.gammaln(x), scipy.special.erf(x),
        scipy.special.erfc(x), scipy.special.psi(x),
    ]  # fmt: skip


@pytest.mark.parametrize("function", [of_math, of_scipy])
def test_derivatives(function, tmp_path):
    """Those of SciPy to a few units in the last place, left of zero too."""
    system = trace(function, 5, cache_dir=tmp_path)
    assert system.kind == "traced"
    module = derivatives_of(system).module
    entries = np.zeros(5)
    for x in POINTS:
        module.jacobian(0.0, [x] * 5, [], entries, 0)
        bell = 2.0 / math.sqrt(math.pi) * math.exp(-x * x)
        psi = scipy.special.psi(x)
        exact = [scipy.special.gamma(x) * psi, psi, bell, -bell]
        np.testing.assert_allclose(entries[:4], exact, rtol=2e-13, atol=1e-300)
        if function is of_scipy and x > 0:
            np.testing.assert_allclose(entries[4], scipy.special.polygamma(1, x), rtol=2e-13)


def quadratures(t, y, x):
    """Integrate them over one step, so that the result is their value."""
    return [math.gamma(x), math.lgamma(x), math.erf(x), math.erfc(x)]


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("python", {}),
        ("cpu", {"lanes": 1}),
        ("cpu", {"lanes": 4}),
        ("cpu", {"lanes": 4, "fastmath": True}),
        ("cpu", {"lanes": 8, "dtype": np.float32}),
        ("python", {"dtype": np.float32}),
    ],
)
def test_values(backend, options):
    """Those of SciPy, in double and in single precision, on one lane and on many."""
    single = options.get("dtype") is np.float32
    x = np.array([point for point in POINTS if -30 < point < 30])
    if single:
        x = x.astype(np.float32).astype(float)
    settings = {"method": "euler", "first_step": 1.0, "fastmath": False, "backend": backend}
    result = solve_ivp(quadratures, (0.0, 1.0), [0.0] * 4, args=(x,), **settings | options)
    exact = np.array([EXACT[name](x) for name in NAMES]).T
    tolerance = 2e-6 if single else 1e-14
    np.testing.assert_allclose(result.y[:, :, -1], exact, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_they_compile_for_a_gpu(dtype):
    """With their derivatives, in both precisions."""
    solver = Solver(of_math, method="rosenbrock23", backend="cuda", dtype=dtype)
    solver.prepare([1.0] * 5)
    assert solver.kernel.resources((9, 0)).registers > 0


def test_outside_their_domain_they_have_the_values_of_c():
    """Interpreted code raises no error where compiled code gives none."""
    cases = {
        "gamma": [(0.0, math.inf), (-0.0, -math.inf), (-2.0, math.nan), (200.0, math.inf)],
        "lgamma": [(0.0, math.inf), (-2.0, math.inf), (1e308, math.inf)],
    }
    for name, pairs in cases.items():
        for x, value in pairs:
            for kind in (float, np.float64, np.float32):
                with np.errstate(over="ignore"):
                    got = SPECIAL[name](kind(x))
                assert type(got) is kind
                assert np.array_equal(got, value, equal_nan=True), (name, x, got)


def test_equations_have_them_too():
    """As text; the value is that of the function."""
    result = solve_ivp(["dx = gamma(2.5) + erf(0.5)"], (0.0, 1.0), {"x": 0.0}, backend="python")
    assert result.y[0, -1] == pytest.approx(math.gamma(2.5) + math.erf(0.5), rel=1e-12)


def doubles(t, y):
    """Convert as careful code does."""
    return [-np.float64(y[0]), float(y[1]), np.asarray(y, dtype=np.float64)[2], np.double(t)]


def test_conversions_to_double_are_traced(tmp_path):
    """An expression is one already."""
    system = trace(doubles, 4, cache_dir=tmp_path)
    assert (system.kind, system.note) == ("traced", "")
