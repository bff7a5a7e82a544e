"""`cubie-sweep` as a process: stopped by signals, gone on with, its results those of no stop."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray

from cubie import grid, sweep

COMMAND = [sys.executable, "-m", "cubie.cli.sweep"]
# Steps so small that chunks take long enough to be stopped between two: of equations that are a
# line of arithmetic they take a nanosecond.
STEP, SMALLER = 5e-6, 2e-6
SLOW = """
method = "rk4"
t_span = [0, 1]
states.x = 1

[options]
first_step = {step}
max_steps = 1000000

[sweep]
chunk = 64
grid.k = {{start = 1, stop = 2, num = {num}}}
"""
TRACED = 'equations = "dx = -k*x"' + SLOW.format(step=SMALLER, num=9600)
# No function that can be followed: it is compiled as it stands, and no data.
COUNTED = """
def counted(t, y, k):
    scale = 1.0
    while scale * y[0] > 0.25:
        scale = scale / 2
    return [-k * scale * y[0]]
"""
UNTRACED = 'function = "counted.py:counted"' + SLOW.format(step=STEP, num=256)
CASES = {
    "Ctrl-C": (TRACED, signal.SIGINT, ["--option", "rtol=1e-5", "--chunk", "64"], 130),
    "end of a job, with a worker": (UNTRACED, signal.SIGTERM, ["--workers", "1"], 143),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counted.py").write_text(COUNTED, encoding="utf-8")
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*cannot be traced")
@pytest.mark.parametrize("case", CASES)
def test_stopped_sweep_goes_on_to_the_results_of_one_that_was_not(folder, case):
    """What is done is kept, it is told how to go on, and that leads to the same bits."""
    text, number, options, status = CASES[case]
    Path("slow.toml").write_text(text, encoding="utf-8")
    words = ["slow.toml", "--store", "runs.zarr", *options, "--progress", "json"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "progress":
            break
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == status, stderr
    assert json.loads(stdout.splitlines()[-1])["event"] == "stopped"
    *notes, last = stderr.splitlines()
    assert len(notes) == (text is UNTRACED)
    assert last.startswith(f"cubie-sweep: stopped by {number.name}; ")
    assert " chunks are done and kept; go on: cubie-sweep slow.toml --store runs.zarr" in last
    require_gone(process.pid)
    alone = subprocess.run(
        [*COMMAND, "--store", "runs.zarr", "--peek"], capture_output=True, text=True, timeout=300
    )
    if text is UNTRACED:
        assert "give the model file, too" in alone.stderr
    else:
        assert "chunks done" in alone.stdout
    again = shlex.split(last.partition("go on: cubie-sweep ")[2])
    assert again == words
    done = subprocess.run([*COMMAND, *again], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert done.stderr.splitlines() == notes
    with xarray.open_zarr("runs.zarr") as found:
        np.testing.assert_array_equal(found["y"], undisturbed(text)["y"])


def require_gone(group: int) -> None:
    """Fail where a process of a group is left; those that were asked to end have a while for it."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"processes of group {group} are left")


def undisturbed(text):
    """Return what the sweep comes to in one go."""
    module: dict = {}
    exec(COUNTED, module)
    traced = ("dx = -k*x", 9600, SMALLER)
    fun, n, step = traced if text is TRACED else (module["counted"], 256, STEP)
    made = sweep(
        fun, (0, 1), {"x": 1}, over=grid(k=np.linspace(1, 2, n)), method="rk4", first_step=step,
        max_steps=10**6, chunk=n,
    )  # fmt: skip
    return made.run(progress=False).to_xarray()
