"""Questions of `cubie-plan` to a plan: other objectives, other limits, and the compiler."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from cubie import Solver
from cubie.cli.inputs import read_source
from cubie.cli.models import ModelOptions
from cubie.cli.objectives import planner
from cubie.cli.what_if import smallest_limit
from cubie.launch.kernel import BatchSolverKernel
from cubie_planner import Buffer, Limits, Plan, Problem
from cubie_planner import plan as make_plan
from cubie_planner.report.device_use import modelled_cost
from tests.cubie.cli_running import TWO, run, write_page_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the files that the page lists."""
    monkeypatch.chdir(tmp_path)
    write_page_files(tmp_path)
    return tmp_path


# ---- objectives ----------------------------------------------------------------------


def totals(*options):
    """Plan the page's model and return the totals of the plan."""
    return json.loads(run("model.toml", *options, "--format", "json").stdout)["totals"]


def test_private_fills_shared_memory_and_shared_keeps_it_empty(folder):
    """Each objective reaches the least of what it names; `cost` is what is done without one."""
    default, cost = totals(), totals("--objective", "cost")
    shared, private = totals("--objective", "shared"), totals("--objective", "private")
    assert default == cost
    assert shared["shared_bytes_per_run"] == 0
    assert (private["local_bytes"], private["persistent_bytes"]) == (0, 0)


def test_private_is_optimal_where_not_everything_fits():
    """Of what could be shared, the most bytes that fit are, and that is proven."""
    sizes = (7, 6, 5, 4)
    buffers = [Buffer(f"b{size}", size, "f4") for size in sizes]
    found = planner("private")(Problem(buffers, Limits(44, 1, pad_banks=False)))
    assert found.status == "optimal"
    assert found.shared_bytes_per_run == 44
    assert found.local_bytes == 4 * sum(sizes) - 44


def test_objective_is_refused_where_nothing_is_left_to_choose(folder):
    """With all buffers local or shared by request, an objective would be ignored."""
    request = ("model.toml", "--objective", "private")
    assert "leave no choice" in run(*request, "--locations", "local", status=2).stderr
    run("model.toml", "--output", "plan.json")
    assert "--objective changes nothing" in run("plan.json", "--objective", "cost", status=2).stderr


# ---- what if -------------------------------------------------------------------------


def lorenz96(n: int, method: str) -> Problem:
    """Return the buffers of a ring of `n` states at 48 KiB on sm_90."""
    term = f"(y[(i + 1) % {n}] - y[i - 2]) * y[i - 1] - y[i] + f"
    text = f"def ring(t, y, f):\n    return [{term} for i in range({n})]\n"
    Path("ring.py").write_text(text, encoding="utf-8")
    source = read_source("ring.py:ring", ModelOptions(states=n, method=method, dtype="float32"))
    limits = Limits(49152, 64, compute_capability=(9, 0))
    return evolve(source.problem, limits=limits)


@pytest.mark.parametrize("method", ["tsit5", "rodas4"])
def test_smallest_limit_keeps_the_cost_and_one_step_less_does_not(folder, method):
    """Planning at the limit that is named costs no more, and a step below costs more."""
    plan = make_plan(lorenz96(40, method))
    least = smallest_limit(plan, make_plan)
    assert least is not None
    assert least.cost == modelled_cost(plan).total

    def cost_under(limit: int) -> float:
        limits = evolve(plan.limits, max_shared_bytes=limit)
        return modelled_cost(make_plan(evolve(plan.problem, limits=limits))).total

    assert cost_under(least.limit) <= plan_cost(plan)
    if least.limit:
        assert least.below == least.limit - 4 * 64
        assert cost_under(least.below) > plan_cost(plan)


def plan_cost(plan: Plan) -> float:
    return modelled_cost(plan).total * (1 + 1e-9)


def test_smallest_limit_of_what_must_be_shared_is_what_it_needs(folder):
    """Below the bytes of a plan in which all is pinned to shared there is no plan."""
    Path("two.csv").write_text(TWO, encoding="utf-8")
    stdout = run("two.csv", "--quiet", "--what-if").stdout
    assert (
        "smallest max_shared that keeps the cost of this plan: 8192 B (with 8188 B: no plan)"
        in (stdout)
    )
    run("two.csv", "--quiet", "--capacity", 8192)
    run("two.csv", "--quiet", "--capacity", 8188, status=1)
    run("two.csv", "--quiet", "--capacity", 8192, "--fits", "--effort", "inf")
    run("two.csv", "--quiet", "--capacity", 8188, "--fits", "--effort", 0, status=1)


def test_what_if_prices_every_pin(folder):
    """The row of a pin is what planning without it saves."""
    pins = ("--pin", "state=shared", "--pin", "dt=shared")
    stdout = run("model.toml", "--quiet", *pins, "--what-if").stdout
    rows = [line.split() for line in stdout.splitlines() if line.startswith(" loop.")]
    assert [row[0] for row in rows] == ["loop.state", "loop.dt"]
    both, one = totals(*pins), totals(*pins[2:])
    difference = both["shared_bytes_per_run"] - one["shared_bytes_per_run"]
    assert rows[0][1] == f"{difference:+d}"


# ---- verify --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("block"), NotImplementedError(), ValueError("a\nb")])
def test_whatever_the_compiler_raises_is_one_line(folder, monkeypatch, error):
    """A failing compiler gives status 2 and one line with its error, never a traceback."""

    def fail(kernel, capability):
        raise error

    monkeypatch.setattr(BatchSolverKernel, "resources", fail)
    result = run("model.toml", "--quiet", "--verify", status=2)
    assert f"--verify: the compiler failed: {type(error).__name__}: " in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_missing_toolkit_is_told_with_what_brings_it(folder, monkeypatch):
    """Where the CUDA toolkit cannot be imported, its own message says what to install."""

    def fail(kernel, capability):
        raise ImportError("install cubie[cu13]")

    monkeypatch.setattr(BatchSolverKernel, "resources", fail)
    stderr = run("model.toml", "--quiet", "--verify", status=2).stderr
    assert stderr == "cubie-plan: --verify: install cubie[cu13]\n"


# ---- from Python ---------------------------------------------------------------------


def test_solver_explains_its_plan():
    """`solver.explain()` tells the peak of the plan and what its pins cost."""
    solver = Solver(lambda t, y: [-y[0]], state_location="shared")
    with pytest.raises(RuntimeError, match="Nothing was solved yet"):
        solver.explain()
    plan = solver.prepare([1.0])
    told = solver.explain()
    assert told.peak_bytes == {"loop.state": plan.shared_bytes_per_run}
    assert re.search(r"Pin of `loop.state`: \+8 B of shared memory per run", str(told))


def test_importing_cubie_loads_no_drawing_table_or_command_library():
    """What only the command and reports need is not loaded by `import cubie`."""
    code = "import sys, cubie; print(sorted({'rich', 'matplotlib', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_smallest_limit_of_one_run_is_told_to_the_byte(folder):
    """A block of one run needs its slice and no more, however odd its size is."""
    Path("odd.csv").write_text("id,lower,upper,size\na,0,5,7\nb,2,6,3\n", encoding="utf-8")
    stdout = run("odd.csv", "--quiet", "--what-if").stdout
    assert "keeps the cost of this plan: 10 B (with 9 B: no plan)" in stdout
    run("odd.csv", "--quiet", "--capacity", 10)
    run("odd.csv", "--quiet", "--capacity", 9, status=1)
