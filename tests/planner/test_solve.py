"""Plans: optimal by brute force, accepted by the checker, the same with every switch."""

import itertools
import random
import subprocess
import sys

import pytest
from attrs import evolve
from brute_force import optimum
from random_problems import clashing_problem, kernel_problem, tiny_problem

from cubie_planner import (
    Alias,
    Buffer,
    Limits,
    Location,
    Plan,
    PlanInfeasible,
    PlanUnknown,
    Problem,
    Status,
    check,
    plan,
)
from cubie_planner.engines.task import Switches


def values(answer: Plan) -> tuple[int, ...]:
    found = {level.name: level.value for level in answer.levels}
    names = ("cost", "shared_bytes", "local_and_persistent_bytes", "moves")
    return tuple(found.get(name, 0) for name in names)


def solve(problem: Problem, **options) -> tuple[int, ...] | None:
    """The values of a plan proven optimal, or None when there is none."""
    try:
        answer = plan(problem, **options)
    except PlanInfeasible:
        return None
    assert answer.status is Status.OPTIMAL
    check(problem, answer)
    return values(answer)


def perturbed(problem: Problem, seed: int) -> Problem:
    """The problem with a previous plan that no longer quite fits."""
    rng = random.Random(seed)
    try:
        answer = plan(problem)
    except PlanInfeasible:
        return problem
    previous = {
        name: (p.location, p.offset)
        if rng.random() < 0.6
        else (Location.SHARED, rng.choice((0, 4, 8)))
        for name, p in answer.placements.items()
        if p.size_bytes
    }
    return evolve(problem, previous=previous)


@pytest.mark.parametrize(
    ("n", "seeds"), [(2, 60), (3, 120), (4, 120), (5, 40), (6, 15)], ids=lambda v: str(v)
)
def test_brute_force_finds_nothing_better(n, seeds):
    """Up to six buffers with every feature, the plan is what trying everything finds."""
    for seed in range(seeds):
        problem = tiny_problem(seed, n)
        for asked in (problem, perturbed(problem, seed)):
            assert solve(asked) == optimum(asked), (n, seed)


@pytest.mark.every_config
def test_brute_force_on_many_more():
    """The same on thousands of problems."""
    for n, seeds in ((3, 1500), (4, 1500), (5, 400), (6, 100)):
        for seed in range(1000, 1000 + seeds):
            problem = tiny_problem(seed, n)
            assert solve(problem) == optimum(problem), (n, seed)


def test_every_combination_of_switches_gives_the_same_optimum():
    """Turning parts of the search off changes how long it takes, never what is optimal."""
    combinations = [Switches(*bits) for bits in itertools.product((False, True), repeat=4)]
    for seed in range(7):
        for problem in (tiny_problem(seed, 6), clashing_problem(seed, 7)):
            found = {solve(problem, switches=switches) for switches in combinations}
            assert len(found) == 1, (seed, found)


def test_random_problems_pass_the_checker():
    """Hundreds of random problems of kernel size: every plan made is accepted."""
    outcomes = dict.fromkeys((*Status, None), 0)
    for seed in range(250):
        problem = kernel_problem(seed, 4 + seed % 12)
        try:
            answer = plan(problem, effort=0.05)
        except PlanInfeasible:
            outcomes[None] += 1
            continue
        check(problem, answer)
        outcomes[answer.status] += 1
    assert outcomes[Status.OPTIMAL] > 150


@pytest.mark.every_config
def test_ten_thousand_random_problems_pass_the_checker():
    """Ten thousand random problems: every plan made is accepted."""
    for seed in range(10_000):
        problem = kernel_problem(seed, 3 + seed % 10)
        try:
            answer = plan(problem, effort=0.02)
        except PlanInfeasible:
            continue
        check(problem, answer)


def test_planning_what_is_local_imports_nothing_heavy():
    """An all-local plan, and one that first fit proves, load no solver, JIT or graph library."""
    code = (
        "import sys\n"
        "from cubie_planner import Buffer, Limits, Problem, plan\n"
        "heavy = {'ortools', 'numba', 'networkx', 'matplotlib', 'pandas', 'scipy', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "items = [Buffer(f'b{i}', i + 1, 'f4', lifetime=((i, i + 3),)) for i in range(20)]\n"
        "for policy in ('local', 'shared', 'auto'):\n"
        "    assert plan(Problem(items, Limits(), policy)).status == 'optimal'\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pin_wins_over_policy():
    """A pinned buffer lives where it is pinned, whatever the policy asks."""
    items = [Buffer("a", 4, "f4", pin="shared"), Buffer("b", 4, "f4")]
    for policy in ("local", "auto", {"a": "local"}):
        assert plan(Problem(items, Limits(), policy)).placements["a"].location == "shared"
    pinned = [Buffer("a", 4, "f4", pin="local"), Buffer("b", 4, "f4")]
    assert plan(Problem(pinned, Limits(), "shared")).placements["a"].location == "local"


def test_disjoint_lifetimes_share_bytes_through_gaps():
    """A buffer fits into the gap of another one's lifetime."""
    gapped = Buffer("gapped", 8, "f4", lifetime=((0, 1), (2, 3)))
    inner = Buffer("inner", 8, "f4", lifetime=((1, 2),))
    answer = plan(Problem([gapped, inner], Limits(), "shared"))
    assert answer.shared_bytes_per_run == 32
    assert answer.shared_bytes_without_reuse == 64


def test_child_takes_a_later_candidate_when_the_first_is_too_small():
    """Of several candidates the child lies in one that can hold it."""
    items = [
        Buffer("small", 1, "f4"),
        Buffer("large", 8, "f4"),
        Buffer("child", 4, "f4", aliases=["small", "large"]),
    ]
    answer = plan(Problem(items, Limits(), "shared"))
    assert answer.placements["child"].parent == "large"
    assert answer.shared_bytes_per_run == 36


def test_child_without_room_gets_bytes_of_its_own():
    """An optional alias that does not fit is given up, in every location."""
    for place in Location:
        items = [
            Buffer("parent", 1, "f4", pin=place),
            Buffer("child", 4, "f4", pin=place, aliases="parent"),
        ]
        answer = plan(Problem(items))
        assert answer.placements["child"].parent is None


@pytest.mark.parametrize("outer", list(Location))
@pytest.mark.parametrize("inner", list(Location))
def test_alias_matrix(outer, inner):
    """A child lies in its parent exactly when both live in the same place."""
    items = [
        Buffer("parent", 8, "f4", pin=outer),
        Buffer("child", 4, "f4", pin=inner, aliases=[Alias("parent", 16)]),
    ]
    child = plan(Problem(items)).placements["child"]
    assert (child.parent, child.parent_offset) == (
        ("parent", 16) if outer is inner else (None, None)
    )


def test_view_draws_its_parent_to_its_pin():
    """A view's pin decides where its parent goes when the policy leaves that open."""
    items = [
        Buffer("whole", 8, "f4"),
        Buffer("part", 2, "f4", aliases=[Alias("whole", 8)], alias_required=True, pin="shared"),
    ]
    answer = plan(Problem(items, Limits(), "local"))
    assert answer.placements["whole"].location == "shared"
    assert answer.placements["part"].offset == answer.placements["whole"].offset + 8


def test_leading_gap_is_used():
    """A hole below a buffer pinned high is filled, not skipped."""
    items = [
        Buffer("high", 4, "f4", pin="shared", offset=32),
        Buffer("low", 8, "f4", pin="shared"),
    ]
    answer = plan(Problem(items))
    assert answer.placements["low"].offset == 0
    assert answer.shared_bytes_per_run == 48


def test_replanning_moves_nothing_without_need():
    """A plan given as previous one is kept where it is still optimal."""
    for seed in range(10):
        problem = kernel_problem(seed, 8)
        try:
            first = plan(problem)
        except PlanInfeasible:
            continue
        again = plan(evolve(problem, previous=first))
        assert {n: p.offset for n, p in again.placements.items()} == {
            n: p.offset for n, p in first.placements.items()
        }


def test_child_pinned_low_leaves_its_parent_above_zero():
    """A child pinned near the bottom is not put so far inside that its parent starts below 0."""
    items = [
        Buffer("first", 8, "f4", lifetime=((0, 1),)),
        Buffer("parent", 8, "f4", lifetime=((0, 2),)),
        Buffer("a", 2, "f4", lifetime=((0, 2),), aliases="parent"),
        Buffer("b", 2, "f4", lifetime=((0, 2),), aliases="parent", pin="shared", offset=0),
    ]
    assert solve(Problem(items, Limits(), "shared")) == (0, 64, 0, 0)


def test_replanning_moves_few_when_a_neighbour_grows():
    """When one buffer grows, those that need not move stay."""
    items = [Buffer(f"b{i}", 4, "f4") for i in range(6)]
    first = plan(Problem(items, Limits(), "shared"))
    grown = [Buffer("b5", 8, "f4") if b.name == "b5" else b for b in items]
    again = plan(Problem(grown, Limits(), "shared", previous=first))
    moves = next(level for level in again.levels if level.name == "moves")
    assert moves.status is Status.OPTIMAL
    assert moves.value <= 1


def test_a_small_effort_never_claims_too_much():
    """Hardly any effort gives a valid plan with an honest gap, or says it does not know."""
    for seed in range(20):
        problem = kernel_problem(seed, 12)
        try:
            answer = plan(problem, effort=0.001)
        except (PlanUnknown, PlanInfeasible):
            continue
        full = plan(problem, effort=0.2)
        for level, best in zip(answer.levels, full.levels, strict=True):
            assert level.bound <= level.value
            if level.value != best.value:
                assert level.bound <= best.value
                break


def test_empty_problem_has_an_empty_plan():
    """No buffers, nothing to place, proven."""
    answer = plan(Problem([]))
    assert answer.status is Status.OPTIMAL
    assert not answer.placements
