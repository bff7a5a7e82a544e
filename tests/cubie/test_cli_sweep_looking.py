"""What `cubie-sweep` shows of a sweep: figures, pictures and files for other programs."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray

from cubie import Sweep, grid, sweep
from tests.cubie.cli_running import run_sweep
from tests.cubie.cli_sweeps import EQUATIONS, GRID, MODEL, in_folder, wanted, write
from tests.cubie.sweeps.decays import environment


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a sweep."""
    return in_folder(tmp_path, monkeypatch)


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


def test_results_are_drawn_and_exported_from_a_store(folder):
    """A picture by the names that `--peek` lists, and a file of NetCDF that xarray opens."""
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    run_sweep("--store", "runs.zarr", "--plot", "x", "map.png", "--x", "k", "--export", "runs.nc")
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    with xarray.open_dataset("runs.nc") as found:
        np.testing.assert_array_equal(found["y"], wanted()["y"])
    wrong = run_sweep("--store", "runs.zarr", "--plot", "z", "map.png", status=2)
    assert wrong.stderr.startswith("cubie-sweep: --plot z: ")


def test_table_of_parquet_is_that_of_csv(folder):
    """Chunks are groups of rows of one file."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet", "--export", "runs.parquet")
    run_sweep("--store", "runs.zarr", "--export", "runs.csv")
    pandas.testing.assert_frame_equal(
        pandas.read_parquet("runs.parquet"), pandas.read_csv("runs.csv"), check_dtype=False
    )


def test_peek_needs_no_package_for_labels_or_tables(folder):
    """Figures come of the store alone: looking at a sweep is quick."""
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    code = (
        "import sys; from cubie.cli.sweep import main\n"
        "try: main(['--store', 'runs.zarr', '--peek'])\n"
        "finally: print([p for p in ('xarray', 'pandas', 'dask', 'scipy') if p in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
    )
    assert "max of x" not in done.stdout
    assert "n_steps" in done.stdout
    assert done.stdout.endswith("[]\n"), done.stdout


def test_rows_of_points_have_what_was_drawn(folder):
    """Of samples, and of arguments that each run draws: in files, and in tables of Python."""
    text = MODEL.replace("c = 0.5", "c = {dist = 'norm', loc = 1, scale = 0.1}")
    text = text.replace("t_span", "t_eval = [0.5, 1]\nt_span")
    write("drawn.toml", text + "[sweep]\nsampled.k = [1, 2]\nn = 3\nchunk = 2\n")
    run_sweep("drawn.toml", "--store", "runs.zarr", "--export", "points.csv")
    with open("points.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = Sweep.resume("runs.zarr")
    runs, points = found.to_pandas(rows="runs"), found.to_pandas()
    assert len(rows) == len(points) == 6
    for i, row in enumerate(rows):
        for name in ("k", "c"):
            wanted = runs[name].iloc[i // 2]
            assert float(row[name]) == points[name].iloc[i] == wanted


PYTHON = re.compile(
    r"cubie\.|\w\(\)|(?<!--option )\b(?:sel|over|y|store|chunk|t_eval|summaries|dtype)=|zipped\("
)


def test_advice_is_in_words_that_can_be_typed(folder):
    """What Python's messages say to call, those of the command say to type."""
    write("cube.toml", GRID + "x = [0.5, 0.6, 0.7]\n")
    run_sweep("sweep.toml", "--store", "runs.zarr", "--quiet")
    plot = ["cube.toml", "--plot", "y", "map.png"]
    lines = {
        (*plot, "--x", "k", "--y", "c"): "by --sel x=..., or draw their median by --over x",
        ("cube.toml", "--export", "a.csv", "--memory", "100"): "on disk (--store runs.zarr)",
        ("cube.toml", "--store", "runs.zarr"): "go on with that one by --resume without a model",
    }
    for words, told in lines.items():
        result = run_sweep(*words, status=1 if "--memory" in words else 2)
        assert told in result.stderr
        assert not PYTHON.search(result.stderr), result.stderr
    plan = run_sweep("cube.toml", "--plan", "--no-pilot", "--store", "new.zarr")
    assert not PYTHON.search(plan.stdout.replace("chunk=4 was given", "")), plan.stdout
