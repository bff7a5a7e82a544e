"""What fast-math makes cheaper on a GPU is as exact as it says, in the code that is compiled."""

import functools

import numpy as np
import pytest

from cubie.backend import (
    RunMemory,
    absolute,
    is_finite,
    larger,
    larger_size,
    load_run,
    make_backend,
    quotient,
    select,
    smaller,
    store_run,
)
from cubie.launch.inputs import sample_arguments
from cubie.numerics.power import build_exp2, build_log2
from tests.cubie.alias_pair import for_all_runs
from tests.cubie.ptx_values import stored_values

OUTPUTS = ("quotient", "larger", "larger_size", "smaller", "finite", "log2", "exp2")
CAPABILITY = (9, 0)
# Instructions of the hardware, where there is one.
BY_HARDWARE = {
    "float32": ("rcp.approx.ftz.f32", "max.ftz.f32", "min.ftz.f32", "lg2.approx", "ex2.approx"),
    "float64": ("rcp.approx.ftz.f64", "lg2.approx", "ex2.approx"),
}
SLOW = ("div.", "rcp.rn", "call")


@functools.cache
def code(dtype: str, fastmath: bool = True) -> str:
    """Return PTX that computes all of `OUTPUTS`, of two numbers."""
    backend = make_backend("cuda", np.dtype(dtype), fastmath)
    log2, exp2 = build_log2(backend), build_exp2(backend)
    one, zero = backend.constant(1.0), backend.constant(0.0)

    def work(memory, run, n_runs, inputs, outputs):
        x = load_run(inputs.initial_state, 0, 1, run, n_runs)
        y = load_run(inputs.parameters, 0, 1, run, n_runs)
        here, to = run < n_runs, outputs.states
        store_run(to, 0, run, here, quotient(x, y))
        store_run(to, n_runs, run, here, larger(absolute(x), absolute(y)))
        store_run(to, 2 * n_runs, run, here, larger_size(x, y))
        store_run(to, 3 * n_runs, run, here, smaller(x, y))
        store_run(to, 4 * n_runs, run, here, select(is_finite(x), one, zero))
        store_run(to, 5 * n_runs, run, here, log2(x))
        store_run(to, 6 * n_runs, run, here, exp2(x))

    device = backend.device(work)
    kernel = backend.kernel(lambda: for_all_runs(backend, device), RunMemory(0, 0), "")
    return kernel.resources(CAPABILITY, *sample_arguments(dtype), 32).ptx


def computed(dtype: str, x: float, y: float = 1.0, off: int = 0) -> dict[str, float]:
    """Return what the code stores, by name."""
    return dict(zip(OUTPUTS, stored_values(code(dtype), (x, y), dtype, off), strict=True))


both = pytest.mark.parametrize("dtype", ["float32", "float64"])


@both
def test_the_hardware_does_it(dtype):
    """With fast-math instructions of the hardware are used, and without it none of them."""
    assert all(name in code(dtype) for name in BY_HARDWARE[dtype])
    assert not any(name in code(dtype) for name in SLOW)
    exact = code(dtype, False)
    assert ".approx." not in exact
    assert "div.rn" in exact


@both
def test_quotients_are_off_by_few_units_at_most(dtype):
    """Of divisors whose reciprocals are normal numbers, however far off the hardware is."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    number, limit = np.dtype(dtype).type, float(info.maxexp - 3)
    for exponent in np.linspace(-limit, limit, 60):
        y = number(rng.uniform(1.0, 1.9) * 2.0**exponent)
        x = number(rng.uniform(0.5, 1.9) * max(float(y), float(y) ** 0.5))
        for off in (-1, 0, 1):
            exact = x / y
            assert abs(computed(dtype, x, y, off)["quotient"] - exact) <= 2.5 * np.spacing(exact)


@both
def test_quotients_beyond_that_are_none_that_could_be_taken_for_right(dtype):
    """Divisors that are too large give zero or NaN, too small ones infinity or NaN."""
    info = np.finfo(dtype)
    for y in (info.max, np.inf):
        got = computed(dtype, 1.0, y)["quotient"]
        assert got == 0.0 or np.isnan(got)
    for y in (0.0, info.tiny / 4.0):
        assert not np.isfinite(computed(dtype, 1.0, y)["quotient"])
    for x, y in ((np.nan, 1.0), (1.0, np.nan), (np.inf, np.inf), (0.0, 0.0), (np.inf, 0.0)):
        assert not np.isfinite(computed(dtype, x, y)["quotient"]), (x, y)
    assert computed(dtype, np.inf, 2.0)["quotient"] == np.inf


@both
def test_the_larger_and_the_smaller_are_one_of_both(dtype):
    """Of numbers the right one, infinity included; of a number and NaN either."""
    for x, y in ((1.0, 2.0), (-3.0, 2.0), (np.inf, 1.0), (-np.inf, 1.0)):
        got = computed(dtype, x, y)
        assert got["larger"] == got["larger_size"] == max(abs(x), abs(y))
        assert got["smaller"] == min(x, y)
    for x, y in ((np.nan, 2.0), (2.0, np.nan)):
        assert computed(dtype, x, y)["smaller"] in (2.0,) or dtype == "float64"
    for name in ("larger", "larger_size"):
        assert np.isnan(computed(dtype, np.nan, np.nan)[name])


@both
def test_what_is_finite_is_told_from_what_is_not(dtype):
    """Also at the ends of the range."""
    info = np.finfo(dtype)
    for x in (0.0, 1.0, -info.max, info.max, info.tiny / 4.0):
        assert computed(dtype, x)["finite"] == 1.0, x
    for x in (np.inf, -np.inf, np.nan):
        assert computed(dtype, x)["finite"] == 0.0, x


@both
def test_logarithms_and_powers_of_two_steer_as_well_as_polynomials(dtype):
    """They meet the bounds that `cubie.numerics.power` states, at the hardware's worst."""
    for x in np.geomspace(1e-20, 1e20, 41).astype(dtype):
        for off in (-1, 1):
            error = computed(dtype, x, 1.0, off)["log2"] - np.log2(float(x))
            assert abs(error) < (3e-7 if dtype == "float64" else 2e-5), x
    for x in np.linspace(-100.0, 100.0, 41).astype(dtype):
        for off in (-1, 1):
            ratio = computed(dtype, x, 1.0, off)["exp2"] / np.exp2(float(x))
            assert abs(ratio - 1.0) < (3e-7 if dtype == "float64" else 1e-6), x
