"""`cubie-plan` on problems of kernels by block: tiles, pools, shapes and layouts."""

import json

import pytest

from cubie_planner import Buffer, Limits, Padding, Plan, Pool, Problem, plan, problem_to_dict
from tests.cubie.cli_running import run

SCRATCH = Pool("scratch", 4096, "block", cost=9)
PROBLEM = Problem(
    [
        Buffer("a", (16, 16), "f4", locations="tile", lifetime=((0, 2),), layout=Padding(1)),
        Buffer("b", 64, "f4", locations=("tile", SCRATCH), lifetime=((0, 2),)),
        Buffer("mine", 3, "f8", lifetime=((1, 4),)),
        Buffer("c", 64, "f4", locations="tile", pin="tile", lifetime=((2, 4),)),
    ],
    Limits(2000, 32),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the problem, and its plan in both forms."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problem.json").write_text(json.dumps(problem_to_dict(PROBLEM)))
    plan(PROBLEM).save("plan.json")
    (tmp_path / "plan.csv").write_text(run("problem.json", "--format", "csv").stdout)
    return tmp_path


def placed(*options):
    """Plan the problem and return the plan of the command."""
    return Plan.from_json(run("problem.json", *options, "--format", "json").stdout)


@pytest.mark.parametrize(
    ("options", "where", "tile_bytes"),
    [
        ((), "tile", 1340),
        (("--objective", "shared"), "scratch", 1084),
        (("--objective", "private"), "tile", 1340),
        (("--max-shared", "1100"), "scratch", 1084),
        (("--pin", "b=tile"), "tile", 1340),
        (("--pin", "b=scratch"), "scratch", 1084),
        (("--pin", "b=scratch@256"), "scratch", 1084),
    ],
)
def test_every_objective_knows_tiles_and_pools(folder, options, where, tile_bytes):
    """A tile is shared memory, and a pool is outside of it."""
    found = placed(*options)
    assert str(found.placements["b"].location) == where
    assert found.tile_bytes == tile_bytes
    assert found.status == "optimal"


def test_a_buffer_is_pinned_to_a_pool_of_the_problem(folder):
    """By its name, with an offset; a place that is none is answered with those that there are."""
    assert placed("--pin", "b=scratch@256").placements["b"].offset == 256
    refused = run("problem.json", "--pin", "b=scrtch", status=2).stderr
    assert "--pin b=scrtch: location 'scrtch' is unknown (did you mean 'scratch'?)" in refused
    assert "'tile', 'scratch'" in refused
    assert "may not be scratch" in run("problem.json", "--pin", "a=scratch", status=2).stderr


def test_a_pool_is_a_way_out(folder):
    """What a pin of the input has no room for may go to a pool: the remedy can be typed."""
    small = Buffer("b", 64, "f4", locations=("tile", SCRATCH), pin="tile")
    problem = Problem([small], Limits(128))
    (folder / "small.json").write_text(json.dumps(problem_to_dict(problem)))
    refused = run("small.json", status=1).stderr
    assert "remedy: --pin b=scratch\n" in refused
    run("small.json", "--pin", "b=scratch", "--quiet")


def test_questions_about_tiles_are_answered_per_block(folder):
    """What if, why, and what would help: in tiles of a block where they are meant."""
    asked = run("problem.json", "--what-if", "--explain").stdout
    assert "tiles/block" in asked
    assert "Peak of tiles: 1340 B per block" in asked
    assert "smallest max_shared that keeps the cost of this plan: 1084 B" in asked
    refused = run("problem.json", "--max-shared", "1000", status=1)
    assert "remedy: --max-shared 1084" in refused.stderr
    assert "per run" not in refused.stderr


def test_written_plans_are_checked_and_read(folder):
    """A plan with tiles is accepted from its file, and its CSV is a problem with that answer."""
    assert "accepted (optimal)" in run("--check", "plan.json").stdout
    again = json.loads(run("plan.csv", "--format", "json").stdout)
    first = plan(PROBLEM).placements
    for placement in again["placements"]:
        before = first[placement["name"]]
        assert (placement["location"], placement["offset"]) == (str(before.location), before.offset)
