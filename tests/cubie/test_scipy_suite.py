"""SciPy's own tests of `solve_ivp`, with `cubie.solve_ivp` in its place.

The module is read from the installed package, not copied, and under a name of its own: what it
defines is then a user's function and no library's. Each test must pass, or is named below with the
reason why it does not; one that is named and passes fails, so that the table stays true.
"""

import importlib.util
import inspect
import sys
import warnings
from functools import cache, partial

import pytest

import cubie

SUITE = "scipy.integrate._ivp.tests.test_ivp"
NAME = "suite_of_scipy"

EVENTS, DENSE = "not yet: events", "not yet: dense_output"
# Every attempt of an implicit method has a Jacobian of its own, and factorises it: lanes that go
# side by side would wait for the one that needs a new one. SciPy's Radau keeps its own for long.
AFRESH = "a Jacobian is evaluated and factorised in every attempt, and counted: it is not kept"

NOT_PASSED = {
    "test_args": EVENTS,
    "test_duplicate_timestamps": EVENTS,
    "test_empty": f"{DENSE}; a system without states is refused: there is nothing to integrate",
    "test_event_dense_output_LSODA": EVENTS,
    "test_event_terminal_integer[3]": EVENTS,
    "test_event_terminal_integer[4]": EVENTS,
    "test_event_terminal_iv": EVENTS,
    "test_events": EVENTS,
    "test_first_step": DENSE,
    "test_integration": f"{DENSE}; {AFRESH} (3 Jacobians where fewer are asked for)",
    "test_integration_complex": DENSE,
    "test_integration_const_jac": f"{DENSE}; {AFRESH} (none are asked for)",
    "test_integration_stiff[Radau]": f"{AFRESH} (235 Jacobians where fewer than 200 are asked for)",
    "test_integration_stiff[BDF]": AFRESH,
    "test_max_step": DENSE,
    "test_no_integration": DENSE,
    "test_t_eval_dense_output": DENSE,
    "test_t_eval_early_event": EVENTS,
    "test_tbound_respected_oscillator[RK23]": DENSE,
    "test_tbound_respected_oscillator[RK45]": DENSE,
    "test_tbound_respected_oscillator[DOP853]": DENSE,
    "test_tbound_respected_oscillator[Radau]": DENSE,
    "test_tbound_respected_oscillator[BDF]": DENSE,
}


@cache
def suite():
    """Return SciPy's module, under another name."""
    spec = importlib.util.find_spec(SUITE)
    if spec is None or spec.origin is None:
        pytest.skip("SciPy is installed without its tests")
    found = importlib.util.spec_from_file_location(NAME, spec.origin)
    module = sys.modules[NAME] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.solve_ivp.__module__ == "scipy.integrate._ivp.ivp"
    return module


@cache
def cases():
    """Return each test of the module, once for each of its parameters, by its label."""
    found = {}
    for name, function in vars(suite()).items():
        if not name.startswith("test_"):
            continue
        givens = [{}]
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "parametrize":
                argument, values = mark.args
                givens = [{**given, argument: value} for given in givens for value in values]
        for given in givens:
            shown = "-".join(map(str, given.values()))
            found[f"{name}[{shown}]" if given else name] = function, given
    return found


def run(label, monkeypatch, **options):
    """Run a test of SciPy's with `cubie.solve_ivp`, and these options, where it has `solve_ivp`."""
    monkeypatch.setattr(suite(), "solve_ivp", partial(cubie.solve_ivp, **options))
    function, given = cases()[label]
    if "num_parallel_threads" in inspect.signature(function).parameters:
        given = {**given, "num_parallel_threads": 1}
    why_not = NOT_PASSED.get(label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        try:
            function(**given)
        except (Exception, pytest.fail.Exception) as error:
            if why_not is None:
                raise
            pytest.xfail(f"{why_not} ({type(error).__name__})")
    assert why_not is None, f"{label} passes: take it off the table"


@pytest.mark.parametrize("label", cases())
def test_of_scipy(label, monkeypatch):
    """It passes, but for those that are named with a reason."""
    run(label, monkeypatch, backend="python")


@pytest.mark.parametrize("label", cases())
def test_of_scipy_compiled(label, monkeypatch):
    """The same for the processor."""
    run(label, monkeypatch, backend="cpu")


def test_the_table_names_tests_that_there_are():
    """A test that was renamed, or that is no more, is taken off the table."""
    assert set(NOT_PASSED) <= set(cases())
