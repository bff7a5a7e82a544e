"""The checker: a plan broken by hand is refused, and the right rule is named."""

import ast
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from random_problems import kernel_problem

from cubie_planner import (
    Alias,
    Buffer,
    Level,
    Limits,
    Location,
    PlanInfeasible,
    PlanRejected,
    Problem,
    check,
    plan,
)
from cubie_planner.plans.check_claims import wrong_claims
from cubie_planner.plans.check_limits import broken_limits

BUFFERS = (
    Buffer("parent", 8, "f4", lifetime=((0, 3),)),
    Buffer("child", 2, "f4", lifetime=((1, 2),), aliases=[Alias("parent", 8)]),
    Buffer("view", 1, "f4", lifetime=((0, 2),), aliases="parent", alias_required=True),
    Buffer("sibling", 2, "f4", lifetime=((1, 3),), aliases="parent"),
    Buffer("wide", 2, "f8", lifetime=((0, 3),)),
    Buffer("early", 2, "f4", lifetime=((0, 1), (2, 3))),
    Buffer("pinned", 1, "f4", pin="shared", offset=64),
    Buffer("arena", 2, "f4", pin="local_persistent"),
    Buffer("own", 4, "f4", locations="local"),
    Buffer("piece", 1, "f4", locations="local", aliases="own", alias_required=True),
    Buffer("off", 4, "f4", enabled=False),
)
PROBLEM = Problem(BUFFERS, Limits(120, 1), "shared")
PLAN = plan(PROBLEM)


def broken(buffer, **changes):
    placement = evolve(PLAN.placements[buffer], **changes)
    return evolve(PLAN, placements={**PLAN.placements, buffer: placement})


def relevelled(index, **changes):
    levels = list(PLAN.levels)
    levels[index] = evolve(levels[index], **changes)
    return evolve(PLAN, levels=tuple(levels))


def repriced(name, places):
    return evolve(PLAN, prices=evolve(PLAN.prices, places={**PLAN.prices.places, name: places}))


def offset(name):
    return PLAN.placements[name].offset


def moved(name, by):
    return broken(name, offset=offset(name) + by)


CASES = {
    "missing": lambda: evolve(
        PLAN, placements={n: p for n, p in PLAN.placements.items() if n != "wide"}
    ),
    "unknown": lambda: evolve(
        PLAN, placements={**PLAN.placements, "x": evolve(PLAN.placements["wide"], name="x")}
    ),
    "name": lambda: broken("wide", name="early"),
    "digest": lambda: evolve(PLAN, digest="0" * 64),
    "size": lambda: broken("wide", size_bytes=8),
    "size (disabled)": lambda: broken("off", size_bytes=16, n_elements=4),
    "size (dtype)": lambda: broken("wide", dtype=np.dtype("i8")),
    "lifetime": lambda: broken("early", lifetime=((0, 1),)),
    "location": lambda: broken("own", location=Location.SHARED, offset=200),
    "pin": lambda: broken("arena", location=Location.SHARED, offset=0),
    "pin (stated)": lambda: broken("wide", pin=Location.SHARED),
    "policy": lambda: broken("wide", location=Location.LOCAL, offset=None),
    "offset": lambda: broken("wide", offset=None),
    "offset (negative)": lambda: broken("wide", offset=-8),
    "offset (local)": lambda: broken("own", offset=0),
    "offset (disabled)": lambda: broken("off", offset=0),
    "alignment": lambda: moved("wide", 4),
    "alignment (local)": lambda: broken("piece", parent_offset=2),
    "offset_pin": lambda: moved("pinned", 4),
    "parent": lambda: broken("wide", parent="parent", parent_offset=0),
    "parent (offset only)": lambda: broken("wide", parent_offset=0),
    "alias_required": lambda: broken("view", parent=None, parent_offset=None),
    "alias_location": lambda: broken("parent", location=Location.LOCAL, offset=None),
    "alias_range": lambda: broken("piece", parent_offset=16),
    "alias_range (disagree)": lambda: broken(
        "view", parent_offset=PLAN.placements["view"].parent_offset ^ 4
    ),
    "alias_offset": lambda: broken("child", parent_offset=12, offset=offset("parent") + 12),
    "overlap": lambda: broken("early", offset=offset("wide")),
    "overlap (siblings)": lambda: broken("sibling", parent_offset=8, offset=offset("child")),
    "overlap (no alias)": lambda: broken("child", parent=None, parent_offset=None),
    "overlap (second interval)": lambda: broken("early", offset=offset("parent")),
    "capacity": lambda: moved("early", 96),
    "claims": lambda: relevelled(1, value=4, bound=4),
    "claims (bound)": lambda: relevelled(1, bound=10**6),
    "claims (negative)": lambda: relevelled(1, bound=-1),
    "claims (cost)": lambda: relevelled(0, value=0, bound=0),
    "levels": lambda: evolve(PLAN, levels=()),
    "levels (order)": lambda: evolve(PLAN, levels=PLAN.levels[::-1]),
    "levels (unknown)": lambda: evolve(PLAN, levels=(*PLAN.levels, Level("anything", 4, 4))),
    "levels (no cost)": lambda: evolve(PLAN, levels=PLAN.levels[1:]),
    "prices": lambda: repriced("wide", {Location.SHARED: 7}),
    "prices (places)": lambda: repriced("wide", {}),
    "prices (all)": lambda: repriced("arena", {Location.LOCAL_PERSISTENT: 1, Location.LOCAL: 0}),
    "prices (buffer)": lambda: repriced("nobody", {Location.SHARED: 0}),
    "prices (surcharge)": lambda: evolve(PLAN, prices=evolve(PLAN.prices, surcharge=5)),
}


def test_the_unbroken_plan_is_accepted():
    """The plan that the cases below break is itself accepted."""
    check(PROBLEM, PLAN)
    assert PLAN.placements["child"].parent == "parent"


@pytest.mark.parametrize("case", CASES)
def test_broken_plan_names_the_rule(case):
    """Each hand-broken plan is refused by the rule it breaks."""
    with pytest.raises(PlanRejected) as refused:
        check(PROBLEM, CASES[case]())
    rule = case.split(" ")[0]
    if case == "alias_location":
        # Moving the parent alone also breaks the policy, which is looked at first.
        assert refused.value.rule in ("policy", rule)
    else:
        assert refused.value.rule == rule
    assert f"[{refused.value.rule}]" in str(refused.value)


def test_overlap_names_both_buffers():
    """An overlap says which two buffers meet."""
    with pytest.raises(PlanRejected) as refused:
        check(PROBLEM, CASES["overlap"]())
    assert set(refused.value.buffers) == {"early", "wide"}


def test_checker_shares_no_code_with_what_it_checks():
    """The checker imports the plain values it compares, and nothing that makes plans."""
    imported = set()
    for name in (check.__module__, wrong_claims.__module__, broken_limits.__module__):
        tree = ast.parse(Path(sys.modules[name].__file__).read_text())
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported == {
        "__future__",
        "attrs",
        "collections.abc",
        "cubie_planner.basics",
        "cubie_planner.declarations.buffers",
        "cubie_planner.declarations.layouts",
        "cubie_planner.declarations.places",
        "cubie_planner.declarations.problem",
        "cubie_planner.plans.answer",
        "cubie_planner.plans.check_claims",
        "cubie_planner.plans.check_limits",
        "numpy",
    }


def live_together(first, second):
    if first.lifetime is None or second.lifetime is None:
        return True
    return any(a < d and c < b for a, b in first.lifetime for c, d in second.lifetime)


def test_random_mutations_of_plans_are_refused():
    """Moving one shared buffer onto another that lives with it is always refused."""
    refused = 0
    for seed in range(60):
        problem = kernel_problem(seed, 10)
        try:
            answer = plan(problem, effort=0.2)
        except PlanInfeasible:
            continue
        roots = [p for p in answer.shared if p.parent is None and p.pin is None]
        for first, second in itertools.pairwise(roots):
            if not live_together(first, second):
                continue
            mutant = evolve(first, offset=second.offset)
            bad = evolve(answer, placements={**answer.placements, first.name: mutant})
            with pytest.raises(PlanRejected) as rejected:
                check(problem, bad)
            assert rejected.value.rule not in ("levels", "prices", "claims")
            refused += 1
    assert refused > 0
