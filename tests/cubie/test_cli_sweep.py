"""`cubie-sweep`: what it computes, keeps, shows and goes on with."""

import csv
import importlib
import json
import re
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray
from click.testing import CliRunner
from scipy import stats

from cubie import Event, Interpolant, Sweep, grid, sampled, sweep
from cubie.cli.base import INTERRUPTED, WRONG
from cubie.cli.sweep import main
from cubie.cli.sweep.running import DONE, SIGNALLED, SOME_FAILED, STOPPED
from tests.cubie.cli_running import (
    CONSOLE,
    ROOT,
    SWEEP_PAGE,
    printed,
    run,
    run_sweep,
    write_page_files,
)  # fmt: skip
from tests.test_readme import words_and_numbers

EQUATIONS = ["dx = -k*x", "dy = k*x - c*y"]
MODEL = """
equations = ["dx = -k*x", "dy = k*x - c*y"]
method = "rk4"
t_span = [0, 1]

[options]
first_step = 0.1

[states]
x = 1
y = 0

[parameters]
k = 2
c = 0.5
"""
GRID = (
    MODEL
    + """
[sweep]
chunk = 4

[sweep.grid]
k = {start = 1, stop = 2, num = 5}
c = [0.5, 1.0]
"""
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a sweep."""
    monkeypatch.chdir(tmp_path)
    write("sweep.toml", GRID)
    return tmp_path


def write(name: str, text: str) -> None:
    """Write a file."""
    Path(name).write_text(text, encoding="utf-8")


def wanted(**options):
    """Return the same sweep from Python."""
    space = grid(k=np.linspace(1, 2, 5), c=[0.5, 1.0])
    made = sweep(
        EQUATIONS, (0, 1), {"x": 1, "y": 0}, over=space, method="rk4", first_step=0.1, chunk=4,
        **options,
    )  # fmt: skip
    return made.run(progress=False).to_xarray()


# ---- the page --------------------------------------------------------------------------


def compared(text):
    """Return words and numbers of what is printed, without what no two machines have in common."""
    text = re.sub(r"^(disk|time) .*$", "", text, flags=re.M)
    text = re.sub(r'("(?:runs_per_second|seconds_left)": )[^,}]+', r"\1some", text)
    return words_and_numbers(re.sub("─+", "─", text))


def test_page_shows_every_kind_of_use(tmp_path, monkeypatch):
    """The commands run in the order of the page and print what it shows.

    `tests.cubie.cli_running` writes the page anew.
    """
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path, SWEEP_PAGE)
    sessions = list(CONSOLE.finditer(SWEEP_PAGE.read_text(encoding="utf-8")))
    assert len(sessions) >= 9
    for session in sessions:
        (words, numbers), (found, close) = map(
            compared, (session["output"], printed(session["line"], session["name"]))
        )
        assert found == words, session["line"]
        np.testing.assert_allclose(close, numbers, rtol=0.01, err_msg=session["line"])
    assert Path("map.png").exists()


def test_page_and_help_name_every_exit_status():
    """The table of the page, and `--help`, have those that the sources know."""
    statuses = {DONE, SOME_FAILED, STOPPED, WRONG, INTERRUPTED, SIGNALLED + signal.SIGTERM}
    page = SWEEP_PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \|", page.partition("| exit status")[2], re.M)
    assert {int(status) for row in rows for status in row.split(",")} == statuses
    told = (main.help or "").partition("Exit status: ")[2].partition(" Tables go")[0]
    assert {int(status) for status in re.findall(r"\b\d+\b", told)} == statuses


# ---- computing -----------------------------------------------------------------------


def test_store_holds_what_python_computes(folder):
    """A file with equations, states and a grid is the sweep that Python makes of the same."""
    result = run_sweep("sweep.toml", "--store", "runs.zarr")
    assert "runs.zarr: all 10 runs done" in result.stdout
    assert result.stderr == ""
    with xarray.open_zarr("runs.zarr") as found:
        for name, values in wanted().items():
            np.testing.assert_array_equal(found[name], values, err_msg=str(name))


def test_sweep_goes_on_with_and_without_its_file(folder):
    """What is done is not computed again, and a store alone is enough to go on."""
    first = run_sweep("sweep.toml", "--store", "runs.zarr")
    before = {path: path.stat().st_mtime_ns for path in Path("runs.zarr").rglob("c/*")}
    for words in (["sweep.toml"], ["sweep.toml", "--resume"], ["--resume"]):
        again = run_sweep(*words, "--store", "runs.zarr")
        assert again.stdout == first.stdout
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs.zarr").rglob("c/*")}


def test_model_file_is_that_of_cubie_plan(folder):
    """The same file, with its table `sweep`, is planned."""
    run("sweep.toml", "--quiet")


def test_progress_is_a_line_of_json_for_each_chunk(folder):
    """Machines read the beginning, every chunk and the end from standard output."""
    result = run_sweep("sweep.toml", "--store", "runs.zarr", "--progress", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["begin", *["progress"] * 3, "done"]
    assert [line["runs_done"] for line in lines[1:-1]] == [4, 8, 10]
    assert lines[-1] == {"event": "done", "n_runs": 10, "failed": 0, "status": {"SUCCESS": 10}}


def test_export_has_a_row_for_each_run(folder):
    """A table of a sweep in memory has axes, components and status of each run in order."""
    run_sweep("sweep.toml", "--export", "runs.csv", "--quiet")
    rows = list(csv.DictReader(Path("runs.csv").read_text(encoding="utf-8").splitlines()))
    expected = wanted()
    assert len(rows) == 10
    for name in ("k", "c", "x", "y", "status"):
        found = [float(row[name]) for row in rows]
        values = expected["y"].sel(component=name) if name in "xy" else expected[name]
        values = values.broadcast_like(expected["status"]).transpose("k", "c").values.ravel()
        np.testing.assert_array_equal(found, values, err_msg=name)


def test_peek_computes_nothing_and_counts_what_is_done(folder):
    """A sweep that was stopped shows its runs, and how many chunks are done."""
    begun = sweep(
        EQUATIONS, (0, 1), {"x": 1, "y": 0}, over=grid(k=[1, 2, 3, 4], c=[0.5, 1]),
        method="rk4", first_step=0.1, chunk=2, store="part.zarr",
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        begun.run(progress=lambda progress: 1 / (progress.chunks_done - 2))
    result = run_sweep("--store", "part.zarr", "--peek")
    done = Sweep.resume("part.zarr").n_chunks_done
    assert 0 < done < 4
    assert f"part.zarr: {done} of 4 chunks done, of 8 runs" in result.stdout
    assert f"SUCCESS      {2 * done}" in result.stdout
    assert "\n x " in result.stdout


def test_table_of_runs_in_a_file_goes_on_counting_over_chunks(folder):
    """Rows of a table without an axis of their own are numbered through, point by point."""
    write("runs.csv", "k,c\n1,0.5\n2,0.25\n3,0.125\n")
    text = MODEL.replace("t_span", "t_eval = [0, 0.5, 1]\nt_span")
    write("table.toml", text + "[sweep]\ntable = 'runs.csv'\nchunk = 2\n")
    run_sweep("table.toml", "--store", "t.zarr", "--quiet", "--export", "points.csv")
    rows = list(csv.DictReader(Path("points.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["run"], row["time"]) for row in rows[:4]] == [
        ("0", "0.0"), ("0", "0.5"), ("0", "1.0"), ("1", "0.0")
    ]  # fmt: skip
    assert rows[-1]["run"] == "2"
    run_sweep("--store", "t.zarr", "--export", "runs_of.csv", "--rows", "runs")
    rows = list(csv.DictReader(Path("runs_of.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["run"], row["k"], row["c"]) for row in rows] == [
        ("0", "1.0", "0.5"), ("1", "2.0", "0.25"), ("2", "3.0", "0.125")
    ]  # fmt: skip


# ---- what a file can say ---------------------------------------------------------------

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
    text = GRID.replace("c = [0.5, 1.0]", "").replace("c = 0.5", "c = {dist = 'uniform'}")
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


# ---- runs that fail, and plans ---------------------------------------------------------


def test_runs_that_failed_are_told_and_computed_again(folder):
    """Status 3 where runs failed; `--retry` with other limits mends them, and the status is 0."""
    first = run_sweep("sweep.toml", "--store", "few.zarr", "--max-steps", 5, status=3)
    assert "TOO_MANY_STEPS     10   The run used max_steps" in first.stdout
    again = "cubie-sweep --store few.zarr --retry failed --max-steps N"
    assert f"10 of 10 runs failed; compute them again: {again}" in first.stderr
    assert "RunsFailed" not in first.stderr
    run_sweep("--store", "few.zarr", "--resume", "--quiet", status=3)
    wrong = run_sweep("--store", "few.zarr", "--retry", "faild", "--max-steps", 9, status=2)
    assert "did you mean 'failed'?" in wrong.stderr
    wrong = run_sweep("--store", "few.zarr", "--retry", "failed", "--option", "atoll=1", status=2)
    assert "atol" in wrong.stderr
    mended = run_sweep("--store", "few.zarr", "--retry", "failed", "--max-steps", 100)
    assert "SUCCESS     10" in mended.stdout
    with xarray.open_zarr("few.zarr") as found:
        np.testing.assert_array_equal(found["y"], wanted()["y"])


def test_plan_computes_nothing_and_tells_what_does_not_fit(folder):
    """Status 1 where the sweep is larger than what it may use."""
    told = run_sweep("sweep.toml", "--store", "runs.zarr", "--plan", "--no-pilot").stdout
    assert "runs.zarr: 0 of 3 chunks done" in told
    assert re.search("^time +not known before a pilot", told, re.M)
    assert not Path("runs.zarr").exists()
    told = run_sweep("sweep.toml", "--plan").stdout
    assert re.search("^time +about .* as a pilot tells", told, re.M)
    told = run_sweep("sweep.toml", "--plan", "--memory", 300, status=1).stdout
    assert re.search("^does not fit ", told, re.M)
    refused = run_sweep("sweep.toml", "--export", "a.csv", "--memory", 300, status=1)
    assert "runs would fit" in refused.stderr
    assert not Path("a.csv").exists()


def test_another_sweep_is_not_mixed_into_a_store(folder):
    """A file that has changed since is refused, with what differs."""
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    write("sweep.toml", GRID.replace("t_span = [0, 1]", "t_span = [0, 2]"))
    result = run_sweep("sweep.toml", "--store", "runs.zarr", status=2)
    assert "runs.zarr holds another sweep: its t_span is [0.0, 1.0], here it is" in result.stderr


# ---- looking ---------------------------------------------------------------------------


def test_results_are_drawn_and_exported_from_a_store(folder):
    """A picture by the names that `--peek` lists, and a file of NetCDF that xarray opens."""
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    run_sweep("--store", "runs.zarr", "--plot", "x", "map.png", "--x", "k", "--export", "runs.nc")
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    with xarray.open_dataset("runs.nc") as found:
        np.testing.assert_array_equal(found["y"], wanted()["y"])
    wrong = run_sweep("--store", "runs.zarr", "--plot", "z", "map.png", status=2)
    assert wrong.stderr.startswith("cubie-sweep: --plot z: ")


COMPLETED = {
    "--pee": ["--peek"],
    "--method tsi": ["tsit5"],
    "--retry TOO": ["TOO_MANY_STEPS"],
    "--progress j": ["json"],
    "--rows e": ["events"],
}


@pytest.mark.parametrize("typed", COMPLETED)
def test_shell_completes_options_and_their_values(typed):
    """The shell is offered what can follow."""
    words = f"cubie-sweep sweep.toml {typed}"
    environment = {"_CUBIE_SWEEP_COMPLETE": "zsh_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    result = CliRunner().invoke(main, prog_name="cubie-sweep", env=environment)
    assert result.stdout.splitlines()[1::3] == COMPLETED[typed]


def test_workers_of_dask_compute_a_sweep(folder):
    """A scheduler is named by its address, or by the file that it wrote."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://",
        dashboard_address=None,
    )  # fmt: skip
    with cluster, distributed.Client(cluster) as client:
        client.write_scheduler_file("scheduler.json")
        for i, where in enumerate([cluster.scheduler_address, "scheduler.json"]):
            run_sweep("sweep.toml", "--store", f"{i}.zarr", "--dask", where, "--quiet")
            with xarray.open_zarr(f"{i}.zarr") as found:
                np.testing.assert_array_equal(found["y"], wanted()["y"])


def test_table_of_parquet_is_that_of_csv(folder):
    """Chunks are groups of rows of one file."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet", "--export", "runs.parquet")
    run_sweep("--store", "runs.zarr", "--export", "runs.csv")
    pandas.testing.assert_frame_equal(
        pandas.read_parquet("runs.parquet"), pandas.read_csv("runs.csv"), check_dtype=False
    )


def test_scripts_of_the_package_are_the_commands():
    """What is installed under a name is the command that calls itself so."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, place in scripts["scripts"].items():
        module, _, found = place.partition(":")
        assert getattr(importlib.import_module(module), found).name == name
