"""States and parameters of equations that go by name, and what is told where there are no names."""

import collections
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import ode

from cubie import InvalidOption, InvalidProblem, solve_ivp
from cubie.systems.errors import BatchShapeError, RightHandSideError
from cubie.systems.symbolic.names import EquationError
from cubie.tableaus import UnknownTableau

SPREAD = ["dS = -b*S*I", "dI = b*S*I"]
IN_ORDER, RATES = np.array([[0.99, 0.01], [0.98, 0.02]]), np.array([0.5, 0.6])


def solve(fun=SPREAD, y0=(0.99, 0.01), args=None, **options):
    """Solve without compiling."""
    options = {"t_eval": [0.0, 1.0], "backend": "python", **options}
    return solve_ivp(fun, (0, 1), y0, args=args, **options)


def decay(t, y, k):
    """Fall at a rate."""
    return [-k * y[0]]


STATES = {
    "mapping of arrays": {"I": IN_ORDER[:, 1], "S": IN_ORDER[:, 0]},
    "mapping of lists": {"I": [0.01, 0.02], "S": [0.99, 0.98]},
    "mapping of series": {"I": pd.Series([0.01, 0.02]), "S": pd.Series([0.99, 0.98])},
    "table": pd.DataFrame({"I": [0.01, 0.02], "S": [0.99, 0.98]}, index=["a", "b"]),
    "table of unlike dtypes": pd.DataFrame(
        {"I": np.array([0.01, 0.02]), "S": pd.array([0.99, 0.98], dtype="Float64")}
    ),
    "table without names": pd.DataFrame(IN_ORDER),
    "named tuple": collections.namedtuple("Given", "I S")([0.01, 0.02], [0.99, 0.98]),
}


@pytest.mark.parametrize("y0", STATES.values(), ids=STATES)
def test_states_of_equations_are_found_by_their_names(y0):
    """In whatever order a mapping or a table has them: its names are not passed over."""
    np.testing.assert_array_equal(solve(y0=y0, args={"b": 0.5}).y[..., 0], IN_ORDER)


def test_a_series_of_states_is_one_run():
    """Named it is put in order; numbered it is in order already."""
    for y0 in (pd.Series({"I": 0.01, "S": 0.99}), pd.Series([0.99, 0.01])):
        np.testing.assert_array_equal(solve(y0=y0, args={"b": 0.5}).y[:, 0], IN_ORDER[0])


RATES_GIVEN = {
    "list": {"b": [0.5, 0.6]},
    "tuple": {"b": (0.5, 0.6)},
    "series": {"b": pd.Series([0.5, 0.6])},
    "table": pd.DataFrame({"b": [0.5, 0.6]}),
    "named tuple": collections.namedtuple("Given", "b")([0.5, 0.6]),
    "objects": {"b": RATES.astype(object)},
    "in order": ([0.5, 0.6],),
}


@pytest.mark.parametrize("args", RATES_GIVEN.values(), ids=RATES_GIVEN)
def test_what_is_longer_than_one_number_sweeps_a_parameter_of_equations(args):
    """Each is one number there, so that a list, a series and a table leave no doubt."""
    expected = solve(args={"b": RATES}).y
    np.testing.assert_array_equal(solve(args=args).y, expected)
    assert expected.shape == (2, 2, 2)


REFUSED = {
    "truth values": (
        {"args": {"b": [True, False]}},
        InvalidProblem,
        "`args['b']` must hold real numbers, but contains the truth value True",
    ),
    "text": ({"y0": {"S": "a", "I": 1}}, InvalidProblem, "`y0['S']` must hold real numbers, but"),
    "a name twice": (
        {"y0": pd.DataFrame([[1, 2, 3]], columns=["S", "I", "S"])},
        EquationError,
        "y0 has `S` more than once.",
    ),
    "a name in a series": (
        {"y0": pd.Series({"I": 0.1, "x": 0.9})},
        EquationError,
        "y0 has `x`; there are S, I.",
    ),
    "lengths": (
        {"y0": {"S": [0.9, 0.8], "I": [0.1, 0.1, 0.2]}},
        BatchShapeError,
        "The states in y0 have shapes that differ: `S` (2,), `I` (3,). Each has one number",
    ),
    "states too many": (
        {"y0": [1, 2, 3]},
        EquationError,
        "y0 has 3 states, but the equations have 2: S, I.",
    ),
    "names for a function's states": (
        {"fun": decay, "y0": {"x": 1.0}},
        InvalidProblem,
        "`y0` is a dict of names, but the states of a function have none: give their values as a",
    ),
    "names for a function's arguments": (
        {"fun": decay, "y0": [1.0], "args": pd.DataFrame({"k": [1.0, 2.0]})},
        TypeError,
        "args must be a tuple of the arguments after t and y, not a DataFrame of names, which go "
        "with equations given as text. In fun's order write args=(args['k'], ...), or",
    ),
    "a series of a function's arguments": (
        {"fun": decay, "y0": [1.0], "args": pd.Series([1.0])},
        TypeError,
        "args must be a tuple of the arguments after t and y, not a Series; for one argument",
    ),
    "a table for one y0": (
        {"fun": lambda t, y, p: [p[0], p[1]], "args": (pd.DataFrame({"a": [1.0], "b": [1.0]}),)},
        RightHandSideError,
        "give np.asarray(args[0], dtype=float), and y0 once a run as well, np.tile(y0, (1, 1)); or",
    ),
    "arrays within an object": (
        {"fun": lambda t, y, p: [p.k * y[0], 1], "args": (SimpleNamespace(k=np.ones(3)),)},
        RightHandSideError,
        "args[0] is a SimpleNamespace: arrays in it serve every run. What sweeps stands in args",
    ),
    "time last": (
        {"fun": lambda y, t: [y[0], y[1]]},
        RightHandSideError,
        "The time comes first: fun is called as fun(t, y, *args), not as fun(y, t).",
    ),
    "a method of SciPy's": (
        {"method": "vode"},
        UnknownTableau,
        "'vode'; the method of several steps here is 'bdf'. For stiff systems also choose",
    ),
    "a class of SciPy's": ({"method": ode}, UnknownTableau, "no method is called 'ode'"),
    "another class": ({"method": dict}, TypeError, "(type); write 'dict'"),
    "fixed steps": (
        {"step_controller": "fixed"},
        InvalidProblem,
        "For error control leave step_controller='fixed' out.",
    ),
    "a GPU": ({"backend": "gpu"}, InvalidOption, "'cuda', 'python'. A GPU is 'cuda'."),
    "differences": (
        {"jac": "2-point", "method": "rodas5p"},
        InvalidOption,
        "`jac` is '2-point', but must be one of a function jac(t, y, *args), an (n, n) matrix of "
        "numbers, a SciPy sparse matrix. Without it the Jacobian is derived from the equations.",
    ),
    "a mass of another size": (
        {"mass_matrix": [1, 1, 0], "method": "rodas5p"},
        InvalidOption,
        "`mass_matrix` is an array of shape (3,), but must be one of shape (2, 2), shape (2,) for",
    ),
}


@pytest.mark.parametrize(("given", "kind", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told_with_the_way_to_write_it(given, kind, told):
    """The message names the argument, what it was, and what to write."""
    given = {"args": {"b": 0.5} if "fun" not in given else (), **given}
    with pytest.raises(kind) as caught:
        solve(**given)
    assert told in str(caught.value)
