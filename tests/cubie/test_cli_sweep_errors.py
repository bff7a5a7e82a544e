"""`cubie-sweep` with what is no sweep: one line, that names the file and the key."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cubie.cli.sweep import main
from tests.cubie.cli_running import run_sweep
from tests.cubie.cli_sweeps import MODEL, write
from tests.cubie.test_cli_errors import VALUES, broken, quick

SWEEP = "[sweep]\n"
CASES = {
    "no table": (MODEL, "needs a table `sweep` of over"),
    "table is a list": ("sweep = [1]\n" + MODEL, "needs a table `sweep`"),
    "no t_span": (MODEL.replace("t_span", "t_eval") + SWEEP + "grid.k = [1]", "needs `t_span`"),
    "one end of t_span": (MODEL.replace("[0, 1]", "[0]") + SWEEP + "grid.k = [1]", "t_span"),
    "no model": ("t_span = [0, 1]\n" + SWEEP, "has neither `equations` nor `function`"),
    "both": ("function = 'm.py:f'\n" + MODEL, "both `equations` and `function`: give one of them"),
    "misspelt key": (
        MODEL + SWEEP + "gird.k = [1]", "unknown key `gird` (did you mean `grid`?); a sweep has",
    ),
    "misspelt axis": (MODEL + SWEEP + "grid.kk = [1]", "did you mean 'k'?"),
    "axis that is no parameter": (
        MODEL.replace("c = 0.5", "") + SWEEP + "grid.c = [1]", "stands in `parameters`, too: c = 1",
    ),
    "misspelt state": (MODEL + SWEEP + "sampled.xx = [1, 2]\nn = 3", "did you mean 'x'?"),
    "nothing swept": (MODEL + SWEEP, "`sweep` must have one of grid, zip, table, sampled"),
    "no axes": (MODEL + "[sweep.grid]\n", "`sweep.grid`"),
    "empty axis": (MODEL + SWEEP + "grid.k = []", "`sweep.grid`"),
    "two parts": (
        MODEL + SWEEP + "grid.k = [1]\nzip.c = [1]", "for a product give a list of parts",
    ),
    "over is a table": (MODEL + SWEEP + "over.grid.k = [1]", "`sweep.over` must be a list of"),
    "over and a grid": (
        MODEL + SWEEP + "grid.k = [1]\nover = []", "`sweep` has `grid` beside `over`",
    ),
    "a part of nothing": (MODEL + "[[sweep.over]]\nn = 3", "`sweep.over[0]` must have one of"),
    "twice": (
        MODEL + "[[sweep.over]]\ngrid.k = [1]\n[[sweep.over]]\nzip.k = [1]", "name 'k' twice",
    ),
    "text": (MODEL + SWEEP + "grid.k = 'a'", "`sweep.grid.k` is 'a'; give a list of numbers"),
    "texts": (MODEL + SWEEP + "grid.k = ['a']", "`sweep.grid.k`"),
    "one number": (MODEL + SWEEP + "grid.k = 3", "`sweep.grid.k` is 3; give a list of numbers"),
    "nan": (MODEL + SWEEP + "grid.k = [1, nan]", "number 1 is nan"),
    "range without a number": (
        MODEL + SWEEP + "grid.k = {start = 0, stop = 1}", "`sweep.grid.k` lacks `num`",
    ),
    "range with another key": (
        MODEL + SWEEP + "grid.k = {start = 0, stop = 1, nun = 3}", "(did you mean `num`?)",
    ),
    "range of two kinds": (
        MODEL + SWEEP + "grid.k = {start = 0, stop = 1, from = 0, num = 3}", "both `start` and",
    ),
    "range of no values": (MODEL + SWEEP + "grid.k = {start = 0, stop = 1, num = 0}", "`num` is 0"),
    "range of more than there is room for": (
        MODEL + SWEEP + "grid.k = {start = 0, stop = 1, num = 1000000000}",
        "1,000,000,000 values along an axis take 32 GB of memory, and",
    ),
    **{
        f"{name} as an option": (
            MODEL.replace("[options]", f"[options]\n{name} = 1") + SWEEP + "grid.k = [1, 2]",
            f"`{name}` is no option of a solver: ",
        )
        for name in ("t_span", "t_eval", "y0", "args", "over", "store", "chunk", "memory", "seed")
    },
    "range to nowhere": (
        MODEL + SWEEP + "grid.k = {start = 0, stop = inf, num = 3}", "`stop` is inf",
    ),
    "logarithms of zero": (
        MODEL + SWEEP + "grid.k = {from = 0, to = 1, num = 3, scale = 'log'}",
        "from 0 to 1 there is no scale of logarithms",
    ),
    "another scale": (
        MODEL + SWEEP + "grid.k = {from = 1, to = 2, num = 3, scale = 'logg'}",
        "`scale` is 'logg' (did you mean `log`?)",
    ),
    "lengths": (MODEL + SWEEP + "zip = {k = [1, 2], c = [1]}", "axes of different lengths"),
    "dim of a grid": (MODEL + SWEEP + "grid.k = [1]\ndim = 'a'", "`sweep.dim` is of `zip`"),
    "no file": (MODEL + SWEEP + "table = 'no.csv'", "`sweep`: no.csv: No such file"),
    "file is a number": (MODEL + SWEEP + "table = 3", "`table` must be the name of a file"),
    "no such column": (
        MODEL + SWEEP + "table = 'runs.csv'\ncolumns = ['kk']", "no `kk` (did you mean `k`?)",
    ),
    "no names": (MODEL + SWEEP + "table = 'bare.csv'", "no names of columns: give `columns`, 2"),
    "too few names": (
        MODEL + SWEEP + "table = 'bare.csv'\ncolumns = ['k']", "has 2 columns, and `columns` has 1",
    ),
    "how many": (MODEL + SWEEP + "sampled.k = [1, 2]", "needs `n`: how many are drawn"),
    "none": (MODEL + SWEEP + "sampled.k = [1, 2]\nn = 0", "`n` is 0"),
    "backwards": (MODEL + SWEEP + "sampled.k = [2, 1]\nn = 3", "two finite numbers in that order"),
    "three bounds": (MODEL + SWEEP + "sampled.k = [1, 2, 3]\nn = 3", "give [low, high], or a dist"),
    "another way": (
        MODEL + SWEEP + "sampled.k = [1, 2]\nn = 3\nby = 'sobel'", "(did you mean 'sobol'?)",
    ),
    "another distribution": (
        MODEL + SWEEP + "sampled.k = {dist = 'nrom'}\nn = 3", "no distribution 'nrom' (did you",
    ),
    "a distribution alone": (
        MODEL + SWEEP + "sampled.k = {dist = 'norm'}\nn = 3",
        '`sweep.sampled.k`: norm without its numbers; give them: {dist = "norm", loc = ..., scale',
    ),
    "a discrete one alone": (
        MODEL + SWEEP + "sampled.k = {dist = 'poisson'}\nn = 3", "mu = ..., loc = ...}",
    ),
    "no distribution": (MODEL + SWEEP + "sampled.k = {loc = 1}\nn = 3", "lacks `dist`"),
    "a function of SciPy's": (
        MODEL + SWEEP + "sampled.k = {dist = 'ks_2samp'}\nn = 3", "has no distribution 'ks_2samp'",
    ),
    "another parameter": (
        MODEL + SWEEP + "sampled.k = {dist = 'norm', scael = 1}\nn = 3", "norm: ",
    ),
    "parameter is text": (
        MODEL + SWEEP + "sampled.k = {dist = 'norm', scale = 'a'}\nn = 3", "`scale` is 'a'",
    ),
    "negative width": (
        MODEL + SWEEP + "sampled.k = {dist = 'norm', scale = -1}\nn = 3", "no norm with scale = -1",
    ),
    "state without a value": (
        MODEL.replace("[states]\nx = 1\ny = 0", "[states]").replace("method", "states = ['x', 'y']"
        "\nmethod").replace("[states]", "") + SWEEP + "grid.x = [1]",
        "`states.y` has no value, and is not swept",
    ),
    "state is text": (MODEL.replace("x = 1", "x = 'a'") + SWEEP + "grid.k = [1]", "`states.x` is"),
    "parameter without a value": (
        MODEL.split("[parameters]")[0] + SWEEP + "grid.k = [1]", "`parameters.c` has no value, and",
    ),
    "parameter is a list": (
        MODEL.replace("c = 0.5", "c = [1]") + SWEEP + "grid.k = [1]", "`parameters.c` is [1], and",
    ),
    "chunk": (MODEL + SWEEP + "grid.k = [1]\nchunk = 0", "`chunk` is 0"),
    "memory": (MODEL + SWEEP + "grid.k = [1]\nmemory = 'much'", "`memory` is 'much'"),
    "seed": (MODEL + SWEEP + "sampled.k = [1, 2]\nn = 3\nseed = -1", "`seed` is -1"),
    "unknown option": (
        MODEL.replace("first_step", "first_stpe") + SWEEP + "grid.k = [1]", "`first_step`?",
    ),
    "times outside": (
        MODEL.replace("t_span", "t_eval = [2]\nt_span") + SWEEP + "grid.k = [1]", "t_eval",
    ),
    "no function": ("function = 'm.py'\nt_span = [0, 1]", "`function` must be written as file.py:"),
    "no such function": (
        "function = 'fun.py:decoy'\nt_span = [0, 1]\nstates = ['x']", "no `decoy` (did you mean",
    ),
    "no states": ("function = 'fun.py:decay'\nt_span = [0, 1]", "`states` must name its states"),
    "no such argument": (
        "function = 'fun.py:decay'\nt_span = [0, 1]\nstates.x = 1\nparameters.rat = 2",
        "`parameters.rat`: the function has no such argument (did you mean `rate`?)",
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the files name."""
    monkeypatch.chdir(tmp_path)
    write("runs.csv", "k,c\n1,2\n")
    write("bare.csv", "1,2\n")
    write("fun.py", "def decay(t, y, rate):\n    return [-rate * y[0]]\n")
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_sweep_is_told_in_one_line(folder, case):
    """Status 2, one printable line with the file, nothing on standard output, and no store."""
    text, message = CASES[case]
    write("given.toml", text)
    result = run_sweep("given.toml", "--store", "runs.zarr", status=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.isprintable()
    assert line.startswith("cubie-sweep: given.toml: ")
    assert message in line
    assert not Path("runs.zarr").exists()


GOOD = MODEL + SWEEP + "grid.k = [1, 2]\n"
LINES = {
    "": "give a model file with a table `sweep`, or --store with --resume",
    "good.toml": "results go nowhere: give --store runs.zarr, or --export, or --plot",
    "good.toml --resume": "--resume needs --store",
    "good.toml --peek": "--peek needs --store",
    "--store no.zarr": "what is to be done with no.zarr?",
    "--store no.zarr --peek": "no.zarr: there is no sweep",
    "--store no.zarr --resume": "no.zarr: there is no sweep",
    "--store good.toml --resume": "good.toml is a file; a store is a folder",
    "--store . --resume": "a folder with other files in it",
    "good.toml --store s --plan --peek": "--plan and --peek do not go together",
    "good.toml --store s --workers 0": "0 is not in the range",
    "good.toml --store s --workers 2 --dask tcp://x:1": "--dask and --workers do not go",
    "good.toml --export runs.xls": "must end in .nc, .csv, .parquet",
    "good.toml --export no/runs.nc": "there is no folder no",
    "good.toml --plot x map.gif": "must end in .png, .svg, .pdf",
    "good.toml --store s --x k": "--x is of --plot",
    "nofile.toml": "nofile.toml: No such file",
    "good.toml --store s --plot z map.png": "--plot z: `what` is 'z', but must be one of 'y'",
    "good.toml --store s --plot x map.png --x kk": "`x` is 'kk'",
    "good.toml --store s --plot x map.png --y kk": "`y` is 'kk'",
    "good.toml --store s --plot x map.png --over kk": "`over` is 'kk'",
    "good.toml --store s --plot x map.png --sel kk=3": "`sel` is 'kk'",
    "good.toml --store s --plot x map.png --sel k=3": "'k' goes from 1 to 2",
    "good.toml --store s --plot x map.png --sel k=1": "What is left of 'x' is one number",
    "good.toml --store s --plan --plot z map.png": "`what` is 'z'",
    "good.toml --store s --export runs.csv --rows points": "`rows` is 'points'",
    "good.toml --store s --rows runs": "--rows is of --export",
    "good.toml --store s --memory much": "`memory` is 'much'",
    "good.toml --store s --option rtoll=1": "Did you mean `rtol`?",
    "good.toml --store s --option rtol": "is not of the form name=value",
    "good.toml --store s --max-steps 9 --option max_steps=8": "`max_steps` is given twice",
    "good.toml --store s --method rk5": "did you mean 'rk45'?",
    ". --store s": "a sweep is in a file that ends in .toml or .json",
    "no.toml --store s": "no.toml: No such file",
    "--store no.zarr --resume --chunk 3": "--chunk is of a sweep that begins",
    "--store no.zarr --peek --option rtol=1": "--option is of a sweep that begins",
    "good.toml --store s --progress loud": "'loud' is not one of",
}


@pytest.mark.parametrize("line", LINES)
def test_wrong_use_is_told_in_one_line(folder, line):
    """Status 2 and one line; nothing is made."""
    write("good.toml", GOOD)
    result = run_sweep(*line.split(), status=2)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert LINES[line] in result.stderr
    assert not Path("s").exists()


WHOLE = {
    "equations": ["dx = u(t) - k*x", "dy = c*x"],
    "states": {"x": 1, "y": 0},
    "parameters": {"k": 1, "c": {"dist": "norm", "loc": 1, "scale": 0.1}},
    "drivers": {"u": {"times": [0, 2], "values": [1, 2]}},
    "method": "rk4",
    "options": {"first_step": 0.1, "max_events": 1},
    "summaries": {"x": ["max"]},
    "events": ["x - 1"],
    "t_span": [0, 1],
    "t_eval": {"start": 0, "stop": 1, "num": 3},
    "sweep": {
        "seed": 1,
        "chunk": 4,
        "memory": "2G",
        "over": [
            {"grid": {"k": [1, 2], "t_end": {"from": 1, "to": 2, "num": 2, "scale": "log"}}},
            {"sampled": {"x": [0, 1]}, "n": 3, "by": "random", "seed": 2, "dim": "s"},
        ],
    },
}


def paths_of(data, path=()):
    """Yield where there is something, however deep."""
    for key in data if isinstance(data, dict) else range(len(data)):
        yield (*path, key)
        if isinstance(data[key], dict | list):
            yield from paths_of(data[key], (*path, key))


@quick
@given(path=st.sampled_from(list(paths_of(WHOLE))), value=VALUES)
def test_no_value_anywhere_in_a_sweep_breaks_the_command(tmp_path, path, value):
    """Whatever stands in place of anything, the command ends with a status, and in one line."""
    target = tmp_path / "sweep.json"
    target.write_text(json.dumps(broken(WHOLE, path, value)), encoding="utf-8")
    result = CliRunner().invoke(main, [str(target), "--plan", "--no-pilot", "--quiet"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1, 2)
    assert len(result.stderr.splitlines()) == (result.exit_code == 2)
