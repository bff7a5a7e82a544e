"""Infeasible problems: the clashing set is irreducible and the message truthful."""

import pytest
from attrs import evolve
from random_problems import clashing_problem

from cubie_planner import Alias, Buffer, Limits, PlanInfeasible, Problem, plan
from cubie_planner.explain import explain


def refusal(problem: Problem) -> PlanInfeasible:
    with pytest.raises(PlanInfeasible) as refused:
        plan(problem)
    return refused.value


def feasible(problem: Problem) -> bool:
    try:
        plan(problem)
    except PlanInfeasible:
        return False
    return True


def pinned_problem(seed: int) -> Problem:
    """A random problem that only its pins and its limit can make impossible."""
    problem = clashing_problem(seed, 9)
    buffers = [
        evolve(
            b,
            locations=("shared", "local", "local_persistent"),
            alias_required=False,
            pin="shared" if index % 2 else b.pin,
            offset=16 * ((seed + index) % 3) if index % 4 == 1 else None,
        )
        for index, b in enumerate(problem.buffers)
    ]
    return Problem(buffers, problem.limits, "auto")


def without(problem: Problem, member: str) -> Problem:
    """The problem without one member of a core: its pin, or the limit."""
    if member == "max_shared":
        return evolve(problem, limits=evolve(problem.limits, max_shared_bytes=None))
    buffers = [evolve(b, pin=None, offset=None) if b.name == member else b for b in problem.buffers]
    return evolve(problem, buffers=buffers)


def only(problem: Problem, core: tuple[str, ...]) -> Problem:
    """The problem in which nothing but the core is demanded."""
    for buffer in problem.buffers:
        if buffer.name not in core and buffer.pin is not None:
            problem = without(problem, buffer.name)
    return problem if "max_shared" in core else without(problem, "max_shared")


def test_cores_of_random_pins_are_irreducible():
    """The core alone clashes; without any one of its members it does not."""
    kinds = set()
    for seed in range(30):
        problem = pinned_problem(seed)
        if feasible(problem):
            continue
        refused = refusal(problem)
        assert refused.irreducible
        core = only(problem, refused.core)
        assert not feasible(core), (seed, refused.core)
        for member in refused.core:
            assert feasible(without(core, member)), (seed, refused.core, member)
        kinds.add("max_shared" in refused.core)
    assert kinds == {True, False}


def test_smallest_limit_and_largest_block_are_exact():
    """The limit named is enough and one byte less is not; likewise the block size."""
    seen = 0
    for seed in range(30):
        problem = pinned_problem(seed)
        limits = problem.limits
        if feasible(problem):
            continue
        refused = refusal(problem)
        if refused.needed is None:
            continue
        seen += 1

        def under(limit, block, limits=limits, problem=problem):
            changed = evolve(limits, max_shared_bytes=limit, block_size=block)
            return feasible(evolve(problem, limits=changed))

        assert under(refused.needed, limits.block_size)
        assert not under(refused.needed - 1, limits.block_size)
        if refused.largest_block:
            assert under(limits.max_shared_bytes, refused.largest_block)
        assert not under(limits.max_shared_bytes, refused.largest_block + 1)
    assert seen >= 4


def test_load_failure_names_time_buffers_overshoot_and_remedies():
    """Two pinned buffers that live together: the message says when, how much, what to do."""
    problem = Problem(
        [
            Buffer("lu_factors", 289, "f4", lifetime=((0, 3),), pin="shared"),
            Buffer("basis", 245, "f4", lifetime=((2, 5),), pin="shared"),
            Buffer("other", 10, "f4", lifetime=((4, 5),)),
        ],
        Limits(48 * 1024, 32),
    )
    refused = refusal(problem)
    assert refused.core == ("lu_factors", "basis", "max_shared")
    assert refused.limit == 49152
    assert refused.needed == 32 * 2140
    assert refused.largest_block == 49152 // 2140
    assert str(refused) == (
        "`lu_factors` (1156 B, pinned to shared) and `basis` (980 B, pinned to shared) do not fit "
        "under max_shared = 49152 B (48 KiB): 2136 B per run must be shared at program points "
        "2 to 3 (lu_factors, basis), 604 B more than the 1532 B that 32 runs per block leave "
        "each. To make it work, unpin one of them, or lower block_size from 32 to 22, or raise "
        "max_shared to 68480 B (66.88 KiB)."
    )


def test_clash_without_limit_names_no_limit():
    """Two offsets that meet clash whatever the limit is."""
    problem = Problem(
        [
            Buffer("a", 4, "f4", pin="shared", offset=0),
            Buffer("b", 4, "f4", pin="shared", offset=8),
            Buffer("c", 4, "f4", pin="shared", offset=64),
        ],
        Limits(4096),
    )
    refused = refusal(problem)
    assert set(refused.core) == {"a", "b"}
    assert refused.needed is None
    assert "cannot hold together, whatever max_shared is" in str(refused)


def test_view_larger_than_its_parents():
    """A view that no candidate can hold is named with all their sizes."""
    problem = Problem(
        [
            Buffer("p", 2, "f4"),
            Buffer("q", 4, "f4", enabled=False),
            Buffer("v", 3, "f4", aliases=["p", "q"], alias_required=True),
        ]
    )
    refused = refusal(problem)
    assert refused.core == ("v", "p", "q")
    assert "`v` (12 B) must lie inside one of `p` (8 B), `q` (0 B)" in str(refused)


def test_view_pinned_away_from_its_parent():
    """A view and its only parent pinned to different places clash, and both are named."""
    problem = Problem(
        [
            Buffer("p", 4, "f4", pin="local"),
            Buffer("v", 2, "f4", aliases="p", alias_required=True, pin="shared"),
        ]
    )
    assert set(refusal(problem).core) == {"p", "v"}


def test_policy_is_named_when_no_pin_is():
    """When the policy alone asks too much, the message says so and offers auto."""
    problem = Problem([Buffer("a", 100, "f4"), Buffer("b", 10, "f4")], Limits(256), "shared")
    message = str(refusal(problem))
    assert "put in shared by the policy" in message
    assert "let the policy 'auto' choose" in message


def test_explanation_adds_up():
    """The bytes of the peak are those of the buffers alive there, holes apart."""
    problem = Problem(
        [
            Buffer("a", 8, "f4", lifetime=((0, 2),)),
            Buffer("b", 4, "f4", lifetime=((1, 3),)),
            Buffer("inner", 2, "f4", lifetime=((1, 2),), aliases=[Alias("a", 4)]),
            Buffer("late", 4, "f4", lifetime=((4, 5),)),
        ],
        Limits(),
        "shared",
    )
    told = explain(plan(problem))
    assert told.peak_bytes == {"a": 32, "b": 16, "inner": 0}
    assert sum(told.peak_bytes.values()) == told.peak.live_bytes
    assert told.peak.interval == (1, 2)
    assert told.fragmentation_bytes == 0
    assert "48 B per run, at program points 1 to 2" in str(told)


def test_pins_are_priced():
    """A pin costs what the plan saves without it."""
    items = [
        Buffer("a", 4, "f4", pin="shared", offset=64),
        Buffer("b", 4, "f4", pin="local"),
        Buffer("c", 4, "f4"),
    ]
    told = explain(plan(Problem(items, Limits(), "shared")))
    costs = {pin.name: pin.levels for pin in told.pins}
    assert costs["a"]["shared_bytes"] == 80 - 32
    assert costs["b"]["local_and_persistent_bytes"] == 16


def test_every_pin_is_priced_up_to_a_number():
    """A pin takes a plan of its own to price; of very many the number is told instead."""
    few, many = (
        plan(Problem([Buffer(f"b{i}", 1, "f4", pin="shared") for i in range(n)])) for n in (3, 65)
    )
    told = explain(few)
    assert [pin.name for pin in told.pins] == ["b0", "b1", "b2"]
    assert all(pin.levels["shared_bytes"] == 4 for pin in told.pins)
    assert explain(many).pins == ()
    assert "65 pins; more than 64 are not priced one by one." in str(explain(many))
    assert "65 buffers are pinned: too many to price each pin." in many.report()


def test_pins_are_priced_by_the_planner_that_made_the_plan():
    """With a planner of one's own, the price of a pin is what that planner saves."""
    problem = Problem([Buffer("a", 4, "f4", pin="shared")])
    asked = []

    def shared_first(changed: Problem):
        asked.append(changed)
        return plan(evolve(changed, policy="shared"))

    (price,) = explain(plan(problem), shared_first).pins
    assert [b.pin for b in asked[0].buffers] == [None]
    assert price.levels["shared_bytes"] == 0


def test_a_limit_beyond_the_device_is_not_proposed():
    """Where only more than the device has would do, the message does not propose it."""
    buffers = [Buffer("a", 60_000, "f4", pin="shared")]
    known = Limits(48 * 1024, 1, compute_capability=(9, 0))
    assert "raise max_shared" not in str(refusal(Problem(buffers, known)))
    for limits in (evolve(known, compute_capability=None), evolve(known, max_shared_bytes=0)):
        asked = [evolve(buffers[0], n_elements=50_000)]
        assert "raise max_shared to 200000 B" in str(refusal(Problem(asked, limits)))
