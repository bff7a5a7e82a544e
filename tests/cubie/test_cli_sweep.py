"""`cubie-sweep`: what it computes, keeps, shows and goes on with."""

import importlib
import json
import re
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray

from cubie.cli.base import INTERRUPTED, WRONG
from cubie.cli.sweep import main
from cubie.cli.sweep.running import DONE, SIGNALLED, SOME_FAILED, STOPPED
from tests.cubie.cli_running import (
    CONSOLE,
    ROOT,
    SWEEP_PAGE,
    completed,
    printed,
    run,
    run_sweep,
    write_page_files,
)  # fmt: skip
from tests.cubie.cli_sweeps import GRID, in_folder, wanted, write
from tests.page_code import words_and_numbers


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a sweep."""
    return in_folder(tmp_path, monkeypatch)


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
    wrong = run_sweep("--store", "few.zarr", "--retry", "failed", status=2)
    assert "--retry changes nothing: " in wrong.stderr
    wrong = run_sweep("--store", "few.zarr", "--retry", "failed", "--option", "atoll=1", status=2)
    assert "atol" in wrong.stderr
    mended = run_sweep("--store", "few.zarr", "--retry", "failed", "--max-steps", 100)
    assert "SUCCESS     10" in mended.stdout
    with xarray.open_zarr("few.zarr") as found:
        np.testing.assert_array_equal(found["y"], wanted()["y"])


def test_a_file_of_runs_that_failed_says_so(folder):
    """Whoever exports a store learns of them, and every row has the status, of points, too."""
    write("points.toml", "t_eval = [0.0, 1.0]\n" + GRID)
    for file, n in (("sweep.toml", 1), ("points.toml", 2)):
        store = f"{file}.zarr"
        run_sweep(file, "--store", store, "--max-steps", 5, "--quiet", status=3)
        told = run_sweep("--store", store, "--export", "runs.csv")
        assert "--export runs.csv: 10 of 10 runs failed; what is written of them" in told.stderr
        header, *rows = (line.split(",") for line in Path("runs.csv").read_text().splitlines())
        assert [row[header.index("status")] for row in rows] == ["-2"] * 10 * n
        assert not run_sweep("--store", store, "--export", "runs.csv", "--quiet").stderr
    run_sweep("sweep.toml", "--store", "good.zarr", "--quiet")
    assert not run_sweep("--store", "good.zarr", "--export", "runs.csv").stderr


def test_plan_computes_nothing_and_tells_what_does_not_fit(folder):
    """Status 1 where the sweep is larger than what it may use."""
    told = run_sweep("sweep.toml", "--store", "runs.zarr", "--plan", "--no-pilot").stdout
    assert "runs.zarr: 0 of 3 chunks done" in told
    assert re.search("^time +not known without a pilot", told, re.M)
    assert not Path("runs.zarr").exists()
    told = run_sweep("sweep.toml", "--plan").stdout
    assert re.search("^time +about .* as a pilot tells", told, re.M)
    told = run_sweep("sweep.toml", "--plan", "--memory", 300, status=1).stdout
    assert re.search("^does not fit ", told, re.M)
    refused = run_sweep("sweep.toml", "--export", "a.csv", "--memory", 300, status=1)
    assert "runs would fit" in refused.stderr
    assert not Path("a.csv").exists()


def test_plan_of_workers_tells_of_the_chunks_they_work_on(folder):
    """Each has one that waits; there are no more than the sweep has, nor than fit into memory."""
    for n, flying in ((1, 2), (2, 3), (9, 3)):
        told = run_sweep("sweep.toml", "--plan", "--no-pilot", "--workers", n).stdout
        assert f": {flying} chunks at a time, " in told
    one = run_sweep("sweep.toml", "--plan", "--no-pilot").stdout
    assert ": 1 chunk at a time, " in one


def test_another_sweep_is_not_mixed_into_a_store(folder):
    """A file that has changed since is refused, with what differs."""
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    write("sweep.toml", GRID.replace("t_span = [0, 1]", "t_span = [0, 2]"))
    result = run_sweep("sweep.toml", "--store", "runs.zarr", status=2)
    assert "runs.zarr holds another sweep: its t_span is [0.0, 1.0], here it is" in result.stderr


# ---- the command --------------------------------------------------------------------


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
    assert completed(f"cubie-sweep sweep.toml {typed}")[1::3] == COMPLETED[typed]


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


def test_scripts_of_the_package_are_the_commands():
    """What is installed under a name is the command that calls itself so."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, place in scripts["scripts"].items():
        module, _, found = place.partition(":")
        assert getattr(importlib.import_module(module), found).name == name
