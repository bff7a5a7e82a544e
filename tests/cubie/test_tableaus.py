"""Every coefficient is checked by the conditions it must satisfy, not against a copy of it."""

from fractions import Fraction

import attrs
import numpy as np
import pytest
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp import dop853_coefficients

from cubie.tableaus import (
    TABLEAUS,
    ERKTableau,
    Stability,
    TableauError,
    UnknownTableau,
    get_tableau,
)
from tests.oracle.trees import (
    StageWeights,
    interpolant_residual,
    order_of,
    trees,
    worst_residual,
)

EXPLICIT = [t for t in TABLEAUS.values() if isinstance(t, ERKTableau)]
RUNGE_KUTTA = EXPLICIT

# What the digits of a printed table leave over; tables of fractions leave nothing.
CONDITION_TOLERANCE = {"vern7": 1e-37, "dop853": 1e-26}
EXACT = 1e-60

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
}


def by_name(tableaus):
    """Parametrize over tableaus, labelled by name."""
    return pytest.mark.parametrize("tableau", tableaus, ids=lambda t: t.name)


def embedded(tableau):
    """Weights of the second solution of a pair."""
    return [b - e for b, e in zip(tableau.b_exact, tableau.error_weights_exact, strict=True)]


def test_number_of_rooted_trees():
    """The trees behind every order condition are all there (Butcher's table of counts)."""
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert all(len(set(trees(n))) == len(trees(n)) for n in range(1, 9))


@pytest.mark.parametrize("name", NAMES)
def test_orders_and_stages_of_the_explicit_methods(name):
    """Each explicit method has the orders and the number of stages the literature gives it."""
    tableau = get_tableau(name)
    assert (tableau.order, tableau.error_order, tableau.n_stages) == NAMES[name]


@by_name(RUNGE_KUTTA)
def test_order_conditions_hold(tableau):
    """Every rooted tree up to the order is matched, and the order is not understated."""
    weights = StageWeights(tableau.a_exact)
    tolerance = CONDITION_TOLERANCE.get(tableau.name, EXACT)
    assert worst_residual(weights, tableau.b_exact, tableau.order) < tolerance
    assert order_of(weights, tableau.b_exact, 1e-10) == tableau.order


@by_name([t for t in RUNGE_KUTTA if t.has_error_estimate and t.name != "dop853"])
def test_embedded_order_conditions_hold(tableau):
    """The lower order of a pair is what error_order says it is."""
    weights = StageWeights(tableau.a_exact)
    tolerance = CONDITION_TOLERANCE.get(tableau.name, EXACT)
    other = embedded(tableau)
    assert worst_residual(weights, other, tableau.error_order) < tolerance
    assert min(order_of(weights, other, 1e-10), tableau.order) == tableau.error_order


def test_dop853_estimators_have_orders_five_and_three():
    """The two estimators of DOP853 vanish up to orders five and three, and no further."""
    tableau = get_tableau("dop853")
    weights = StageWeights(tableau.a_exact)
    for error, order in ((tableau.error_weights_exact, 5), (tableau.error_weights_low_exact, 3)):
        other = [b - e for b, e in zip(tableau.b_exact, error, strict=True)]
        assert worst_residual(weights, other, order) < 1e-26
        assert order_of(weights, other, 1e-10) == order


@by_name([t for t in RUNGE_KUTTA if t.interpolant is not None])
def test_interpolant_conditions_hold_for_every_theta(tableau):
    """The dense weights meet all trees up to their order as polynomials in theta."""
    weights = StageWeights(tableau.a_exact)
    # Tsitouras printed his interpolant to sixteen digits.
    tolerance = 1e-15 if tableau.name == "tsit5" else EXACT
    order = tableau.interpolant_order
    assert interpolant_residual(weights, tableau.interpolant_exact, order) < tolerance
    assert interpolant_residual(weights, tableau.interpolant_exact, order + 1) > 1e-10


@by_name([t for t in RUNGE_KUTTA if t.interpolant is not None])
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


def test_fsal_is_derived():
    """First-same-as-last is read off the coefficients."""
    fsal = {t.name for t in EXPLICIT if t.fsal}
    assert fsal == {"bogacki_shampine32", "dormand_prince54", "tsit5"}


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
    for i, entry in enumerate(value):
        if isinstance(entry, tuple):
            for inner in bumped(entry, amount):
                yield (*value[:i], inner, *value[i + 1 :])
        elif entry:
            yield (*value[:i], entry * (1 + amount), *value[i + 1 :])


@by_name(list(TABLEAUS.values()))
def test_a_mistyped_digit_is_refused(tableau):
    """Changing the ninth digit of any coefficient makes construction fail."""
    coefficients = [
        field
        for field in attrs.fields(type(tableau))
        if field.name.endswith("_exact") and getattr(tableau, field.name)
    ]
    for field in coefficients:
        for wrong in bumped(getattr(tableau, field.name)):
            with pytest.raises(TableauError, match=tableau.name):
                attrs.evolve(tableau, **{field.alias: wrong})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("RK23", "bogacki_shampine32"),
        ("rk45", "dormand_prince54"),
        ("Rk45", "dormand_prince54"),
        ("DOP853", "dop853"),
        ("dop853", "dop853"),
        ("Tsit5", "tsit5"),
        ("cash-karp54", "cash_karp54"),
    ],
)
def test_names_and_aliases_in_any_case(given, name):
    """SciPy's names and every spelling in case or hyphen find the tableau."""
    assert get_tableau(given).name == name


def test_a_tableau_is_its_own_name():
    """A tableau passes through, so that users may bring their own."""
    tableau = get_tableau("tsit5")
    assert get_tableau(tableau) is tableau


def test_unknown_name_is_answered_with_the_nearest():
    """A typo is an error that names the nearest method and lists all of them."""
    with pytest.raises(UnknownTableau, match="did you mean 'tsit5'") as caught:
        get_tableau("tsitt5")
    assert caught.value.given == "tsitt5"
    assert caught.value.nearest == "tsit5"
    assert caught.value.names == tuple(TABLEAUS)
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("given", ["", "   ", "??"])
def test_a_name_like_nothing_is_still_answered(given):
    """Even an empty name gets the list, never an internal error."""
    with pytest.raises(UnknownTableau, match="The methods are: euler"):
        get_tableau(given)


def test_a_method_that_is_no_name_is_a_type_error():
    """A number is not looked up."""
    with pytest.raises(TypeError, match=r"a method is a name or a Tableau, not 5 \(int\)"):
        get_tableau(5)


def explicit(**changes):
    """A small valid tableau with some fields changed."""
    fields = {
        "name": "mine",
        "a": [[0, 0], ["1/2", 0]],
        "b": [0, 1],
        "c": [0, "1/2"],
        "order": 2,
        "stability": Stability.CONDITIONAL,
        "source": "this test",
    }
    return ERKTableau(**(fields | changes))


def test_users_can_bring_a_tableau():
    """Text, integers, fractions and floats are all accepted, and kept exactly."""
    tableau = explicit(a=[[0, 0.0], [Fraction(1, 2), "0"]], c=[0, 0.5])
    assert tableau.a == ((0.0, 0.0), (0.5, 0.0))
    assert not tableau.has_error_estimate
    assert not tableau.fsal


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": [[0, 0], ["0.51", 0]]}, "row sums: sum of row 1 of a is 0.51"),
        ({"b": [0, "0.9"]}, r"quadrature: sum of b\*c\*\*0 is 0.9"),
        ({"order": 3}, r"quadrature: sum of b\*c\*\*2 is 0.25"),
        ({"a": [[0, "1/2"], ["1/2", 0]], "c": ["1/2", "1/2"]}, r"explicit: a\[0\]\[1\] = 0.5"),
        ({"a": [[0, 0]]}, r"shape: b has 2 weights, but the rows of a have \[2\]"),
        ({"a": [[0, 0], ["1/2"]]}, r"shape: .* the rows of a have \[2, 1\]"),
        ({"c": [0]}, "shape: b has 2 weights, but c has 1"),
        ({"a": [], "b": [], "c": []}, "no stages"),
        ({"error_weights": [-1, 1]}, "give error_weights and error_order together"),
        ({"error_order": 1}, "give error_weights and error_order together"),
        ({"error_weights": [-1, 2], "error_order": 1}, "sum of error_weights is 1"),
        ({"error_weights": [0, 0], "error_order": 1}, "error_weights are all zero"),
        ({"error_weights": [-1, 1], "error_order": 3}, r"error_order=3 is not in 0\.\.2"),
        ({"error_weights": [-1, 1, 0], "error_order": 1}, "error_weights has 3"),
        ({"interpolant": [[1], [0]], "interpolant_order": 1}, "weight of stage 0 at theta=1"),
        ({"interpolant": [[0]], "interpolant_order": 1}, "it has 1 rows for 2 stages"),
        ({"interpolant": [[0], [1]]}, "give interpolant and interpolant_order together"),
    ],
)
def test_a_broken_rule_is_named(changes, message):
    """What cannot be a method is refused with the rule it breaks."""
    with pytest.raises(TableauError, match=message):
        explicit(**changes)


@pytest.mark.parametrize("value", ["a", "1/0", "", "nan", float("nan"), float("inf")])
def test_a_coefficient_must_be_a_number(value):
    """Text that is no number, and numbers that are not finite, are refused."""
    with pytest.raises(ValueError, match="is not a finite number"):
        explicit(b=[value, 1])


@pytest.mark.parametrize("value", [None, True, 1j])
def test_a_coefficient_must_be_of_a_numeric_type(value):
    """Other types are refused by name."""
    with pytest.raises(TypeError, match="a coefficient must be text"):
        explicit(b=[value, 1])
