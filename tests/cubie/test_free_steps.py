"""Fixed steps that a group takes unjudged leave what steps judged one by one leave, bit for bit.

With one lane every step is judged. Fast-math is off: the sums are those of the source.
"""

from functools import cache

import numpy as np
import pytest

from cubie import RunStatus, Solver
from cubie.backend import make_backend
from cubie.backend.interpreted.python import PythonBackend
from cubie.run.free_steps import takes_free_steps

RATES = np.linspace(-3.0, 6.0, 37)  # the steeper ones reach infinity, at different steps
LANES = 16
SPAN, STEP = (0.25, 2.25), 0.0049
OUTPUTS = ("t", "y", "n_steps", "n_rejected", "nfev", "status", "t_reached")


def fun(t, y, rate):
    """Depends on time, and has poles for some rates."""
    return [t * y[1] - y[0], rate * y[0] * y[0] * y[1] + 0.125 * t]


@cache
def solver_of(lanes, dtype="float64", method="rk4"):
    """One solver for each width and dtype: kernels are compiled once."""
    return Solver(fun, backend="cpu", method=method, dtype=dtype, lanes=lanes, fastmath=False)


def backend_of(lanes, dtype="float64"):
    """Return the target of `solver_of`."""
    return make_backend("cpu", dtype, False, lanes)


def solve(lanes, rates=RATES, dtype="float64", span=SPAN, **changes):
    """Solve a sweep over rates in steps of `STEP`."""
    options = {"first_step": STEP, "locations": "local"} | changes
    return solver_of(lanes, dtype).solve(span, [1.0, 0.5], args=(rates,), **options)


def assert_same_bits(result, reference, runs=slice(None)):
    """Compare everything that a solve gives for each run."""
    for name in OUTPUTS:
        theirs = getattr(reference, name)
        theirs = theirs if name == "t" and theirs.ndim == 1 else theirs[runs]
        np.testing.assert_array_equal(getattr(result, name), theirs, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_that_blow_up_end_at_the_same_step(dtype):
    """The failed run keeps its last finite state; the runs beside it are not disturbed."""
    reference = solve(1, dtype=dtype)
    failed = reference.status == RunStatus.NON_FINITE
    assert 5 < failed.sum() < 30
    assert np.ptp(reference.n_steps[failed]) > 20
    assert np.all(reference.status[~failed] == RunStatus.SUCCESS)
    result = solve(LANES, dtype=dtype)
    assert takes_free_steps(
        solver_of(LANES, dtype).kernel.integrator.loop, backend_of(LANES, dtype)
    )
    assert np.all(np.isfinite(result.y))
    assert_same_bits(result, reference)


@pytest.mark.parametrize(
    "changes",
    [
        {"t_eval": np.linspace(0.25, 2.25, 33)},
        {"t_eval": [0.3, 0.3003, 0.305, 1.75]},
        {"span": (1.5, -0.5)},
        {"span": (0.25, 0.251), "first_step": 0.0008},
        {"max_steps": 100},
        {"max_steps": 409},
        {"max_steps": 1},
        {"max_step": 0.003},
        {"first_step": 2.0},
        {"first_step": 2.0 / 3.0},
        {"first_step": 2.0 / 512},
        {"save": "steps"},
    ],
    ids=str,
)
def test_stops_and_limits_are_met_alike(changes):
    """Times to save at, the end, and the limit of steps, wherever they fall."""
    assert_same_bits(solve(LANES, **changes), solve(1, **changes))


@pytest.mark.parametrize("lanes", [1, LANES])
@pytest.mark.parametrize("method", ["rk4", "tsit5"])
def test_large_components_are_finite_even_where_their_sum_is_not(method, lanes):
    """A step is not finite where a component is not, whatever they add up to."""
    # Fast-math may take sums in another order, and add two numbers as large as states on the way.
    huge = np.finfo(np.float64).max / 3

    def turn(t, y, slope):
        return [-1e-3 * y[1], 1e-3 * y[0], 0.0, slope]

    options = {"first_step": 0.5} if method == "rk4" else {}
    solver = Solver(turn, backend="cpu", method=method, lanes=lanes)
    slopes = np.array([0.0, 0.38 * huge, 0.0])  # the second run leaves the numbers half way
    result = solver.solve((0.0, 10.0), [huge, huge, huge, huge], args=(slopes,), **options)
    np.testing.assert_array_equal(result.success, [True, False, True])
    assert result.status[1] in (RunStatus.NON_FINITE, RunStatus.STEP_TOO_SMALL)
    assert 4.0 < result.t_reached[1] < 6.0
    assert np.all(np.isfinite(result.y[[0, 2]]))


@pytest.mark.parametrize("size", [1, 7, LANES - 1, LANES, LANES + 1, 37])
def test_a_run_does_not_depend_on_its_group(size):
    """Batches of every size, in another order."""
    chosen = np.random.default_rng(size).permutation(RATES.size)[:size]
    assert_same_bits(solve(LANES, RATES[chosen]), solve(1), chosen)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, LANES])
def test_sizes_and_spans_of_each_run(lanes, dtype):
    """Steps of lanes differ in size and direction, and every run is what it is alone."""
    random = np.random.default_rng(5)
    start = random.uniform(-0.5, 0.5, LANES + 5)
    end = start + random.uniform(0.1, 1.0, len(start)) * random.choice([-1, 1], len(start))
    end[3] = start[3]
    sizes, rates = random.uniform(0.003, 0.01, len(start)), RATES[: len(start)]
    solver = solver_of(lanes, dtype)
    given = {"locations": "local", "save": "final"}
    every = solver.solve((start, end), [1.0, 0.5], args=(rates,), first_step=sizes, **given)
    assert takes_free_steps(solver.kernel.integrator.loop, backend_of(LANES, dtype))
    for run in range(0, len(start), 3):
        alone = solver.solve(
            (float(start[run]), float(end[run])), [1.0, 0.5], args=(float(rates[run]),),
            first_step=float(sizes[run]), **given,
        )  # fmt: skip
        np.testing.assert_array_equal(every.y[run], alone.y)
        assert (every.n_steps[run], every.status[run]) == (alone.n_steps, alone.status)


def test_buffers_may_lie_in_shared_memory():
    """A part of the lanes finds its bytes among those of the group."""
    assert_same_bits(solve(LANES, locations="shared"), solve(1))


def test_a_width_below_that_of_a_register():
    """Two lanes are one part."""
    assert_same_bits(solve(2), solve(1))


@pytest.mark.parametrize("method", ["tsit5", "euler"])
def test_who_takes_free_steps(method):
    """Explicit methods that carry nothing over, with fixed steps, in groups."""
    solver = solver_of(LANES, method=method)
    solver.prepare([1.0, 0.5], (RATES,), step_controller="fixed")
    loop = solver.kernel.integrator.loop
    assert takes_free_steps(loop, backend_of(LANES)) == (method == "euler")
    assert not takes_free_steps(loop, backend_of(1))
    assert takes_free_steps(loop, make_backend("cuda", np.float64, False))


FEW_RATES = RATES[[0, 12, 24, 30, 36]]


def solve_alone(method, **changes):
    """Solve run by run, interpreted; solvers are not shared: how they step is decided once."""
    options = {"first_step": 0.0199, "step_controller": "fixed", "save": "final"} | changes
    if "t_eval" in changes:
        del options["save"]
    solver = Solver(fun, backend="python", method=method, dtype="float64")
    return solver.solve(SPAN, [1.0, 0.5], args=(FEW_RATES,), **options)


@pytest.mark.parametrize(
    "changes", [{}, {"t_eval": [0.3, 0.305, 1.75]}, {"max_steps": 70}], ids=str
)
@pytest.mark.parametrize("method", ["rk4", "tsit5"])
def test_single_runs_that_go_unjudged(method, changes, monkeypatch):
    """On a GPU single runs do, too: here the interpreter does what a thread does."""
    reference = solve_alone(method, **changes)
    monkeypatch.setattr(PythonBackend, "runs_go_unjudged", True)
    result = solve_alone(method, **changes)
    assert not np.all(result.success)
    for name in OUTPUTS:
        found, expected = getattr(result, name), getattr(reference, name)
        if method == "rk4" or name != "y":
            np.testing.assert_array_equal(found, expected, err_msg=name)
        # What is carried from step to step is made anew where steps are undone.
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=name)


def test_single_runs_go_unjudged_only_where_nothing_is_told_of_a_step(monkeypatch):
    """Not where steps are chosen, saved or summarised, and not of methods that may fail."""
    cuda = make_backend("cuda", np.float64, False)

    def takes(method="tsit5", **options):
        solver = Solver(fun, backend="cpu", method=method)
        choice = {"step_controller": "fixed", "first_step": 0.1, "save": "final"} | options
        solver.prepare([1.0, 0.5], (RATES,), **choice)
        return takes_free_steps(solver.kernel.integrator.loop, cuda)

    assert takes()
    assert takes("euler")
    assert not takes(step_controller="i", first_step=None)
    assert not takes(save="steps")
    assert not takes(summaries={"y0": "max"})
    assert not takes("kvaerno3")
    assert not takes("rodas5p")
