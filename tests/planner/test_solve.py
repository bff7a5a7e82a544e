"""Plans: optimal by brute force, accepted by the checker, the same with every switch."""

import itertools
import random
import subprocess
import sys

import pytest
from attrs import evolve
from brute_force import optimum
from random_problems import (
    clashing_problem,
    kernel_problem,
    tiny_problem,
    with_global_memory,
    with_pools,
)

from cubie_planner import (
    Alias,
    Buffer,
    Limits,
    Location,
    Plan,
    PlanInfeasible,
    PlanRejected,
    PlanUnknown,
    Problem,
    ProblemError,
    Status,
    check,
    plan,
)
from cubie_planner.declarations.places import TILE
from cubie_planner.engines.task import Switches


def values(answer: Plan) -> tuple[int, ...]:
    found = {level.name: level.value for level in answer.levels}
    tiles = [TILE] if any(TILE in b.locations for b in answer.problem.buffers) else []
    pools = answer.problem.pools
    names = (
        *("cost", "shared_bytes", *(f"{tile}_bytes" for tile in tiles)),
        *("local_and_persistent_bytes", "global_bytes", *(f"{name}_bytes" for name in pools)),
        "moves",
    )
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


@pytest.mark.parametrize(("n", "seeds"), [(2, 30), (3, 40), (4, 15)], ids=lambda v: str(v))
def test_brute_force_finds_nothing_better_with_global_memory(n, seeds):
    """Where buffers may be, or are pinned, in global memory, it is packed as well as can be."""
    packed = 0
    for seed in range(seeds):
        problem = with_global_memory(tiny_problem(seed, n), seed)
        for asked in (problem, perturbed(problem, seed)):
            found = solve(asked)
            assert found == optimum(asked), (n, seed)
            packed += found is not None and found[3] > 0
    assert packed > seeds / 2


@pytest.mark.parametrize(
    ("n", "seeds"), [(2, 40), (3, 80), (4, 80), (5, 25), (6, 8)], ids=lambda v: str(v)
)
def test_brute_force_finds_nothing_better_with_tiles_and_pools(n, seeds):
    """Tiles under the slices and pools of both scopes: nothing that trying everything finds."""
    seen = {"tiles and slices": 0, "pool": 0, "none": 0}
    for seed in range(seeds):
        problem = with_pools(tiny_problem(seed, n), seed)
        for asked in (problem, perturbed(problem, seed)):
            found = solve(asked)
            assert found == optimum(asked), (n, seed)
        if found is None:
            seen["none"] += 1
            continue
        answer = plan(problem)
        seen["tiles and slices"] += bool(answer.tile_bytes and answer.shared_bytes_per_run)
        seen["pool"] += any(answer.pool_bytes.values())
    assert all(seen.values()), seen


@pytest.mark.parametrize(("n", "seeds"), [(2, 40), (3, 60), (4, 40), (5, 10)], ids=lambda v: str(v))
def test_brute_force_finds_nothing_better_under_a_limit_of_local_memory(n, seeds):
    """Where none may be in global memory the limit is proven like the others of the problem."""
    changed = impossible = 0
    for seed in range(seeds):
        problem = tiny_problem(seed, n)
        problem = with_pools(problem, seed) if seed % 2 else problem
        try:
            free = plan(problem)
        except PlanInfeasible:
            continue
        most = (free.local_bytes + free.persistent_bytes) * 2 // 3
        limited = evolve(problem, limits=evolve(problem.limits, max_local_bytes=most))
        found = solve(limited)
        assert found == optimum(limited), (n, seed)
        impossible += found is None
        changed += found is not None and found != values(free)
    assert impossible
    assert changed or n == 2


LIMITED = [
    Buffer("often", 1000, "f8", locations=list(Location), access_weight=2.0),
    Buffer("first", 500, "f8", locations=list(Location), lifetime=((0, 3),)),
    Buffer("second", 300, "f8", locations=list(Location), lifetime=((3, 6),)),
    Buffer("view", 10, "f8", locations=list(Location), lifetime=((0, 3),),
           aliases=["first"], alias_required=True),
    Buffer("few", 2, "f8", locations=list(Location), access_weight=0.1),
]  # fmt: skip


@pytest.mark.parametrize("capability", [None, (9, 0)])
def test_what_local_memory_cannot_hold_goes_to_global_memory(capability):
    """What is read seldom leaves, with its views; small buffers and what is read often stay."""
    limits = Limits(max_local_bytes=9000, compute_capability=capability, block_size=64)
    made = plan(Problem(LIMITED, limits))
    outside = {n for n, p in made.placements.items() if p.location is Location.GLOBAL}
    assert outside == {"first", "second", "view"}
    assert made.global_bytes == 4000  # "second" begins where "first" ends
    assert made.local_bytes == 8016
    assert made.status is Status.OPTIMAL
    again = Plan.from_json(made.to_json())
    assert again == made
    assert again.totals["global_bytes"] == 4000
    fits = plan(Problem(LIMITED, Limits(max_local_bytes=14_416)))
    assert fits.global_bytes == 0


def test_elements_of_several_sizes_share_no_bytes_in_global_memory():
    """Threads that lie side by side would meet: it is refused, unless one is always alone."""

    def items(**options):
        return [
            Buffer("state", 5, "f8", pin="global", locations=["global"], lifetime=((0, 2),)),
            Buffer("counts", 5, "i4", pin="global", locations=["global"], **options),
        ]

    with pytest.raises(ProblemError) as caught:
        Problem(items(lifetime=((2, 4),)))
    assert str(caught.value) == (
        "`state` and `counts` may share bytes in global memory, where elements of neighbouring "
        "threads lie side by side, and theirs have 8 and 4 B; let one of them be always alive and "
        "outside others, or nowhere near 'global'"
    )
    assert plan(Problem(items())).global_bytes == 60


def test_a_limit_of_local_memory_that_cannot_be_kept_is_told():
    """By what exceeds it, which buffers are largest, and what would help."""
    few = [Buffer("state", 1000, "f8"), Buffer("cache", 100, "f8", locations=list(Location))]
    elsewhere = plan(Problem(few, Limits(max_local_bytes=100)))
    assert elsewhere.placements["state"].location is Location.SHARED
    with pytest.raises(PlanInfeasible) as caught:
        plan(Problem(few, Limits(7999, max_local_bytes=100)))
    assert str(caught.value) == (
        "8800 B of local memory per run exceed max_local = 100 B, and what else there is may not "
        "be in global memory. The largest buffers there are `state` (8000 B), `cache` (800 B). Let "
        "the policy 'auto' choose, allow more buffers the location 'global', or raise max_local."
    )
    assert caught.value.core == ("state", "cache")
    with pytest.raises(PlanInfeasible):
        plan(Problem(LIMITED, Limits(max_local_bytes=9000), "local"))


def test_plans_beyond_the_limit_of_local_memory_are_rejected():
    """By the checker, whoever made them."""
    problem = Problem(LIMITED, Limits(max_local_bytes=14_416))
    made = plan(problem)
    tighter = evolve(problem, limits=Limits(max_local_bytes=14_415))
    with pytest.raises(PlanRejected, match="14416 B of local and persistent arrays exceed"):
        check(tighter, evolve(made, problem=tighter, digest=tighter.digest))


@pytest.mark.every_config
def test_brute_force_on_many_more():
    """The same on thousands of problems."""
    for n, seeds in ((3, 1500), (4, 1500), (5, 400), (6, 100)):
        for seed in range(1000, 1000 + seeds):
            problem = tiny_problem(seed, n)
            assert solve(problem) == optimum(problem), (n, seed)


@pytest.mark.every_config
def test_brute_force_on_many_more_with_tiles_and_pools():
    """The same on thousands of problems."""
    for n, seeds in ((3, 1500), (4, 1000), (5, 200), (6, 50)):
        for seed in range(1000, 1000 + seeds):
            problem = with_pools(tiny_problem(seed, n), seed)
            assert solve(problem) == optimum(problem), (n, seed)


def test_every_combination_of_switches_gives_the_same_optimum():
    """Turning parts of the search off changes how long it takes, never what is optimal."""
    combinations = [Switches(*bits) for bits in itertools.product((False, True), repeat=4)]
    for seed in range(7):
        pooled = with_pools(tiny_problem(seed, 6), seed)
        for problem in (tiny_problem(seed, 6), clashing_problem(seed, 7), pooled):
            found = {solve(problem, switches=switches) for switches in combinations}
            assert len(found) == 1, (seed, found)


def test_random_problems_pass_the_checker():
    """Hundreds of random problems of kernel size: every plan made is accepted."""
    outcomes = dict.fromkeys((*Status, None), 0)
    for seed in range(250):
        problem = kernel_problem(seed, 4 + seed % 12)
        problem = with_pools(problem, seed) if seed % 3 == 0 else problem
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
        problem = with_pools(problem, seed) if seed % 2 else problem
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
            Buffer("parent", 1, "f4", pin=place, locations=[place]),
            Buffer("child", 4, "f4", pin=place, locations=[place], aliases="parent"),
        ]
        answer = plan(Problem(items))
        assert answer.placements["child"].parent is None


@pytest.mark.parametrize("outer", list(Location))
@pytest.mark.parametrize("inner", list(Location))
def test_alias_matrix(outer, inner):
    """A child lies in its parent exactly when both live in the same place."""
    items = [
        Buffer("parent", 8, "f4", pin=outer, locations=[outer]),
        Buffer("child", 4, "f4", pin=inner, locations=[inner], aliases=[Alias("parent", 16)]),
    ]
    child = plan(Problem(items)).placements["child"]
    assert (child.parent, child.parent_offset) == (
        ("parent", 16) if outer is inner else (None, None)
    )


@pytest.mark.parametrize("place", list(Location))
def test_a_child_lies_in_no_array_of_another_function(place):
    """Allocated by another function than its parent it lies inside in every arena, where bytes are
    bytes, and apart from a local array, which it cannot reach."""
    items = [
        Buffer("parent", 8, "f4", pin=place, locations=[place]),
        Buffer(
            "child", 4, "f4", pin=place, locations=[place],
            aliases=[Alias("parent", 16, across_frames=True)],
        ),
    ]  # fmt: skip
    for switches in (Switches(), Switches(first_fit=False, exact_packing=False)):
        answer = plan(Problem(items), switches=switches)
        child = answer.placements["child"]
        assert child.parent == (None if place is Location.LOCAL else "parent")
    inside = evolve(child, parent="parent", parent_offset=16, offset=None)
    if place is Location.LOCAL:
        with pytest.raises(PlanRejected, match="an array of another function"):
            check(answer.problem, evolve(answer, placements={**answer.placements, "child": inside}))


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
    assert solve(Problem(items, Limits(), "shared")) == (0, 64, 0, 0, 0)


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


def test_an_infinite_effort_ends_in_a_proof():
    """With no limit the search goes on until it has proven its plan."""
    for seed in range(8):
        rng = random.Random(seed)
        starts = [rng.randrange(20) for _ in range(14)]
        items = [
            Buffer(f"b{i}", rng.randint(1, 40), "f4", lifetime=((s, s + rng.randint(1, 6)),))
            for i, s in enumerate(starts)
        ]
        problem = Problem(items, Limits(pad_banks=False), "shared")
        assert plan(problem, effort=float("inf")).status is Status.OPTIMAL


def test_empty_problem_has_an_empty_plan():
    """No buffers, nothing to place, proven."""
    answer = plan(Problem([]))
    assert answer.status is Status.OPTIMAL
    assert not answer.placements
