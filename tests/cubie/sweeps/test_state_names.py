"""States that a mapping `y0` names: each value goes to the state of its name."""

import functools
import json

import numpy as np
import pytest

import cubie
from cubie.errors import InvalidOption, InvalidProblem
from cubie.systems import OtherNames, in_order_of_states, unplaced
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


ALL_FOUND = (
    "S, E, I, R = y[:]",
    "S, E, I, R = y[0:4]",
    "S, E, I, R = np.asarray(y)",
    "S, E, I, R = np.array(y, dtype=float)",
    "S, E, I, R = list(y)",
    "S, E, I, R = [*y]",
    "S, E, I, R = map(float, y)",
    "S, E, I, R = y.copy()",
    "u = tuple(y); S, E, I, R = u",
    "S, E = y[0], y[1]; I, R = y[2], y[3]",
    "S, E, I, R = y[0], y[1], y[2], y[3]",
    "S, E = y[:2]; I, R = y[2:]",
    "(S, E), (I, R) = y[:2], y[2:]",
    "S, *rest = y; E, I, R = rest",
    "*_, I, R = y; S, E = y[:2]",
    "R, I, E, S = y[::-1]",
    "S = float(y[0]); E = y[1]; I = y[-2]; R = y[-1]",
    "u = y[1:]; S = y[0]; E = u[0]; I = u[1]",
)
NOT_FOUND = (
    "S, E, I, R = reversed(y)",
    "S, E, I, R = y if t < 1 else y[::-1]",
    "S, E, I, R = [v for v in y]",
    "S = E = I = R = y[0]",
    "S, E, I, R = helper(y)",
    "S, E, I, R = y[0], y[0], y[1], y[1]",
)


def with_line(line):
    """Return a right-hand side of four states with a line that takes them apart."""
    space = {"np": np, "helper": list}
    text = f"def fun(t, y, k):\n    {line}\n    return [-k * S, k * E, 0 * I, k + 0 * y[3]]\n"
    exec(text, space)
    return space["fun"]


@pytest.mark.parametrize("line", ALL_FOUND)
def test_however_states_are_taken_apart(line):
    """Copies, slices, entries and tuples of these tell which state has which name."""
    fun, mixed = with_line(line), ("I", "R", "S", "E")
    assert in_order_of_states(fun, mixed) == ("S", "E", "I", "R")
    assert not unplaced(fun, mixed)
    sweep = cubie.sweep(
        fun, (0, 1), {"I": 3.0, "R": 4.0, "S": 1.0, "E": 2.0}, over={"k": [1.0]}, **SHORT
    )
    y = sweep.run(progress=False).to_xarray().y[0]
    assert np.allclose(y, [np.exp(-1), 2 * np.exp(1), 3, 5], rtol=1e-6)
    assert y.component.values.tolist() == ["S", "E", "I", "R"]


@pytest.mark.parametrize("line", NOT_FOUND)
def test_where_the_order_decides_it_is_told(line):
    """What cannot be read is told, with where each state goes; nothing is guessed."""
    fun, names = with_line(line), ("I", "R", "S", "E")
    assert in_order_of_states(fun, names) == names
    assert unplaced(fun, names) == names
    with pytest.warns(UserWarning, match=r"the order in `y0` decides: y\[0\] is I, .* S, E = y"):
        cubie.sweep(fun, (0, 1), dict.fromkeys(names, 1.0), over={"k": [1.0]}, **SHORT)


def test_a_state_that_is_left_over_is_known():
    """Where all others have names there is one place for it: nothing is told."""
    for fun, names in ((by_number, ("prey", "hunter")), (lambda t, y: [y[0]], ("a",))):
        assert not unplaced(fun, names)
    assert unplaced(unnamed, ("b", "a")) == ("b", "a")


def test_many_states_are_told_by_some():
    """A message of many states has the first few."""
    names = [f"s{i}" for i in range(20)]
    with pytest.warns(UserWarning, match=r"y\[7\] is s7 and 12 more\. .* s0, s1, \.\.\. = y"):
        cubie.sweep(
            lambda t, y, k: k * y, (0, 1), dict.fromkeys(names, 1.0), over={"k": [1.0]}, **SHORT
        )


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

    (tmp_path / "loop.py").write_text(
        "def rates(t, y, a):\n    u, v = [x for x in y]\n    return [-a * u, 2 * a * v]\n"
    )
    (tmp_path / "loop.json").write_text(json.dumps(model | {"function": "loop.py:rates"}))
    if command == "sweep":  # no other command has a use for the values
        assert "the order in `y0` decides: y[0] is v, y[1] is u" in told("loop.json").stderr
    refused = told("other.json")
    assert refused.returncode == 2
    assert "other.json: `states` names the states u, x, and" in refused.stderr
    assert told("m.json").returncode == 0
    if command == "sweep":
        names, values = (line.split(",") for line in (tmp_path / "runs.csv").read_text().split())
        found = dict(zip(names, values, strict=True))
        assert np.allclose([float(found["u"]), float(found["v"])], [np.exp(-1), 2 * np.exp(2)])


def test_wrong_summaries_are_told_by_the_name_of_the_state():
    """Not by its number, which nobody wrote."""

    def chain(t, y, k):
        v, w = y
        return [-k * v, k * v - w]

    start, over = {"v": 1, "w": 0}, cubie.grid(k=[1, 2])
    with pytest.raises(InvalidOption, match=r"`summaries\['w'\]` is 'peak'") as told:
        cubie.sweep(chain, (0, 1), start, over=over, summaries={"w": "peak"})
    assert told.value.option == "summaries['w']"
