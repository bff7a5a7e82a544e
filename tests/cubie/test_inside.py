"""Times to save at are read off the solution inside steps, and do not change where these lie."""

import gc
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import Interpolant, Solver, solve_ivp
from cubie.backend import recycling
from cubie.integrator import RunSettings
from cubie.tableaus import all_tableaus
from cubie.tableaus.bootstrapped import bootstrap
from cubie.tableaus.catalogue import all_methods
from cubie.tableaus.continuous import continuous_extension
from cubie.tableaus.kinds import DIRKTableau, FIRKTableau
from cubie.tableaus.nested import from_slopes_at_ends, leja_points, nested, slopes_of
from tests.cubie.targets import on_targets
from tests.oracle.problems import turned, turning

METHODS = all_tableaus()
EVERY = all_methods()  # those that are not made of stages, too
INSIDE = [name for name in METHODS if RunSettings(METHODS[name]).reads_inside()]
OF_GIVEN_STEPS = [
    name for name in METHODS if RunSettings(METHODS[name], "fixed").reads_inside()
]  # fmt: skip
BY_NEWTON = [name for name, kind in METHODS.items() if isinstance(kind, DIRKTableau | FIRKTableau)]
BOOTSTRAPPED = [name for name in METHODS if METHODS[name].dense.nodes]


def kept_stages(method):
    """Return what has a method keep stages that it would add up otherwise."""
    return {"stage_storage": "vectors"} if RunSettings(EVERY[method]).sums_stages() else {}


# ---- how good it is ----------------------------------------------------------


@pytest.mark.parametrize("method", OF_GIVEN_STEPS)
def test_the_error_inside_a_step_has_the_order_that_is_stated(method):
    """Of single steps from the exact solution, of sizes that halve."""
    parts = np.array([0.13, 0.35, 0.5, 0.77, 0.93])
    options = {"newton_tolerance": 1e-12} if method in BY_NEWTON else {}
    solver = Solver(turning, method=method, step_controller="fixed", backend="python", **options)
    order = METHODS[method].without_error_estimate().dense.order
    errors = []
    for h in (0.4, 0.2) if order > 5 else (0.1, 0.05):
        t = h * parts
        found = solver.solve((0.0, h), turned(0.0), t, first_step=h)
        assert found.n_steps == 1
        errors.append(np.abs(found.y - turned(t)).max())
    # Where it is better than stated, as a step of a symmetric method is, that is no fault.
    assert math.log2(errors[0] / errors[1]) > order + 1 - 0.35


# One or two of each family: those with the largest coefficients, and with stages that are added.
ONE_OF_EACH_FAMILY = [
    "tsit5", "cash_karp54", "vern7", "dop853", "rodas5p", "kvaerno5", "radau_iia_9",
    "dormand_prince54", "bdf", "auto",
]  # fmt: skip
ADAPTIVE = [name for name, method in EVERY.items() if method.has_error_estimate]


@pytest.mark.parametrize(
    ("method", "backend"), on_targets(ONE_OF_EACH_FAMILY, ["tsit5", "kvaerno5"], ADAPTIVE)
)
def test_inside_steps_the_error_is_that_of_the_steps(method, backend):
    """Points inside are not much worse than those that steps lead to, at any tolerance."""
    for tolerance in (1e-4, 1e-8) if EVERY[method].error_order > 2 else (1e-3, 1e-5):
        given = {"rtol": tolerance, "atol": tolerance, "max_steps": 10**6, "backend": backend}
        solver = Solver(turning, method=method, **given)
        steps = solver.solve((0.0, 6.0), turned(0.0))
        times = np.linspace(0.0, 6.0, 301)
        inside = solver.solve((0.0, 6.0), turned(0.0), times)
        of_steps = np.abs(steps.y - turned(steps.t)).max()
        # That of Dormand & Prince, which SciPy has too, is far off where its steps are very good.
        factor = 40 if method == "dormand_prince54" else 8
        assert np.abs(inside.y - turned(times)).max() < factor * of_steps + 2 * tolerance


@pytest.mark.parametrize(
    ("method", "backend"), on_targets(ONE_OF_EACH_FAMILY, ["dop853", "rodas5p"], ADAPTIVE)
)
def test_inside_steps_float32_is_as_good_as_at_their_ends(method, backend):
    """Near what it resolves, too: no coefficients so large that they lose digits to each other."""
    tolerance, start = (3e-6 if EVERY[method].error_order > 2 else 3e-5), turned(0.0)
    given = {"rtol": tolerance, "atol": tolerance, "dtype": "float32", "max_steps": 10**6}
    solver = Solver(turning, method=method, backend=backend, **given)
    times = np.linspace(0.0, 6.0, 301)
    steps, inside = solver.solve((0.0, 6.0), start), solver.solve((0.0, 6.0), start, times)
    of_steps = np.abs(steps.y - turned(steps.t)).max()
    # Dormand & Prince's is as far off in float64.
    factor = 16 if method == "dormand_prince54" else 4
    assert np.abs(inside.y - turned(times)).max() < factor * of_steps + tolerance


@pytest.mark.parametrize("name", METHODS)
def test_coefficients_inside_a_step_do_not_cancel(name):
    """The parts of a sum are hardly larger than the weights of the stages, whatever the method."""
    rows = METHODS[name].dense.interpolant.weights
    theta = np.linspace(0.0, 1.0, 301)
    centres = leja_points(len(rows[0]))
    basis = [np.prod([theta - x for x in centres[: k + 1]], axis=0) for k in range(len(centres))]
    made = np.array([nested(row) for row in rows])
    weights = np.array([[*METHODS[name].dense.interpolant.values_at(x)] for x in theta]).T
    np.testing.assert_allclose(made @ basis, weights, atol=1e-11 * np.abs(rows).max())
    parts = np.einsum("sk,kt->t", np.abs(made), np.abs(basis))
    assert parts.max() < 2.5 * np.abs(weights).sum(axis=0).max()


@pytest.mark.parametrize("name", BOOTSTRAPPED)
def test_added_stages_make_the_order_that_steps_are_controlled_by(name):
    """What the method's own stages allow is less; every level of stages adds one."""
    tableau = METHODS[name]
    orders = [continuous_extension(tableau.a, tableau.a, tableau.b, tableau.order).order]
    for k in range(1, len(tableau.inside_nodes) + 1):
        found = bootstrap(tableau.a, tableau.b, tableau.order, tableau.inside_nodes[:k])
        orders.append(found.order)
    assert orders == list(range(orders[0], orders[0] + len(orders)))
    assert orders[-2] < tableau.error_order == orders[-1] == tableau.dense.order
    # At both ends it is the method's own solution.
    weights = tableau.dense.interpolant
    np.testing.assert_allclose(weights.values_at(0.0), 0.0, atol=1e-15)
    ends = weights.values_at(1.0)
    np.testing.assert_allclose(ends, [*tableau.b, *[0.0] * len(tableau.dense.nodes)], atol=1e-12)


def test_dop853_is_as_good_inside_as_scipys():
    """Whose interpolant Hairer printed; ours is derived."""
    times = np.linspace(0.0, 10.0, 203)

    def oscillator(t, y):
        return [y[1], (1.0 - y[0] * y[0]) * y[1] - y[0]]

    exact = scipy_solve_ivp(
        oscillator, (0, 10), [2.0, 0.0], "DOP853", times, rtol=3e-14, atol=1e-14
    )
    for tolerance in (1e-4, 1e-8, 1e-11):
        given = {"rtol": tolerance, "atol": tolerance}
        ours = solve_ivp(oscillator, (0, 10), [2.0, 0.0], "dop853", times, **given)
        theirs = scipy_solve_ivp(oscillator, (0, 10), [2.0, 0.0], "DOP853", times, **given)
        error, reference = (np.abs(found.y - exact.y).max() for found in (ours, theirs))
        assert error < 1.5 * reference
        assert ours.nfev < 1.1 * theirs.nfev


def test_methods_without_a_good_solution_inside_land():
    """Of collocation methods with steps of a given size, and stages that are summed at once."""
    lands = set(METHODS) - set(OF_GIVEN_STEPS)
    summed = {"carpenter_kennedy43", "williamson32"}
    assert lands == {"gauss_legendre_4", "radau_iia_5", "radau_iia_9", *summed}
    assert set(INSIDE) == set(METHODS) - summed
    times = np.array([0.25, 1.0])
    fixed = {"step_controller": "fixed", "first_step": 0.1}
    for method in METHODS:
        found = solve_ivp(turning, (0, 1), turned(0.0), method, times, backend="python", **fixed)
        assert found.n_steps == (11 if method in lands else 10)


def test_two_coefficients_follow_from_the_slopes_at_the_ends():
    """For methods whose first and last stages are these slopes; of any degree from three on."""
    from_slopes = []
    for name, method in METHODS.items():
        weights = np.array(method.dense.interpolant.weights)
        slopes = slopes_of(weights)
        if slopes is None:
            continue
        from_slopes.append(name)
        summed = np.array([nested(row) for row in weights]).T
        start, end = np.array(slopes.start), np.array(slopes.end)
        made = summed.copy()
        made[2] = start + end - 2.0 * made[0] + np.array(slopes.third) @ made[3:]
        made[1] = made[0] - start + np.array(slopes.second) @ made[2:]
        np.testing.assert_allclose(made, summed, atol=1e-12)
    assert from_slopes == ["bogacki_shampine32", "dormand_prince54", "tsit5"]
    for degree in range(3, 10):  # one stage, and powers that are anything
        powers = np.cos(np.arange(degree))
        second, third = from_slopes_at_ends(degree)
        c, end = np.array(nested(powers)), powers @ np.arange(1, degree + 1)
        assert powers[0] + end - 2.0 * c[0] + third @ c[3:] == pytest.approx(c[2], abs=1e-12)
        assert c[0] - powers[0] + second @ c[2:] == pytest.approx(c[1], abs=1e-12)


# ---- steps do not depend on the points ---------------------------------------


BY_DTYPE = [(name, dtype) for name in EVERY for dtype in ("float64", "float32")]
IN_TURN = [(name, ("float64", "float32")[number % 2]) for number, name in enumerate(EVERY)]
COMPILED = [("cash_karp54", "float64"), ("tr_bdf2", "float32"), ("bdf", "float64")]


@pytest.mark.parametrize(
    ("method", "dtype", "backend"), on_targets(IN_TURN, COMPILED, also=BY_DTYPE)
)
def test_steps_and_the_end_do_not_depend_on_the_times(method, dtype, backend):
    """Two times or seven hundred: the same steps, and the same bits at the end."""
    start, k = turned(0.0), np.linspace(0.5, 2.0, 5)

    def scaled(t, y, k):
        return [k * v for v in turning(t, y)]

    options = {} if EVERY[method].has_error_estimate else {"first_step": 0.01}
    options |= {"dtype": dtype, "fastmath": False, "rtol": 1e-3, "backend": backend}
    options |= kept_stages(method)
    solver = Solver(scaled, method=method, **options)
    final = solver.solve((0.0, 3.0), start, args=(k,))
    for times in ([1.0, 3.0], np.linspace(0.0, 3.0, 50), np.linspace(0.01, 3.0, 701)):
        found = solver.solve((0.0, 3.0), start, times, args=(k,))
        np.testing.assert_array_equal(found.n_steps, final.n_steps)
        np.testing.assert_array_equal(found.n_rejected, final.n_rejected)
        np.testing.assert_array_equal(found.y[:, :, -1], final.y[:, :, 0])
        assert np.isfinite(found.y).all()


def test_a_point_has_the_same_bits_among_others():
    """Each is computed from its time and its step, not from the points before."""
    solver = Solver(turning, rtol=1e-6, fastmath=False)
    times = np.linspace(0.0, 3.0, 101)
    all_of_them = solver.solve((0.0, 3.0), turned(0.0), times)
    few = solver.solve((0.0, 3.0), turned(0.0), times[[3, 4, 50, 99]])
    np.testing.assert_array_equal(few.y, all_of_them.y[:, [3, 4, 50, 99]])


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.every_config)]
)
def test_points_of_a_run_together_are_those_one_by_one(dtype):
    """To the bit, however few or many: with an observable points are taken one by one."""
    rates, own = np.linspace(0.5, 2.0, 19), np.linspace(0.0, 1e-3, 19)[:, None]

    def growing(t, y, k):
        return [k * y[1], -k * y[0] * (1.0 + 0.1 * y[1] * y[1])]

    options = {"dtype": dtype, "fastmath": False, "rtol": 1e-4, "lanes": 8}
    together = Solver(growing, **options)
    alone = Solver(growing, **options, observables=lambda t, y, k: {"sum": y[0] + y[1]})
    # Fewer than are read off together, some at the end, many in each step; and rows of their own.
    for times in ([1.0, 2.9], [0.0, 0.1, 0.2, 0.3, 3.0], np.linspace(0.0, 3.0, 700)):
        for given in (np.array(times), np.array(times) * (1.0 - own)):
            read, others = (
                solver.solve((0.0, 3.0), [0.0, 1.0], given, args=(rates,))
                for solver in (together, alone)
            )
            np.testing.assert_array_equal(read.y, others.y)
            assert np.isfinite(read.y).all()


def test_exact_times_are_those_that_steps_land_on():
    """As `t_eval_exact` asks for: the points are ends of steps."""
    times = np.linspace(0.1, 3.0, 30)
    solver = Solver(turning, rtol=1e-4, t_eval_exact=True)
    found = solver.solve((0.0, 3.0), turned(0.0), times)
    read = solver.solve((0.0, 3.0), turned(0.0), times, t_eval_exact=False)
    assert found.n_steps >= 30 > read.n_steps
    short = solver.solve((0.0, 0.1), turned(0.0), [0.1])
    np.testing.assert_array_equal(found.y[:, 0], short.y[:, 0])


def test_points_lie_on_their_side_of_a_break():
    """No step crosses a jump, so that no solution inside one does."""
    jump = Interpolant([0.0, 1.0, 2.0], [1.0, -1.0, -1.0], kind="previous")
    times = np.array([0.25, 0.999, 1.0, 1.001, 1.5])
    for backend in ("python", "cpu"):
        found = solve_ivp(
            lambda t, y, u: [u(t)], (0, 2), [0.0], t_eval=times, args=(jump,), backend=backend
        )
        np.testing.assert_allclose(found.y[0], np.minimum(times, 2.0 - times), atol=1e-12)


def test_times_are_told_apart_where_float32_is_coarse():
    """Late in a long run, whose clock carries what rounding took from its time."""
    times = 99_000.0 + np.linspace(0.0, 1.0, 1001)
    found = solve_ivp(
        lambda t, y: [y[1], -y[0]], (0.0, 1e5), [0.0, 1.0], t_eval=times, dtype="float32",
        rtol=1e-5, atol=1e-6, max_steps=10**6,
    )  # fmt: skip
    # A wave's phase is off by what steps add up to; points follow each other evenly all the same.
    phase = np.unwrap(np.arctan2(found.y[0], found.y[1]))
    np.testing.assert_allclose(np.diff(phase), 1e-3, atol=3e-5)


@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_runs_that_end_early_have_nan_behind(backend):
    """And no run the points of its neighbour."""

    def growing(t, y, a):
        return [a * y[0] * y[0]]

    rates = np.array([0.1, 2.0, 0.3, 0.9])  # the second one blows up at 0.5
    times = np.linspace(0.0, 1.0, 11)
    found = solve_ivp(growing, (0, 1), [1.0], t_eval=times, args=(rates,), backend=backend)
    for run, rate in enumerate(rates):
        reached = times <= found.t_reached[run]
        exact = 1.0 / (1.0 - rate * times[reached])
        np.testing.assert_allclose(found.y[run, 0, reached], exact, rtol=5e-3)
        assert np.isnan(found.y[run, 0, ~reached]).all()
    assert (found.status != 0).tolist() == [False, True, False, False]


def test_added_stages_are_counted():
    """Of the steps that have points in them, and of no others."""
    for method, added in (("dop853", 4), ("vern7", 3), ("cash_karp54", 1), ("tsit5", 0)):
        solver = Solver(turning, method=method, rtol=1e-5, backend="python")
        none = solver.solve((0.0, 4.0), turned(0.0), save="final")
        one = solver.solve((0.0, 4.0), turned(0.0), [0.01, 0.011, 0.012])
        assert one.nfev - none.nfev == added
        assert one.n_steps == none.n_steps


# ---- memory of results is used again -----------------------------------------


def test_results_keep_their_numbers_and_memory_is_used_again():
    """A block goes to another result only when nobody can read the first one any more."""
    recycling.give_up()
    solver, times = Solver(turning, rtol=1e-4), np.linspace(0.0, 3.0, 2000)
    starts = np.tile(turned(0.0), (100, 1)) * np.linspace(0.5, 1.5, 100)[:, None]
    first = solver.solve((0.0, 3.0), starts, times)
    kept, y = first.y.copy(), first.y
    second = solver.solve((0.0, 3.0), 2.0 * starts, times)
    np.testing.assert_array_equal(first.y, kept)
    there = second.y.__array_interface__["data"][0]
    del first, second
    gc.collect()
    assert 0 < recycling.idle_bytes() <= recycling.MOST_BYTES
    third = solver.solve((0.0, 3.0), starts, times)
    assert third.y.__array_interface__["data"][0] == there
    np.testing.assert_array_equal(third.y, kept)
    np.testing.assert_array_equal(y, kept)  # a view alone keeps it


def test_idle_memory_is_bounded_and_can_be_given_up(monkeypatch):
    """The oldest goes first; blocks that are much too large are left for others."""
    recycling.give_up()
    monkeypatch.setattr(recycling, "MOST_BYTES", 5 << 20)
    blocks = [recycling.unwritten(2 << 20) for _ in range(4)]
    del blocks
    gc.collect()
    assert recycling.idle_bytes() == 4 << 20
    smaller = recycling.unwritten(1 << 20)
    assert recycling.idle_bytes() == 4 << 20
    assert smaller.nbytes == 1 << 20
    recycling.give_up()
    assert recycling.idle_bytes() == 0


def test_a_plan_is_that_of_a_solve_with_times():
    """Which buffers there are depends on whether points are read off steps."""
    solver = Solver(turning)
    prepared = solver.prepare(turned(0.0), t_eval=True)
    assert "loop.polynomial" in {buffer.name for buffer in prepared.problem.buffers}
    solver.solve((0.0, 1.0), turned(0.0), [0.5, 1.0])
    assert solver.plan.placements == prepared.placements
    assert solver.prepare(turned(0.0)).placements != prepared.placements
