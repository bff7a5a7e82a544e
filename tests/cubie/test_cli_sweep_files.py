"""What a file can say of a sweep, and what the command line says over it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray
from scipy import stats

from cubie import Event, Interpolant, grid, sampled, sweep
from tests.cubie.cli_running import run_sweep
from tests.cubie.cli_sweeps import GRID, MODEL, in_folder, write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a sweep."""
    return in_folder(tmp_path, monkeypatch)


FUNCTIONS = """
import numpy as np


def chain(t, y, rates, inflow):
    return [inflow(t) - rates[0] * y[0], rates[0] * y[0] - rates[1] * y[1]]


def total(t, y, rates, inflow):
    return {"total": y[0] + y[1]}


def level(t, y, rates, inflow):
    return y[1] - 0.2


def counted(t, y, n):
    steps = 0
    while steps < 3 and y[0] > 0:
        steps += 1
    return [-n * y[0] * steps]
"""


def test_file_with_a_function_is_what_python_makes_of_it(folder):
    """Functions beside the file, arrays, drivers, distributions and products of parts."""
    write("chain.py", FUNCTIONS)
    write("inflow.csv", "t,v\n0,0\n1,1\n2,0\n")
    write(
        "chain.toml",
        """
function = "chain.py:chain"
states = {a = 1, b = 0}
method = "rk4"
t_span = [0, 1]
t_eval = {start = 0, stop = 1, num = 3}
observables = "total"
summaries = {b = ["max"]}
events = [{function = "level", direction = 1}]

[options]
first_step = 0.1
max_events = 2

[parameters]
rates = [2, 0.5]

[drivers.inflow]
file = "inflow.csv"

[sweep]
seed = 7

[[sweep.over]]
grid = {"rates[1]" = [0.5, 1.0]}

[[sweep.over]]
sampled = {"rates[0]" = {dist = "norm", loc = 2, scale = 0.1}, a = [1, 2]}
n = 3
by = "halton"
""",
    )
    run_sweep("chain.toml", "--store", "chain.zarr", "--quiet")
    with xarray.open_zarr("chain.zarr") as found:
        expected = chained()
        assert dict(found.sizes) == dict(expected.sizes)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=str(name))


def chained():
    """Return the same from Python."""
    module: dict = {}
    exec(FUNCTIONS, module)
    event = Event(module["level"], direction=1)
    space = grid({"rates[1]": [0.5, 1.0]}) * sampled(
        3, {"rates[0]": stats.norm(loc=2, scale=0.1), "a": (1, 2)}, by="halton", seed=7
    )
    made = sweep(
        module["chain"], (0, 1), {"a": 1, "b": 0}, over=space, t_eval=np.linspace(0, 1, 3),
        args={"rates": np.array([2, 0.5]), "inflow": Interpolant([0, 1, 2], [0, 1, 0])},
        method="rk4", first_step=0.1, observables=module["total"], summaries={"b": ["max"]},
        events=[event], max_events=2,
    )  # fmt: skip
    return made.run(progress=False).to_xarray()


def test_runs_draw_from_distributions_of_parameters(folder):
    """A parameter with a distribution is drawn for each run, by the seed of the command line."""
    text = GRID.replace("c = [0.5, 1.0]", "").replace(
        "c = 0.5", "c = {dist = 'uniform', loc = 0, scale = 1}"
    )
    write("drawn.toml", text)
    for seed in (1, 2):
        run_sweep("drawn.toml", "--seed", seed, "--export", f"{seed}.csv", "--quiet")
    drawn = [
        [float(row["c"]) for row in csv.DictReader(Path(f"{seed}.csv").read_text().splitlines())]
        for seed in (1, 2)
    ]
    assert len(set(drawn[0] + drawn[1])) == 10
    assert all(0 < value < 1 for value in drawn[0] + drawn[1])


def test_options_of_the_command_line_win_over_the_file(folder):
    """`--option` is one of `solve_ivp`, whatever the file says."""
    options = ("--option", "first_step=0.5", "--option", "save_states=['y']", "--chunk", 10)
    run_sweep("sweep.toml", "--store", "other.zarr", *options)
    with xarray.open_zarr("other.zarr") as found:
        assert (found["n_steps"].values == 2).all()
        assert found["component"].values.tolist() == ["y"]


TABLE = (
    MODEL
    + """
[sweep]
table = "people.csv"
dim = "id"
"""
)


@pytest.mark.parametrize(
    "keys",
    ['columns = ["k", "c"]\nlabels = ["name", "weight"]', 'labels = ["id", "name", "weight"]'],
)
def test_columns_of_a_file_label_the_runs(folder, keys):
    """Text and covariates go along, in the types that they are written in; ids find the runs."""
    write("people.csv", "id,name,k,c,weight,code\n3,ann,1,2,70.5,007\n5,bob,2,3,,010\n")
    more = "" if "columns" in keys else ', "code"]'
    write("table.toml", TABLE + (keys.removesuffix("]") + more if more else keys))
    run_sweep("table.toml", "--store", "runs.zarr")
    with xarray.open_zarr("runs.zarr") as found:
        assert found.indexes["id"].tolist() == [3, 5]
        assert found.name.values.tolist() == ["ann", "bob"]
        np.testing.assert_array_equal(found.weight, [70.5, np.nan])
        np.testing.assert_array_equal(found.k, [1, 2])
        assert not more or found.code.values.tolist() == ["007", "010"]


def test_what_a_table_of_a_file_does_not_say_is_told_in_its_words(folder):
    """Text that would be swept, and columns that are no arguments, are told to be labels."""
    write("people.csv", "id,k,c\nann,1,2\n")
    write("table.toml", TABLE)
    (line,) = run_sweep("table.toml", "--store", "s", status=2).stderr.splitlines()
    assert "people.csv: line 2: 'ann' is no number. A column that only labels the runs" in line
    assert line.endswith('is named by labels = ["id"].')
    write("people.csv", "id,k,c\n7,1,2\n")
    (line,) = run_sweep("table.toml", "--store", "s", status=2).stderr.splitlines()
    assert "sweeps 'id'" in line
    assert line.endswith('is named by labels = ["id"].')
    write("table.toml", TABLE + 'labels = ["id", "k", "c"]')
    (line,) = run_sweep("table.toml", "--store", "s", status=2).stderr.splitlines()
    assert "is a table of labels alone" in line
