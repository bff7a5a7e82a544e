"""No error estimate is blind: by order conditions, on stiff decay, and on random systems."""

import attrs
import numpy as np
import pytest
from benchmarks.accuracy import measure, methods, tolerances_of

from cubie import Solver
from cubie.algorithms.stage_equation import needs_filter
from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    RosenbrockTableau,
    Tableau,
    TableauError,
    all_tableaus,
    get_tableau,
)
from cubie.tableaus.exact import vector
from tests.cubie.test_tableaus import in_stage_derivatives
from tests.oracle.random_systems import KINDS, random_systems
from tests.oracle.trees import DIGITS, StageWeights, density, mp, to_mpf, trees

ADAPTIVE = methods()
OF_STAGES = [t for t in ADAPTIVE if isinstance(t, Tableau)]
IMPLICIT = [t for t in OF_STAGES if not isinstance(t, ERKTableau)]
EXPLICIT_OF_ONE_ESTIMATE = [
    t
    for t in OF_STAGES
    if isinstance(t, ERKTableau) and t.has_error_estimate and t.error_weights_low is None
]
ROSENBROCK = [t for t in all_tableaus().values() if isinstance(t, RosenbrockTableau)]
PROPORTIONAL = [t for t in ADAPTIVE if t.error_proportional_below is not None]

# Of what a tree contributes to the solution, the smallest share that an estimate leaves over: the
# designers of vern7 and dormand_prince54 made the principal errors of both solutions small.
LEAST_SHARE = 5e-4

# What docs/accuracy.md states: the error of a system whose errors do not grow, in tolerances; and
# what all reach but the pairs of order two that carry on the solution whose error they estimate,
# and rodas3p, the error of which on quadratures is large.
STATED_MULTIPLE, USUAL_MULTIPLE = 100, 50


def by_name(tableaus):
    """Parametrize over tableaus, labelled by name."""
    return pytest.mark.parametrize("tableau", tableaus, ids=lambda t: t.name)


def share(weights, estimate, start, tree):
    """What an estimate makes of a tree, in units of its part of the solution."""
    with mp.workdps(DIGITS):
        total = mp.fdot([to_mpf(x) for x in estimate], weights.of(tree))
        total += to_mpf(start) if tree == () else 0
        return abs(float(total * density(tree)))


@by_name(OF_STAGES)
def test_an_estimate_sees_every_tree_of_its_order(tableau):
    """Of the first order that an estimate does not cancel, it cancels no tree.

    A tall tree is a linear system, a bushy one a quadrature, those between are driven linear
    systems: none of them is invisible.
    """
    weights, _, estimate = in_stage_derivatives(tableau)
    low = getattr(tableau, "error_weights_low_exact", None)
    start = getattr(tableau, "error_start_weight_exact", None) or 0
    for each in (estimate, low) if low else (estimate,):
        by_order = ([share(weights, each, start, tree) for tree in trees(k)] for k in range(1, 10))
        leading = next(shares for shares in by_order if max(shares) > 1e-9)
        assert min(leading) > LEAST_SHARE


def test_the_published_weights_of_ros3p_are_blind():
    """What holds above can fail: on Lang and Verwer's three stages the tall tree is cancelled."""
    tableau = get_tableau("ros3p")
    whole = (tableau.alpha_exact, tableau.gamma_matrix_exact)
    alpha, gamma = ([row[:3] for row in rows[:3]] for rows in whole)
    both = [[x + y for x, y in zip(r, q, strict=True)] for r, q in zip(alpha, gamma, strict=True)]
    weights, published = StageWeights(alpha, both), vector("1/3 -1/3 0")
    bushy, tall = ((), ()), (((),),)
    assert share(weights, published, 0, tall) < 1e-50
    assert share(weights, published, 0, bushy) == pytest.approx(1.0)


def test_the_estimate_of_ros3p_is_in_proportion_to_the_third_derivative():
    """Both trees of order three count the same, and at infinity the second solution is damped."""
    tableau = get_tableau("ros3p")
    weights, _, estimate = in_stage_derivatives(tableau)
    for tree in trees(3):
        assert share(weights, estimate, 0, tree) == pytest.approx(1.0, abs=1e-14)
    # What the last stage adds to the solution, unscaled, makes the second solution of it.
    grown, seen = decay(tableau, -1e12)
    assert grown + seen / tableau.error_weights[-1] == pytest.approx(0.0, abs=1e-10)


def test_the_estimate_of_sdirk2_is_its_error_on_linear_systems():
    """On the tall tree it is the solution's error, and on the bushy one larger by 2 / gamma."""
    tableau = get_tableau("sdirk2")
    weights, b, estimate = in_stage_derivatives(tableau)
    start = tableau.error_start_weight_exact
    larger = {((), ()): 2 / tableau.gamma, (((),),): 1.0}
    for tree in trees(3):
        with mp.workdps(DIGITS):
            error = float(mp.fdot([to_mpf(x) for x in b], weights.of(tree)) * density(tree) - 1)
        assert share(weights, estimate, start, tree) == pytest.approx(larger[tree] * error)
    # What it filters: of stiff components all stages are small, and the start alone is left.
    assert abs(decay(tableau, -1e12)[1]) == pytest.approx(
        tableau.error_start_weight / tableau.gamma
    )


def decay(tableau, z):
    """Return a step's growth factor on y' = lambda*y, z = h*lambda, and its error estimate."""
    if isinstance(tableau, RosenbrockTableau):
        stages = np.eye(tableau.n_stages) * (1 / tableau.gamma - z)
        stages = stages - z * np.array(tableau.a) - np.array(tableau.C)
        increments = np.linalg.solve(stages, np.full(tableau.n_stages, z))
        return 1 + np.dot(tableau.b, increments), np.dot(tableau.error_weights, increments)
    stages = np.eye(tableau.n_stages) - z * np.array(tableau.a)
    derivatives = np.linalg.solve(stages, np.full(tableau.n_stages, z))
    estimate = np.dot(tableau.error_weights, derivatives)
    if getattr(tableau, "error_start_weight", None) is not None:
        estimate = (estimate + tableau.error_start_weight * z) / (1 - tableau.smoothing * z)
    elif isinstance(tableau, DIRKTableau) and needs_filter(tableau):
        estimate = estimate / (1 - tableau.gamma * z)
    return 1 + np.dot(tableau.b, derivatives), estimate


@by_name(EXPLICIT_OF_ONE_ESTIMATE)
def test_an_estimate_sees_steps_that_are_not_stable(tableau):
    """Where decaying modes grow, at any step beyond, the error is at most ten times its estimate.

    A step may become ten times longer at once: an estimate that vanishes somewhere out there lets
    a stiff run go astray.
    """
    sizes = np.arange(0.5, 60.0, 0.02)
    unstable = 0
    for z in (-sizes[:, None] * np.exp(1j * np.pi * np.array([0.0, 0.25]))).ravel():
        grown, seen = decay(tableau, z)
        if abs(grown) > 1.0:
            unstable += 1
            assert abs(grown - np.exp(z)) < 10.0 * abs(seen), z
    assert unstable > 1000


def test_a_blind_estimate_is_told():
    """What the five stages of a method alone can estimate is zero at z = -19.55."""
    tableau = get_tableau("carpenter_kennedy43")
    a, c = tableau.a_exact, tableau.c_exact
    in_turn = [sum(x * y for x, y in zip(row, c, strict=True)) for row in a]
    conditions = [[1] * 5, c[:5], [x * x for x in c[:5]], in_turn[:5]]
    *others, last = np.linalg.svd(np.array(conditions, float))[2]
    assert len(others) == 4
    blind = attrs.evolve(tableau, name="blind", error_weights=[*last.tolist(), 0.0])
    with pytest.raises(AssertionError):
        test_an_estimate_sees_steps_that_are_not_stable(blind)


@by_name(IMPLICIT)
def test_an_estimate_sees_what_a_step_makes_of_stiff_decay(tableau):
    """On decaying modes, at steps of any size, the error is at most eight times its estimate."""
    for angle in (1.0, 0.75):
        for size in np.logspace(-1, 6, 200):
            z = size * np.exp(1j * np.pi * angle)
            grown, estimate = decay(tableau, z)
            error = abs(grown - np.exp(z))
            assert error < 8 * abs(estimate) or error < 1e-10, z


@pytest.fixture(scope="module")
def sample():
    """Thirty systems of two states and their solutions."""
    systems = random_systems(30, seed=11, states=2)
    return systems, np.array([system.solution() for system in systems])


@by_name(ADAPTIVE)
def test_errors_stay_within_a_multiple_of_the_tolerance(tableau, sample):
    """On random systems of five kinds errors are not far above the tolerance, at three of them."""
    large = tableau in PROPORTIONAL or tableau.name == "rodas3p"
    multiple = STATED_MULTIPLE if large else USUAL_MULTIPLE
    for tolerance, found in measure(tableau, *sample, (1e-3, 1e-4, 1e-6)).items():
        assert found["unsolved"] == 0
        worst = dict(zip(KINDS, found["worst"], strict=True))
        assert max(worst.values()) < multiple, (tolerance, worst)


@pytest.mark.every_system
@by_name(ADAPTIVE)
def test_errors_of_five_hundred_systems_stay_within_the_stated_multiple(tableau):
    """What docs/accuracy.md shows, measured again: `pytest -m every_system`."""
    systems = random_systems(500)
    solutions = np.array([system.solution() for system in systems])
    for found in measure(tableau, systems, solutions, tolerances_of(tableau)).values():
        assert found["unsolved"] == 0
        assert max(found["worst"]) < STATED_MULTIPLE


@by_name(PROPORTIONAL)
def test_errors_of_second_order_pairs_follow_the_tolerance(tableau, sample):
    """A tolerance a thousand times smaller makes the error five hundred times smaller, or more.

    The estimate is of the solution that is carried on, so that without more care errors shrink
    as the tolerance to the power 2/3: a hundred times.
    """
    systems, solutions = sample
    found = measure(tableau, systems, solutions, (1e-6, 1e-9))
    errors = [float(key) * one["median"] for key, one in found.items()]
    assert errors[0] / errors[1] > 500


@by_name(PROPORTIONAL)
def test_looser_tolerances_leave_the_steps_of_second_order_pairs_alone(tableau):
    """Above the tolerance that the tableau names, no step is another than without it."""
    plain = attrs.evolve(tableau, error_proportional_below=None)
    for rtol, same in ((2e-6, True), (1e-8, False)):
        given = {"rtol": rtol, "atol": 0.0, "backend": "python", "save": "steps"}
        ours, other = (
            Solver(lambda t, y: [y[1], -y[0] - 0.1 * y[1]], method=m, **given).solve(
                (0.0, 1.0), [1.0, 0.5], max_steps=10**6
            )
            for m in (tableau, plain)
        )
        assert np.array_equal(ours.t, other.t) == same


def test_only_second_order_pairs_can_be_proportional():
    """Magnified squares are right where both orders are two, and refused elsewhere."""
    with pytest.raises(TableauError, match="order = error_order = 2, not 3 and 2"):
        attrs.evolve(get_tableau("kvaerno3"), error_proportional_below=1e-6)


@by_name(ROSENBROCK)
def test_fixed_steps_take_no_stage_that_only_the_estimate_reads(tableau):
    """Without its estimate a Rosenbrock method ends with a stage that the solution reads."""
    fixed = tableau.without_error_estimate()
    assert fixed.error_weights is None
    assert fixed.b_exact[-1] != 0
    assert not any(tableau.b_exact[fixed.n_stages :])
    assert fixed.weights_exact == tableau.weights_exact[: fixed.n_stages]
    for z in (-0.3, -40.0, 2.0j):
        assert fixed.stability_function(z) == tableau.stability_function(z)
    assert (fixed.n_stages < tableau.n_stages) == (tableau.name in ("ros3p", "rosenbrock23"))
