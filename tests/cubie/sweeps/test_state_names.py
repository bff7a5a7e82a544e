"""States that a mapping `y0` names: each value goes to the state of its name."""

import functools
import json

import numpy as np
import pytest

import cubie
from cubie.errors import InvalidProblem
from cubie.systems import OtherNames, in_order_of_states
from tests.cubie.sweeps.decays import environment

SHORT = {"method": "rk4", "first_step": 0.01, "backend": "python"}


def apart(t, y, rate):
    prey, hunter = y
    return [-rate * prey, 2 * rate * hunter]


def by_number(t, y, rate):
    hunter = y[1]
    return [-rate * y[0], 2 * rate * hunter]


def from_the_end(t, y, rate):
    hunter = y[-1]
    return [-rate * y[0], 2 * rate * hunter]


def enclosed(t, y, rate):
    prey, hunter = y

    def grown():
        return 2 * rate * hunter

    return [-rate * prey, grown()]


def under_its_own_name(t, y, rate):
    hunter, y = y
    return [2 * rate * hunter, -rate * y]


def test_a_state_of_the_name_that_all_states_have():
    """It may be called as the whole is: from there on that is something else."""
    assert in_order_of_states(under_its_own_name, ["y", "hunter"]) == ("hunter", "y")


class Called:
    """A function that is an object, and one that is bound."""

    def __call__(self, t, y, rate):
        """Take states apart."""
        prey, hunter = y
        return [-rate * prey, 2 * rate * hunter]

    def bound(self, t, y, rate):
        """Do so, too."""
        return self(t, y, rate)

    def apart(self, t, y, rate):
        """Do so here."""
        prey, hunter = y
        return [-rate * prey, 2 * rate * hunter]


NAMED = (apart, by_number, from_the_end, enclosed, Called(), Called().apart)


@pytest.mark.parametrize("fun", NAMED)
def test_names_decide_not_their_order(fun):
    """However a mapping is written down, the runs, summaries and choices are the same."""
    found = []
    for y0 in ({"prey": 1.0, "hunter": 2.0}, {"hunter": 2.0, "prey": 1.0}):
        sweep = cubie.sweep(
            fun, (0, 1), y0, args={"rate": 1.0}, over=cubie.grid(prey=[1.0, 3.0]),
            summaries={"hunter": ["max"]}, save_states=["hunter"], **SHORT,
        )  # fmt: skip
        found.append(sweep.run(progress=False).to_xarray())
    assert found[0].identical(found[1])
    assert found[0].component.values.tolist() == ["hunter"]
    assert np.allclose(found[0]["max of hunter"], 2 * np.exp(2.0), rtol=1e-6)
    assert np.allclose(found[0].y, 2 * np.exp(2.0), rtol=1e-6)


def test_other_names_are_refused():
    """A name that the function has for no state would go to whatever is at its place."""
    with pytest.raises(InvalidProblem, match="names the states prey, fox, and the right-hand side "
                       "calls them prey, hunter: give each the name"):  # fmt: skip
        cubie.sweep(apart, (0, 1), {"prey": 1, "fox": 2}, over={"rate": [1.0]}, **SHORT)
    with pytest.raises(InvalidProblem, match="calls them prey, hunter"):
        cubie.sweep(apart, (0, 1), {"prey": 1}, over={"rate": [1.0]}, **SHORT)


def turned(t, y, rate):
    y = y[::-1]
    prey, hunter = y
    return [prey, hunter]


def unnamed(t, y, rate):
    return [-rate * y[0], y[1]]


def some(t, y, rate):
    _, hunter = y
    return [-rate * y[0], hunter]


@pytest.mark.parametrize("fun", [turned, unnamed, some, functools.partial(unnamed, rate=1), dict])
def test_where_there_are_no_names_the_order_is_that_of_the_mapping(fun):
    """Names that say nothing of places, and functions without code, leave it."""
    assert in_order_of_states(fun, ["b", "a"]) == ("b", "a")


def test_functions_that_are_wrapped():
    """Partial functions, and those of numba, take states apart as what they are made of."""
    numba = pytest.importorskip("numba")
    for fun in (functools.partial(apart, rate=1.0), numba.njit(apart)):
        assert in_order_of_states(fun, ["hunter", "prey"]) == ("prey", "hunter")
        with pytest.raises(OtherNames):
            in_order_of_states(fun, ["a", "b"])


@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_from_a_shell(tmp_path, command):
    """Both commands refuse other names; a table in another order is what it says."""
    import subprocess
    import sys

    (tmp_path / "rates.py").write_text(
        "def rates(t, y, a):\n    u, v = y\n    return [-a * u, 2 * a * v]\n"
    )
    model = {
        "function": "rates.py:rates", "t_span": [0, 1], "states": {"v": 2.0, "u": 1.0},
        "sweep": {"grid": {"a": [1.0]}}, "options": {"rtol": 1e-9, "atol": 1e-9},
    }  # fmt: skip
    (tmp_path / "m.json").write_text(json.dumps(model))
    (tmp_path / "other.json").write_text(json.dumps(model | {"states": {"u": 1.0, "x": 2.0}}))
    module = "cubie.cli.sweep" if command == "sweep" else "cubie.cli"

    def told(file):
        words = ["--export", "runs.csv"] if command == "sweep" else []
        return subprocess.run(
            [sys.executable, "-m", module, file, *words],
            cwd=tmp_path, env=environment(), capture_output=True, text=True,
        )  # fmt: skip

    refused = told("other.json")
    assert refused.returncode == 2
    assert "other.json: `states` names the states u, x, and" in refused.stderr
    assert told("m.json").returncode == 0
    if command == "sweep":
        names, values = (line.split(",") for line in (tmp_path / "runs.csv").read_text().split())
        found = dict(zip(names, values, strict=True))
        assert np.allclose([float(found["u"]), float(found["v"])], [np.exp(-1), 2 * np.exp(2)])
