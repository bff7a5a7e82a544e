"""`cubie-plan`: what it prints, saves and refuses, and that its page shows what it prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cubie import InvalidProblem, Plan, solve_ivp
from cubie.cli import main
from cubie.cli.requests import Pin
from cubie_planner import Buffer, Limits, Location, Problem, problem_to_dict
from cubie_planner import plan as make_plan
from tests.cubie.cli_running import CONSOLE, PAGE, TWO, completed, printed, run, write_page_files

NUMBER = re.compile(r" *\b\d+\b")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the files that the page lists."""
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    return tmp_path


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


LINES = re.compile(r"\.py:\d+(?:(?:, | to )\d+)*")


# ---- the page ------------------------------------------------------------------------


def sessions():
    """Return the commands of the page with what it says that they print."""
    text = PAGE.read_text(encoding="utf-8")
    return [pytest.param(m["line"], m["output"], id=m["line"]) for m in CONSOLE.finditer(text)]


def test_page_shows_every_kind_of_use(folder):
    """The commands run in the order of the page and print what it shows.

    Of compiled kernels only the words are compared: the figures are the assembler's. Of lines of
    code the files are, and not where in them.
    `tests.cubie.cli_running` writes the page anew.
    """
    assert len(sessions()) >= 6
    for parameters in sessions():
        line, expected = parameters.values
        found = printed(line)
        if "--verify" in line:
            found, expected = NUMBER.sub(" #", found), NUMBER.sub(" #", expected)
        found, expected = LINES.sub(".py", found), LINES.sub(".py", expected)
        assert found.strip() == expected.strip(), line


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


def test_function_in_a_file_is_the_function_itself(folder):
    """A model file that names a function gives that function's plan; options are any solver's."""
    text = "function = 'lorenz.py:lorenz'\nstates = ['x', 'y', 'z']\n"
    Path("named.toml").write_text(text, encoding="utf-8")
    options = ("--method", "rodas4", "--option", "lu_form=tables", "--format", "json")
    first = run("lorenz.py:lorenz", "--states", 3, *options).stdout
    assert first == run("named.toml", *options).stdout
    assert first != run("named.toml", "--method", "rodas4", "--format", "json").stdout


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
    assert Pin.parse("state=shared@64") == Pin("state", "shared", 64)
    assert Pin.parse("loop.state=local") == Pin("loop.state", "local", None)


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


@pytest.mark.parametrize("method", ["tsit5", "rk4", "bdf"])
def test_an_explanation_tells_lines_of_code(folder, method):
    """Also of fixed steps, whose size a plan needs not; what is no model has no code."""
    told = run("lorenz.py:lorenz", "--states", 3, "--method", method, "--locations", "shared",
               "--quiet", "--explain").stdout  # fmt: skip
    assert re.search(r"loop\.state\n +written at .*cubie/run/loop\.py:\d+.*, read last at ", told)
    Path("two.csv").write_text(TWO, encoding="utf-8")
    assert "written at" not in run("two.csv", "--quiet", "--explain").stdout


def test_large_models_are_not_recorded(folder):
    """The text says so, and up to which size they are."""
    Path("many.py").write_text("def f(t, y):\n    return [-v for v in y]\n", encoding="utf-8")
    asked = ("--method", "tsit5", "--quiet", "--explain")
    told = run("many.py:f", "--states", 700, *asked).stdout
    assert "Lines of code are told of models with at most 5,000 elements." in told
    assert "written at" not in told


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_draws_a_picture(folder, suffix):
    """The suffix chooses the format; a theme changes the picture, and nothing else does."""
    pytest.importorskip("matplotlib")
    pictures = []
    for theme in ("light", "dark", "dark"):
        run("model.toml", "--quiet", "--plot", f"map.{suffix}", "--theme", theme)
        pictures.append(Path(f"map.{suffix}").read_bytes())
    assert len(pictures[0]) > 1000
    assert pictures[0] != pictures[1] == pictures[2]


def test_html_is_the_report_of_the_plan_with_the_phases_of_the_loop(folder):
    """The page has the model's name, its buffers, the loop's phases and the price of pins."""
    run("model.toml", "--quiet", "--pin", "state=shared", "--html", "plan.html")
    text = Path("plan.html").read_text(encoding="utf-8")
    for words in ("Memory plan: model.toml", "loop.algorithm.stage_store", "What each pin costs"):
        assert words in text
    assert ">commit</text>" in text


def test_quiet_says_nothing(folder):
    """With --quiet a plan that exists leaves no word on either stream."""
    result = run("model.toml", "--quiet")
    assert result.stdout == result.stderr == ""


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


COMPLETED = {
    "--wh": ["--what-if"],
    "--method tsi": ["tsit5"],
    "--linear-solver g": ["gmres"],
    "--preconditioner il": ["ilu0"],
    "--arch sm_9": ["sm_90"],
    "--max-shared 4": ["48k"],
    "--block-size a": ["auto"],
    "--locations s": ["shared"],
    "--objective p": ["private"],
    "--pin state=local": ["state=local", "state=local_persistent"],
}


@pytest.mark.parametrize("typed", COMPLETED)
def test_shell_completes_options_and_their_values(typed):
    """The shell is offered what can follow: options, methods, devices, sizes, places."""
    assert completed(f"cubie-plan model.toml {typed}")[1::3] == COMPLETED[typed]


@pytest.mark.parametrize("before", ["", "model.toml --html ", "model.toml --previous "])
def test_shell_completes_files(before):
    """The target and the files of options are left to the shell, which knows files."""
    assert completed(f"cubie-plan {before}pl") == ["file", "pl", "_"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_sourced_as_the_page_says(shell):
    """Every shell the page names gets a script that calls the command."""
    assert f"_CUBIE_PLAN_COMPLETE={shell}_source cubie-plan" in PAGE.read_text(encoding="utf-8")
    environment = {"_CUBIE_PLAN_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(main, prog_name="cubie-plan", env=environment)
    assert f"_CUBIE_PLAN_COMPLETE={shell}_complete" in result.stdout
