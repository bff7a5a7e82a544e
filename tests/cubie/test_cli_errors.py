"""`cubie-plan` with what cannot be planned: one line that says why, and ways out that work."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cubie.cli import main
from cubie.cli.drivers import KEYS
from cubie_planner import Buffer, Limits, Problem, problem_to_dict
from cubie_planner import plan as make_plan
from cubie_planner.plans.files import _seal
from tests.cubie.cli_running import TWO, run, write_page_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the files that the page lists."""
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    return tmp_path


# ---- no plan -------------------------------------------------------------------------


CLASHES = {
    "model.toml --pin stage_store=shared --max-shared 4k": (
        "loop.algorithm.stage_store, max_shared",
        ["--block-size 39", "--max-shared 6656"],
    ),
    "model.toml --locations shared --block-size 1024 --arch sm_75 --max-shared 48k": (
        "loop.initial_step.start_rhs, max_shared",
        ["--block-size 211", "--locations auto"],
    ),
    "model.toml --pin state=shared@0 --pin dt=shared@8": (
        "loop.state, loop.dt",
        [
            "--pin state=shared instead of --pin state=shared@0",
            "--pin dt=shared instead of --pin dt=shared@8",
        ],
    ),
    "model.toml --pin state=shared --max-shared 0": (
        "loop.state, max_shared",
        ["--max-shared 1536", "without --pin state=shared"],
    ),
    "pinned.json": ("a, b", ["--pin a=shared", "--pin a=local"]),
    "pinned.json --pin a=shared@4": (
        "a, b",
        ["--pin a=shared instead of --pin a=shared@4", "--pin b=shared"],
    ),
    "two.csv --capacity 8k --block-size 3": (
        "a, max_shared",
        ["--block-size 1", "--max-shared 24576"],
    ),
}


def changed(line: str, remedy: str) -> list[str]:
    """Return the words of a command line after a remedy."""
    if " instead of " in remedy:
        new, old = remedy.split(" instead of ")
        return line.replace(old, new).split()
    if remedy.startswith("without "):
        return line.replace(remedy.removeprefix("without "), "").split()
    return [*line.split(), *remedy.split()]


@pytest.mark.parametrize("line", CLASHES)
def test_infeasible_request_tells_core_and_ways_out_that_work(folder, line):
    """Status 1, the smallest clashing set, and two remedies that each give a plan."""
    Path("two.csv").write_text(TWO, encoding="utf-8")
    buffers = [
        Buffer("a", 4, "f4", pin="shared", offset=0),
        Buffer("b", 4, "f4", pin="shared", offset=8),
    ]
    problem = problem_to_dict(Problem(buffers, Limits(4096)))
    Path("pinned.json").write_text(json.dumps(problem), encoding="utf-8")
    result = run(*line.split(), status=1)
    core, expected = CLASHES[line]
    assert result.stdout == ""
    assert f"core: {core}\n" in result.stderr
    assert ("limit: " in result.stderr) == ("max_shared" in core)
    remedies = re.findall(r"^  remedy: (.*)$", result.stderr, re.M)
    assert remedies == expected
    for remedy in remedies:
        run(*changed(line, remedy), "--quiet")


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        "id,lower,upper,size,offset\na,0,5,4096,0\nb,3,8,4096,2048\n",
        "id,lower,upper,size,gaps\na,0,9,64,3-5@0:16\nb,3,5,8192,\n",
    ],
)
def test_no_way_out_of_a_csv_leads_elsewhere(folder, text):
    """A CSV has one memory: nothing is to be unpinned from it, or pinned elsewhere."""
    Path("packing.csv").write_text(text, encoding="utf-8")
    stderr = run("packing.csv", "--capacity", 6000, status=1).stderr
    remedies = re.findall(r"^  remedy: (.*)$", stderr, re.M)
    assert "local" not in stderr
    assert all(word not in stderr for word in ("--locations", "without --pin", "policy"))
    for remedy in remedies:
        assert remedy.startswith("--max-shared ") or remedy.endswith("=shared")
        run("packing.csv", "--capacity", 6000, *remedy.split(), "--quiet")
    assert remedies or "offset" in text  # two offsets clash whatever the limit is


def test_limit_that_the_device_does_not_have_is_no_way_out(folder):
    """Where only more shared memory than a block can have would do, it is not proposed."""
    line = "model.toml --locations shared --block-size 512 --arch sm_75 --max-shared 64k"
    stderr = run(*line.split(), status=1).stderr
    assert "--max-shared" not in stderr
    assert "raise max_shared" not in stderr
    for remedy in re.findall(r"^  remedy: (.*)$", stderr, re.M):
        run(*changed(line, remedy), "--quiet")


def test_block_size_that_nothing_allows_is_infeasible(folder):
    """Where no block size can hold the pins, `--block-size auto` says what clashes."""
    request = ("model.toml", "--pin", "stage_store=shared", "--max-shared", "1k")
    stderr = run(*request, "--block-size", "auto", status=1).stderr
    assert "core: loop.algorithm.stage_store, max_shared" in stderr


# ---- wrong input ---------------------------------------------------------------------

WRONG_FILES = {
    "bad.toml": ("x = [1", "bad.toml: Unclosed array"),
    "bad.json": ('{"a": 1', "bad.json: Expecting ',' delimiter: line 1 column 8"),
    "list.json": ("[]", "list.json: must hold an object, not a list"),
    "none.json": ("{}", "none.json: has none of the keys `equations`"),
    "buffer.json": ('{"buffers": [{"name": 3}]}', "buffer.json: buffers[0] lacks 'dtype'"),
    "number.csv": ("id,lower,upper,size\na,0,x,4\n", "number.csv: line 2: 'x' is not an integer"),
    "header.csv": ("id,lower\n", "header.csv: the CSV header lacks 'upper'"),
    "key.toml": ("equations = 'dx = -x'\nmethd = 'euler'", "unknown key `methd` (did you mean"),
    "method.toml": ("equations = 'dx = -x'\nmethod = 'tsit6'", "did you mean 'tsit5'?"),
    "syntax.toml": ("equations = 'dx = -k * * x'", "`equations`: The equation for `x`"),
    "option.toml": ("equations = 'dx = -x'\n[options]\nrtoll = 3", "Did you mean `rtol`?"),
    "names.toml": ("equations = 'dx = -x'\nstates = 3", "`states` must be a list of names"),
    "empty.json": ("", "empty.json: Expecting value: line 1 column 1"),
    "empty.csv": ("", "empty.csv: the CSV header lacks 'id'"),
    "empty.toml": ("", "empty.toml: has none of the keys"),
    "nan.json": ('{"buffers": NaN}', "nan.json: NaN is not JSON"),
    "huge.json": ('{"buffers": ' + "9" * 5000 + "}", "huge.json: Exceeds the limit"),
    "deep.json": ("[" * 100_000, "deep.json: is nested too deeply"),
    "both.toml": ("a = 1\na = 2", "both.toml: Cannot overwrite a value"),
    "bytes.json": (b"\xff\xfe{", "bytes.json: is not UTF-8 text (byte 0)"),
    "bytes.csv": (b"id,lower\xe9", "bytes.csv: is not UTF-8 text (byte 8)"),
    "short.csv": ("id,lower,upper,size\na,0\n", "short.csv: line 2: '' is not an integer"),
    "backwards.csv": ("id,lower,upper,size\na,5,0,4\n", "buffer `a`: lifetime"),
    "negative.csv": ("id,lower,upper,size\na,0,5,-4\n", "buffer `a`: n_elements"),
    "twice.csv": ("id,lower,upper,size\na,0,5,4\na,0,5,4\n", "two buffers are named `a`"),
    "gaps.csv": ("id,lower,upper,size,gaps\na,0,5,4,7\n", "line 2: the gap '7'"),
    "alias.json": (
        '{"buffers": [{"name": "a", "n_elements": 1, "dtype": "f4", "aliases": ["b"]}]}',
        "alias.json: buffers[0].aliases must be an object",
    ),
    "limit.json": ('{"buffers": [], "limits": {"block": 3}}', "limits has an unknown field"),
    "plan.json": ('{"placements": []}', "plan.json: plan lacks 'digest'"),
    "unknown.toml": ("equations = 'dx = -q'\nparameters = []", "`equations`: "),
    "dtype.toml": ("equations = 'dx = -x'\n[options]\ndtype = 'f2'", "dtype.toml: "),
    "size.toml": ("equations = 'dx = -x'\n[options]\nmax_shared = '9q'", "`max_shared` is '9q'"),
    "block.toml": ("equations = 'dx = -x'\n[options]\nblock_size = 'x'", "block_size must be"),
    "place.toml": ("equations = 'dx = -x'\n[options]\nlocations = 'far'", "'far' is unknown"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_malformed_file_is_told_in_one_line(tmp_path, monkeypatch, name):
    """A file that is wrong anywhere gives status 2 and one line that names it."""
    monkeypatch.chdir(tmp_path)
    text, message = WRONG_FILES[name]
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    result = run(name, status=2)
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


WRONG_LINES = {
    "missing.json": "missing.json: No such file",
    "missing.py:f --states 1": "missing.py: No such file",
    "lorenz.py": "name the function as well",
    "lorenz.py:lorenz": "--states N",
    "lorenz.py:lorentz --states 3": "has no `lorentz` (did you mean `lorenz`?)",
    "lorenz.py:lorenz --states 2": "fun raises for 2 states",
    "lorenz.py:lorenz --states 3 --args {": "--args: Expecting property name",
    "lorenz.py:lorenz --states 3 --args [1]": "its signature is lorenz",
    "no_such_module:f --states 3": "No module named 'no_such_module'",
    "model.toml --max-shared 48q": "`--max-shared` is '48q'",
    "model.toml --max-shared 1MiB": "a block on sm_90 has at most 232448 B",
    "model.toml --max-shared sm_12": "compute capability 1.2 is not known",
    "model.toml --arch sm_12": "'--arch' / '--device': compute capability 1.2 is not known",
    "model.toml --pin state": "is not NAME=LOCATION[@OFFSET]",
    "model.toml --pin state=sharde": "did you mean 'shared'?",
    "model.toml --pin stat=shared": "there is no such buffer (did you mean `state`?)",
    "model.toml --pin state=local@4": "a local array has no offset",
    "model.toml --pin state=shared --pin loop.state=local": "is given twice",
    "model.toml --block-size 0": "neither a number of runs",
    "model.toml --block-size 4096": "a block on sm_90 has at most 1024 threads",
    "model.toml --format xml": "'xml' is not one of",
    "model.toml --plot map.gif": "must end in .png, .svg, .pdf",
    "model.toml --output no/plan.json": "there is no folder no",
    "model.toml --previous two.csv": "--previous two.csv: not JSON",
    "model.toml --effort -1": "Invalid value for '--effort'",
    "model.toml --capacity 1k": "--capacity cannot be used with model.toml",
    "model.toml --check": "--check needs a saved plan",
    "model.toml --html map.txt": "--html map.txt: must end in .html",
    "model.toml --html no/plan.html": "there is no folder no",
    "model.toml --theme blue": "'blue' is not one of",
    "model.toml --objective speed": "'speed' is not one of",
    f"model.toml --block-size {'9' * 5000}": "neither a number of runs",
    f"model.toml --max-shared {'9' * 5000}": "Exceeds the limit",
    f"model.toml --pin state=shared@{'9' * 5000}": "Exceeds the limit",
    "model.toml --output .": "Is a directory",
    "model.toml --previous .": "--previous .: Is a directory",
    "folder.json": "folder.json: Is a directory",
    "model.toml --states 2": "has 3 states, but --states 2",
    "model.toml --nope": "No such option '--nope'",
    "two.csv --method tsit5": "--method cannot be used with two.csv",
    "two.csv --linear-solver gmres": "--linear-solver cannot be used with two.csv",
    "model.toml --method rodas4 --linear-solver gmre": "did you mean 'gmres'",
    "model.toml --method rodas4 --preconditioner ilu0": "linear_solver='minimal_residual'",
    "two.csv --option rtol=1": "--option cannot be used with two.csv",
    "model.toml --option rtoll=1": "Did you mean `rtol`?",
    "model.toml --option rtol": "is not of the form name=value",
    "model.toml --method tsit5 --option method='rk4'": "`method` is given twice",
    "two.csv --verify": "--verify compiles a model",
    "two.csv --block-size auto": "give --arch",
    "": "Missing argument 'TARGET'",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_wrong_use_is_told_in_one_line(folder, line):
    """An option or argument that cannot be used gives status 2 and one line that names it."""
    Path("two.csv").write_text(TWO, encoding="utf-8")
    Path("folder.json").mkdir()
    result = run(*shlex.split(line), status=2)
    assert result.stdout == ""
    assert WRONG_LINES[line] in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_error_in_users_file_is_told_with_its_line(folder):
    """A file that does not compile, or raises, is named with the line."""
    Path("syntax.py").write_text("def f(t, y):\n    return 1 +\n", encoding="utf-8")
    Path("raises.py").write_text("x = 1\nx / 0\n", encoding="utf-8")
    assert "syntax.py, line 2: SyntaxError" in run("syntax.py:f", status=2).stderr
    assert "raises.py, line 2: ZeroDivisionError" in run("raises.py:f", status=2).stderr


def test_damaged_and_finished_plans_are_refused(folder):
    """A plan that was changed is no plan, and planning options change nothing in one."""
    run("model.toml", "--output", "plan.json")
    assert "accepted" in run("plan.json", "--check").stdout
    assert "--pin changes nothing" in run("plan.json", "--pin", "state=local", status=2).stderr
    text = Path("plan.json").read_text(encoding="utf-8")
    Path("plan.json").write_text(text.replace('"offset": 0', '"offset": 8', 1), encoding="utf-8")
    assert "its seal does not match" in run("plan.json", "--check", status=2).stderr


VALUES = st.sampled_from(
    [None, True, -1, 0, 3, 2**70, 1.5, "", "x", [], {}, [[]], [None], {"a": 1}]
)
PATHS = st.sampled_from(
    [
        *[("buffers", 0, key) for key in ("name", "n_elements", "dtype", "lifetime", "locations")],
        *[("buffers", 0, key) for key in ("pin", "offset", "aliases", "alignment", "enabled")],
        *[("limits", key) for key in ("max_shared_bytes", "block_size", "compute_capability")],
        *[("limits",), ("policy",), ("previous",), ("buffers",), ("buffers", 0)],
    ]
)


MODEL = {
    "equations": ["dx = u(t) - k*x"],
    "states": ["x"],
    "parameters": {"k": 1},
    "drivers": {"u": {"times": [0, 1], "values": [1, 2], "kind": "linear", "extend": "hold"}},
    "method": "euler",
    "options": {"max_shared": "48k", "block_size": 32, "locations": "auto"},
}
MODEL_PATHS = st.sampled_from(
    [*[(key,) for key in MODEL], *[("options", key) for key in ("max_shared", "block_size")]]
    + [("options", key) for key in ("locations", "dtype", "safety", "state_location", "lanes")]
    + [("drivers", "u"), *[("drivers", "u", key) for key in KEYS]]
)
PLAN_PATHS = st.sampled_from(
    [
        *[(key,) for key in ("format", "digest", "levels", "placements", "problem", "totals")],
        *[("placements", 0, key) for key in ("name", "location", "offset", "size_bytes", "parent")],
        *[("levels", 0), *(("levels", 0, key) for key in ("name", "value", "bound", "status"))],
        ("placements", 0, "reason"),
        *[("problem", "buffers"), ("problem", "limits"), ("note",), ("status",), ("seal",)],
    ]
)
quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def broken(data, path, value):
    """Return a copy of `data` with `value` in one place."""
    copy = json.loads(json.dumps(data))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def ends_well(target, data, *options):
    """Run the command on a file of `data`: a status, at most one line, and no traceback."""
    target.write_text(json.dumps(data), encoding="utf-8")
    result = CliRunner().invoke(main, [str(target), "--quiet", *options])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1, 2)
    assert len(result.stderr.splitlines()) == (result.exit_code == 2) or result.exit_code == 1


@quick
@given(path=MODEL_PATHS, value=VALUES)
def test_no_value_anywhere_in_a_model_breaks_the_command(tmp_path, path, value):
    """Whatever stands in place of a key of a model, the command ends with a status."""
    ends_well(tmp_path / "model.json", broken(MODEL, path, value))


@quick
@given(path=PLAN_PATHS, value=VALUES)
def test_no_value_anywhere_in_a_plan_breaks_the_command(tmp_path, path, value):
    """Whatever stands in a plan file, sealed again, the command ends with a status."""
    made = make_plan(Problem([Buffer("a", 8, "f4"), Buffer("b", 2, "f8")], Limits(4096), "shared"))
    body = broken(json.loads(made.to_json()), path, value)
    if path != ("seal",):
        body["seal"] = _seal(body)
    ends_well(tmp_path / "plan.json", body, "--explain", "--html", str(tmp_path / "plan.html"))


@quick
@given(text=st.text(st.sampled_from('id,lowerupsz0159-: \n"a\x00'), max_size=40))
def test_no_text_of_a_csv_breaks_the_command(tmp_path, text):
    """Whatever follows the header of a CSV, the command ends with a status."""
    target = tmp_path / "problem.csv"
    target.write_text(f"id,lower,upper,size\n{text}", encoding="utf-8", newline="")
    result = CliRunner().invoke(main, [str(target), "--quiet"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1, 2)


@quick
@given(path=PATHS, value=VALUES)
def test_no_value_anywhere_in_a_problem_file_breaks_the_command(tmp_path, path, value):
    """Whatever stands in place of a field, the command ends with a status and no traceback."""
    problem = Problem([Buffer("a", 8, "f4", lifetime=((0, 2),))], Limits(4096, 16), "shared")
    ends_well(tmp_path / "problem.json", broken(problem_to_dict(problem), path, value))


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed by a shell")
@pytest.mark.parametrize("style", ["table", "csv", "json"])
def test_without_an_output_it_is_said_that_there_is_none(tmp_path, style):
    """A plan that cannot be printed is no success, and no traceback."""
    (tmp_path / "given.csv").write_text("id,lower,upper,size\n1,0,3,4\n")
    command = [sys.executable, "-m", "cubie.cli", "given.csv", "--format", style]
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert closed.returncode == 2
    assert closed.stderr.startswith("cubie-plan: standard output is closed")
    assert "Traceback" not in closed.stderr


# ---- registers -----------------------------------------------------------------------


def limits_of(*args) -> dict:
    """Return the limits of the plan that is made."""
    run("model.toml", *args, "--quiet", "--output", "made.json")
    return json.loads(Path("made.json").read_text())["problem"]["limits"]


def test_registers_are_limited_by_number_and_by_blocks(folder):
    """The plan says so; of a model's own options the command knows, too."""
    assert "max_registers" not in limits_of()
    assert limits_of("--max-registers", 40)["max_registers"] == 40
    by_blocks = ("--min-blocks", 10, "--block-size", 64, "--arch", "sm_90")
    assert limits_of(*by_blocks)["max_registers"] == 96
    assert limits_of(*by_blocks, "--max-registers", 80)["max_registers"] == 80
    model = folder / "model.toml"
    model.write_text(model.read_text().replace("[options]", "[options]\nmin_blocks = 12"))
    assert limits_of("--block-size", 64, "--arch", "sm_90")["max_registers"] == 80


def test_more_blocks_than_can_be(folder):
    """It is told, with what to give instead."""
    refused = run("model.toml", "--min-blocks", 9, "--block-size", 256, "--arch", "sm_90", status=2)
    assert (
        "--min-blocks 9: on sm_90 no 9 blocks of 256 threads are resident at once; give a smaller "
        "number, or a smaller --block-size"
    ) in refused.stderr
