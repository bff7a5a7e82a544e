"""`cubie-plan`: what it prints, saves and refuses, and that its page shows what it prints."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cubie import InvalidProblem, Plan, solve_ivp
from cubie.cli import main
from cubie.cli.requests import Pin
from cubie_planner import Buffer, Limits, Location, Problem, problem_to_dict
from cubie_planner import plan as make_plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cubie-plan.md"
FILE = re.compile(r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
CONSOLE = re.compile(r"^```console\n\$ cubie-plan (?P<line>.*?)\n(?P<output>.*?)^```$", re.M | re.S)
NUMBER = re.compile(r" *\b\d+\b")
TWO = "id,lower,upper,size\na,0,5,4096\nb,3,8,4096\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the files that the page lists."""
    monkeypatch.chdir(tmp_path)
    for found in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (tmp_path / found["name"]).write_text(found["text"], encoding="utf-8")
    return tmp_path


def run(*args, status=0):
    """Run the command and return its result, which has the status that is expected."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def lorenz(t, y, sigma, rho, beta):
    """The function that the page's file holds."""
    return (
        sigma * (y[1] - y[0]),
        y[0] * (rho - y[2]) - y[1],
        y[0] * y[1] - beta * y[2],
    )


def solve(**options):
    """Solve a small batch so that results are bit-identical for every placement."""
    args = (10.0, np.linspace(2.0, 12.0, 5), 8 / 3)
    return solve_ivp(lorenz, (0, 2), np.ones((5, 3)), args=args, fastmath=False, **options)


# ---- the page ------------------------------------------------------------------------


def sessions():
    """Return the commands of the page with what it says that they print."""
    text = PAGE.read_text(encoding="utf-8")
    return [pytest.param(m["line"], m["output"], id=m["line"]) for m in CONSOLE.finditer(text)]


def test_page_shows_every_kind_of_use(folder):
    """The commands run in the order of the page and print what it shows.

    Of compiled kernels only the words are compared: the figures are the assembler's.
    """
    assert len(sessions()) >= 6
    for parameters in sessions():
        line, expected = parameters.values
        result = CliRunner(env={"COLUMNS": "80"}).invoke(main, shlex.split(line))
        printed = result.stdout if result.exit_code == 0 else result.stderr
        if "--verify" in line:
            printed, expected = NUMBER.sub(" #", printed), NUMBER.sub(" #", expected)
        assert printed.strip() == expected.strip(), line


# ---- inputs --------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["lorenz.py:lorenz", "lorenz:lorenz"])
def test_function_and_equations_give_one_plan(folder, target):
    """A model as a function, by file or module, and as equations has the same placements."""
    first = json.loads(run(target, "--states", 3, "--format", "json").stdout)
    options = ("--method", "tsit5", "--max-shared", "sm_90", "--format", "json")
    second = json.loads(run("model.toml", *options).stdout)
    assert first["placements"] == second["placements"]


def test_json_model_is_the_toml_model(folder):
    """The same model in JSON gives the same plan, byte for byte."""
    model = {
        "equations": ["dx = sigma*(y - x)", "dy = x*(rho - z) - y", "dz = x*y - beta*z"],
        "states": ["x", "y", "z"],
        "parameters": {"sigma": 10, "rho": 28, "beta": 2.6667},
        "method": "rodas4",
        "options": {"max_shared": "48k"},
    }
    Path("model.json").write_text(json.dumps(model), encoding="utf-8")
    first, second = (run(name, "--format", "json").stdout for name in ("model.json", "model.toml"))
    assert first == second


def test_problem_file_is_planned_as_the_planner_plans_it(folder):
    """A problem in JSON gives the planner's own plan."""
    buffers = [Buffer("a", 8, "f4", lifetime=((0, 2),)), Buffer("b", 4, "f8")]
    problem = Problem(buffers, Limits(4096, 16), "shared")
    Path("problem.json").write_text(json.dumps(problem_to_dict(problem)), encoding="utf-8")
    assert run("problem.json", "--format", "json").stdout == make_plan(problem).to_json()


@pytest.mark.parametrize("size", ["48k", "48KiB", "49152", "sm_70"])
def test_sizes_are_read_in_every_spelling(folder, size):
    """A size may have a unit, or none, or be a device's limit."""
    result = run("model.toml", "--max-shared", size, "--format", "json")
    limit = json.loads(result.stdout)["problem"]["limits"]["max_shared_bytes"]
    assert limit == (98304 if size == "sm_70" else 49152)


def test_user_prints_do_not_mix_with_the_plan(folder):
    """What the user's module prints goes to standard error."""
    text = "print('hello')\ndef f(t, y):\n    return [-y[0]]\n"
    Path("loud.py").write_text(text, encoding="utf-8")
    result = run("loud.py:f", "--states", 1, "--format", "json")
    json.loads(result.stdout)
    assert "hello" in result.stderr


def test_untraced_function_is_planned_with_a_warning(folder):
    """A function that cannot be traced is planned, and said to be so in one line."""
    text = "def f(t, y):\n    while y[0] > 9:\n        y = y / 2\n    return [-y[0]]\n"
    Path("loop.py").write_text(text, encoding="utf-8")
    result = run("loop.py:f", "--states", 1)
    assert "cannot be traced" in result.stderr


# ---- options -------------------------------------------------------------------------


def test_pin_reads_name_location_and_offset():
    """A pin is NAME=LOCATION, with an offset where one is wanted."""
    assert Pin.parse("state=shared@64") == Pin("state", Location.SHARED, 64)
    assert Pin.parse("loop.state=local") == Pin("loop.state", Location.LOCAL, None)


def test_saved_plan_solves_to_the_same_bits_and_is_refused_elsewhere(folder):
    """A plan with a pin at an offset is accepted by `solve_ivp`; another model refuses it."""
    options = ("--states", 3, "--pin", "state=shared@16", "--max-shared", "48k")
    run("lorenz.py:lorenz", *options, "--output", "plan.json")
    plan = Plan.load("plan.json")
    assert plan.placements["loop.state"].offset == 16
    planned, default = solve(locations=plan), solve()
    assert planned.plan.placements["loop.state"].location is Location.SHARED
    np.testing.assert_array_equal(planned.y, default.y)
    with pytest.raises(InvalidProblem, match="does not fit this solver"):
        solve(locations=plan, method="dop853")
    with pytest.raises(InvalidProblem, match="does not fit this solver"):
        solve(locations=plan, state_location="local")


def test_previous_plan_is_kept_where_it_still_holds(folder):
    """With --previous every buffer stays at its place, under a wider limit as well."""
    target = ("lorenz.py:lorenz", "--states", 3, "--locations", "shared")
    run(*target, "--max-shared", "48k", "--output", "first.json")
    run(*target, "--max-shared", "99k", "--previous", "first.json", "--output", "second.json")
    first, second = Plan.load("first.json"), Plan.load("second.json")
    assert {n: p.offset for n, p in first.placements.items()} == {
        n: p.offset for n, p in second.placements.items()
    }


def test_block_size_is_chosen_by_the_cost_model(folder):
    """`--block-size auto` settles on one of the sizes that are tried."""
    result = run("model.toml", "--block-size", "auto", "--format", "json")
    size = json.loads(result.stdout)["problem"]["limits"]["block_size"]
    assert size in (32, 64, 128, 256, 512)


def test_csv_has_one_line_per_buffer(folder):
    """CSV goes to standard output alone, with explanations on standard error."""
    result = run("model.toml", "--format", "csv", "--explain", "--what-if")
    plan = json.loads(run("model.toml", "--format", "json").stdout)
    assert len(result.stdout.splitlines()) == 1 + len(plan["placements"])
    assert "what if" in result.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_draws_a_picture(folder, suffix):
    """The suffix of the file chooses the format of the memory map."""
    pytest.importorskip("matplotlib")
    run("model.toml", "--quiet", "--plot", f"map.{suffix}")
    assert Path(f"map.{suffix}").stat().st_size > 1000


def test_verify_shows_the_shared_bytes_that_the_plan_promises(folder):
    """The launch of the compiled kernel asks for exactly the plan's shared bytes."""
    options = ("--states", 3, "--method", "euler", "--pin", "state=shared", "--quiet")
    command = [sys.executable, "-m", "cubie.cli", "lorenz.py:lorenz", *map(str, options)]
    command += ["--verify", "--output", "plan.json"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    row = next(line.split() for line in result.stdout.splitlines() if "this plan" in line)
    plan = Plan.load("plan.json")
    assert [int(cell) for cell in row[2:4]] == [
        plan.shared_bytes_per_run,
        plan.shared_bytes_per_block,
    ]
    assert int(row[5]) > 0  # registers


def test_quiet_says_nothing(folder):
    """With --quiet a plan that exists leaves no word on either stream."""
    result = run("model.toml", "--quiet")
    assert result.stdout == result.stderr == ""


# ---- no plan -------------------------------------------------------------------------


def test_infeasible_request_tells_core_limit_and_ways_out_that_work(folder):
    """Status 1, the clashing set on standard error, and both remedies give a plan."""
    request = ("model.toml", "--pin", "stage_store=shared", "--max-shared", "8k")
    result = run(*request, status=1)
    assert result.stdout == ""
    assert "core: loop.algorithm.stage_store, max_shared" in result.stderr
    assert "limit: 8192 B per block" in result.stderr
    remedies = re.search(r"remedies: (--block-size \d+) or (--max-shared \d+)", result.stderr)
    assert remedies is not None
    for remedy in remedies.groups():
        run(*request, *remedy.split())


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
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_malformed_file_is_told_in_one_line(tmp_path, monkeypatch, name):
    """A file that is wrong anywhere gives status 2 and one line that names it."""
    monkeypatch.chdir(tmp_path)
    text, message = WRONG_FILES[name]
    Path(name).write_text(text, encoding="utf-8")
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
    "model.toml --arch sm_12": "'--arch': compute capability 1.2 is not known",
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
    "model.toml --capacity 1k": "--capacity cannot be used with model.toml",
    "model.toml --check": "--check needs a saved plan",
    "model.toml --nope": "No such option '--nope'",
    "two.csv --method tsit5": "--method cannot be used with two.csv",
    "two.csv --verify": "--verify compiles a model",
    "two.csv --block-size auto": "give --arch",
    "": "Missing argument 'TARGET'",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_wrong_use_is_told_in_one_line(folder, line):
    """An option or argument that cannot be used gives status 2 and one line that names it."""
    Path("two.csv").write_text(TWO, encoding="utf-8")
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


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=PATHS, value=VALUES)
def test_no_value_anywhere_in_a_problem_file_breaks_the_command(tmp_path, path, value):
    """Whatever stands in place of a field, the command ends with a status and no traceback."""
    problem = Problem([Buffer("a", 8, "f4", lifetime=((0, 2),))], Limits(4096, 16), "shared")
    data = json.loads(json.dumps(problem_to_dict(problem)))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "problem.json").write_text(json.dumps(data), encoding="utf-8")
    result = CliRunner().invoke(main, [str(tmp_path / "problem.json"), "--quiet"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1, 2)
    assert len(result.stderr.splitlines()) == (result.exit_code == 2) or result.exit_code == 1


# ---- the process ---------------------------------------------------------------------


def test_command_runs_as_a_process_of_its_own(folder):
    """Status, standard output and standard error are the process's."""
    command = [sys.executable, "-m", "cubie.cli", "model.toml"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "accepted"
    wrong = subprocess.run([*command, "--arch", "x"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("cubie-plan: ")


def test_shell_completes_options():
    """The shell's completion offers options."""
    environment = {"_CUBIE_PLAN_COMPLETE": "bash_complete", "COMP_WORDS": "cubie-plan --wh"}
    result = CliRunner().invoke(main, prog_name="cubie-plan", env=environment | {"COMP_CWORD": "1"})
    assert "--what-if" in result.stdout
