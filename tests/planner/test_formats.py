"""Files: what is written is read back the same, and damage is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_problems import kernel_problem

import cubie_planner
from cubie_planner import (
    Alias,
    Buffer,
    BufferError,
    FormatError,
    Limits,
    Location,
    Padding,
    Plan,
    PlanInfeasible,
    PlanRejected,
    Pool,
    Problem,
    Swizzle,
    alias_graph,
    interference_graph,
    plan,
    problem_from_dict,
    problem_from_minimalloc,
    problem_to_dict,
    problem_to_minimalloc,
)
from cubie_planner.declarations.graphs import write_graphml
from cubie_planner.plans.files import _seal, schema

ITEMS = (
    Buffer("a", 8, "f4", lifetime=((0, 2), (3, 4))),
    Buffer("b", 2, "f8", lifetime=((1, 3),), aliases=[Alias("a", 8)]),
    Buffer("c", 3, "u1", pin="shared", offset=64),
    Buffer("d", 4, "f4", enabled=False),
)
PLAN = plan(Problem(ITEMS, Limits(4096, 4, (9, 0)), "shared"))


def test_problems_survive_json():
    """A problem read back from its JSON text is the same problem."""
    for seed in range(50):
        problem = kernel_problem(seed, 12)
        text = json.dumps(problem_to_dict(problem))
        assert problem_from_dict(json.loads(text)) == problem
        assert problem_from_dict(json.loads(text)).digest == problem.digest


def test_plans_survive_files(tmp_path):
    """A plan read back from its file is the same plan, verified again."""
    path = tmp_path / "plan.json"
    PLAN.save(path)
    again = Plan.load(path)
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()
    assert json.loads(path.read_text())["verdict"] == "accepted"


def test_random_plans_survive_json():
    """Plans with every feature read back the same."""
    for seed in range(30):
        try:
            answer = plan(kernel_problem(seed, 8))
        except PlanInfeasible:
            continue
        assert Plan.from_json(answer.to_json()) == answer


def resealed(change):
    body = json.loads(PLAN.to_json())
    change(body)
    body["seal"] = _seal(body)
    return json.dumps(body)


def test_a_changed_file_is_noticed():
    """Changing anything in a plan file breaks its seal."""
    text = PLAN.to_json().replace('"offset": 0', '"offset": 16', 1)
    with pytest.raises(FormatError, match="its seal does not match"):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda b: b["placements"][0].update(offset=2), PlanRejected, "alignment"),
        (lambda b: b["placements"].pop(), PlanRejected, "missing"),
        (lambda b: b["problem"]["buffers"][0].update(n_elements=9), PlanRejected, "digest"),
        (lambda b: b["levels"][0].update(value=1, bound=1), PlanRejected, "claims"),
        (lambda b: b["totals"].update(local_bytes=7), FormatError, "does not follow"),
        (lambda b: b.update(status="feasible"), FormatError, "does not follow"),
        (lambda b: b.update(format="other/9"), FormatError, "format is 'other/9'"),
        (lambda b: b.pop("levels"), FormatError, "plan lacks 'levels'"),
        (lambda b: b["placements"][0].update(offset="x"), FormatError, "must be an integer"),
        (lambda b: b["placements"][0].update(name="zz"), FormatError, "does not have"),
        (lambda b: b["placements"][0].update(parent="zz"), FormatError, "does not exist"),
        (lambda b: b["placements"].append(b["placements"][0]), FormatError, "twice"),
        (lambda b: b["levels"][0].update(value="x"), FormatError, "must be an integer"),
    ],
)
def test_a_forged_file_is_refused(change, error, message):
    """A file with a correct seal is still verified from its content."""
    with pytest.raises(error, match=message):
        Plan.from_json(resealed(change))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "problem must be an object, got list"),
        ({}, "problem lacks 'buffers'"),
        ({"buffers": {}}, "buffers must be a list"),
        ({"buffers": [], "polcy": 1}, "unknown field 'polcy'"),
        ({"buffers": [1]}, r"buffers\[0\] must be an object"),
        ({"buffers": [{"name": "a"}]}, r"buffers\[0\] lacks"),
        ({"buffers": [{"name": "a", "n_elements": 1, "dtype": "zz"}]}, "is not a NumPy dtype"),
        (
            {"buffers": [{"name": "a", "n_elements": 1, "dtype": "f4", "pin": "sharde"}]},
            r"buffers\[0\]: location 'sharde' is unknown \(did you mean 'shared'",
        ),
        (
            {"buffers": [{"name": "a", "n_elements": 1, "dtype": "f4", "locations": 5}]},
            r"buffers\[0\]: locations must be words such as 'shared', got 5",
        ),
        (
            {"buffers": [{"name": "a", "n_elements": 1, "dtype": "f4", "lifetime": 3}]},
            "lifetime must be a list",
        ),
        (
            {"buffers": [{"name": "a", "n_elements": 1, "dtype": "f4", "aliases": [{}]}]},
            "aliases lacks 'parent'",
        ),
        ({"buffers": [], "limits": {"blok": 1}}, "limits has an unknown field 'blok'"),
        ({"buffers": [], "previous": 3}, "previous must be an object"),
    ],
)
def test_malformed_problem_says_where(data, message):
    """A malformed problem file is answered with the place of the mistake."""
    with pytest.raises(FormatError, match=message):
        problem_from_dict(data)


def test_not_json_is_a_clear_error():
    """A text that is not JSON is refused as such."""
    with pytest.raises(FormatError, match="not JSON"):
        Plan.from_json("plan")


def test_schema_names_every_field():
    """The JSON schema has exactly the fields that are written."""
    definitions = schema()["$defs"]
    pool = Pool("scratch", 64, "block")
    matrix = Buffer("matrix", (4, 4), "f4", locations=("tile", pool), layout=Swizzle(4))
    limits = Limits(
        4096, compute_capability=(9, 0), max_registers=64, card="H200", max_local_bytes=512
    )
    made = plan(Problem([matrix, Buffer("plain", (2, 2), "f4", layout=Padding(1))], limits))
    written = json.loads(made.to_json())
    assert set(definitions["plan"]["properties"]) == set(written)
    assert set(definitions["problem"]["properties"]) == set(written["problem"])
    assert set(definitions["buffer"]["properties"]) == set(written["problem"]["buffers"][0])
    assert set(definitions["placement"]["properties"]) == set(written["placements"][0])
    assert set(definitions["pool"]["properties"]) == set(written["problem"]["pools"][0])
    for kind, buffer in zip(("swizzle", "padding"), written["problem"]["buffers"], strict=True):
        assert set(definitions[kind]["properties"]) == set(buffer["layout"])
    known = definitions["problem"]["properties"]["limits"]["properties"]
    assert set(known) == set(written["problem"]["limits"])
    assert Plan.from_json(made.to_json()) == made


def test_minimalloc_csv_round_trip():
    """Lifetimes with gaps, alignment and the solved offset survive MiniMalloc's CSV."""
    items = [
        Buffer("a", 8, "u1", lifetime=((0, 2), (5, 7), (8, 9)), locations="shared", alignment=4),
        Buffer("b", 3, "u1", lifetime=((1, 6),), locations="shared"),
    ]
    problem = Problem(items, Limits(64, pad_banks=False), "shared")
    text = problem_to_minimalloc(problem)
    assert text.splitlines()[0] == "id,lower,upper,size,alignment,gaps"
    assert text.splitlines()[1] == "a,0,9,8,4,2-5 7-8"
    assert problem_from_minimalloc(text, 64) == problem
    solved = problem_to_minimalloc(problem, plan(problem))
    fixed = plan(problem_from_minimalloc(solved, 64))
    assert {n: p.offset for n, p in fixed.placements.items()} == {
        n: p.offset for n, p in plan(problem).placements.items()
    }


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FormatError, "lacks 'id'"),
        ("id,lower,size\n", FormatError, "lacks 'upper'"),
        ("id,lower,upper,size\na,0,x,4\n", FormatError, "line 2: 'x' is not an integer"),
        ("id,lower,upper,size\na,0\n", FormatError, "line 2: '' is not an integer"),
        ("id,lower,upper,size\na,5,3,4\n", BufferError, "lifetime"),
        ("id,lower,upper,size\na,0,3,-4\n", BufferError, "n_elements must be"),
        ("id,lower,upper,size,gaps\na,0,9,4,3-5:0-2\n", FormatError, "not of the form"),
    ],
)
def test_malformed_csv_says_where(text, error, message):
    """A malformed CSV is answered with the line and the cell."""
    with pytest.raises(error, match=message):
        problem_from_minimalloc(text)


def test_csv_refuses_aliases():
    """What MiniMalloc's CSV cannot hold is not dropped silently."""
    with pytest.raises(FormatError, match="`b` has aliases"):
        problem_to_minimalloc(PLAN.problem)


def test_graphs_hold_the_problem(tmp_path):
    """Buffers are nodes, candidate aliases edges from child to parent, lifetimes conflicts."""
    graph = alias_graph(PLAN.problem)
    assert list(graph.edges(data="offset")) == [("b", "a", 8)]
    assert graph.nodes["a"]["buffer"] is PLAN.problem.by_name["a"]
    conflicts = interference_graph(PLAN.problem)
    assert conflicts.edges["a", "b"]["may_alias"]
    assert not conflicts.edges["a", "c"]["may_alias"]
    assert not list(conflicts.neighbors("d"))
    write_graphml(graph, tmp_path / "aliases.graphml")
    assert "stage" not in (tmp_path / "aliases.graphml").read_text()
    import networkx as nx

    assert set(nx.read_graphml(tmp_path / "aliases.graphml").nodes) == {"a", "b", "c", "d"}


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from random_problems import kernel_problem
from cubie_planner import PlanInfeasible, plan
for seed in range(6):
    try:
        sys.stdout.write(plan(kernel_problem(seed, 12), effort=0.1).to_json())
    except PlanInfeasible as error:
        sys.stdout.write(str(error))
"""


def test_two_processes_write_the_same_bytes():
    """Hash seeds and thread settings change no byte of a plan file."""
    code = SCRIPT.format(tests=str(Path(__file__).parent))
    package = str(Path(cubie_planner.__file__).parents[1])
    outputs = []
    for seed, threads in (("0", "1"), ("4242", "7")):
        env = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "PYTHONPATH": package,
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, check=True, capture_output=True
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"cubie-plan/2") >= 3


def test_location_text_is_plain():
    """Locations are written as the words users type."""
    assert json.loads(PLAN.to_json())["placements"][2]["location"] == Location.SHARED.value
