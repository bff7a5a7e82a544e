"""Names of methods, and what is refused when a tableau is made."""

from fractions import Fraction

import pytest

from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    FIRKTableau,
    RosenbrockTableau,
    Stability,
    TableauError,
    UnknownTableau,
    all_methods,
    get_tableau,
)


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
        ("RADAU", "radau_iia_5"),
        ("ode23s", "rosenbrock23"),
        ("trapezoidal", "crank_nicolson"),
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
    """A typo is an error that names the nearest method and lists a few that are near."""
    with pytest.raises(UnknownTableau, match="did you mean 'tsit5'") as caught:
        get_tableau("tsitt5")
    assert caught.value.given == "tsitt5"
    assert caught.value.nearest == "tsit5"
    assert caught.value.names == tuple(all_methods())
    assert 0 < sum(f" {name}" in str(caught.value) for name in all_methods()) < 10


@pytest.mark.parametrize("given", ["", "   ", "??"])
def test_a_name_like_nothing_is_still_answered(given):
    """Even an empty name gets the list, never an internal error."""
    with pytest.raises(UnknownTableau, match="methods the nearest are: "):
        get_tableau(given)


def test_a_method_that_is_no_name_is_a_type_error():
    """A number is not looked up."""
    with pytest.raises(TypeError, match=r"a method is a name or a Tableau, not 5 \(int\)"):
        get_tableau(5)


def explicit(kind=ERKTableau, **changes):
    """The explicit midpoint rule, as a tableau of some kind with some fields changed."""
    fields = {
        "name": "mine",
        "a": [[0, 0], ["1/2", 0]],
        "b": [0, 1],
        "c": [0, "1/2"],
        "order": 2,
        "stability": Stability.CONDITIONAL,
        "source": "this test",
    }
    return kind(**(fields | changes))


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


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (DIRKTableau, {}, "the diagonal of a is zero; use an ERKTableau"),
        (
            DIRKTableau,
            {"a": [[0, "1/2"], [0, "1/2"]], "c": ["1/2", "1/2"]},
            r"a\[0\]\[1\] = 0.5 is not zero",
        ),
        (FIRKTableau, {}, "a is singular"),
        (
            FIRKTableau,
            {"a": [["1/4", 0], [0, "1/2"]], "c": ["1/4", "1/2"]}
            | {"error_weights": [0, 1], "error_order": 1, "error_start_weight": "-1/2"},
            "sum of error_weights and start weight is 0.5",
        ),
        (
            DIRKTableau,
            {"a": [["1/4", 0], ["1/4", "1/4"]], "c": ["1/4", "1/2"]}
            | {"error_weights": [0, 1], "error_order": 1, "error_start_weight": "-1/2"},
            "sum of error_weights and start weight is 0.5",
        ),
        (
            DIRKTableau,
            {"a": [["1/4", 0], ["1/4", "1/4"]], "c": ["1/4", "1/2"], "error_start_weight": "1/2"},
            "error_start_weight is part of one: give error_weights",
        ),
    ],
)
def test_each_kind_has_its_structure(kind, changes, message):
    """A table of the wrong shape for its kind is refused."""
    with pytest.raises(TableauError, match=message):
        explicit(kind=kind, **changes)


def rosenbrock(**changes):
    """Rosenbrock's linearly implicit Euler method with some fields changed."""
    fields = {
        "name": "mine",
        "gamma": 1,
        "a": [[0]],
        "b": [1],
        "c": [0],
        "C": [[0]],
        "d": [1],
        "order": 1,
        "stability": Stability.L,
        "source": "this test",
    }
    return RosenbrockTableau(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 0}, "gamma = 0 must be positive"),
        ({"gamma": "1/2"}, r"sum of row 0 of Gamma, which is d\[0\], is 0.5, not 1"),
        ({"d": ["1/2"]}, r"sum of row 0 of Gamma, which is d\[0\], is 1, not 0.5"),
        ({"c": ["1/2"]}, r"sum of row 0 of alpha, which is c\[0\], is 0, not 0.5"),
        ({"b": [2]}, "sum of the weights w of k is 2, not 1"),
        ({"order": 2}, r"sum of w\*\(c \+ d\) is 1, not 0.5"),
        ({"C": [[1]]}, "row 0 of C uses stages from 0 on"),
        ({"a": [[1]]}, "row 0 of a uses stages from 0 on"),
        ({"C": [[0, 0]]}, r"the rows of C have \[2\] and d has 1"),
        ({"d": [1, 0]}, r"the rows of C have \[1\] and d has 2"),
    ],
)
def test_rosenbrock_rules_are_named(changes, message):
    """What cannot be a Rosenbrock method is refused with the rule it breaks."""
    assert rosenbrock().fsal is False
    with pytest.raises(TableauError, match=message):
        rosenbrock(**changes)
