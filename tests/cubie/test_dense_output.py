"""`dense_output=True`: the solution as a function of time, of one run and of many."""

import math
import pickle
import re

import numpy as np
import pytest

from cubie import InvalidOption, InvalidProblem, OutputsTooLarge, Solver, solve_ivp
from cubie.algorithms.difference_polynomial import Allocators, build_inside_of, build_powers_of
from cubie.algorithms.order_choice import N_PROGRESS, ORDER, SHIFT
from cubie.backend import KernelInputs, KernelOutputs, make_backend
from cubie.launch import dense_output, steps
from cubie.launch.kernel import BatchSolverKernel
from cubie.tableaus import all_methods, all_tableaus
from cubie.tableaus.kinds import DIRKTableau, FIRKTableau
from tests.cubie.pretended import OnPretended, pretend
from tests.cubie.test_inside import kept_stages
from tests.oracle.problems import turned, turning

EVERY, MADE_OF_STAGES = all_methods(), all_tableaus()
GIVEN_STEPS = {"step_controller": "fixed", "first_step": 0.05}
BY_NEWTON = DIRKTableau | FIRKTableau
SPAN, Y0 = (0.0, 3.0), [2.0, 0.0]


def van_der_pol(t, y, mu):
    return y[1], mu * (1.0 - y[0] ** 2) * y[1] - y[0]


MU = np.linspace(0.5, 4.0, 21)
OUTLIER = 17
MU[OUTLIER] = 60.0  # many times as many steps as the others


def exact(**options):
    """A solver whose bits do not depend on what is computed beside."""
    return Solver(van_der_pol, **{"backend": "cpu", "fastmath": False, "rtol": 1e-4} | options)


@pytest.fixture
def launches(monkeypatch):
    """Numbers of runs, and of steps there was room for, of each launch from now on."""
    seen, launch = [], BatchSolverKernel.launch

    def watched(kernel, n_runs, inputs, outputs):
        seen.append((n_runs, int(outputs.arrays.first[-1])))
        return launch(kernel, n_runs, inputs, outputs)

    monkeypatch.setattr(BatchSolverKernel, "launch", watched)
    return seen


# ---- what it is ----------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY)
def test_it_is_what_times_are_read_off(method):
    """To rounding inside of steps, and to the bit at their ends; no step and no point changes."""
    times = np.sort(np.random.default_rng(1).uniform(0.0, 1.5, 40))
    options = {} if EVERY[method].has_error_estimate else {"first_step": 0.05}
    options |= kept_stages(method)
    solver = Solver(turning, method=method, backend="python", rtol=1e-4, **options)
    read = solver.solve((0.0, 1.5), turned(0.0), times)
    both = solver.solve((0.0, 1.5), turned(0.0), times, dense_output=True)
    every = solver.solve((0.0, 1.5), turned(0.0), dense_output=True)
    assert read.sol is None
    np.testing.assert_array_equal(both.y, read.y)
    assert both.n_steps == every.n_steps == every.sol.n_segments
    np.testing.assert_allclose(every.sol(times), read.y, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(both.sol(times), every.sol(times))
    np.testing.assert_array_equal(every.sol(every.t), every.y)
    np.testing.assert_array_equal(every.sol.ts, every.t)
    assert (every.sol.t_min, every.sol.t_max) == (0.0, 1.5)
    # What stages for points inside evaluate is counted, once a step.
    added = len(EVERY[method].dense.nodes) if method in MADE_OF_STAGES else 0
    plain = solver.solve((0.0, 1.5), turned(0.0))
    assert every.nfev == plain.nfev + added * plain.n_steps
    # It comes to each end from both sides.
    inner = every.t[1:-1]
    beside = every.sol(inner - 1e-9), every.sol(inner + 1e-9)
    for values in beside:
        np.testing.assert_allclose(values, every.y[:, 1:-1], atol=1e-7)


@pytest.mark.parametrize("method", MADE_OF_STAGES)
def test_the_error_inside_a_step_has_the_order_that_is_stated(method):
    """Of single steps from the exact solution, of sizes that halve."""
    parts = np.array([0.13, 0.35, 0.5, 0.77, 0.93])
    options = {"newton_tolerance": 1e-12} if isinstance(EVERY[method], BY_NEWTON) else {}
    options |= {"step_controller": "fixed", "backend": "python", "dense_output": True}
    solver = Solver(turning, method=method, **options)
    order = EVERY[method].without_error_estimate().dense.order
    errors = []
    for h in (0.4, 0.2) if order > 5 else (0.1, 0.05):
        found = solver.solve((0.0, h), turned(0.0), first_step=h)
        assert found.n_steps == 1
        errors.append(np.abs(found.sol(h * parts) - turned(h * parts)).max())
    assert math.log2(errors[0] / errors[1]) > order + 1 - 0.35


def test_the_powers_of_a_step_of_differences_are_its_polynomial():
    """For any differences, order and length of the step: one arithmetic is the other's."""
    order, n, first = 5, 2, 3
    random, backend = np.random.default_rng(3), make_backend("python", np.dtype(float), False)
    differences, correction = random.normal(size=order * n), random.normal(size=n)
    progress, state = np.zeros(N_PROGRESS), random.normal(size=n)
    given = Allocators(
        *(lambda memory, parent, b=b: b for b in (differences, correction, progress))
    )
    inside = build_inside_of(backend, order, n, given)
    powers = build_powers_of(backend, order, n, first, given)
    for highest in range(1, order + 1):
        for sigma in (0.0, -0.4, -0.93, 0.2):
            progress[ORDER], progress[SHIFT] = highest, sigma
            coefficients = np.full(first + order * n, np.nan)
            powers(None, np.full(order, np.nan), coefficients)
            of_powers = coefficients[first:].reshape(order, n)
            for theta in (0.0, 0.21, 0.5, 0.94, 1.0):
                found = state + theta ** np.arange(1, order + 1) @ of_powers
                wanted = [inside(None, np.float64(theta), state, i)[0] for i in range(n)]
                np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


# ---- beside whatever else is kept ------------------------------------------------------


WAYS = {"final": {}, "times": {"t_eval": np.linspace(0.0, 3.0, 7)}, "steps": {"save": "steps"}}


@pytest.mark.parametrize(
    ("method", "lanes", "ways"),
    [
        ("tsit5", 4, list(WAYS)),
        ("dop853", 1, ["final", "times"]),
        ("bdf", 4, ["final", "times"]),
        ("auto", 4, ["final", "times"]),
        ("kvaerno3", 4, ["steps"]),
    ],
)
def test_a_batch_is_its_runs_whatever_else_is_kept(method, lanes, ways):
    """Final states, given times, every step: as without it, and always the same function."""
    solver, looked_at, values = exact(method=method, lanes=lanes), np.linspace(0.0, 3.0, 101), []
    for way in ways:
        plain = solver.solve(SPAN, Y0, args=(MU,), **WAYS[way])
        found = solver.solve(SPAN, Y0, args=(MU,), dense_output=True, **WAYS[way])
        for name in ("status", "n_steps", "n_rejected", "t_reached"):
            np.testing.assert_array_equal(found[name], plain[name])
        for run in range(len(MU)):
            np.testing.assert_array_equal(found.y[run], plain.y[run])
        np.testing.assert_array_equal(found.sol.n_segments, found.n_steps)
        np.testing.assert_array_equal(found.sol(3.0)[3], found.y[3][:, -1])
        values.append(found.sol(looked_at))
        np.testing.assert_array_equal(values[-1], values[0])
        alone = solver.solve(SPAN, Y0, args=(MU[2:3],), dense_output=True, **WAYS[way])
        np.testing.assert_array_equal(alone.sol(looked_at)[0], values[0][2])
    assert values[0].shape == (len(MU), 2, 101)
    np.testing.assert_array_equal(found.sol[OUTLIER](looked_at), values[0][OUTLIER])


def test_steps_that_land_on_times_are_kept_as_well():
    """With `t_eval_exact`, and where breakpoints cut steps."""
    times = np.linspace(0.3, 2.7, 9)
    solver = exact(dense_output=True, t_eval_exact=True, breakpoints=[0.77, 1.9])
    found = solver.solve(SPAN, Y0, times, args=(MU[:5],))
    np.testing.assert_array_equal(found.sol(times), found.y)
    assert set(times) | {0.77, 1.9} <= set(found.sol.ts[2])
    single = solver.solve(SPAN, Y0, times, args=(1.0,))
    np.testing.assert_array_equal(single.sol(times), single.y)
    assert isinstance(single.sol(0.5), np.ndarray)
    assert single.sol(0.5).shape == (2,)
    assert single.sol([0.5, 0.1]).shape == (2, 2)


@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_all_states_are_there_whatever_is_saved(backend):
    """Complex ones are complex; those not saved are not left out; time may run backwards."""
    found = solve_ivp(
        lambda t, y, w: [1j * w * y[0], -y[1]], (2.0, -1.0), [1.0 + 0j, 2.0],
        args=(np.array([1.0, 2.0]),),
        dense_output=True, save_states=[1], rtol=1e-8, atol=1e-10, backend=backend,
    )  # fmt: skip
    times = np.array([2.0, 0.3, -1.0, 1.7])
    values = found.sol(times)
    assert values.shape == (2, 2, 4)
    assert values.dtype == np.complex128
    for run, w in enumerate((1.0, 2.0)):
        np.testing.assert_allclose(values[run, 0], np.exp(1j * w * (times - 2.0)), atol=1e-6)
        np.testing.assert_allclose(values[run, 1], 2.0 * np.exp(2.0 - times), rtol=1e-6)
    np.testing.assert_array_equal(values[:, 1:, 2], found.y[:, :, 0])
    np.testing.assert_array_equal(found.sol.t_min, -1.0)
    np.testing.assert_array_equal(found.sol.t_max, 2.0)
    assert np.all(np.diff(found.sol[0].ts) < 0)


def test_single_precision_is_told_apart_late_in_a_long_run():
    """The clock carries what rounding took from its time; so do the records."""
    solver = Solver(
        lambda t, y: [y[1], -y[0]], dtype="float32", rtol=1e-5, atol=1e-6, max_steps=10**6,
        dense_output=True,
    )  # fmt: skip
    times = 99_000.0 + np.linspace(0.0, 1.0, 1001)
    read = solver.solve((0.0, 1e5), [0.0, 1.0], times)
    values = read.sol(times)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, read.y, atol=1e-6)
    phase = np.unwrap(np.arctan2(values[0], values[1]))
    np.testing.assert_allclose(np.diff(phase), 1e-3, atol=3e-5)


def test_functions_that_are_not_traced_drivers_and_algebraic_equations():
    """Whatever a right-hand side is: the function goes through what is saved."""

    def counted(t, y):
        return [-y[0] if t < 1.0 else float(str(-y[0]))]

    def circuit(t, y):
        return [-y[0] + y[1], y[0] - 2.0 * y[1]]

    cases = [
        (counted, [1.0], {"backend": "python"}),
        (circuit, [1.0, 0.5], {"method": "rodas5p", "mass_matrix": [[1, 0], [0, 0]]}),
        (circuit, [1.0, 0.5], {"method": "rk4", "first_step": 0.07, "backend": "python"}),
        (
            circuit,
            [1.0, 0.5],
            {"method": "radau_iia_5", "summaries": {"y0": ["max"]}, "backend": "python"},
        ),
    ]
    for fun, start, options in cases:
        found = solve_ivp(fun, (0.0, 2.0), start, dense_output=True, **options)
        np.testing.assert_array_equal(found.sol(found.t), found.y)
        middle = 0.5 * (found.t[1:] + found.t[:-1])
        ends = np.sort(np.stack([found.y[:, 1:], found.y[:, :-1]]), axis=0)
        np.testing.assert_allclose(found.sol(middle), ends.mean(axis=0), atol=0.1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_have_spans_of_their_own(dtype):
    """Each as by itself; times of all runs are NaN where one does not go, and no run's refused."""
    starts, ends = np.array([0.0, 1.0, 2.0, 0.5]), np.array([3.0, -1.0, 2.0, 1.5])
    solver = Solver(turning, dtype=dtype, fastmath=False, rtol=1e-5, dense_output=True)
    states = turned(starts).T.copy()
    found = solver.solve((starts, ends), states)
    several = solver.solve((starts, ends), states, save="steps")
    times = np.linspace(-1.0, 3.0, 33)
    values = found.sol(times)
    np.testing.assert_array_equal(several.sol(times), values)
    for run, (start, end) in enumerate(zip(starts, ends, strict=True)):
        alone = solver.solve((start, end), states[run])
        low, high = sorted((start, end))
        inside = (times >= low) & (times <= high) if low < high else np.full(33, True)
        np.testing.assert_array_equal(alone.sol(times[inside]), values[run][:, inside])
        np.testing.assert_array_equal(found.sol[run](times[inside]), values[run][:, inside])
        assert np.isnan(values[run][:, ~inside]).all()
        np.testing.assert_array_equal(found.sol[run].ts, alone.sol.ts)
        np.testing.assert_array_equal(found.sol(ends[:, None])[run, :, 0], found.y[run, :, 0])
    own = np.stack([starts, (starts + ends) / 2, np.full(4, np.nan)], axis=1)
    of_each = found.sol(own)
    np.testing.assert_allclose(of_each[:, :, 1], turned(own[:, 1]).T, atol=1e-3)
    assert np.isnan(of_each[:, :, 2]).all()
    own[3, 0] = 0.4
    with pytest.raises(InvalidProblem, match=r"contains 0.4 for run 3, .* from 0.5 to 1.5\. Ask"):
        found.sol(own)
    with pytest.raises(InvalidProblem, match=r"contains 3.5, .* from -1.0 to 3.0\. Ask"):
        found.sol(3.5)


# ---- memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["final", "times", "steps"])
def test_runs_with_too_little_room_are_solved_again(monkeypatch, launches, way):
    """In several launches, or with more room: the same function to the bit."""
    options = {"final": {}, "times": {"t_eval": [1.0, 2.0]}, "steps": {"save": "steps"}}[way]
    looked_at = np.linspace(0.0, 3.0, 50)
    whole = exact(dense_output=True).solve(SPAN, Y0, args=(MU,), **options)
    monkeypatch.setattr(steps, "FIRST_ROOM", 8)
    monkeypatch.setattr(steps, "LEAST_FIRST_ROOM", 8)
    launches.clear()
    again = exact(dense_output=True).solve(SPAN, Y0, args=(MU,), **options)
    assert len(launches) == 2
    monkeypatch.setattr(steps, "LAUNCH_BYTES", 8 * 1000)
    monkeypatch.setattr(steps, "ENOUGH_DEPTH", 1)
    monkeypatch.setattr(steps, "free_bytes", lambda: 0)
    launches.clear()
    parted = exact(dense_output=True).solve(SPAN, Y0, args=(MU,), **options)
    assert len(launches) > 3
    for found in (again, parted):
        np.testing.assert_array_equal(found.sol(looked_at), whole.sol(looked_at))
        for run in range(len(MU)):
            np.testing.assert_array_equal(found.y[run], whole.y[run])
        np.testing.assert_array_equal(found.t_reached, whole.t_reached)
        np.testing.assert_array_equal(found.nfev, whole.nfev)
        assert found.success.all()
    one = exact(dense_output=True).solve(SPAN, Y0, args=(60.0,), **options)
    np.testing.assert_array_equal(one.sol(looked_at), whole.sol(looked_at)[OUTLIER])


def test_more_than_there_is_memory_for_is_refused(monkeypatch):
    """Before it is solved, where its least number of steps says so; with what to do."""
    monkeypatch.setattr("cubie.launch.capacity.free_bytes", lambda: 10**6)
    monkeypatch.setattr("cubie.launch.capacity.ALWAYS_THERE", 10**5)
    solver = Solver(van_der_pol, method="rk4", first_step=1e-3, backend="python")
    with pytest.raises(OutputsTooLarge, match="solution as a function of time, 3,001 steps") as e:
        solver.solve(SPAN, [[2.0, 0.0]] * 10, args=(1.0,), dense_output=True)
    assert "without `dense_output`" in str(e.value)
    assert e.value.n_bytes > 3001 * 10 * 8 * (3 + 2 * 5)


def test_a_call_that_is_evaluated_in_parts_is_the_same(monkeypatch):
    """Many runs or many times: what is gathered at once is bounded."""
    found = exact(dense_output=True).solve(SPAN, Y0, args=(MU,))
    times = np.random.default_rng(2).uniform(0.0, 3.0, (len(MU), 40))
    values = found.sol(times)
    for run in (0, OUTLIER):
        np.testing.assert_array_equal(values[run], found.sol[run](times[run]))
        np.testing.assert_array_equal(values[run], found.sol(times[run])[run])
    for at_once in (1, 700, 10_000):
        monkeypatch.setattr(dense_output, "NUMBERS_AT_ONCE", at_once)
        np.testing.assert_array_equal(found.sol(times), values)


def test_it_can_be_sent_to_another_process():
    """By itself, of one run, of some, and within its result, in no more than its records."""
    found = exact(dense_output=True, save="steps").solve(SPAN, Y0, args=(MU,))
    times = np.linspace(0.0, 3.0, 11)
    values = found.sol(times)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).sol(times), values)
    sent = pickle.dumps(found.sol)
    record = 8 * (3 + 2 * 5)
    assert len(sent) < record * (found.n_steps.sum() + len(MU)) + 3000
    np.testing.assert_array_equal(pickle.loads(sent)(times), values)
    one = pickle.dumps(found.sol[3])
    assert len(one) < record * (found.n_steps[3] + 1) + 3000
    np.testing.assert_array_equal(pickle.loads(one)(times), values[3])
    some = pickle.loads(pickle.dumps(found.sol[[5, OUTLIER]]))
    np.testing.assert_array_equal(some(times), values[[5, OUTLIER]])
    assert len(some) == 2


# ---- where there is none ---------------------------------------------------------------


def growing(t, y, a):
    return [a * y[0] * y[0]]


def test_a_run_of_a_batch_that_failed_has_nan_beyond():
    """As in `y`; by itself it says how far it goes."""
    rates = np.array([0.1, 2.0, 0.3])  # the second one blows up at 0.5
    found = solve_ivp(growing, (0, 1), [1.0], args=(rates,), dense_output=True)
    times = np.linspace(0.0, 1.0, 11)
    values = found.sol(times)
    for run, rate in enumerate(rates):
        reached = times <= found.t_reached[run]
        wanted = 1.0 / (1.0 - rate * times[reached])
        np.testing.assert_allclose(values[run, 0, reached], wanted, rtol=5e-3)
        assert np.isnan(values[run, 0, ~reached]).all()
    np.testing.assert_array_equal(found.sol.t_max, found.t_reached)
    with pytest.raises(
        InvalidProblem, match=r"contains 0.9.* known from 0.0 to 0\.\d+. The run en"
    ):
        found.sol[1](0.9)
    text = repr(found.sol)
    assert text.startswith("OdeSolution(3 runs x 1 state, t from 0 to 1, ")
    assert f"sol: {text}" in repr(found)


def test_times_that_have_no_solution_are_refused():
    """Said with what was given, and what is allowed."""
    single = solve_ivp(growing, (1, 3), [1.0], args=(0.1,), dense_output=True)
    batch = solve_ivp(growing, (3, 1), [[1.0], [2.0]], args=(0.1,), dense_output=True)
    for sol in (single.sol, batch.sol):
        with pytest.raises(InvalidProblem, match=r"`t` contains 3.5, .* from 1.0 to 3.0\. Ask"):
            sol([2.0, 3.5])
        with pytest.raises(InvalidProblem, match="contains NaN"):
            sol(np.nan)
        with pytest.raises(InvalidProblem, match="must be a time, or a sequence of times"):
            sol("now")
        with pytest.raises(InvalidProblem, match=r"has shape \(1, 1, 2\), but must be"):
            sol([[[2.0, 2.0]]])
        assert sol([]).shape[-1] == 0
    with pytest.raises(InvalidProblem, match=r"\(3, 2\), but .* or \(2, k\) with times for each"):
        batch.sol(np.full((3, 2), 2.0))
    with pytest.raises(TypeError, match="call it"):
        single.sol[0]
    with pytest.raises(IndexError, match="out of bounds"):
        batch.sol[2]
    with pytest.raises(IndexError, match="does not choose runs"):
        batch.sol[None]
    with pytest.raises(InvalidOption, match="dense_output"):
        solve_ivp(growing, (0, 1), [1.0], args=(0.1,), dense_output="yes")


def test_a_span_without_length_is_constant():
    """As SciPy has it: there is nothing that could change."""
    found = solve_ivp(lambda t, y: -y, (4, 4), [2.0, 3.0], dense_output=True, backend="python")
    np.testing.assert_array_equal(found.sol(4), [2, 3])
    np.testing.assert_array_equal(found.sol([4, 5, 6]), [[2, 2, 2], [3, 3, 3]])
    batch = solve_ivp(lambda t, y: -y, (4, 4), [[2.0], [3.0]], dense_output=True, backend="python")
    np.testing.assert_array_equal(batch.sol([4, 4]), [[[2, 2]], [[3, 3]]])


# ---- on a device -----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["final", "times", "steps"])
@pytest.mark.parametrize("n_bytes", [2**30, 800_000])
def test_a_device_gives_what_the_host_gives(monkeypatch, way, n_bytes):
    """Bit for bit, in one portion and in several; a single run, too."""
    looked_at, given = np.linspace(0.0, 3.0, 41), WAYS[way] | {"dense_output": True}
    host = exact(lanes=8)
    expected = [host.solve(SPAN, Y0, args=(mu,), **given) for mu in (MU, MU[3])]
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=n_bytes)
    solver = exact()
    for _ in range(2):  # again in memory that holds what came before
        driver.moved.clear()
        found = solver.solve(SPAN, Y0, args=(MU,), **given)
        assert driver.moved["launch"] > (0 if n_bytes > 800_000 else 2)
        np.testing.assert_array_equal(found.sol(looked_at), expected[0].sol(looked_at))
        for run in (0, 3, OUTLIER):
            np.testing.assert_array_equal(found.y[run], expected[0].y[run])
    one = solver.solve(SPAN, Y0, args=(MU[3],), **given)
    np.testing.assert_array_equal(one.sol(looked_at), expected[1].sol(looked_at))
    for refused in ({"on_device": True}, {}):
        start = Y0 if refused else OnPretended(np.tile(Y0, (len(MU), 1)))
        with pytest.raises((InvalidOption, InvalidProblem), match=r"dense_output"):
            solver.solve(SPAN, start, args=(MU,), **(given | refused))


@pytest.mark.parametrize(("method", "way"), [("tsit5", "final"), ("bdf", "times")])
def test_kernels_that_keep_no_solution_do_not_know_of_it(method, way):
    """They read none of the parameters that say where it goes; those that keep it stay small."""
    solver = Solver(van_der_pol, method=method, backend="cuda", device="H100", verify=False)
    texts = {}
    for dense in (False, True):
        solver.prepare(Y0, (MU,), WAYS[way].get("t_eval"), dense_output=dense)
        found = solver.kernel.resources((9, 0))
        assert found.stack_bytes == 0
        texts[dense] = found.ptx
    n_parameters = 1 + 7 * (len(KernelInputs._fields) + len(KernelOutputs._fields))
    assert KernelOutputs._fields[-1] == "dense"
    of_dense = set(range(n_parameters - 7, n_parameters))
    for dense, text in texts.items():
        assert max(map(int, re.findall(r"_param_(\d+)\b", text))) == n_parameters - 1
        read = {int(number) for number in re.findall(r"ld\.param.*_param_(\d+)\]", text)}
        assert bool(read & of_dense) == dense


# ---- where events change it --------------------------------------------------------------


def falling(t, y):
    return [y[1], -9.81]


def bounces(t, y):
    return y[0]


def turns(t, y):
    return y[1]


bounces.direction, bounces.apply = -1, lambda t, y: [0.0, -0.8 * y[1]]
turns.direction, turns.terminal = -1, 3


@pytest.mark.parametrize(
    "options",
    [{"method": "tsit5"}, {"method": "bdf"}, {"method": "rk4", "first_step": 0.05},
     {"method": "tsit5", "dtype": "float32", "rtol": 1e-5}],
    ids=["tsit5", "bdf", "rk4", "float32"],
)  # fmt: skip
def test_a_ball_that_bounces(options):
    """Steps end at events, and begin with what these make of the state; so does the function."""
    options = {"rtol": 1e-6, "backend": "python", "events": [bounces, turns], **options}
    times, rounding = np.linspace(0.0, 5.0, 41), 1e-5 if "dtype" in options else 1e-12
    solver = Solver(falling, dense_output=True, **options)
    read = solver.solve((0.0, 5.0), [[10.0, 0.0], [5.0, 1.0]], times)
    plain = solver.solve((0.0, 5.0), [[10.0, 0.0], [5.0, 1.0]], times, dense_output=False)
    np.testing.assert_array_equal(read.y, plain.y)
    np.testing.assert_allclose(read.sol(times), read.y, rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(read.sol.n_segments, read.n_steps)
    np.testing.assert_allclose(read.sol.t_max, read.t_reached, rtol=1e-6)
    one = solver.solve((0.0, 5.0), [10.0, 0.0])
    assert one.status == 1
    np.testing.assert_allclose(one.sol(one.t_events[1]), one.y_events[1].T, atol=10 * rounding)
    hit = one.t_events[0][0]
    np.testing.assert_allclose(one.sol(hit - 1e-3)[1], -14.0, atol=0.1)
    np.testing.assert_allclose(one.sol(hit + 1e-3)[1], 0.8 * 14.0, atol=0.1)


@pytest.mark.parametrize("end", [3.0, -3.0])
def test_interpolants_are_the_solution_within_each_step_as_in_scipy(end):
    """Where they begin and end, and what they are; beyond their step they have no value."""
    result = solve_ivp(lambda t, y: [y[1], -y[0]], (0.0, end), [1.0, 0.0], dense_output=True)
    pieces = result.sol.interpolants
    assert len(pieces) == result.sol.n_segments
    assert [piece.t_old for piece in pieces] + [pieces[-1].t] == list(result.sol.ts)
    for piece in pieces:
        assert piece.t_min < piece.t_max
        inside = np.linspace(piece.t_min, piece.t_max, 4)
        np.testing.assert_array_equal(piece(inside), result.sol(inside))
        assert piece(piece.t).shape == (2,)
        elsewhere = end if piece is pieces[0] else 0.0
        with pytest.raises(InvalidProblem, match="this step is from"):
            piece([piece.t_min, elsewhere])
    batch = solve_ivp(lambda t, y: -y, (0.0, 1.0), np.ones((2, 1)), dense_output=True)
    assert len(batch.sol[1].interpolants) == batch.sol.n_segments[1]
    with pytest.raises(TypeError, match=r"sol\[run\]\.interpolants"):
        _ = batch.sol.interpolants
