"""The oracle is itself checked: against published solutions, SciPy, and theory."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cubie.tableaus import ERKTableau, RosenbrockTableau, all_tableaus, get_tableau
from tests.oracle.controllers import CONTROLLERS
from tests.oracle.integrator import adaptive, error_norm, fixed_steps
from tests.oracle.problems import (
    ARENSTORF,
    FORCED,
    LINEAR,
    LORENZ,
    LOTKA_VOLTERRA,
    brusselator,
    lorenz96_problem,
    reference_solution,
)
from tests.oracle.steps import System, interpolate, take_step
from tests.oracle.stiff_problems import STIFF

TABLEAUS = list(all_tableaus().values())
PAIRS = [t for t in TABLEAUS if t.has_error_estimate]


def by_name(tableaus):
    """Parametrize over tableaus, labelled by name."""
    return pytest.mark.parametrize("tableau", tableaus, ids=lambda t: t.name)


def pendulum():
    """A forced pendulum: nonlinear, time-dependent, with exact derivatives."""
    return System(
        fun=lambda t, y: np.array([y[1], -np.sin(y[0]) + np.cos(2 * t)]),
        jac=lambda t, y: np.array([[0.0, 1.0], [-np.cos(y[0]), 0.0]]),
        dfdt=lambda t, y: np.array([0.0, -2 * np.sin(2 * t)]),
    )


T0 = 0.3
START = np.array([0.7, -0.2])
# Errors over several starts: on a single one a method's leading term may vanish by chance.
STARTS = (START, np.array([1.5, 0.0]), np.array([-0.4, 1.3]), np.array([2.2, -0.9]))


def slope(sizes, values):
    """Exponent by which `values` shrink with `sizes`, from the smallest pair above rounding."""
    usable = [(h, v) for h, v in zip(sizes, values, strict=True) if v > 1e-12]
    (h1, v1), (h2, v2) = usable[-2:]
    return np.log(v1 / v2) / np.log(h1 / h2)


def pendulum_ends(tableau, n_steps):
    """The pendulum at t = T0 + 1 from every start."""
    ends = [fixed_steps(tableau, pendulum(), (T0, T0 + 1), start, n_steps) for start in STARTS]
    return np.array(ends)


@pytest.fixture(scope="module")
def exact_ends():
    """The same by the oracle's ninth-order method in many steps."""
    return pendulum_ends(get_tableau("radau_iia_9"), 40)


def test_the_reference_of_the_order_test_agrees_with_scipy(exact_ends):
    """Two unrelated codes agree on the pendulum."""
    for start, end in zip(STARTS, exact_ends, strict=True):
        scipy = solve_ivp(pendulum().fun, (T0, T0 + 1), start, "DOP853", rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(scipy.y[:, -1], end, rtol=1e-11)


@by_name(TABLEAUS)
def test_observed_order(tableau, exact_ends):
    """Halving fixed steps divides the error by at least two to the order.

    From above the bound is loose: pairs tuned to tiny leading terms (Dormand & Prince,
    Tsitouras) look better than their order until rounding ends the sequence.
    """
    longest = 16 if tableau.order > 6 else 128 if isinstance(tableau, ERKTableau) else 32
    counts = [2**i for i in range(1, 8) if 2**i <= longest]
    errors = [np.linalg.norm(pendulum_ends(tableau, count) - exact_ends) for count in counts]
    observed = slope([1 / count for count in counts], errors)
    assert tableau.order - 0.3 < observed < tableau.order + 1.5


@by_name(PAIRS)
def test_error_estimate_scales_with_its_order(tableau):
    """One step's estimate shrinks as h to the power error_order + 1."""
    sizes = [0.4 * 0.5**i for i in range(6)]
    norms = [
        error_norm(take_step(tableau, pendulum(), T0, START, h), START, 0.0, 1.0) for h in sizes
    ]
    assert slope(sizes, norms) == pytest.approx(tableau.error_order + 1, abs=0.45)


@by_name([t for t in TABLEAUS if t.interpolant is not None])
@pytest.mark.parametrize("theta", [0.3, 0.8])
def test_interpolant_scales_with_its_order(tableau, theta):
    """Inside one step the interpolant is wrong by h to the power of its order plus one."""
    sizes = [0.8 * 0.5**i for i in range(6)]
    errors = []
    for h in sizes:
        result = take_step(tableau, pendulum(), T0, START, h)
        inside = interpolate(tableau, START, h, result.stages, theta)
        exact = fixed_steps(get_tableau("radau_iia_9"), pendulum(), (T0, T0 + theta * h), START, 4)
        errors.append(np.linalg.norm(inside - exact))
    # Better than its order at a special point is no fault.
    assert slope(sizes, errors) > tableau.interpolant_order + 1 - 0.45


@by_name(TABLEAUS)
def test_one_step_on_the_linear_problem_is_the_stability_function(tableau):
    """The integrator and the tableau's own R(z) agree, also far out on the stiff side."""
    system = System(lambda t, y: -1.0 * y, jac=lambda t, y: -np.eye(1))
    for z in (0.1, 1.0, 30.0):
        result = take_step(tableau, system, 0.0, np.ones(1), z)
        expected = tableau.stability_function(-z).real
        assert result.y[0] == pytest.approx(expected, rel=1e-7, abs=1e-10)


NONSTIFF = [LINEAR, FORCED, LORENZ, LOTKA_VOLTERRA, lorenz96_problem(8, t_end=1.0)]


@pytest.mark.parametrize("problem", NONSTIFF, ids=lambda p: p.name)
@by_name([t for t in PAIRS if isinstance(t, ERKTableau) and t.order > 3])
def test_adaptive_explicit_methods_meet_the_tolerance(tableau, problem):
    """At rtol 1e-8 the error stays near the tolerance, on every smooth problem."""
    run = adaptive(tableau, System(problem.rhs), problem.t_span, problem.y0, rtol=1e-8, atol=1e-8)
    exact = reference_solution(problem)
    error = np.max(np.abs(run.y[-1] - exact) / (1 + np.abs(exact)))
    # The chaotic ones amplify errors by about a thousand.
    assert error < (1e-4 if problem.name.startswith("lorenz") else 1e-6)
    assert run.t[-1] == problem.t_span[1]


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize("method", ["dormand_prince54", "dop853", "radau_iia_5", "rosenbrock23"])
def test_every_controller_reaches_the_end(method, controller):
    """All controllers keep errors at most one and pay for it in a sane number of steps."""
    tableau = get_tableau(method)
    tight = 1e-4 if tableau.order < 3 else 1e-7
    run = adaptive(
        tableau,
        System(LOTKA_VOLTERRA.rhs),
        LOTKA_VOLTERRA.t_span,
        LOTKA_VOLTERRA.y0,
        rtol=tight,
        atol=tight,
        controller=controller,
    )
    assert run.errors.max() <= 1
    assert len(run.t) == run.n_steps + 1
    assert run.n_rejected < 0.5 * run.n_steps
    exact = reference_solution(LOTKA_VOLTERRA)
    assert np.max(np.abs(run.y[-1] - exact)) < 300 * tight


@pytest.mark.parametrize("method", ["dormand_prince54", "tsit5", "vern7", "dop853"])
def test_arenstorf_returns(method):
    """The periodic orbit closes; between, its step size varies a thousandfold."""
    run = adaptive(
        get_tableau(method),
        System(ARENSTORF.rhs),
        ARENSTORF.t_span,
        ARENSTORF.y0,
        rtol=1e-10,
        atol=1e-10,
    )
    np.testing.assert_allclose(run.y[-1][:2], ARENSTORF.published[:2], atol=2e-4)
    steps = np.diff(run.t)
    assert steps.max() > 100 * steps.min()


def test_steps_land_on_the_stops():
    """Points asked for are reached exactly, and both directions of time work."""
    stops = [0.25, 0.5, 1.7]
    tableau = get_tableau("tsit5")
    run = adaptive(tableau, System(LORENZ.rhs), (0.0, 2.0), LORENZ.y0, t_stops=stops, rtol=1e-6)
    assert set(stops) <= set(run.t)
    back = adaptive(tableau, System(FORCED.rhs), (2.0, 0.0), [np.exp(np.sin(2.0))], rtol=1e-8)
    assert back.y[-1][0] == pytest.approx(1.0, abs=1e-4)


def test_a_blow_up_is_an_error():
    """y' = y^2 leaves the real line at t = 1; the oracle says where it stopped."""
    with pytest.raises(ArithmeticError, match=r"at t=(1|0\.99)"):
        adaptive(get_tableau("tsit5"), System(lambda t, y: y**2), (0.0, 2.0), [1.0])


@pytest.mark.parametrize("method", ["radau_iia_5", "backwards_euler", "rodas4", "kvaerno5"])
def test_mass_matrix(method):
    """A constant mass matrix gives what multiplying by its inverse gives."""
    mass = np.array([[2.0, 1.0], [0.5, 3.0]])
    inverse = np.linalg.inv(mass)
    plain = System(lambda t, y: inverse @ pendulum().fun(t, y))
    with_mass = System(pendulum().fun, mass=mass)
    tableau = get_tableau(method)
    ends = [fixed_steps(tableau, s, (T0, T0 + 1), START, 8) for s in (plain, with_mass)]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-8)


@pytest.mark.parametrize("method", ["radau_iia_5", "rodas4", "rodas5p", "sdirk2"])
def test_singular_mass_matrix(method):
    """An index-one algebraic equation is solved along: 0 = y2 - y1**2, y1' = -y2."""
    system = System(
        lambda t, y: np.array([-y[1], y[1] - y[0] ** 2]),
        jac=lambda t, y: np.array([[0.0, -1.0], [-2 * y[0], 1.0]]),
        mass=np.diag([1.0, 0.0]),
    )
    end = fixed_steps(get_tableau(method), system, (0.0, 1.0), [1.0, 1.0], 100)
    np.testing.assert_allclose(end, [0.5, 0.25], atol=1e-5)


# Tolerances of SciPy's Radau, and how near it comes to the published digits with them.
STIFF_CHECKS = {
    "robertson": (1e-7, 1e-16, 1e-6),
    "hires": (1e-7, 1e-11, 1e-5),
    "oregonator": (1e-7, 1e-10, 1e-5),
    "van_der_pol": (1e-7, 1e-11, 1e-5),
    "e5": (1e-9, 1e-30, 1e-3),
    "pollu": (1e-8, 1e-18, 1e-6),
}


# The ring modulator takes a minute: it has a slow test of its own.
QUICK = [problem for problem in STIFF if problem.name != "ring_modulator"]


@pytest.mark.parametrize("problem", QUICK, ids=lambda p: p.name)
def test_published_solutions(problem):
    """Every stiff problem, as written here, has the solution its source prints."""
    if problem.name == "pleiades":
        end, tolerance = reference_solution(problem), 1e-8
    else:
        rtol, atol, tolerance = STIFF_CHECKS[problem.name]
        end = reference_solution(problem, method="Radau", rtol=rtol, atol=atol)
    # Below 1e-30 E5 has only decayed; no digits are left to compare.
    np.testing.assert_allclose(end, problem.published, rtol=tolerance, atol=1e-30)


@pytest.mark.slow
def test_published_solution_of_the_ring_modulator():
    """The ring modulator has the solution its source prints; its diodes make it slow."""
    problem = next(p for p in STIFF if p.name == "ring_modulator")
    # Arithmetic of Python's own numbers takes half as long as that of NumPy's.
    plain = replace(problem, fun=lambda t, y: problem.fun(t, y.tolist()))
    end = reference_solution(plain, method="LSODA", rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(end, problem.published, rtol=1e-3, atol=1e-9)


def test_brusselator_is_stiff_and_solved_by_two_codes():
    """Radau and BDF agree on the Brusselator with 40 states."""
    problem = brusselator(20)
    assert len(problem.y0) == 40
    radau = reference_solution(problem, method="Radau", rtol=1e-8, atol=1e-8)
    bdf = reference_solution(problem, method="BDF", rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(radau, bdf, rtol=1e-5)


@pytest.mark.parametrize(
    "method", ["radau_iia_5", "kvaerno5", "kencarp4", "l_stable_sdirk_4", "rodas4", "rodas5p"]
)
def test_adaptive_implicit_methods_on_robertson(method):
    """Stiff methods solve Robertson's problem to t = 40 with few steps."""
    problem = next(p for p in STIFF if p.name == "robertson")
    run = adaptive(
        get_tableau(method), System(problem.rhs), (0.0, 40.0), problem.y0, rtol=1e-5, atol=1e-9
    )
    # Published by Hindmarsh with LSODE's demonstration program.
    np.testing.assert_allclose(run.y[-1], [7.1582e-1, 9.1851e-6, 2.8416e-1], rtol=1e-3)
    assert run.n_steps < 120


def test_rosenbrock_methods_take_any_jacobian_source():
    """Differences in place of the exact Jacobian change a Rosenbrock step only slightly."""
    for tableau in (t for t in TABLEAUS if isinstance(t, RosenbrockTableau)):
        exact = take_step(tableau, pendulum(), T0, START, 0.1).y
        approximate = take_step(tableau, System(pendulum().fun), T0, START, 0.1).y
        np.testing.assert_allclose(approximate, exact, rtol=1e-9)
