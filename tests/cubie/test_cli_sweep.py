"""`cubie-sweep`: what it computes, keeps, shows and goes on with."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import xarray

from cubie import Sweep, grid, sweep
from tests.cubie.cli_running import run, run_sweep

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
    for name in ("k", "c", "y[x]", "y[y]", "status"):
        found = [float(row[name]) for row in rows]
        head = name.partition("[")[0]
        values = expected[head] if head != "y" else expected["y"].sel(component=name[2])
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
    assert "y[x]" in result.stdout
