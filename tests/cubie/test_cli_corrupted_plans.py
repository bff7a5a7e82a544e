"""`cubie-plan --check` and plans that were tampered with: refused, or told to be a claim.

Each corruption is made twice: with the seal left as it was, which is damage, and with the
seal made anew, which is a forgery. A forger can write every bound; what is said to be
verified must be true all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from cubie_planner import Alias, Buffer, Limits, Location, Plan, Problem, Status, check, plan
from cubie_planner.plans.check_claims import findings
from cubie_planner.plans.files import _seal
from tests.cubie.cli_running import run
from tests.cubie.test_cli_malformed import limited, refused

BUFFERS = (
    Buffer("host", 8, "f4", lifetime=((0, 3),)),
    Buffer("child", 2, "f4", lifetime=((1, 2),), aliases=[Alias("host", 8)]),
    Buffer("view", 1, "f4", lifetime=((0, 2),), aliases="host", alias_required=True),
    Buffer("wide", 2, "f8", lifetime=((0, 3),)),
    Buffer("late", 2, "f4", lifetime=((3, 5),)),
    Buffer("arena", 2, "f4", pin="local_persistent"),
    Buffer("own", 4, "f4", locations="local"),
    Buffer("off", 4, "f4", enabled=False),
)
BEFORE = {"host": ("shared", 0), "late": ("shared", 64)}
PLAN = plan(Problem(BUFFERS, Limits(4096, 2), "shared", BEFORE))
TEXT = PLAN.to_json()
Body = dict[str, Any]


def level(which: str, **changes: Any) -> Callable[[Body], None]:
    """Return the corruption of one level."""

    def change(body: Body) -> None:
        found = next(item for item in body["levels"] if item["name"] == which)
        found.update(changes)

    return change


def placed(name: str, **changes: Any) -> Callable[[Body], None]:
    """Return the corruption of one placement."""

    def change(body: Body) -> None:
        next(item for item in body["placements"] if item["name"] == name).update(changes)

    return change


def priced(name: str, **prices: Any) -> Callable[[Body], None]:
    """Return the corruption of the prices of one buffer."""
    return lambda body: body["prices"]["places"].update({name: prices})


def asked(index: int, **changes: Any) -> Callable[[Body], None]:
    """Return the corruption of one buffer of the problem."""
    return lambda body: body["problem"]["buffers"][index].update(changes)


FORGED: dict[str, tuple[Callable[[Body], object], str]] = {
    "no levels": (lambda b: b.update(levels=[], status="feasible"), "[levels]"),
    "no levels, optimal": (lambda b: b.update(levels=[]), "[levels]"),
    "one level less": (lambda b: b["levels"].pop(), "[levels]"),
    "cost left out": (lambda b: b["levels"].pop(0), "[levels]"),
    "levels reversed": (lambda b: b["levels"].reverse(), "[levels]"),
    "level twice": (lambda b: b["levels"].append(b["levels"][0]), "[levels]"),
    "level of another name": (level("moves", name="shifts"), "[levels]"),
    "value lower": (level("shared_bytes", value=8, bound=8), "[claims]"),
    "value higher": (level("shared_bytes", value=4000, status="feasible"), "[claims]"),
    "cost lower": (level("cost", value=0, bound=0), "[claims]"),
    "moves lower": (level("moves", value=0, bound=0), "[claims]"),
    "bound above the value": (level("shared_bytes", bound=4000), "[claims]"),
    "bound below nothing": (level("shared_bytes", bound=-1, status="feasible"), "[claims]"),
    "bound as a float": (level("shared_bytes", bound=56.0), "must be an integer, got 56.0"),
    "value as a bool": (level("moves", value=True, bound=True), "must be an integer, got True"),
    "status of a level": (level("shared_bytes", status="feasible"), "does not follow"),
    "status in words": (level("shared_bytes", status="best"), "does not follow"),
    "status of the plan": (lambda b: b.update(status="feasible"), "does not follow"),
    "status infeasible": (lambda b: b.update(status="infeasible"), "does not follow"),
    "verdict": (lambda b: b.update(verdict="proven by hand"), "verdict must be 'accepted'"),
    "verdict as a bool": (lambda b: b.update(verdict=True), "verdict must be 'accepted'"),
    "no verdict": (lambda b: b.pop("verdict"), "plan lacks 'verdict'"),
    "totals": (lambda b: b["totals"].update(local_bytes=0), "totals.local_bytes is 16"),
    "total as a float": (lambda b: b["totals"].update(local_bytes=16.0), "must be an integer"),
    "total left out": (lambda b: b["totals"].pop("local_bytes"), "totals lacks 'local_bytes'"),
    "total added": (lambda b: b["totals"].update(best=1), "totals has an unknown field 'best'"),
    "prices free": (priced("wide", shared=1), "[prices]"),
    "prices of other places": (priced("wide", local=0), "[prices]"),
    "prices of nobody": (priced("nobody", shared=0), "[prices]"),
    "no prices": (lambda b: b["prices"].update(places={}), "prices.places is empty"),
    "surcharge": (lambda b: b["prices"].update(surcharge=3), "[prices]"),
    "digest": (lambda b: b.update(digest="0" * 64), "[digest]"),
    "larger buffer": (asked(3, n_elements=4), "[digest]"),
    "longer life": (asked(4, lifetime=[[0, 5]]), "[digest]"),
    "other limit": (lambda b: b["problem"]["limits"].update(max_shared_bytes=8), "[digest]"),
    "offset on another": (placed("wide", offset=0), "[overlap]"),
    "offset unaligned": (placed("wide", offset=33), "[alignment]"),
    "offset below": (placed("late", offset=-8), "[offset]"),
    "offset beyond the limit": (placed("late", offset=4096), "[capacity]"),
    "offset of a local array": (placed("own", offset=0), "[offset]"),
    "other place": (placed("arena", location="shared"), "[pin]"),
    "other bytes": (placed("wide", size_bytes=8), "[size]"),
    "no parent": (placed("view", parent=None, parent_offset=None), "[alias_required]"),
    "parent elsewhere": (placed("child", parent_offset=12), "[alias_offset]"),
    "parent of none": (placed("wide", parent="host", parent_offset=0), "[parent]"),
    "place twice": (lambda b: b["placements"].append(b["placements"][0]), "places `host` twice"),
    "place missing": (lambda b: b["placements"].pop(), "[missing]"),
    "escape in a reason": (placed("wide", reason="\x1b[2J"), "cannot be printed"),
    "escape in the note": (lambda b: b.update(note="\x07"), "note holds characters"),
}


def test_there_are_enough_corruptions():
    """The table holds what it is meant to hold, and each entry changes the file."""
    assert len(FORGED) >= 40
    for name, (change, _) in FORGED.items():
        body = json.loads(TEXT)
        change(body)
        assert json.dumps(body) != json.dumps(json.loads(TEXT)), name


@pytest.mark.parametrize("seal", ["sealed", "resealed"])
@pytest.mark.parametrize("case", FORGED)
def test_corrupted_plan_is_refused(tmp_path, monkeypatch, case, seal):
    """With the old seal it is damage; with a new one the rule that it breaks is named."""
    monkeypatch.chdir(tmp_path)
    change, message = FORGED[case]
    body = json.loads(TEXT)
    change(body)
    if seal == "resealed":
        body["seal"] = _seal(body)
    elif case == "no verdict":
        message = "plan lacks 'verdict'"
    else:
        message = "its seal does not match"
    Path("plan.json").write_text(json.dumps(body), encoding="utf-8")
    assert message in refused("plan.json", "--check")
    assert message in refused("plan.json", "--quiet")
    assert message in refused("plan.json", "--format", "csv")


def test_text_of_a_plan_cut_anywhere_is_refused(tmp_path, monkeypatch):
    """However much of a file is missing, or doubled, nothing of it is believed."""
    monkeypatch.chdir(tmp_path)
    for cut in range(1, len(TEXT) - 2, len(TEXT) // 40):
        for text in (TEXT[:cut], TEXT[cut:], TEXT[:cut] + TEXT[cut + 1 :], TEXT + TEXT[:cut]):
            if text.strip() in ("", TEXT.strip()) or json_value(text) == json.loads(TEXT):
                continue
            Path("plan.json").write_text(text, encoding="utf-8")
            refused("plan.json", "--check")


def json_value(text: str) -> Any:
    """Return the value of a text; None where it has none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


# ---- what cannot be refused, and must not be believed ----------------------------------


def raised(made: Plan) -> Plan:
    """Return a valid plan that wastes shared bytes, with bounds that claim it is the best."""
    moved = {
        name: evolve(p, offset=p.offset + 512) if p.location is Location.SHARED else p
        for name, p in made.placements.items()
        if p.offset is not None or p.location is not Location.SHARED
    }
    placements = {name: moved.get(name, p) for name, p in made.placements.items()}
    bare = evolve(made, placements=placements)
    levels = []
    for item in made.levels:
        value = bare.shared_bytes_per_run if item.name == "shared_bytes" else item.value
        levels.append(evolve(item, value=value, bound=value))
    return evolve(bare, levels=tuple(levels))


def test_wasteful_plan_is_not_called_optimal_on_its_word(tmp_path, monkeypatch):
    """A forged bound is told as a claim, beside what was verified."""
    monkeypatch.chdir(tmp_path)
    forged = raised(plan(Problem(BUFFERS, Limits(4096, 2), "shared")))
    assert forged.status is Status.OPTIMAL
    forged.save("plan.json")
    with limited():
        lines = run("plan.json", "--check").stdout.splitlines()
        table = run("plan.json").stdout
    assert lines[0] == "plan.json: accepted (optimal, as the file claims)"
    (shared,) = (line for line in lines if "shared bytes:" in line)
    assert "claimed to be the least; at least" in shared
    assert "memory plan (optimal, as its file claims)" in table
    assert "shared bytes: 560 (proven, as its file claims)" in table


def test_plan_that_can_be_verified_is_called_optimal(tmp_path, monkeypatch):
    """Where load and prices prove it, the checker says optimal of its own."""
    monkeypatch.chdir(tmp_path)
    PLAN.save("plan.json")
    plan(Problem([Buffer("a", 4, "f4", lifetime=((0, 1),)), Buffer("b", 8, "f4")])).save("b.json")
    assert run("b.json", "--check").stdout.splitlines()[0] == "b.json: accepted (optimal)"
    told = run("plan.json", "--check").stdout
    assert "verified: the places and bytes of 8 buffers under max_shared = 4096 B" in told
    assert "claimed by the file, not verified here: the reason of every place" in told


def test_prices_of_ones_own_are_told_as_a_claim(tmp_path, monkeypatch):
    """A file may hold any prices; optimal under those that nobody knows is a claim."""
    monkeypatch.chdir(tmp_path)
    made = plan(Problem([Buffer("a", 4, "f4"), Buffer("b", 8, "f4")]))
    free = {name: dict.fromkeys(prices, 0) for name, prices in made.prices.places.items()}
    forged = evolve(made, prices=evolve(made.prices, places=free), levels=made.levels[1:])
    check(forged.problem, forged)
    forged.save("plan.json")
    lines = run("plan.json", "--check").stdout.splitlines()
    assert lines[0] == "plan.json: accepted (optimal, as the file claims)"
    assert any(line.startswith("prices: claimed by the file") for line in lines)
    made.save("plan.json")
    assert "prices: those of --objective cost" in run("plan.json", "--check").stdout


@pytest.mark.parametrize("objective", ["cost", "shared", "private"])
def test_prices_of_every_objective_are_recognised(tmp_path, monkeypatch, objective):
    """A plan of `--objective` is checked against the prices of that objective."""
    monkeypatch.chdir(tmp_path)
    problem = Problem([Buffer("a", 4, "f4"), Buffer("b", 8, "f8")], Limits(4096, 32, (9, 0)))
    Path("problem.json").write_text(json_text(problem), encoding="utf-8")
    run("problem.json", "--quiet", "--objective", objective, "--output", "plan.json")
    told = run("plan.json", "--check").stdout
    assert f"prices: those of --objective {objective};" in told
    assert "accepted (optimal)" in told


def json_text(problem: Problem) -> str:
    """Return the file of a problem."""
    from cubie_planner import problem_to_dict

    return json.dumps(problem_to_dict(problem))


def test_a_plan_that_was_read_says_so():
    """What this process proved and what a file claims are told apart, and compare equal."""
    again = Plan.from_json(TEXT)
    assert again == PLAN
    assert (again.from_file, PLAN.from_file) == (True, False)
    assert PLAN.told_status == str(PLAN.status)
    assert PLAN.unverified == frozenset()
    assert again.unverified <= {item.name for item in PLAN.levels}
    assert again.told_status.endswith(", as its file claims") == bool(again.unverified)
    forged = Plan.from_json(raised(plan(Problem(BUFFERS, Limits(4096, 2), "shared"))).to_json())
    assert forged.unverified == {"shared_bytes"}
    assert forged.told_status == "optimal, as its file claims"
    for finding in findings(PLAN.problem, PLAN):
        assert finding.proven <= finding.level.bound
