"""Observables: quantities computed from the states, at every point that is saved."""

import functools
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from cubie import (
    InvalidOption,
    OutputsTooLarge,
    RaggedArray,
    RunStatus,
    Solver,
    UnknownOption,
    solve_ivp,
)
from cubie.backend import SOURCE
from cubie.systems import EquationError, ObservableError, equations, observables_of
from cubie.systems.observables.component import ObservableFunctions
from cubie.systems.observables.rates import rates_of
from cubie.tableaus import all_methods
from tests.cubie.changeable import PLACES
from tests.cubie.cli_running import run as command
from tests.cubie.evaluate import TARGETS, backend_of, evaluate_rates
from tests.cubie.test_interruption import After

SPAN, TIMES = (0.0, 2.0), np.array([0.0, 0.25, 1.0, 2.0])
RATES = np.linspace(0.5, 3.0, 7)
START = np.linspace(1.0, 2.0, 14).reshape(7, 2)
MODES = {
    "final": ({"save": "final"}, None),
    "times": ({}, TIMES),
    "steps": ({"save": "steps"}, None),
}
NAMES = ("energy", "side", "moved", "capped")


def oscillator(t, y, k):
    return [y[1], -k * y[0]]


def observed(t, y, k):
    """Return what holds to the last bit, however it is evaluated: no function, a branch."""
    energy = 0.5 * y[1] * y[1] + 0.5 * k * y[0] * y[0]
    side = 1.0 if y[0] > 0.25 else -1.0
    return {"energy": energy, "side": side, "moved": y[0] + t * y[1], "capped": min(energy, 1.5)}


def by_numpy(t, y, k):
    """Evaluate `observed` on the points of one run."""
    y0, y1 = y
    k = y.dtype.type(k)
    half = y.dtype.type(0.5)
    energy = half * y1 * y1 + half * k * y0 * y0
    side = np.where(y0 > 0.25, 1.0, -1.0)
    moved = y0 + t.astype(y.dtype) * y1
    return {"energy": energy, "side": side, "moved": moved, "capped": np.minimum(energy, 1.5)}


@functools.cache
def solver_of(backend="cpu", **options):
    """Return a solver, the same for the same options: its kernels are used by several tests."""
    options = {"fastmath": False, "rtol": 1e-4, "observables": observed, **options}
    return Solver(oscillator, backend=backend, **options)


def solved(solver, mode="times", **changes):
    options, times = MODES[mode]
    return solver.solve(SPAN, START, times, args=(RATES,), **options, **changes)


def require_those_of_states(result, runs=range(7)):
    """Demand that a result has the observables of its states, bit for bit."""
    assert tuple(result.observables) == NAMES
    for run in runs:
        ragged = isinstance(result.t, RaggedArray)
        t = result.t[run] if ragged else np.broadcast_to(result.t, result.y[run].shape[1:])
        for name, expected in by_numpy(t, result.y[run], RATES[run]).items():
            got = result.observables[name][run]
            assert got.dtype == result.y.dtype
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} of run {run}")


# ---- values --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "options"),
    [
        (MODES, {"backend": "python"}),
        (MODES, {"backend": "python", "dtype": "float32"}),
        (MODES, {}),
        (["steps"], {"dtype": "float32"}),
        (["times"], {"lanes": 1}),
    ],
    ids=["python", "python32", "lanes", "lanes32", "one lane"],
)
def test_observables_are_those_of_the_states_that_are_saved(modes, options):
    """At the end, at given times with the first among them, and at every step; to the last bit."""
    solver = solver_of(**options)
    for mode in modes:
        result = solved(solver, mode)
        assert np.all(result.status == 0)
        require_those_of_states(result)
        shape = result.y.shape
        assert result.observables["energy"].shape == (shape[0], *shape[2:])


@pytest.mark.parametrize("mode", MODES)
def test_a_single_run_has_one_axis(mode):
    """The shape is that of `y` without its components; the values are those of the batch."""
    solver, (options, times) = solver_of(), MODES[mode]
    one = solver.solve(SPAN, START[2], times, args=(RATES[2],), **options)
    batch = solved(solver, mode)
    for name in NAMES:
        assert one.observables[name].shape == one.y.shape[1:]
        np.testing.assert_array_equal(one.observables[name], batch.observables[name][2])


@pytest.mark.parametrize("method", sorted(all_methods()))
def test_every_method_has_them(method):
    """Whatever a method keeps in its buffers: they are poisoned where they are not alive."""
    tableau = all_methods()[method]
    fixed = {} if tableau.has_error_estimate else {"first_step": 0.05}
    solver = solver_of("python", method=method, rtol=1e-3, **fixed)
    for times, save in ((np.array([0.0, 0.1, 0.2]), None), (None, "steps"), (None, "final")):
        result = solver.solve((0.0, 0.2), START[:2], times, args=(RATES[:2],), save=save)
        assert np.all(result.status == 0)
        require_those_of_states(result, range(2))


@pytest.mark.parametrize("method", ["rk4", "kvaerno3"])
def test_families_have_them_compiled(method):
    """In groups of lanes, with steps of one size that need no judging among them."""
    fixed = {"first_step": 0.01} if method == "rk4" else {}
    require_those_of_states(solved(solver_of(method=method, **fixed)))


@pytest.mark.parametrize(
    ("mode", "options"), [("steps", {}), ("final", {"method": "rk4", "first_step": 0.01})]
)
def test_they_change_nothing(mode, options):
    """States and counts are the same, to the last bit, with observables and without."""
    solver = solver_of(**options)
    with_them, without = solved(solver, mode), solved(solver, mode, observables=None)
    np.testing.assert_array_equal(np.asarray(with_them.y), np.asarray(without.y))
    np.testing.assert_array_equal(with_them.n_steps, without.n_steps)
    assert dict(without.observables) == {}


@pytest.mark.parametrize("location", ["local", "shared", "local_persistent"])
def test_places_of_their_buffers_change_nothing(location):
    """Both buffers are in the plan, where they were pinned; the numbers keep every bit."""
    pins = {f"{name}_location": location for name in ("observables", "proposed_observables")}
    solver = solver_of()
    expected, pinned = solved(solver), solved(solver, **pins)
    for name in ("loop.observables", "loop.proposed_observables"):
        assert pinned.plan.placements[name].location == location
    for name in NAMES:
        np.testing.assert_array_equal(pinned.observables[name], expected.observables[name])
    np.testing.assert_array_equal(pinned.y, expected.y)


def test_time_backwards_and_from_afar():
    """The time is that of the point: of runs backwards, and of starts far from zero."""
    solver = solver_of("python", observables=lambda t, y, k: {"time": t})
    for span in ((2.0, 0.0), (1000.0, 1001.0), (-3.0, -5.0)):
        times = np.linspace(*span, 5)
        result = solver.solve(span, START[0], times, args=(1.0,))
        np.testing.assert_allclose(result.observables["time"], times, rtol=1e-15, atol=1e-15)
        steps = solver.solve(span, START[0], args=(1.0,))
        np.testing.assert_allclose(steps.observables["time"], steps.t, rtol=1e-15, atol=1e-15)


def test_neighbours_that_fail_leave_runs_alone():
    """A run has the same bits alone and in a batch; NaN where a run did not get so far."""

    def explosive(t, y, k, growth):
        return [y[1] + growth * y[0] * y[0], -k * y[0]]

    growth = np.array([0.0, 5.0, 0.0, 0.0, 9.0, 0.0, 0.0])
    solver = Solver(
        explosive, backend="cpu", fastmath=False, observables=lambda t, y, k, g: [y[0] * y[1], g]
    )
    batch = solver.solve(SPAN, START, TIMES, args=(RATES, growth))
    assert np.count_nonzero(batch.status) == 2
    for run in range(7):
        alone = solver.solve(SPAN, START[run], TIMES, args=(RATES[run], growth[run]))
        n = alone.t.size
        for name in ("o0", "o1"):
            own = batch.observables[name][run]
            np.testing.assert_array_equal(own[:n], alone.observables[name])
            assert np.isnan(own[n:]).all()
        np.testing.assert_array_equal(np.isnan(batch.y[run, 0]), np.isnan(own))


# ---- forms ---------------------------------------------------------------------


def test_all_forms_are_the_same_system():
    """A dict, a sequence, a mapping of functions; names and expressions of equations."""
    text = ["dx = v", "E = 0.5*v*v + 0.5*k*x*x", "dv = -k*x", "unused = 2*E"]
    forms = (
        (oscillator, lambda t, y, k: {"E": 0.5 * y[1] * y[1] + 0.5 * k * y[0] * y[0]}),
        (oscillator, {"E": lambda t, y, k: 0.5 * y[1] * y[1] + 0.5 * k * y[0] * y[0]}),
        (text, "E"),
        (text, ["E", "unused"]),
        (text, {"E2": "0.5*v*v + 0.5*k*x*x", "twice": "2*E2 + 0*unused"}),
        (text, lambda t, y, k: [0.5 * y[1] * y[1] + 0.5 * k * y[0] * y[0]]),
    )
    found = []
    for fun, given in forms:
        result = solve_ivp(
            fun, SPAN, START, t_eval=TIMES, args=(RATES,), observables=given, backend="python"
        )
        first, *others = result.observables
        found.append(result.observables[first])
        if others:
            np.testing.assert_array_equal(result.observables[others[0]], 2 * found[-1])
    for values in found[1:]:
        np.testing.assert_array_equal(values, found[0])


def test_what_observables_have_in_common_is_computed_once():
    """The exponential of three observables stands in the generated text once."""

    def given(t, y, k):
        growth = np.exp(k * y[0])
        return {"a": growth + 1.0, "b": growth * y[1], "c": growth - t}

    made = observables_of(given, None, 2, (1.0,))
    assert made.source.count("exp(") == 1
    assert made.output_names == ("a", "b", "c")


@pytest.mark.parametrize("target", TARGETS)
def test_rates_are_derivatives_along_the_solution(target):
    """g_t + g_y . dy beside g, on every target, with what both need computed once."""

    def given(t, y, k):
        growth = np.exp(k * y[0])
        return {"a": growth * np.sin(t), "b": y[0] * y[1], "c": 3.0}

    made = observables_of(given, None, 2, (0.5,))
    rates, _ = rates_of(made)
    t, k = 0.3, np.linspace(0.2, 1.0, 9)
    (a, b), (da, db) = np.linspace(-1.0, 1.0, 36).reshape(2, 2, 9)
    backend = backend_of(target, np.float64, False)
    found = evaluate_rates(backend, rates, t, [a, b], [da, db], [k], 3)
    growth = np.exp(k * a)
    expected = [growth * np.sin(t), a * b, 3.0 + 0.0 * a]
    expected += [growth * (k * da * np.sin(t) + np.cos(t)), a * db + b * da, 0.0 * a]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    assert rates.__globals__[SOURCE].count("exp(") == 1
    assert rates_of(made)[0] is rates


def test_a_compiled_right_hand_side_has_them():
    """Observables are traced also where `fun` has to be compiled as it stands."""

    def searching(t, y, k):
        step, x = 1.0, y[0]
        while step > 1e-3 * abs(x):
            step = step * 0.5
        return [y[1], -k * y[0] * (1.0 + 0.0 * step)]

    with pytest.warns(match="compiled as it stands"):
        result = solve_ivp(
            searching, SPAN, START[:2], t_eval=TIMES, args=(RATES[:2],), observables=observed,
            backend="cpu", fastmath=False,
        )  # fmt: skip
    require_those_of_states(result, range(2))


# ---- what is kept ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "mode"), [*(("python", mode) for mode in MODES), ("cpu", "steps")]
)
def test_what_is_kept_is_chosen(backend, mode):
    """States and observables by index or name, in the order given; or none of them."""
    solver = solver_of(backend)
    everything = solved(solver, mode)
    some = solved(solver, mode, save_states=["y1", 0], save_observables=[-1, "energy"])
    assert tuple(some.observables) == ("capped", "energy")
    for run in range(7):
        np.testing.assert_array_equal(some.y[run], everything.y[run][::-1])
        for name in some.observables:
            expected = everything.observables[name][run]
            np.testing.assert_array_equal(some.observables[name][run], expected)
    none = solved(solver, mode, save_states=False, save_observables=())
    assert none.y is None
    assert dict(none.observables) == {}
    assert none.plan.placements["loop.observables"].size_bytes == 0
    np.testing.assert_array_equal(none.n_steps, everything.n_steps)
    one = solved(solver, mode, save_states=(), save_observables="side")
    assert one.y is None
    np.testing.assert_array_equal(one.observables["side"][3], everything.observables["side"][3])


def test_the_mapping_cannot_be_written_to():
    """It is a view of what the kernel wrote."""
    result = solved(solver_of("python"))
    with pytest.raises(TypeError):
        result.observables["energy"] = 0.0


def test_results_and_solvers_with_observables_can_be_pickled():
    """A copy of a result has the same observables, a copy of a solver computes them."""
    solver = solver_of("python")
    for mode in MODES:
        result = solved(solver, mode, save_states=[1])
        for copied in (
            pickle.loads(pickle.dumps(result)),
            solved(pickle.loads(pickle.dumps(solver)), mode, save_states=[1]),
        ):
            for name in NAMES:
                own = np.asarray(result.observables[name])
                np.testing.assert_array_equal(np.asarray(copied.observables[name]), own)


def test_what_they_take_is_counted(monkeypatch):
    """Outputs that do not fit are refused, with the number of observables."""
    for module in ("capacity", "steps"):
        monkeypatch.setattr(f"cubie.launch.{module}.free_bytes", lambda: 1000)
    monkeypatch.setattr("cubie.launch.capacity.ALWAYS_THERE", 0)
    with pytest.raises(OutputsTooLarge, match=r"4 points of 7 runs of 2 states and 4 observables"):
        solved(solver_of("python"))
    with pytest.raises(OutputsTooLarge) as raised:
        solved(solver_of("python", method="rk4", first_step=0.1), "steps")
    assert raised.value.n_bytes == 7 * 21 * (1 + 2 + 4) * 8


@pytest.mark.parametrize("mode", ["final", "times", "steps"])
def test_a_launch_that_was_called_off_has_those_of_runs_that_ended(mode):
    """Runs that did not begin have NaN or no points; those that ended have all."""
    n = 3000
    options, _ = MODES[mode]
    times = np.array([0.5, 50.0]) if mode == "times" else None
    solver = Solver(
        oscillator, method="tsit5", backend="cpu", rtol=1e-9, atol=1e-9, max_steps=10**8,
        fastmath=False, observables=observed, **options,
    )  # fmt: skip
    y0, k = np.ones((n, 2)), np.linspace(1.0, 2.0, n)
    solver.solve((0.0, 50.0), y0[:100], times, args=(k[:100],))
    with pytest.raises(KeyboardInterrupt) as raised, After(0.05):
        solver.solve((0.0, 5000.0), y0, times, args=(k,))
    result = raised.value.result
    energy = result.observables["energy"]
    assert len(energy) == n
    ended = np.flatnonzero(result.status == 0)
    unfinished = np.flatnonzero(result.status == RunStatus.INTERRUPTED)
    assert len(unfinished)
    for run in (*ended[:3], *unfinished[-3:]):
        y = result.y[run]
        expected = 0.5 * y[1] * y[1] + 0.5 * k[run] * y[0] * y[0]
        np.testing.assert_array_equal(energy[run], expected)


@pytest.mark.parametrize("mode", MODES)
def test_they_are_computed_where_a_point_is_saved_and_nowhere_else(mode, monkeypatch):
    """Once for each point, however many steps and attempts there were."""
    calls, make = [], ObservableFunctions.observe.func

    def counting(functions):
        observe = make(functions)
        return lambda *args: (calls.append(1), observe(*args))[1]

    monkeypatch.setattr(ObservableFunctions, "observe", property(counting))
    solver = Solver(oscillator, backend="python", rtol=1e-4, observables=observed)
    result = solved(solver, mode)
    n_points = {"final": 7, "times": 7 * TIMES.size, "steps": 7 + result.n_steps.sum()}
    assert len(calls) == n_points[mode] < result.n_steps.sum() + 8


@pytest.mark.parametrize("save_states", [None, (1,), ()])
def test_runs_of_several_launches_keep_theirs(save_states, monkeypatch):
    """Where points have too little room at first, and where launches are small."""
    expected = solved(solver_of("python"), "steps")
    for name, value in {"LAUNCH_BYTES": 700, "FIRST_ROOM": 3, "LEAST_FIRST_ROOM": 3}.items():
        monkeypatch.setattr(f"cubie.launch.steps.{name}", value)
    solver = Solver(oscillator, backend="python", rtol=1e-4, observables=observed)
    result = solved(solver, "steps", save_states=save_states)
    for name in NAMES:
        found, all_at_once = result.observables[name], expected.observables[name]
        for run in range(7):
            np.testing.assert_array_equal(found[run], all_at_once[run])


def test_a_pin_without_observables_is_refused():
    """The message says that the buffer is there with observables."""
    with pytest.raises(UnknownOption, match="It is one with observables="):
        Solver(oscillator, observables_location="shared")


# ---- nothing stale ---------------------------------------------------------------


def test_an_observable_whose_closure_changed_is_traced_anew():
    """And only then: what did not change is found again, kernel and all."""
    factor = [2.0]
    solver = Solver(
        oscillator, backend="python", observables=lambda t, y, k: {"scaled": factor[0] * y[0]}
    )

    def scaled():
        result = solver.solve(SPAN, START, args=(RATES,))
        return result.observables["scaled"][:, 0] / result.y[:, 0, 0]

    np.testing.assert_allclose(scaled(), 2.0, rtol=1e-15)
    made = solver.builds["kernel"]
    np.testing.assert_allclose(scaled(), 2.0, rtol=1e-15)
    assert solver.builds["kernel"] == made
    factor[0] = 3.0
    np.testing.assert_allclose(scaled(), 3.0, rtol=1e-15)


def test_arguments_and_settings_are_those_of_the_solve():
    """Numbers of another solve are used; a changed mapping and choice are seen."""
    given = {"first": lambda t, y, k: k * y[0]}
    solver = Solver(oscillator, backend="cpu", observables=given)
    for k in (1.0, 2.0, 2.0):
        result = solver.solve(SPAN, [1.0, 0.5], TIMES, args=(k,))
        np.testing.assert_allclose(result.observables["first"], k * result.y[0], rtol=1e-15)
    given["second"] = lambda t, y, k: y[1]
    result = solver.solve(SPAN, [1.0, 0.5], TIMES, args=(2.0,))
    assert tuple(result.observables) == ("first", "second")
    solver.update(save_observables=["second"])
    result = solver.solve(SPAN, [1.0, 0.5], TIMES, args=(2.0,))
    assert tuple(result.observables) == ("second",)
    np.testing.assert_array_equal(result.observables["second"], result.y[1])


def test_a_number_that_counts_is_that_of_the_solve():
    """An int that becomes a constant of the traced code is another system for another value."""

    def given(t, y, n):
        return {"sum": sum(10.0**i * y[0] for i in range(n))}

    solver = Solver(decay, backend="python", observables=given)
    for n, total in ((2, 11.0), (3, 111.0), (1, 1.0), (2, 11.0)):
        result = solver.solve((0.0, 0.1), [1.0], args=(n,), save="final")
        assert result.observables["sum"][-1] == pytest.approx(total * result.y[0, -1], rel=1e-14)


def test_states_of_equations_are_chosen_by_name():
    """In the order chosen; names are those of the equations."""
    text = ["dx = v", "dv = -k*x", "E = v*v"]
    solver = Solver(text, backend="python", observables="E", save_states=["v"])
    result = solver.solve(SPAN, {"x": 1.0, "v": 0.5}, TIMES, args={"k": 2.0})
    np.testing.assert_array_equal(result.observables["E"], result.y[0] * result.y[0])
    assert "observables: E\n" in repr(result)
    assert "float64, of v\n" in repr(result)


def decay(t, y, *args):
    return [-y[0]]


@pytest.mark.parametrize("name", PLACES)
def test_whatever_an_observable_refers_to_is_as_it_is_now(name):
    """A change is noticed wherever it is; what cannot be seen is not remembered."""
    place = PLACES[name](1.0)
    solver = Solver(decay, backend="python", save="final", observables=place.fun)

    def rate():
        """Return the rate and whether it is remembered; None where it cannot be traced."""
        try:
            result = solver.solve((0.0, 0.1), [1.0], args=place.args())
        except ObservableError as error:
            assert "cannot be traced" in str(error)  # noqa: PT017 - of some places alone
            return None
        ratio = float(result.observables["o0"][-1] / result.y[0, -1])
        return round(-ratio, 3), not any("Nothing is remembered" in n for n in result.notes)

    assert rate() in (None, (1.0, place.seen))
    place.change(2.0)
    assert rate() in (None, (2.0, place.seen))
    made = dict(solver.builds)
    assert rate() in (None, (2.0, place.seen))
    assert dict(solver.builds) == made


def test_names_survive_the_cache(tmp_path, monkeypatch):
    """A new solver finds what another one traced, names and all."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    first = observables_of(observed, None, 2, (1.0,))
    calls = []
    monkeypatch.setattr(
        "cubie.systems.tracing.tracer.trace_outputs", lambda *_: calls.append(1) or 1 / 0
    )
    second = observables_of(observed, None, 2, (1.0,))
    assert second == first
    assert second.output_names == NAMES
    assert not calls


# ---- what is refused -------------------------------------------------------------

WRONG = {
    "None": (lambda t, y, k: None, "returned None; it must return a dict of names to numbers"),
    "text": (lambda t, y, k: "I", "returned a str"),
    "nothing": (lambda t, y, k: {}, "there must be one number at least"),
    "an array": (lambda t, y, k: {"a": np.array([1.0, 2.0])}, r"shape \(2,\) for 'a'"),
    "a matrix": (lambda t, y, k: np.zeros((2, 2)), r"an array of shape \(2, 2\)"),
    "a list": (lambda t, y, k: {"a": [1.0, y[0]]}, "returned a list .* for 'a'; it must be one"),
    "complex": (lambda t, y, k: [1j * y[0]], "complex"),
    "complex number": (lambda t, y, k: {"z": 1j}, "a complex number for 'z'"),
    "None inside": (lambda t, y, k: {"a": None}, "returned None for 'a'"),
    "a number as name": (lambda t, y, k: {3: y[0]}, "the name 3; names are strings"),
    "an empty name": (lambda t, y, k: {" ": y[0]}, "names are strings that are not empty"),
    "a state": (lambda t, y, k: {"y1": y[0]}, "the name 'y1', which a state has"),
    "other keys": (
        lambda t, y, k: {"a": 1.0} if y[0] > 0.9 else {"b": y[0]},
        "'a', 'b' is not there each time",
    ),
    "signature": (lambda t, y: {"a": y[0]}, r"observables are called as <lambda>\(t, y, args\[0\]"),
    "order": ({"a": lambda t, y: y[0]}, "observables raises for 2 states"),
    "raises": (lambda t, y, k: {"a": y[5]}, "observables raises .*IndexError"),
    "random": (lambda t, y, k: [random.random()], "gave two results for the same t, y and args"),
    "untraceable": (
        lambda t, y, k: {"a": np.linalg.eigvals(np.diag(y)).max()},
        "cannot be traced to straight-line code: numpy.linalg.eigvals .* save the states and",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_returns_are_refused(kind):
    """The message says what was given, what is allowed, and what to do."""
    given, message = WRONG[kind]
    with pytest.raises(ObservableError, match=f"^observables .*{message}|^{message}"):
        Solver(oscillator, backend="python", observables=given).solve(SPAN, START[0], args=(1.0,))


def test_arrays_that_sweep_are_told():
    """Of an observable that expects an array where each run gets one number."""
    given = {"a": lambda t, y, weights: weights[1] * y[0]}
    with pytest.raises(ObservableError, match=r"observables raises .* args\[0\]"):
        Solver(decay, backend="python", observables=given).solve(
            (0.0, 1.0), [1.0], args=(np.array([1.0, 2.0]),)
        )


def test_a_loop_on_the_states_is_refused():
    """There is no silent way around: not even where `fun` itself may be compiled."""

    def given(t, y, k):
        x = y[0]
        while x > 1e-3:
            x = x * 0.5
        return {"x": x}

    with pytest.raises(ObservableError, match=r"cannot be traced .*while x > 1e-3"):
        Solver(oscillator, backend="python", observables=given).solve(SPAN, START[0], args=(1.0,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observables": 3}, "`observables` is 3, but must be one of a function"),
        ({"observables": ["a", "a"]}, "'a' more than once"),
        ({"observables": {"a": 3}}, "`observables` is 3 for 'a'"),
        ({"observables": {1: observed}}, "a mapping with|something with the name 1"),
        ({"observables": {"a": observed, "b": "x"}}, "Give one kind of them"),
        ({"observables": ["E"]}, "here `fun` is a function"),
        ({"save_states": 0}, "`save_states` is 0, .*a sequence with one entry"),
        ({"save_states": [0.5]}, r"a sequence with 0\.5"),
        ({"save_states": np.array([[0, 1]])}, r"a sequence with array\("),
        ({"save_states": [0, 0]}, "'y0' more than once"),
        ({"save_states": [2]}, "a choice of number 2. There are 2 states, numbered from 0"),
        ({"save_states": ["y2"]}, "a choice of 'y2'. The states are 'y0', 'y1'"),
        ({"save_observables": ["enrgy"]}, "Did you mean 'energy'?"),
        ({"save_observables": [True]}, "a sequence with True"),
        ({"observables": None, "save_observables": [0]}, "There are no observables"),
    ],
)
def test_wrong_options_are_refused(options, message):
    """By name, with what is allowed."""
    with pytest.raises(InvalidOption, match=message):
        Solver(oscillator, **{"backend": "python", "observables": observed} | options).solve(
            SPAN, START[0], args=(1.0,)
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["E", "x"], "`x`, which is a state"),
        (["k"], "`k`, which is a parameter"),
        (["F"], "`F`, which no equation defines"),
        ({"E": "2*x"}, "`E`, which is defined by the equations already"),
        ({"x": "2*x"}, "`x`, which is a state"),
        ({"a": "2*z"}, "`z`, in the observable `a`, is not defined"),
        ({"a": "b", "b": "a"}, "`a` is defined by itself"),
        ({"a": "import os"}, "cannot be read"),
    ],
)
def test_names_that_equations_have_not_are_refused(given, message):
    """And those that mean something else already."""
    text = equations(["dx = v", "E = 0.5*v*v + k*x*x", "dv = -k*x"])
    with pytest.raises(EquationError, match=message):
        solve_ivp(text, SPAN, START[0], args=(1.0,), observables=given, backend="python")


# ---- other doors -----------------------------------------------------------------


def test_kernels_with_observables_compile_for_a_gpu():
    """With their buffers in shared memory and in registers; no stack where all fits there."""
    solver = solver_of(
        locations="local",
        save="steps",
        save_states=(1,),
        proposed_observables_location="shared",
    )
    solver.prepare(START, (RATES,))
    needs = solver.kernel.resources((9, 0))
    assert needs.registers > 0
    assert needs.stack_bytes == 0


def test_the_command_plans_them(tmp_path, monkeypatch):
    """Of a model file by key, of a function by the name of another one; both by option."""
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(
        "def fun(t, y, k):\n    return [y[1], -k * y[0]]\n\n"
        "def currents(t, y, k):\n    return {'E': y[1] * y[1], 'F': k * y[0]}\n"
    )
    lines = [
        'equations = ["dx = v", "dv = -F", "F = k*x", "E = v*v"]',
        "[options]",
        "save = 'steps'",
    ]
    Path("plain.toml").write_text("\n".join(lines))
    Path("model.toml").write_text("\n".join(["observables = ['E', 'F']", *lines]))
    sizes = []
    for words in (
        ("model.py:fun", "--states", "2", "--observables", "currents"),
        ("model.toml",),
        ("plain.toml", "--observables", "E, F"),
    ):
        plan = json.loads(command(*words, "--format", "json").stdout)
        found = {b["name"]: b["n_elements"] for b in plan["problem"]["buffers"]}
        sizes.append(found["loop.observables"])
        assert found["loop.proposed_observables"] == (2 if "toml" in words[0] else 0)
    assert sizes == [2, 2, 2]
    wrong = command("model.py:fun", "--states", "2", "--observables", "curents", status=2)
    assert "did you mean `currents`?" in wrong.output
