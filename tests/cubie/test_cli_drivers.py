"""`cubie-plan` of models that call drivers: in the model's file, beside it, beside a function."""

import json

import numpy as np
import pytest

from cubie import Interpolant, Solver
from tests.cubie.cli_running import run, write_page_files

ROOM = "dT = (outside(t) - T)/hold"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the files that the page lists."""
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    return tmp_path


def plan_of(*words):
    """Return the plan that the command prints."""
    return json.loads(run(*words, "--format", "json").stdout)


def model(folder, driver, name="other.toml", head=f"equations = '{ROOM}'\nmethod = 'tsit5'"):
    """Write the page's model with another driver, and return its name."""
    lines = "\n".join(f"{key} = {value!r}" for key, value in driver.items())
    (folder / name).write_text(f"{head}\n[drivers.outside]\n{lines}\n", encoding="utf-8")
    return name


def test_the_plan_is_that_of_the_solver(folder):
    """With the buffers of drivers, and of stops, which are those of the samples."""
    found = {b["name"]: b["n_elements"] for b in plan_of("room.toml")["problem"]["buffers"]}
    times, values = np.loadtxt("weather.csv", delimiter=",", skiprows=1).T
    solver = Solver(ROOM, method="tsit5", backend="cpu")
    driver = Interpolant(times, values, "pchip")
    plan = solver.prepare([[1.0]], {"outside": driver, "hold": 8.0})
    assert found == {b.name: b.n_elements for b in plan.problem.buffers}
    assert found["loop.drivers"] == found["loop.proposed_drivers"] == 2


def test_a_function_and_its_driver_give_the_plan_of_the_equations(folder):
    """However its other arguments are given."""
    wanted = plan_of("room.toml")["placements"]
    words = ("room.py:room", "--states", 1, "--driver", "outside=weather")
    assert plan_of(*words)["placements"] == wanted
    assert plan_of(*words, "--args", "[8.0]")["placements"] == wanted


def test_arguments_before_a_driver_keep_their_places(folder):
    """Numbers, defaults, and what `*args` takes."""
    (folder / "model.py").write_text(
        "from cubie import Interpolant\nu = Interpolant([0, 1], [2, 3])\n"
        "def fun(t, y, a, b=2.0, u=None, *more):\n    return [a*b*u(t) + sum(more)]\n"
    )
    words = ("model.py:fun", "--states", 1, "--driver", "u=u")
    for args, n in ((None, 2), ("[1]", 2), ("[1, 3]", 2), ("[1, 3, 4, 5]", 4)):
        given = () if args is None else ("--args", args)
        buffers = plan_of(*words, *given)["problem"]["buffers"]
        # One slot more tells that the driver was asked for too much.
        assert {b["name"]: b["n_elements"] for b in buffers}["loop.parameters"] == n + 1
    told = run(*words, "--args", "[]", status=2).stderr
    assert "--args: there is no number for `a`" in told


SAME = {
    "inline": {"times": [0.0, 6.0, 12.0], "values": [8.0, 4.5, 14.0]},
    "of runs": {"times": [0.0, 6.0, 12.0], "values": [[8.0, 4.5, 14.0], [1.0, 2.0, 3.0]]},
    "bare csv": {"file": "bare.csv"},
    "named": {"file": "sub/many.csv", "columns": ["hour", "outside"]},
    "numbered": {"file": "sub/many.csv", "columns": [2, 1]},
    "npy": {"file": "two.npy"},
    "columns of npy": {"file": "whole.npy", "columns": [2, 0]},
}


@pytest.mark.parametrize("case", SAME)
def test_samples_may_stand_anywhere(folder, case):
    """In the model, in a CSV with names or without, in NumPy's format: the same plan."""
    samples = np.array([[0.0, 8.0], [6.0, 4.5], [12.0, 14.0]])
    np.savetxt("bare.csv", samples, delimiter=",")
    (folder / "sub").mkdir()
    (folder / "sub" / "many.csv").write_text("inside, outside, hour\n1,8,0\n\n1,4.5,6\n1,14,12\n")
    np.save("two.npy", samples)
    np.save(
        "whole.npy", np.stack([samples[:, 1], samples[:, 1], samples[:, 0]], axis=1).astype(int)
    )
    wanted = plan_of(model(folder, SAME["inline"], "inline.toml"))
    assert plan_of(model(folder, SAME[case]))["placements"] == wanted["placements"]


def test_observables_of_a_model_call_drivers(folder):
    """What only they call is called."""
    head = "equations = 'dT = -T'\n[observables]\nlate = 'outside(t - 1)'"
    name = model(folder, SAME["inline"], head=head)
    found = {b["name"]: b["n_elements"] for b in plan_of(name)["problem"]["buffers"]}
    assert found["loop.drivers"] == 0 < found["loop.observable_drivers"]


WRONG = {
    "many columns": ("a,b,c\n1,2,3\n", {}, "has 3 columns, a, b, c: `columns` must say"),
    "unnamed": ("1,2,3\n", {}, "has 3 columns, numbered from 0 to 2"),
    "misspelt": ("time,load\n1,2\n", {"columns": ["time", "laod"]}, "did you mean `load`?"),
    "no names": ("1,2\n", {"columns": ["a", "b"]}, "other.csv has no names of columns"),
    "no such number": ("1,2\n", {"columns": [0, 2]}, "2 is no column of other.csv, which has 2"),
    "one column": ("1,2\n", {"columns": [0]}, "must be a list of two"),
    "columns are text": ("1,2\n", {"columns": "ab"}, "must be a list of two"),
    "no number": ("a,b\n1,2\n3,x\n", {}, "line 3: 'x' is no number"),
    "an empty cell": ("a,b\n1,2\n3,\n", {}, "line 3: '' is no number"),
    "too few cells": ("a,b\n1,2\n3\n", {}, "line 3 has 1 cells, others 2"),
    "empty": ("", {}, "holds no samples"),
    "names alone": ("a,b\n", {}, "holds no samples"),
    "not finite": ("0,1\nnan,2\n", {}, "times[1] is nan"),
    "backwards": ("1,1\n0,2\n", {}, "must increase"),
    "quotes": ('0,1\n1,"2\n', {}, "unexpected end of data"),
    "no text": (b"0,1\n\xff\n", {}, "is not UTF-8 text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_no_samples_are_told_in_one_line(folder, case):
    """With the driver, the file and the line."""
    text, more, says = WRONG[case]
    (folder / "other.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    name = model(folder, {"file": "other.csv", **more})
    told = run(name, status=2).stderr
    assert f"{name}: `drivers.outside`" in told
    assert says in told, told
    assert len(told.splitlines()) == 1


def npy(shape, dtype="'<f8'", data=b""):
    """Return a file with a header that may say anything."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}"
    text = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


WRONG_ARRAYS = {
    "empty": (b"", "is no array of NumPy"),
    "zip": (b"PK\x03\x04 and more", "is no array of NumPy"),
    "pickle": (npy("(2, 2)", "'|O'", b"x" * 32), "Object arrays cannot be loaded"),
    "cut": (npy("(9, 2)", data=b"0" * 16), "ends before its samples do"),
    "endless": (npy("(99999999999, 2)"), "ends before its samples do"),
    "one axis": (npy("(4,)", data=b"0" * 32), "shape (4,)"),
    "complex": (npy("(1, 2)", "'<c16'", b"0" * 32), "must hold real numbers"),
    "version": (b"\x93NUMPY\x09\x00", "is no array of NumPy"),
    "code": (npy("__import__('os')", data=b"0" * 32), "is no array of NumPy"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_arrays_that_are_no_samples_are_told_in_one_line(folder, case):
    """Nothing in the file is run, and nothing is allocated that it does not hold."""
    data, says = WRONG_ARRAYS[case]
    (folder / "other.npy").write_bytes(data)
    told = run(model(folder, {"file": "other.npy"}), status=2).stderr
    assert says in told, told
    assert len(told.splitlines()) == 1


LINES = {
    "room.py:room --states 1 --driver ouside=weather": "did you mean `outside`?",
    "room.py:room --states 1 --driver outside=whether": "(did you mean `weather`?)",
    "room.py:room --states 1 --driver outside": "is not of the form argument=name",
    "room.toml --driver outside=weather": "--driver cannot be used with room.toml",
    "buffers.csv --driver outside=weather": "--driver cannot be used with buffers.csv",
    "lorenz.py:lorenz --states 3 --driver rho=lorenz": "rho",
}


@pytest.mark.parametrize("line", LINES)
def test_options_that_name_no_driver_are_told(folder, line):
    """In one line, with what is meant."""
    told = run(*line.split(), status=2).stderr
    assert LINES[line] in told, told
    assert len(told.splitlines()) == 1


def test_a_driver_of_a_function_that_is_not_called_is_told(folder):
    """The plan would be of another model than the one meant."""
    (folder / "model.py").write_text(
        "from cubie import Interpolant\nu = Interpolant([0, 1], [2, 3])\n"
        "def fun(t, y, u):\n    return [-y[0]]\n"
    )
    told = run("model.py:fun", "--states", 1, "--driver", "u=u", status=2).stderr
    assert "the driver `u` is called by neither" in told
