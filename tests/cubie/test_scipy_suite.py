"""SciPy's own tests of `solve_ivp`, with `cubie.solve_ivp` in its place.

The module is read from the installed package, not copied, and under a name of its own: what it
defines is then a user's function and no library's. Each test must pass, or is named below with the
reason why it does not; one that is named and passes fails, so that the table stays true.
"""

import doctest
import importlib.util
import inspect
import sys
import warnings
from functools import cache, partial, update_wrapper

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cubie

SUITE = "scipy.integrate._ivp.tests.test_ivp"
NAME = "suite_of_scipy"

# Methods of SciPy's that keep a Jacobian whatever it costs: where it is small, ours do when asked.
KEEPING = ("Radau", "BDF")

NOT_PASSED = {
    "test_duplicate_timestamps": "the solution is asked for at t=0.01, and the run ended at 0.002: "
    "SciPy goes on with the last step's polynomial, here that is an error",
    "test_integration": "DOP853 has one more stage inside a step than SciPy's (50 evaluations "
    "where fewer are asked for); BDF takes other steps, and up to 3 Jacobians where 2 may be",
    "test_integration_const_jac": "BDF takes other steps: its error at them is up to 17 tolerances "
    "where 10 are asked for (13 with a Jacobian for each)",
    "test_t_eval_early_event": "t and y without points are arrays, which have no truth value, and "
    "no lists",
}

# Two solves are compared to the bit: with fast-math kernels that keep other things round otherwise.
TO_THE_BIT = {"test_t_eval_dense_output"}


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

    def solve(fun, t_span, y0, method="RK45", **given):
        keeps = {"jacobian_reuse": True} if method in KEEPING else {}
        return cubie.solve_ivp(fun, t_span, y0, method, **given, **options, **keeps)

    ours = update_wrapper(solve, cubie.solve_ivp)
    monkeypatch.setattr(suite(), "solve_ivp", ours)
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
    run(label, monkeypatch, backend="cpu", fastmath=label not in TO_THE_BIT)


def test_examples_of_its_documentation():
    """Run with the import as the only change, to tight tolerances, they give the same results."""
    tight = {"rtol": 1e-9, "atol": 1e-9}
    solvers = partial(cubie.solve_ivp, backend="python", **tight), partial(solve_ivp, **tight)
    ours, theirs = ({"solve_ivp": solver, "np": np} for solver in solvers)
    examples = doctest.DocTestParser().get_examples(str(solve_ivp.__doc__))
    compared = 0
    for example in examples:
        if "import" in example.source or example.source.startswith(("plt.", "print(")):
            continue
        for names in (ours, theirs):
            exec(example.source, names)
        name = example.source.partition(" = ")[0]
        if name not in ("sol", "result"):
            continue
        found, expected = ours[name], theirs[name]
        compared += 1
        assert (found.status, found.message) == (expected.status, expected.message)
        np.testing.assert_allclose(
            found.y[:, [0, -1]], expected.y[:, [0, -1]], rtol=1e-6, atol=1e-7
        )
        for events in ("t_events", "y_events"):
            pairs = zip(getattr(found, events) or [], getattr(expected, events) or [], strict=True)
            for one, other in pairs:
                np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ours["z"], theirs["z"], rtol=1e-5)
    assert compared == 7


def test_the_table_names_tests_that_there_are():
    """A test that was renamed, or that is no more, is taken off the table."""
    assert set(NOT_PASSED) <= set(cases())
