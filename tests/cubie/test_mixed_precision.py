"""Factors in single precision inside runs in double precision."""

import numpy as np
import pytest
from benchmarks.work_precision import ATOL_OVER_RTOL, error_at_end

from cubie import RunStatus, Solver, solve_ivp
from cubie.errors import InvalidOption
from cubie.launch.step_code import step_code
from cubie.solvers import mixed_precision
from cubie.solvers.lu_form import FORMS
from tests.cubie import ptx
from tests.cubie.recorded import by_hand
from tests.cubie.stiff_systems import coupled, lorenz96
from tests.oracle.stiff_problems import STIFF_BY_NAME

NEWTON = ("kvaerno5", "radau_iia_5", "bdf")
HIRES = STIFF_BY_NAME["hires"]
SINGLE = {"factor_dtype": "float32"}


def ends(problem, method, rtol, t_span=None, **options):
    """Solve a stiff problem to its end on the CPU."""
    atol = rtol * ATOL_OVER_RTOL[problem.name]
    solver = Solver(problem.fun, method=method, backend="cpu", lanes=1, **options)
    return solver.solve(
        t_span or problem.t_span, np.array(problem.y0), args=problem.args, rtol=rtol, atol=atol
    )


def many(n_runs=11):
    """Return states that Hires begins at, (n_runs, 8)."""
    return np.array(HIRES.y0) * np.random.default_rng(0).uniform(0.5, 1.5, (n_runs, 8))


def hires(method, y0, t_end=20.0, **options):
    options = {"backend": "cpu", "fastmath": False, "save": "final", "rtol": 1e-6} | options
    solver = Solver(HIRES.fun, method=method, **options)
    return solver.solve((0.0, t_end), y0, atol=1e-10)


@pytest.mark.parametrize("problem", ["hires", "oregonator", "van_der_pol", "pollu"])
@pytest.mark.parametrize("method", NEWTON)
def test_stiff_problems_are_solved_as_with_factors_of_the_run(problem, method):
    """Errors and steps are those of double precision; iterations of Newton's method nearly."""
    for rtol in (1e-3, 1e-6, 1e-9):
        own = ends(STIFF_BY_NAME[problem], method, rtol)
        single = ends(STIFF_BY_NAME[problem], method, rtol, **SINGLE)
        assert own.status == single.status == RunStatus.SUCCESS
        errors = [error_at_end(STIFF_BY_NAME[problem], r.y[:, -1]) for r in (own, single)]
        # At a loose tolerance rounding alone moves jumps: those of van_der_pol by half of it.
        loosely = 2 if rtol == 1e-3 else 1
        assert errors[1] <= 1.5 * errors[0] + loosely * rtol
        assert single.n_steps == pytest.approx(own.n_steps, rel=0.03 * loosely, abs=1)
        assert single.n_newton == pytest.approx(own.n_newton, rel=0.04 * loosely, abs=1)


@pytest.mark.parametrize("method", NEWTON)
@pytest.mark.parametrize("name", ["robertson", "e5"])
def test_what_24_bits_cannot_solve_is_told(name, method):
    """Totals are conserved over 1e11 and 1e13 times of fast reactions: steps stay far too short."""
    problem = STIFF_BY_NAME[name]
    result = ends(problem, method, 1e-4, max_steps=3000, **SINGLE)
    assert result.status == RunStatus.TOO_MANY_STEPS
    assert result.n_rejected > 300
    # As far as steps are not much longer than the fast reactions' times it is as good as ever.
    own, single = (ends(problem, method, 1e-4, (0.0, 40.0), **more) for more in ({}, SINGLE))
    assert own.status == single.status == RunStatus.SUCCESS
    tolerance = 1e-4 * np.abs(own.y[:, -1]) + 1e-4 * ATOL_OVER_RTOL[name]
    assert np.all(np.abs(own.y[:, -1] - single.y[:, -1]) <= tolerance)


def test_a_pivot_that_lost_half_its_bits_is_none():
    """A and B exchange fast, with a total that decays: steps end where single precision does."""

    def exchange(t, y, rate):
        flow = rate * (y[0] - y[1])
        return [-flow - 1e-3 * y[0], flow]

    rates = np.array([1e1, 1e3, 1e9])
    given = {"args": (rates,), "method": "kvaerno5", "backend": "cpu", "max_steps": 2000}
    y0 = np.tile([1.0, 0.5], (3, 1))
    own = solve_ivp(exchange, (0.0, 100.0), y0, **given)
    single = solve_ivp(exchange, (0.0, 100.0), y0, **given, **SINGLE)
    assert list(own.status) == [0, 0, 0]
    assert list(single.status) == [0, 0, RunStatus.TOO_MANY_STEPS]
    np.testing.assert_allclose(single.y[:2, :, -1], own.y[:2, :, -1], rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", NEWTON)
def test_bits_do_not_depend_on_lanes_places_or_neighbours(method, form):
    """Nor on the target; interpreted, dead bytes are poisoned."""
    y0, given = many(), {"lu_form": form, **SINGLE}
    expected = hires(method, y0, lanes=1, **given)
    for options in (
        {"lanes": 4},
        {"lanes": 8},
        {"locations": "shared"},
        {"lanes": 8, "y0": y0[3:]},
    ):
        some = options.pop("y0", y0)
        found = hires(method, some, **options, **given)
        assert np.array_equal(found.y, expected.y[-len(some) :])
        assert np.array_equal(found.n_newton, expected.n_newton[-len(some) :])
    interpreted = hires(method, y0[:1], backend="python", **given)
    assert np.array_equal(interpreted.y, expected.y[:1])


@pytest.mark.parametrize("method", NEWTON)
def test_units_of_states_and_time_do_not_matter(method):
    """States of 1e-26 or 1e24, and times of 1e-18 or 1e18: steps and answers stay the same."""
    for size, time in ((2.0**-86, 1.0), (2.0**80, 2.0**-60), (1.0, 2.0**60)):

        def scaled(t, y, size=size, time=time):
            found = HIRES.fun(t / time, [value / size for value in y])
            return [value * (size / time) for value in found]

        given = {"rtol": 1e-6, "atol": 1e-10 * size, "backend": "cpu", "method": method}
        own, single = (
            solve_ivp(scaled, (0.0, 20.0 * time), many(3) * size, **given, **more)
            for more in ({}, SINGLE)
        )
        assert np.all(single.status == RunStatus.SUCCESS)
        np.testing.assert_allclose(single.n_steps, own.n_steps, atol=2)
        np.testing.assert_allclose(single.y[..., -1], own.y[..., -1], rtol=1e-5, atol=1e-9 * size)


def test_a_state_may_be_many_orders_smaller_than_another():
    """Two oscillators in units 1e60 apart, coupled: each is as exact as alone."""

    def pair(t, y, small):
        forced = y[0] / small
        return [y[1], -y[0], small * (y[3] / small), -1e4 * (y[2] - small * forced)]

    for small in (1e-10, 1e-30):
        y0, span = np.array([small * 1e30, 0.0, 0.0, 0.0]), (0.0, 1.0)
        given = {"method": "kvaerno5", "backend": "cpu", "args": (small,), "rtol": 1e-6}
        atol = 1e-9 * np.array([small * 1e30, small * 1e30, 1e30, 1e32])
        own = solve_ivp(pair, span, y0, atol=atol, **given)
        single = solve_ivp(pair, span, y0, atol=atol, **given, **SINGLE)
        assert own.status == single.status == 0
        assert np.all(np.abs(own.y[:, -1] - single.y[:, -1]) <= 1e3 * atol)


@pytest.mark.parametrize("excess", [1e39, 1e60])
def test_a_jacobian_beyond_single_precision_is_told(excess):
    """Entries above 1e38 make no regular matrix; no run succeeds with wrong numbers."""

    def steep(t, y, rate):
        return [-rate * y[1], -y[1]]

    given = {"method": "kvaerno5", "backend": "cpu", "args": (excess,), "max_steps": 500}
    y0 = np.array([excess, 1.0])
    own = solve_ivp(steep, (0.0, 1.0), y0, atol=1e-6, **given)
    single = solve_ivp(steep, (0.0, 1.0), y0, atol=1e-6, **given, **SINGLE)
    assert own.status == RunStatus.SUCCESS
    assert single.status < 0


@pytest.mark.parametrize("method", ["kvaerno5", "bdf"])
def test_large_systems_in_loops(method):
    """Jacobians whose equations are loops are summed in single precision, too."""
    y0 = np.full(200, 8.0)
    y0[3] += 0.01
    given = {"method": method, "backend": "cpu", "args": (8.0,), "rtol": 1e-6, "save": "final"}
    own = solve_ivp(lorenz96, (0.0, 0.2), y0, **given)
    single = solve_ivp(lorenz96, (0.0, 0.2), y0, **given, **SINGLE)
    assert single.n_steps == own.n_steps
    np.testing.assert_allclose(single.y, own.y, rtol=1e-7)


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize("backend", ["cpu", "python"])
def test_jacobians_by_differences_keep_their_digits(backend):
    """Differences are taken in double precision: only what comes of them is rounded."""
    y0 = np.array([1.5, 0.2, 1.0, 0.3])
    given = {"method": "kvaerno5", "backend": backend, "args": (300.0,), "rtol": 1e-6}
    own = solve_ivp(by_hand, (0.0, 1.0), y0, **given)
    single = solve_ivp(by_hand, (0.0, 1.0), y0, **given, **SINGLE)
    assert single.n_newton <= 1.1 * own.n_newton
    np.testing.assert_allclose(single.y[:, -1], own.y[:, -1], rtol=1e-5, atol=1e-8)


def test_states_that_the_mass_matrix_couples_have_one_unit():
    """A capacitor between two nodes, whose tolerances are far apart."""
    mass = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0 + 1e-3, 0.0], [0.0, 0.0, 0.0]])

    def circuit(t, y):
        return [-y[0] + y[2], -1e-2 * y[1], y[0] - 2.0 * y[2]]

    given = {"method": "radau_iia_5", "backend": "cpu", "mass_matrix": mass, "rtol": 1e-6}
    atol = np.array([1e-6, 1e-14, 1e-9])
    y0 = np.array([1.0, 1.0, 0.5])
    own = solve_ivp(circuit, (0.0, 50.0), y0, atol=atol, **given)
    single = solve_ivp(circuit, (0.0, 50.0), y0, atol=atol, **given, **SINGLE)
    assert own.status == single.status == 0
    assert single.n_steps == pytest.approx(own.n_steps, rel=0.05)
    np.testing.assert_allclose(single.y[:, -1], own.y[:, -1], rtol=1e-5, atol=1e-9)
    groups = {(0, 1): 1.0, (3, 1): 1.0, (2, 2): 1.0, (5, 4): 1.0, (4, 3): 0.5}
    assert mixed_precision._coupled(groups) == [(0, 1), (0, 3), (0, 4), (0, 5)]
    assert mixed_precision._coupled({(0, 0): 1.0}) == []


def test_fixed_steps_and_second_looks():
    """Methods without an error estimate look again at equations that resist."""
    y0 = np.array([1.0, 0.0, 0.0])
    given = {"backend": "cpu", "first_step": 0.1, "step_controller": "fixed"}
    robertson = STIFF_BY_NAME["robertson"].fun
    for method in ("backwards_euler", "radau_iia_5"):
        own = solve_ivp(robertson, (0.0, 10.0), y0, method=method, **given)
        single = solve_ivp(robertson, (0.0, 10.0), y0, method=method, **given, **SINGLE)
        assert own.status == single.status
        np.testing.assert_allclose(single.y[:, -1], own.y[:, -1], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("method", NEWTON)
def test_sensitivities_are_as_exact(method):
    """They are unknowns of the same equations; rates of 1e45 make them 1e-45."""

    def decay(t, y, a, b):
        flow = a / 1e45 * y[0] - 1e4 * y[1] * y[0]
        return [-flow - b * y[0], flow - 3e3 * y[1] * y[1]]

    given = {"method": method, "backend": "cpu", "args": (5e44, 0.1), "rtol": 1e-6, "atol": 1e-9}
    own, single = (
        solve_ivp(decay, (0.0, 10.0), [1.0, 0.1], sensitivities="parameters", **given, **more)
        for more in ({}, SINGLE)
    )
    assert single.n_steps == own.n_steps
    np.testing.assert_allclose(single.dy[..., -1], own.dy[..., -1], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("method", ["rodas5p", "auto"])
def test_rosenbrock_methods_refuse_it(method):
    """Their solutions are their stages: the words say which methods have Newton's."""
    with pytest.raises(InvalidOption, match=r"factor_dtype.*nothing corrects them.*'kvaerno5'"):
        hires(method, many(1), **SINGLE)


def test_what_is_no_precision_of_factors_is_refused():
    """Other names, more than the run has, and tolerances that single precision cannot hold."""
    with pytest.raises(InvalidOption, match=r"factor_dtype.*'float16'.*'float32', 'float64'"):
        hires("kvaerno5", many(1), factor_dtype="float16")
    with pytest.raises(InvalidOption, match=r"factor_dtype.*'double\?'"):
        hires("kvaerno5", many(1), factor_dtype="double?")
    with pytest.raises(InvalidOption, match=r"factor_dtype.*has no more"):
        hires("kvaerno5", many(1), factor_dtype="float64", dtype="float32")
    solver = Solver(HIRES.fun, method="kvaerno5", backend="cpu", **SINGLE)
    for atol in (0.0, 1e-50):
        with pytest.raises(InvalidOption, match=r"factor_dtype.*atol of at least 1e-42"):
            solver.solve((0.0, 1.0), np.array(HIRES.y0), atol=atol)


def test_the_same_precision_changes_nothing():
    """In single precision it is that of the run, and a dtype may be given as one."""
    given = {"dtype": "float32", "rtol": 1e-4}
    plain = hires("kvaerno5", many(2), **given)
    same = hires("kvaerno5", many(2), **given, factor_dtype=np.float32)
    assert np.array_equal(plain.y, same.y)
    for dtype in (np.float32, np.dtype("float32"), "float32"):
        found = hires("kvaerno5", many(2), factor_dtype=dtype, factor_units_location="shared")
        assert np.array_equal(found.y, hires("kvaerno5", many(2), **SINGLE).y)
    wide = hires("kvaerno5", many(2))
    assert np.array_equal(wide.y, hires("kvaerno5", many(2), factor_dtype=np.float64).y)


@pytest.mark.parametrize("method", NEWTON)
def test_factors_take_half_the_bytes(method):
    """Of twenty states that all depend on each other, everything shared."""
    bytes_of = []
    for options in ({}, SINGLE):
        solver = Solver(coupled, method=method, backend="cpu", locations="shared", **options)
        solver.prepare(np.ones(20), (1e-3,))
        placements = {p.name.rpartition(".")[2]: p for p in solver.plan.placements.values()}
        names = ("lu_factors", "kept_jacobian")
        sizes = [placements[name].size_bytes for name in names if name in placements]
        bytes_of.append((sum(sizes), solver.plan.shared_bytes_per_run))
    (own, total), (single, smaller) = bytes_of
    assert single == own // 2
    assert smaller <= 0.75 * total


@pytest.mark.parametrize("method", NEWTON)
def test_factors_in_global_memory(method):
    """Pinned there, or for lack of room: of another element size they share no bytes there."""
    y0, single = many(3), SINGLE
    expected = hires(method, y0, **single)
    for places in ({"lu_factors_location": "global"}, {"locations": "global"}):
        assert np.array_equal(hires(method, y0, **places, **single).y, expected.y)
        interpreted = hires(method, y0[:1], backend="python", **places, **single)
        assert np.array_equal(interpreted.y, expected.y[:1])
    planned = {"device": "sm_90", "verify": False, "lu_form": "dense"}
    solver = Solver(lorenz96, method=method, backend="cuda", **planned, **single)
    solver.prepare(np.ones(400), (8.0,))
    places = {p.name.rpartition(".")[2]: p for p in solver.plan.placements.values()}
    assert places["lu_factors"].location == "global"
    assert places["lu_factors"].size_bytes >= 4 * 400**2


@pytest.mark.skipif(ptx.find_nvdisasm() is None, reason="needs nvdisasm")
def test_a_gpu_executes_less_in_double_precision():
    """Of three stages of ten states, a full matrix: eliminated and substituted in single."""
    counts = []
    for options in ({}, SINGLE):
        solver = Solver(
            coupled, method="radau_iia_5", backend="cuda", device="sm_75", verify=False,
            locations="local", save="final", lu_form="straight_line", **options,
        )  # fmt: skip
        solver.prepare(np.ones(10), (1e-3,))
        step = step_code(solver.kernel.resources((7, 5), lines=True).cubin, 2)
        kinds = {str(kind): count for kind, count in step.accepted.kinds.items()}
        counts.append(kinds["FP64"] + kinds["convert"])
    assert counts[1] < 0.6 * counts[0]
