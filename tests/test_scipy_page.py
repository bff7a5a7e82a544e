"""What docs/from-scipy.md says of every argument and every field is so."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate

from cubie import OdeSolution, Solver, solve_ivp

PAGE = Path(__file__).parents[1] / "docs" / "from-scipy.md"
DOCUMENTED = re.findall(
    r"^([a-z_0-9, ]+) : ", inspect.getdoc(scipy.integrate.solve_ivp), re.MULTILINE
)
NAMES = [name for line in DOCUMENTED for name in line.split(", ")]
# Parameters come before the fields of the result, of which `t` is the first.
ARGUMENTS, FIELDS = NAMES[: NAMES.index("t")], NAMES[NAMES.index("t") :]


def rows(section):
    """Return the rows of a table between two comments: first cell to the others."""
    text = PAGE.read_text(encoding="utf-8")
    text = text.split(f"<!-- {section}: begin -->")[1].split(f"<!-- {section}: end -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.strip("`"): others for first, *others in cells}


def oscillator(t, y, k):
    return [y[1], -k * y[0]]


def test_every_argument_of_scipy_is_on_the_page():
    """Those of the signature and of its options, and no others."""
    assert set(rows("keywords")) == set(ARGUMENTS) - {"options"}


def test_every_field_of_the_result_is_on_the_page():
    """Those of SciPy's documentation, in its order, and no others."""
    assert list(rows("fields")) == FIELDS


@pytest.mark.parametrize("argument", rows("keywords"))
def test_what_is_said_of_an_argument(argument):
    """All of them are "as in SciPy", and taken here."""
    here, _ = rows("keywords")[argument]
    known = {*inspect.signature(solve_ivp).parameters, *Solver(oscillator).options}
    assert here.startswith("as in SciPy")
    assert argument in known


def solved(args):
    """Return a solution, with the sizes that shapes on the page are made of."""
    times = np.linspace(0.0, 1.0, 7)
    options = {"t_eval": times, "args": args, "dense_output": True, "backend": "python"}
    result = solve_ivp(oscillator, (0, 1), [1.0, 0.0], **options)
    return result, {"n_points": 7, "n": 2, "n_runs": 3}


@pytest.mark.parametrize("field", rows("fields"))
@pytest.mark.parametrize(("column", "args"), [(0, (4.0,)), (1, (np.array([1.0, 2.0, 4.0]),))])
def test_what_is_said_of_a_field(field, column, args):
    """Shapes, of one run and of a batch, by attribute and by name."""
    result, sizes = solved(args)
    value, told = getattr(result, field), rows("fields")[field][column]
    assert value is result[field] or np.array_equal(value, result[field])
    if told.startswith("`("):
        shape = tuple(sizes[name] for name in re.findall(r"\w+", told))
        assert np.shape(value) == shape
    elif told == "None":
        assert value is None
    else:
        kinds = {
            "a number": (int, np.integer), "text": str, "a truth value": (bool, np.bool_),
            "a function of time": OdeSolution,
        }  # fmt: skip
        assert isinstance(value, kinds[told])


def test_a_result_as_a_dictionary():
    """SciPy's result is one: its keys are the fields."""
    result, _ = solved((4.0,))
    assert list(result.keys()) == FIELDS
    assert dict(result)["y"] is result.y
