"""Every coefficient is checked by the conditions it must satisfy, not against a copy of it."""

from fractions import Fraction

import attrs
import numpy as np
import pytest
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp import dop853_coefficients
from scipy.integrate._ivp import radau as scipy_radau

from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    FIRKTableau,
    RosenbrockTableau,
    Stability,
    TableauError,
    all_tableaus,
    get_tableau,
)
from cubie.tableaus.exact import product
from tests.oracle.trees import (
    StageWeights,
    interpolant_residual,
    order_of,
    trees,
    w_residual,
    worst_residual,
)

TABLEAUS = all_tableaus()
EXPLICIT = [t for t in TABLEAUS.values() if isinstance(t, ERKTableau)]
IMPLICIT = [t for t in TABLEAUS.values() if isinstance(t, DIRKTableau | FIRKTableau)]
ROSENBROCK = [t for t in TABLEAUS.values() if isinstance(t, RosenbrockTableau)]
INTERPOLATED = [t for t in TABLEAUS.values() if t.interpolant is not None]

# What the digits of a printed table leave over; fractions and closed forms leave almost nothing.
CONDITION_TOLERANCE = {
    "vern7": 1e-37,
    "dop853": 1e-26,
    "kvaerno5": 1e-16,
    "carpenter_kennedy43": 1e-25,
    "rodas4": 2e-15,
    "rodas5p": 1e-14,
}
EXACT = 1e-57

# Order, order of the error estimate, stages.
NAMES = {
    "euler": (1, None, 1),
    "heun": (2, 1, 2),
    "midpoint": (2, 1, 2),
    "ralston": (2, 1, 2),
    "rk4": (4, None, 4),
    "bogacki_shampine32": (3, 2, 4),
    "cash_karp54": (5, 4, 6),
    "fehlberg45": (4, 4, 6),
    "dormand_prince54": (5, 4, 7),
    "tsit5": (5, 4, 7),
    "vern7": (7, 6, 10),
    "dop853": (8, 7, 12),
    "williamson32": (3, 2, 3),
    "carpenter_kennedy43": (4, 3, 6),
    "backwards_euler": (1, None, 1),
    "implicit_midpoint": (2, None, 1),
    "crank_nicolson": (2, 1, 2),
    "sdirk2": (2, 2, 2),
    "l_stable_sdirk_4": (4, 3, 5),
    "tr_bdf2": (2, 2, 3),
    "kvaerno3": (3, 2, 4),
    "kvaerno5": (5, 4, 7),
    "kencarp4": (4, 3, 6),
    "gauss_legendre_2": (2, 1, 1),
    "gauss_legendre_4": (4, 2, 2),
    "radau_iia_3": (3, 2, 2),
    "radau_iia_5": (5, 3, 3),
    "radau_iia_9": (9, 5, 5),
    "ros3p": (3, 2, 4),
    "rosenbrock23": (2, 2, 3),
    "rodas3p": (3, 2, 5),
    "rodas4": (4, 3, 6),
    "rodas5p": (5, 4, 8),
}


def by_name(tableaus):
    """Parametrize over tableaus, labelled by name."""
    return pytest.mark.parametrize("tableau", tableaus, ids=lambda t: t.name)


def in_stage_derivatives(tableau):
    """Stage weights by tree, and the weights of both solutions on stage derivatives."""
    if not isinstance(tableau, RosenbrockTableau):
        return StageWeights(tableau.a_exact), tableau.b_exact, tableau.error_weights_exact
    alpha, gamma = tableau.alpha_exact, tableau.gamma_matrix_exact
    both = [[x + y for x, y in zip(r, q, strict=True)] for r, q in zip(alpha, gamma, strict=True)]
    error = product((tableau.error_weights_exact,), gamma)[0]
    return StageWeights(alpha, both), tableau.weights_exact, error


def test_number_of_rooted_trees():
    """The trees behind every order condition are all there (Butcher's table of counts)."""
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert all(len(set(trees(n))) == len(trees(n)) for n in range(1, 9))


@pytest.mark.parametrize("name", NAMES)
def test_orders_and_stages(name):
    """Each method has the orders and the number of stages the literature gives it."""
    tableau = get_tableau(name)
    assert (tableau.order, tableau.error_order, tableau.n_stages) == NAMES[name]


def test_no_method_is_lost():
    """Every name here leads to its method; that others are of their order, conditions tell."""
    assert {get_tableau(name).name for name in NAMES} == set(NAMES) <= set(TABLEAUS)


@by_name(TABLEAUS.values())
def test_order_conditions_hold(tableau):
    """Every rooted tree up to the order is matched, and the order is not understated."""
    weights, b, _ = in_stage_derivatives(tableau)
    tolerance = CONDITION_TOLERANCE.get(tableau.name, EXACT)
    assert worst_residual(weights, b, tableau.order) < tolerance
    assert order_of(weights, b, 1e-10) == tableau.order


@by_name([t for t in TABLEAUS.values() if t.has_error_estimate and t.name != "dop853"])
def test_embedded_order_conditions_hold(tableau):
    """The lower order of a pair is what error_order says it is."""
    weights, b, error = in_stage_derivatives(tableau)
    other = [x - y for x, y in zip(b, error, strict=True)]
    start = -(getattr(tableau, "error_start_weight_exact", None) or 0)
    tolerance = CONDITION_TOLERANCE.get(tableau.name, EXACT)
    assert worst_residual(weights, other, tableau.error_order, start) < tolerance
    assert min(order_of(weights, other, 1e-10, start), tableau.order) == tableau.error_order


def test_dop853_estimators_have_orders_five_and_three():
    """The two estimators of DOP853 vanish up to orders five and three, and no further."""
    tableau = get_tableau("dop853")
    weights = StageWeights(tableau.a_exact)
    for error, order in ((tableau.error_weights_exact, 5), (tableau.error_weights_low_exact, 3)):
        other = [b - e for b, e in zip(tableau.b_exact, error, strict=True)]
        assert worst_residual(weights, other, order) < 1e-26
        assert order_of(weights, other, 1e-10) == order


@by_name(INTERPOLATED)
def test_interpolant_conditions_hold_for_every_theta(tableau):
    """The dense weights meet all trees up to their order as polynomials in theta."""
    weights = StageWeights(tableau.a_exact)
    # Tsitouras printed his interpolant to sixteen digits.
    tolerance = 1e-15 if tableau.name == "tsit5" else EXACT
    order = tableau.interpolant_order
    assert interpolant_residual(weights, tableau.interpolant_exact, order) < tolerance
    assert interpolant_residual(weights, tableau.interpolant_exact, order + 1) > 1e-10


@by_name(list(TABLEAUS.values()))
def test_every_method_has_a_solution_inside_its_steps(tableau):
    """It meets all trees up to its order, which is the highest that there can be, and the end."""
    inside, (weights, b) = tableau.continuous, _of_derivatives(tableau)
    rows = inside.weights
    if isinstance(tableau, RosenbrockTableau):  # of derivatives, as the trees are
        columns = [[row[k] for row in rows] for k in range(inside.degree)]
        rows = list(zip(*product(columns, tableau.gamma_matrix_exact), strict=True))
    size = max(1.0, *(abs(x) for row in rows for x in row))
    assert interpolant_residual(weights, rows, inside.order) < 1e-12 * size
    # Of explicit methods that takes a stage more than the order.
    few = tableau.n_stages <= (3 if isinstance(tableau, ERKTableau) else 2)
    assert inside.order >= min(tableau.order, 3) or few
    for row, weight in zip(rows, b, strict=True):
        assert float(sum(row)) == pytest.approx(float(weight), abs=1e-13 * size)


def _of_derivatives(tableau):
    """Return elementary weights and b of a method in terms of stage derivatives."""
    if not isinstance(tableau, RosenbrockTableau):
        return StageWeights(tableau.a_exact), tableau.b_exact
    alpha, gamma = tableau.alpha_exact, tableau.gamma_matrix_exact
    chain = [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(alpha, gamma, strict=True)]
    return StageWeights(alpha, chain), tableau.weights_exact


@by_name([t for t in TABLEAUS.values() if t.interpolant is None])
def test_weights_inside_a_step_are_of_moderate_size(tableau):
    """Sums of them lose at most three digits, of which f32 has seven."""
    assert max(abs(x) for row in tableau.continuous.weights for x in row) < 300.0


@by_name([t for t in INTERPOLATED if isinstance(t, ERKTableau)])
def test_interpolant_is_continuous_with_its_derivative(tableau):
    """Both value and slope fit at the ends, so that consecutive steps join smoothly."""
    start = [row[0] for row in tableau.interpolant_exact]
    end_slope = [
        sum(power * p for power, p in enumerate(row, start=1)) for row in tableau.interpolant_exact
    ]
    np.testing.assert_allclose(np.array(start, float), np.eye(tableau.n_stages)[0], atol=1e-15)
    np.testing.assert_allclose(np.array(end_slope, float), np.eye(tableau.n_stages)[-1], atol=1e-14)


@by_name(EXPLICIT)
def test_stability_polynomial_matches_the_exponential(tableau):
    """R(z) of an explicit method agrees with exp(z) up to its order."""
    h = 0.05
    miss = abs(tableau.stability_function(-h) - np.exp(-h))
    assert miss < 2 * h ** (tableau.order + 1)


@by_name([t for t in TABLEAUS.values() if t.stability is not Stability.CONDITIONAL])
def test_implicit_methods_are_as_stable_as_they_say(tableau):
    """On the imaginary axis R does not exceed one; at infinity it vanishes if L-stable."""
    axis = [abs(tableau.stability_function(1j * y)) for y in np.logspace(-3, 4, 500)]
    assert max(axis) < 1 + 1e-12
    # With no pole on the left the maximum principle carries the bound to the half plane.
    poles = tableau.a if not isinstance(tableau, RosenbrockTableau) else np.eye(1) * tableau.gamma
    assert min(np.linalg.eigvals(np.array(poles)).real) > -1e-14
    at_infinity = abs(tableau.stability_function(-1e8))
    assert (at_infinity < 1e-5) == (tableau.stability is Stability.L)


def test_fsal_is_derived():
    """First-same-as-last is read off the coefficients."""
    assert {t.name for t in TABLEAUS.values() if t.fsal} == {
        "bogacki_shampine32",
        "dormand_prince54",
        "tsit5",
        "carpenter_kennedy43",
        "crank_nicolson",
        "tr_bdf2",
        "kvaerno3",
        "kvaerno5",
        "kencarp4",
        "ros3p",
        "rosenbrock23",
    }


def test_stiff_accuracy_is_derived():
    """Stiffly accurate methods are those whose last stage is the solution."""
    assert {t.name for t in IMPLICIT + ROSENBROCK if not t.stiffly_accurate} == {
        "implicit_midpoint",
        "gauss_legendre_2",
        "gauss_legendre_4",
        "ros3p",
        "rosenbrock23",
    }


def test_diagonal_of_dirk_methods():
    """One gamma serves all implicit stages of every method here, explicit stages aside."""
    for tableau in (t for t in IMPLICIT if isinstance(t, DIRKTableau)):
        assert tableau.gamma is not None
        assert tableau.implicit_stages[0] != tableau.first_stage_explicit
        assert all(tableau.implicit_stages[1:])
    mixed = DIRKTableau(
        name="mixed",
        a=[["1/4", 0], ["1/2", "1/3"]],
        b=["1/2", "1/2"],
        c=["1/4", "5/6"],
        order=1,
        stability=Stability.A,
        source="this test",
    )
    assert mixed.gamma is None


@by_name([t for t in IMPLICIT if isinstance(t, DIRKTableau)])
def test_predictor_is_exact_for_linear_derivatives(tableau):
    """Guesses use earlier stages only and reproduce a derivative linear in time."""
    c = np.array(tableau.c)
    for i, row in enumerate(np.array(tableau.predictor)[1:], start=1):
        assert not row[i:].any()
        assert row.sum() == pytest.approx(1)
        if len(set(c[:i])) > 1 or c[i] in c[:i]:
            assert row @ c == pytest.approx(c[i])
    assert not any(tableau.predictor[0])


def test_collocation_methods_match_their_closed_forms():
    """Gauss and Radau coefficients agree with the book's tables (H&W IV.5, 5.2, 5.5, 5.6)."""
    root3, root6 = np.sqrt(3), np.sqrt(6)
    np.testing.assert_allclose(
        get_tableau("gauss_legendre_4").a,
        [[1 / 4, 1 / 4 - root3 / 6], [1 / 4 + root3 / 6, 1 / 4]],
        rtol=1e-14,
    )
    np.testing.assert_allclose(
        get_tableau("radau_iia_3").a, [[5 / 12, -1 / 12], [3 / 4, 1 / 4]], rtol=1e-14
    )
    radau = get_tableau("Radau")
    np.testing.assert_allclose(radau.c, [(4 - root6) / 10, (4 + root6) / 10, 1], rtol=1e-14)
    np.testing.assert_allclose(radau.b, [(16 - root6) / 36, (16 + root6) / 36, 1 / 9], rtol=1e-14)


def test_radau5_estimates_as_scipy_does():
    """The filter's gamma and the weights on stage increments are those of SciPy's Radau."""
    tableau = get_tableau("radau_iia_5")
    assert 1 / tableau.smoothing == pytest.approx(scipy_radau.MU_REAL, rel=1e-14)
    on_increments = np.array(tableau.error_weights) @ np.array(tableau.a_inverse)
    np.testing.assert_allclose(on_increments, -tableau.smoothing * scipy_radau.E, rtol=1e-12)


def test_only_rosenbrock23_keeps_its_order_with_any_matrix():
    """With an arbitrary matrix in place of the Jacobian only ode23s is still of its order."""
    kept = {}
    for t in ROSENBROCK:
        misses = [
            w_residual(t.alpha_exact, t.gamma_matrix_exact, t.weights_exact, order)
            for order in range(1, t.order + 1)
        ]
        kept[t.name] = sum(miss < 1e-13 for miss in misses)
    assert kept == {"ros3p": 1, "rosenbrock23": 2, "rodas3p": 1, "rodas4": 1, "rodas5p": 2}


def test_fsal_methods_of_rosenbrock_evaluate_at_the_new_solution():
    """The last stage of ode23s evaluates f where the next step's first stage does."""
    tableau = get_tableau("ode23s")
    assert tableau.fsal
    assert tableau.a[-1] == tableau.b


@pytest.mark.parametrize(
    ("name", "scipy_class"), [("bogacki_shampine32", RK23), ("dormand_prince54", RK45)]
)
def test_scipy_agrees_on_the_low_order_pairs(name, scipy_class):
    """SciPy's tables are a second witness for RK23 and RK45, dense output included."""
    tableau = get_tableau(name)
    stages, columns = scipy_class.A.shape
    np.testing.assert_array_equal(np.array(tableau.a)[:stages, :columns], scipy_class.A)
    np.testing.assert_array_equal(tableau.b[:stages], scipy_class.B)
    np.testing.assert_array_equal(tableau.c[:stages], scipy_class.C)
    np.testing.assert_allclose(tableau.error_weights, -scipy_class.E, rtol=1e-15)
    np.testing.assert_array_equal(np.array(tableau.interpolant), scipy_class.P)


def test_scipy_agrees_on_dop853():
    """SciPy's table is a second witness for DOP853."""
    tableau, scipy = get_tableau("DOP853"), dop853_coefficients
    np.testing.assert_array_equal(np.array(tableau.a), scipy.A[:12, :12])
    np.testing.assert_array_equal(tableau.b, scipy.B)
    np.testing.assert_array_equal(tableau.c, scipy.C[:12])
    np.testing.assert_array_equal(tableau.error_weights, scipy.E5[:12])
    np.testing.assert_allclose(tableau.error_weights_low, scipy.E3[:12], atol=1e-16)
    assert scipy.E3[12] == scipy.E5[12] == 0


def bumped(value, amount=Fraction(1, 10**9)):
    """Every copy of a nested tuple in which one non-zero number has a wrong digit."""
    if isinstance(value, tuple):
        for i, entry in enumerate(value):
            for inner in bumped(entry, amount):
                yield (*value[:i], inner, *value[i + 1 :])
    elif value:
        yield value * (1 + amount)


def misses_a_condition(wrong, right):
    """Whether either solution of a pair has lost its order."""
    weights, b, error = in_stage_derivatives(wrong)
    good_weights, good_b, good_error = in_stage_derivatives(right)
    limit = 10 * CONDITION_TOLERANCE.get(right.name, EXACT)
    if worst_residual(weights, b, right.order) > limit:
        return True
    other, good_other = (
        [x - y for x, y in zip(pair[0], pair[1], strict=True)]
        for pair in ((b, error), (good_b, good_error))
    )
    order = order_of(good_weights, good_other, 1e-10)
    return worst_residual(weights, other, order) > limit


def one_weight_alone(field, value):
    """A single error weight may have any size: it only scales the estimate."""
    return field.name == "error_weights_exact" and sum(map(bool, value)) == 1


@by_name(TABLEAUS.values())
def test_a_mistyped_digit_is_noticed(tableau):
    """A wrong ninth digit in any coefficient is refused, or breaks an order condition.

    Of Rosenbrock methods, construction cannot see all: where a row of Gamma sums to
    zero, what multiplies that increment has no part in the sums.
    """
    for field in attrs.fields(type(tableau)):
        value = getattr(tableau, field.name)
        if not field.name.endswith("_exact") or value is None or one_weight_alone(field, value):
            continue
        for wrong in bumped(value):
            try:
                changed = attrs.evolve(tableau, **{field.alias: wrong})
            except TableauError:
                continue
            assert isinstance(tableau, RosenbrockTableau), field.name
            assert misses_a_condition(changed, tableau), field.name
