"""`try` and `except` around arithmetic follow the path that Python would take."""

import contextlib
import math

import numpy as np
import pytest

from cubie import solve_ivp
from cubie.systems import trace
from cubie.systems.tracing.checking import evaluate_source


def root(t, y):
    try:
        return [math.sqrt(y[0])]
    except ValueError:
        return [5.0]


def inverse_of_a_float(t, y):
    try:
        s = 1 / float(y[0])
    except ZeroDivisionError:
        s = 5.0
    return [s]


def inverse_of_a_state(t, y):
    try:
        s = np.minimum(1 / y[0], 7.0)
    except ZeroDivisionError:
        s = 5.0
    return [s]


def remainder_of_a_float(t, y):
    try:
        return [3.0 % float(y[0])]
    except ArithmeticError:
        return [5.0]


def power_of_a_float(t, y):
    try:
        return [float(y[0]) ** -2]
    except Exception:
        return [5.0]


def growth(t, y):
    try:
        return [1.0 / (1.0 + math.exp(500.0 * y[0]))]
    except OverflowError:
        return [5.0]


def helper(x):
    return math.log(x)


def caught_by_the_caller(t, y):
    with contextlib.suppress(ValueError):
        return [helper(y[0])]
    return [5.0]


def caught_bare(t, y):
    try:
        return [math.acos(y[0])]
    except:  # noqa: E722
        return [5.0]


def caught_twice(t, y):
    try:
        try:
            s = math.atanh(y[0])
        except OverflowError:
            s = 1.0
    except ValueError:
        s = math.fabs(y[0])
    return [s]


CATCHING = (
    root, inverse_of_a_float, inverse_of_a_state, remainder_of_a_float, power_of_a_float, growth,
    caught_by_the_caller, caught_bare, caught_twice,
)  # fmt: skip


@pytest.mark.parametrize("fun", CATCHING, ids=lambda fun: fun.__name__)
def test_what_except_gives_is_what_the_trace_gives(tmp_path, fun):
    """Inside and outside of the domain the derivative is the function's own."""
    system = trace(fun, 1, cache_dir=tmp_path)
    assert system.kind == "traced"
    rhs = evaluate_source(system.source)
    for value in (-2.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 3.0):
        derivative = [math.nan]
        with np.errstate(all="ignore"):
            rhs(0.0, [np.float64(value)], [], derivative, 0)
            assert derivative == pytest.approx(fun(0.0, np.array([value])), rel=1e-14)


def test_compiled_runs_take_both_paths_in_one_group():
    """Lanes in and out of the domain get what Python gives each."""
    y0 = np.linspace(-1.0, 1.0, 9)[:, None]
    result = solve_ivp(root, (0, 1), y0, "euler", first_step=1.0, backend="cpu", lanes=8)
    assert result.success.all()
    expected = y0[:, 0] + [root(0.0, row)[0] for row in y0]
    np.testing.assert_allclose(result.y[:, 0, -1], expected, rtol=1e-14)


def test_an_exception_that_nobody_catches_gives_nan(tmp_path):
    """What would have ended the program ends the run."""

    def fun(t, y):
        try:
            return [math.sqrt(y[0])]
        except ZeroDivisionError:
            return [5.0]

    rhs = evaluate_source(trace(fun, 1, cache_dir=tmp_path).source)
    derivative = [0.0]
    rhs(0.0, [np.float64(-1.0)], [], derivative, 0)
    assert math.isnan(derivative[0])


@pytest.mark.parametrize("caught", ["Exception", "BaseException", ""])
def test_a_refusal_to_trace_is_never_swallowed(tmp_path, caught):
    """What cannot be traced is not taken for an exception of the function's own."""
    namespace = {}
    exec(
        "def fun(t, y):\n    try:\n        s = round(y[0])\n"
        f"    except {caught}:\n        s = 9.0\n    return [s]",
        namespace,
    )
    assert trace(namespace["fun"], 1, cache_dir=tmp_path).kind == "compiled"


def test_caught_errors_of_numpy_are_not_traced(tmp_path):
    """np.errstate(all="raise") has no counterpart, and the note says so."""

    def fun(t, y):
        try:
            with np.errstate(all="raise"):
                return [np.log(y[0])]
        except FloatingPointError:
            return [5.0]

    system = trace(fun, 1, cache_dir=tmp_path)
    assert system.kind == "compiled"
    assert "np.errstate" in system.note


def test_a_context_that_catches_nothing_adds_no_conditions(tmp_path):
    """`with np.errstate(...)` leaves the code as it was."""

    def fun(t, y):
        with np.errstate(all="ignore"):
            return [math.sqrt(y[0]) / float(y[0])]

    assert "select" not in trace(fun, 1, cache_dir=tmp_path).source
