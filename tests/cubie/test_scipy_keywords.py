"""What SciPy's callers write besides: columns, defaults, classes, bounds of steps, positions."""

import inspect
import pickle
import re
import warnings

import numpy as np
import pytest
import scipy.integrate
from scipy.integrate import solve_ivp as by_scipy

import cubie
from cubie import InvalidOption, InvalidProblem, RunStatus, Solver, UnknownOption, solve_ivp
from cubie.distribution import VERSION
from cubie.other_packages import instead_of, names_elsewhere
from cubie.solvers import LINEAR_SOLVERS
from cubie.systems.errors import RightHandSideError

SPAN = (0.0, 2.0)
START = [1.0, 0.5]


def oscillator(t, y):
    return [y[1], -4.0 * y[0]]


def in_columns(t, y):
    """Of states (n, k), as `vectorized` says; one state alone would not do."""
    n, k = y.shape
    return np.vstack((y[1], -4.0 * y[0])) * np.ones((n, k))


def looping_columns(t, y):
    """The same, which cannot be traced."""
    derivative = np.empty_like(y)
    for _ in range(int(abs(y[0, 0])) + 1):
        derivative[0] = y[1]
    derivative[1] = -4.0 * y[0]
    return derivative


# ---- the call --------------------------------------------------------------------------


def test_arguments_by_position_are_those_of_scipy():
    """Whatever is given without its name means the same."""
    ours, theirs = (inspect.signature(f).parameters for f in (solve_ivp, by_scipy))
    shared = [name for name, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(shared)] == shared
    for name in shared[4:]:
        assert ours[name].default == theirs[name].default, name
    given = (SPAN, START, "RK45", [0.5, 2.0], False, None, False, (4.0,))
    result = solve_ivp(lambda t, y, k: [y[1], -k * y[0]], *given, backend="python")
    np.testing.assert_array_equal(result.t, [0.5, 2.0])


def test_defaults_ask_for_nothing():
    """To say that there are no events, and no dense output."""
    solver = Solver(oscillator, backend="python", events=None)
    same = Solver(oscillator, backend="python").solve(SPAN, START)
    for changes in ({}, {"events": None}, {"dense_output": False}):
        found = solver.solve(SPAN, START, **changes)
        np.testing.assert_array_equal(found.y, same.y)
        assert (found.sol, found.t_events) == (None, None)


@pytest.mark.parametrize("name", ["RK45", "RK23", "DOP853", "Radau"])
def test_classes_of_scipy(name):
    """A class of solvers stands for its method."""
    of_class = solve_ivp(oscillator, SPAN, START, getattr(scipy.integrate, name), backend="python")
    of_name = solve_ivp(oscillator, SPAN, START, name, backend="python")
    np.testing.assert_array_equal(of_class.y, of_name.y)


def test_a_class_of_the_users():
    """Only SciPy's own are known by their names."""

    class RK45(scipy.integrate.RK45):
        pass

    with pytest.raises(TypeError, match="a method is a name or a Tableau"):
        solve_ivp(oscillator, SPAN, START, RK45)


# ---- columns ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["RK45", "Radau"])
@pytest.mark.parametrize("fun", [in_columns, looping_columns], ids=lambda fun: fun.__name__)
def test_functions_of_columns(fun, method):
    """Traced, or compiled as they stand, they get a column and return one."""
    options = {"method": method, "rtol": 1e-7, "atol": 1e-9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        ours = solve_ivp(fun, SPAN, START, vectorized=True, backend="python", **options)
    theirs = by_scipy(fun, SPAN, START, vectorized=True, **options)
    assert ours.success
    assert bool(ours.notes) == (fun is looping_columns)
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-5)


def test_functions_of_columns_on_the_processor():
    """What cannot be traced is compiled with the column on the stack."""
    options = {"vectorized": True, "rtol": 1e-6, "method": "tsit5"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.UntracedWarning)
        ours = solve_ivp(looping_columns, SPAN, START, backend="cpu", **options)
        same = solve_ivp(looping_columns, SPAN, START, backend="python", **options)
    np.testing.assert_allclose(ours.y[:, -1], same.y[:, -1], rtol=1e-9)


def test_batches_of_columns():
    """Runs are another axis: of args and of y0."""

    def fun(t, y, rate):
        return -rate * y * np.ones((1, 1))

    rates = np.array([1.0, 2.0])
    result = solve_ivp(
        fun, SPAN, [1.0], vectorized=True, args=(rates,), backend="python", rtol=1e-7
    )
    np.testing.assert_allclose(result.y[:, 0, 0], np.exp(-2.0 * rates), rtol=1e-5)


def test_columns_are_no_states_by_themselves():
    """The same function with and without: what was traced is not taken for the other."""
    solver = Solver(in_columns, backend="python", vectorized=True)
    solver.solve(SPAN, START)
    with pytest.raises(RightHandSideError, match="not enough values to unpack"):
        solver.solve(SPAN, START, vectorized=False)
    with pytest.raises(InvalidOption, match="`vectorized` is 1, but must be one of True, False"):
        solver.solve(SPAN, START, vectorized=1)
    with pytest.raises(RightHandSideError, match="fun returned None"):
        solve_ivp(lambda t, y: None, SPAN, START, vectorized=True)
    with pytest.raises(TypeError, match=r"fun is called as short\(t, y, args\[0\]\)"):
        solve_ivp(short, SPAN, START, vectorized=True, args=(1.0,))


def short(t, y):
    return y


# ---- where a function may be asked ---------------------------------------------------------


def test_functions_that_raise_outside_of_their_span():
    """It is tried near the start of the run where it raises anywhere else."""

    def narrow(t, y):
        if not 10.0 <= t <= 10.5:
            raise ValueError("outside")
        return [-y[0]]

    def of_small_states(t, y):
        if y[0] > 1e-3:
            raise ValueError("too large")
        return [-y[0]]

    for fun, span, start in ((narrow, (10.0, 10.5), 1.0), (of_small_states, (0.0, 0.5), 1e-3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cubie.UntracedWarning)
            result = solve_ivp(fun, span, [start], backend="python", rtol=1e-6, atol=1e-9)
        assert result.success
        assert result.y[0, -1] == pytest.approx(start * np.exp(-0.5), rel=1e-5)


def test_functions_that_raise_everywhere():
    """Neither the usual points nor those near the start have a value."""

    def never(t, y):
        raise ValueError("never")

    with pytest.raises(RightHandSideError, match="fun raises for 1 states and these args: ValueE"):
        solve_ivp(never, (10.0, 10.5), [1.0])


# ---- the least step --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_are_no_smaller_than_min_step(dtype):
    """But to land on a time; the tolerance must allow it."""
    options = {"min_step": 0.3, "rtol": 1e-2, "dtype": dtype, "backend": "python"}
    free = solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], rtol=1e-2, backend="python")
    assert np.diff(free.t).min() < 0.3
    result = solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], **options)
    assert np.diff(result.t)[:-1].min() >= 0.3 * (1 - 1e-6)
    times = [0.05, 0.1, 1.0]
    options |= {"t_eval": times, "t_eval_exact": True}
    landing = solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], **options)
    np.testing.assert_allclose(landing.y[0], np.exp(-np.array(times)), rtol=2e-2)


@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_a_run_that_needs_smaller_steps_ends(backend):
    """As in LSODA: the status tells, and the neighbours go on."""
    rates = np.array([1.0, 1e7])
    result = solve_ivp(
        lambda t, y, k: [-k * (y[0] - np.cos(t)), y[0]], (0.0, 1.0), [0.0, 0.0],
        args=(rates,), min_step=1e-3, backend=backend,
    )  # fmt: skip
    assert result.status.tolist() == [RunStatus.SUCCESS, RunStatus.STEP_TOO_SMALL]
    assert result.t_reached[1] < 0.5
    assert result.n_rejected[1] > 0


def test_bounds_that_contradict_each_other():
    """The bound is compared with the others, and fixed steps have none."""
    refused = {
        "`min_step` is 0.5, longer than max_step, which is 0.1.": {"max_step": 0.1},
        "`min_step` is 0.5, longer than first_step, which is 0.2.": {"first_step": 0.2},
        "`min_step` is 0.5. Steps are of one size here, `first_step`: leave it out.": {
            "method": "rk4", "first_step": 0.5,
        },
    }  # fmt: skip
    for told, options in refused.items():
        with pytest.raises((InvalidProblem, InvalidOption)) as caught:
            solve_ivp(oscillator, SPAN, START, min_step=0.5, **options)
        assert str(caught.value) == told
    for given in (-1.0, "0.1", True, np.inf):
        with pytest.raises(InvalidProblem, match="but must be a positive number"):
            solve_ivp(oscillator, SPAN, START, min_step=given)
    same = solve_ivp(oscillator, SPAN, START, backend="python", min_step=0)
    np.testing.assert_array_equal(same.y, solve_ivp(oscillator, SPAN, START, backend="python").y)


# ---- results and solvers, shown -----------------------------------------------------------


def test_a_result_in_a_few_lines():
    """What happened, shapes and counts; notes; of a batch how many runs did what."""
    one = solve_ivp(oscillator, SPAN, START, backend="python")
    lines = repr(one).splitlines()
    assert len(lines) == 11
    assert lines[0].strip() == f"message: {RunStatus.SUCCESS.message}"
    assert [line.partition(":")[0].strip() for line in lines] == [
        "message", "success", "status", "t", "y", "sol", "t_events", "y_events", "steps", "work",
        "solve_seconds",
    ]  # fmt: skip
    assert f"y: (2, {one.t.size}) float64" in repr(one)
    assert f"t: ({one.t.size},), from 0 to 2" in repr(one)
    rates = np.linspace(1.0, 200.0, 20)
    many = solve_ivp(
        lambda t, y, k: [k * y[1], -k * y[0]], SPAN, START, args=(rates,), max_steps=100,
        backend="python",
    )  # fmt: skip
    failed = int(np.count_nonzero(many.status))
    assert 0 < failed < 20
    assert f"success: {20 - failed} of 20 runs" in repr(many)
    assert f"{20 - failed} x 0 (SUCCESS), {failed} x -2 (TOO_MANY_STEPS)" in repr(many)
    assert "y: (20, 2, 1) float64" in repr(many)
    assert len(repr(many)) < 1500


def test_names_of_states_and_more():
    """Names of equations are shown, and those of observables and summaries."""
    solver = Solver(
        ["dx = v", "dv = -k*x", "E = v*v"], backend="python", observables="E", save_states=["v"],
        summaries={"x": ["max", "min"]},
    )  # fmt: skip
    result = solver.solve(SPAN, {"x": 1.0, "v": 0.5}, args={"k": 2.0})
    assert result.state_names == ("v",)
    text = repr(result)
    for told in ("float64, of v\n", "observables: E\n", "summaries: x: max, min\n"):
        assert told in text
    assert solve_ivp(oscillator, SPAN, START, backend="python").state_names == ()


def test_a_solver_says_what_it_is_of():
    """The function, the method, and what was chosen."""
    solver = Solver(oscillator, method="RK45", rtol=1e-6, dtype="float32", safety=0.8)
    told = "Solver(oscillator, method='dormand_prince54', rtol=1e-06, dtype='float32', safety=0.8)"
    assert repr(solver) == told
    assert repr(Solver(["dx = -k*x"])) == "Solver(equations of x, method='tsit5')"


def test_pickles_are_hardly_larger_than_their_arrays():
    """A result takes its arrays, and five kilobytes for the plan and what the kernel is."""
    rates = np.linspace(1.0, 2.0, 40)
    for options in ({}, {"t_eval": [0.5, 1.0, 2.0]}, {"save": "steps"}):
        for method in ("tsit5", "kvaerno5"):
            result = solve_ivp(
                lambda t, y, k: -k * y,
                SPAN,
                [1.0],
                method,
                args=(rates,),
                backend="python",
                **options,
            )
            saved = rates.nbytes  # how many points each run has
            arrays = [result.y, result.t, result.status, result.t_reached]
            arrays += [result.n_steps, result.n_rejected, result.n_newton, result.n_linear]
            size = sum(array.nbytes for array in arrays)
            assert len(pickle.dumps(result)) < size + saved + 5200, (options, method)
    one = solve_ivp(oscillator, SPAN, START, backend="python", method="kvaerno5")
    again = pickle.loads(pickle.dumps(one))
    assert len(pickle.dumps(one)) < 6000
    assert again.plan == one.plan


def test_the_version():
    """It is that of the distribution; there is nothing else by accident."""
    assert cubie.__version__ == VERSION
    with pytest.raises(AttributeError, match="has no attribute 'version'"):
        _ = cubie.version


# ---- names of other packages ----------------------------------------------------------------

ELSEWHERE = [(package, name) for package, names in names_elsewhere().items() for name in names]


@pytest.mark.parametrize(("package", "name"), ELSEWHERE, ids=lambda value: value)
def test_options_of_other_packages_are_answered(package, name):
    """What takes their place, in place of a name that is spelled alike."""
    solver = Solver(oscillator)
    assert name not in solver.options, "it is here now: take it off the list"
    with pytest.raises(UnknownOption) as caught:
        solver.update(**{name: 1})
    told = str(caught.value)
    assert caught.value.nearest is None
    if told.startswith(f"`{name}` is not supported."):
        assert instead_of(name) in told
    else:  # another method, controller or linear solver has it
        assert f"It is one {caught.value.elsewhere[name]}" in told
    assert len(told) < 450


def test_answers_name_options_that_there_are():
    """An answer says `option=`: each is one of some method's, controller's or linear solver's."""
    known = set(inspect.signature(solve_ivp).parameters)
    for method in ("tsit5", "kvaerno5", "rodas5p"):
        for controller in ("i", "pi", "pid", "gustafsson"):
            known |= set(Solver(oscillator, method=method, step_controller=controller).options)
    for solver in LINEAR_SOLVERS:
        known |= set(Solver(oscillator, method="kvaerno5", linear_solver=solver).options)
    for package, name in ELSEWHERE:
        for option in re.findall(r"(?<![}\w])([a-z_0-9]+)=(?!=)", instead_of(name)):
            assert option in known, (package, name, option)
