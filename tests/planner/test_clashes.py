"""Why there is no plan: sentence and core name the same, and every member is needed."""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from random_problems import clashing_problem, tiny_problem

from cubie_planner import (
    Buffer,
    Limits,
    Location,
    PlanInfeasible,
    PlanUnknown,
    Problem,
    plan,
    problem_from_csv,
)
from cubie_planner.engines.allowed_locations import domains

LIMIT = "max_shared"


def refusal(problem: Problem) -> PlanInfeasible | None:
    try:
        plan(problem)
    except PlanInfeasible as error:
        return error
    return None


def clashing(count: int = 60):
    """Yield random impossible problems of many kinds, with why they are."""
    for make, size in ((clashing_problem, 6), (clashing_problem, 10), (tiny_problem, 5)):
        for seed in range(count):
            problem = make(seed, size)
            try:
                refused = refusal(problem)
            except PlanUnknown:
                continue
            if refused is not None:
                yield problem, refused


def named_in(message: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", message))


def test_sentence_and_core_name_the_same_buffers():
    """Every buffer of the core stands in the sentence, and no other does."""
    seen = 0
    for _, refused in clashing():
        told = str(refused)
        listed = {
            n for part in re.findall(r"\(((?:b\d+, )*b\d+)\)", told) for n in part.split(", ")
        }
        assert named_in(told) == set(refused.core) - {LIMIT}, told
        assert listed <= set(refused.core), told
        assert (LIMIT in refused.core) == ("under max_shared" in told), told
        seen += 1
    assert seen > 30


def settled(problem: Problem) -> Problem:
    """Return the problem with what the policy demands as pins, and no policy."""
    found = domains(problem)
    buffers = []
    for b in problem.buffers:
        places = found.get(b.name, {})
        by_policy = b.pin is None and not b.alias_required and len(places) == 1
        buffers.append(evolve(b, pin=next(iter(places))) if by_policy else b)
    return Problem(buffers, problem.limits, "auto")


def freed(buffer: Buffer) -> Buffer:
    """Return a buffer that may be anywhere, alone."""
    # Not in global memory, where neither elements of other sizes may be.
    places = tuple(place for place in Location if place != Location.GLOBAL)
    return evolve(buffer, pin=None, offset=None, locations=places, alias_required=False)


def roomy(buffer: Buffer) -> Buffer:
    """Return a parent that can hold whatever a view is, wherever it is."""
    anywhere = freed(buffer)
    return evolve(anywhere, n_elements=10_000, enabled=True, alignment=4096, aliases=())


def only(problem: Problem, core: set[str]) -> Problem:
    """Return the problem in which nothing but the core is demanded."""
    buffers = [b if b.name in core else freed(b) for b in problem.buffers]
    limits = problem.limits if LIMIT in core else evolve(problem.limits, max_shared_bytes=None)
    return Problem(buffers, limits)


def without(problem: Problem, member: str, parents: set[str]) -> Problem:
    if member == LIMIT:
        return evolve(problem, limits=evolve(problem.limits, max_shared_bytes=None))
    change = roomy if member in parents else freed
    buffers = [change(b) if b.name == member else anywhere_in(b, member) for b in problem.buffers]
    return evolve(problem, buffers=buffers)


def anywhere_in(view: Buffer, parent: str) -> Buffer:
    """Return a view that may be at any offset of one of its parents."""
    aliases = [evolve(a, offset=None) if a.parent == parent else a for a in view.aliases]
    return evolve(view, aliases=aliases)


def test_every_member_of_an_irreducible_core_is_needed():
    """The core alone clashes; without any one of its members it does not."""
    seen = 0
    for problem, refused in clashing(30):
        if not refused.irreducible:
            continue
        core = only(settled(problem), set(refused.core))
        assert refusal(core) is not None, str(refused)
        views = [b for b in core.buffers if b.alias_required and b.name in refused.core]
        parents = {a.parent for v in views for a in v.aliases}
        for member in refused.core:
            left = without(core, member, parents)
            assert refusal(left) is None, (member, str(refused))
        seen += 1
    assert seen > 15


VIEW = {"aliases": ["p"], "alias_required": True}
FORBIDDEN = {
    "parent pinned elsewhere": (
        [Buffer("p", 4, "f4", pin="local"), Buffer("v", 2, "f4", pin="shared", **VIEW)],
        {"v": "pinned to shared, a view of `p`", "p": "pinned to local"},
    ),
    "parent allowed elsewhere": (
        [Buffer("p", 4, "f4", locations="local"), Buffer("v", 2, "f4", pin="shared", **VIEW)],
        {"v": "pinned to shared, a view of `p`", "p": "allowed only in local"},
    ),
    "view allowed elsewhere": (
        [Buffer("p", 4, "f4", pin="shared"), Buffer("v", 2, "f4", locations="local", **VIEW)],
        {"v": "allowed only in local, a view of `p`", "p": "pinned to shared"},
    ),
    "both allowed apart": (
        [
            Buffer("p", 4, "f4", locations=("local", "shared")),
            Buffer("v", 2, "f4", locations="local_persistent", **VIEW),
        ],
        {"v": "allowed only in local_persistent, a view of `p`", "p": "allowed in local or shared"},
    ),
    "parent aligned too little": (
        [
            Buffer("p", 4, "f4", locations="local"),
            Buffer("v", 2, "f4", locations="local", alignment=16, **VIEW),
        ],
        {"v": "allowed only in local, a view of `p`", "p": "aligned to 4 B"},
    ),
    "no room for two": (
        [
            Buffer("p", 4, "f4"),
            Buffer("v", 3, "f4", **VIEW),
            Buffer("w", 3, "f4", **VIEW),
        ],
        {"v": "a view of `p`", "w": "a view of `p`", "p": "16 B"},
    ),
    "one parent too small, one elsewhere": (
        [
            Buffer("p", 1, "f4"),
            Buffer("q", 4, "f4", pin="local"),
            Buffer("v", 2, "f4", pin="shared", aliases=["p", "q"], alias_required=True),
        ],
        {"v": "a view of `p` or `q`", "p": "too small", "q": "pinned to local"},
    ),
    "one parent disabled, one elsewhere": (
        [
            Buffer("p", 9, "f4", enabled=False),
            Buffer("q", 4, "f4", pin="local"),
            Buffer("v", 2, "f4", pin="shared", aliases=["p", "q"], alias_required=True),
        ],
        {"v": "a view of `p` or `q`", "p": "disabled", "q": "pinned to local"},
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_view_whose_parent_forbids_its_place_names_the_parent_and_why(case):
    """The parent is a member of the core, and the sentence says what is in the way."""
    buffers, reasons = FORBIDDEN[case]
    refused = refusal(Problem(buffers, Limits(None, 1)))
    assert refused is not None
    told = str(refused)
    assert set(refused.core) == set(reasons) == named_in(told)
    assert refused.irreducible
    for name, reason in reasons.items():
        start = told.index(f"`{name}` (")
        assert reason in told[start : told.index(")", start)], told


def test_pin_that_is_not_to_blame_is_not_blamed():
    """Where a buffer is allowed in one place alone, to unpin it would change nothing."""
    buffers = [Buffer("a", 8, "f4", locations="shared", pin="shared")]
    told = str(refusal(Problem(buffers, Limits(16))))
    assert "`a` (32 B, allowed only in shared)" in told
    assert "unpin" not in told


CAPACITIES = {
    "bytes": ("id,lower,upper,size\na,0,5,10\n", 10),
    "wide alignment": ("id,lower,upper,size,alignment\na,0,5,100,64\n", 100),
    "two of them": ("id,lower,upper,size,alignment\na,0,5,100,64\nb,2,7,3,1\n", 103),
    "below a wide one": ("id,lower,upper,size,alignment\na,0,5,1,1\nb,2,7,65,64\n", 66),
    "nothing": ("id,lower,upper,size\na,0,5,0\n", 0),
    "one byte": ("id,lower,upper,size,alignment\na,0,5,1,4096\n", 1),
    "pinned": ("id,lower,upper,size,offset\na,0,5,3,7\n", 10),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CAPACITIES)
def test_capacity_is_used_to_its_last_byte(case, padded):
    """For one run per block neither alignment nor padding takes anything of the limit."""
    text, capacity = CAPACITIES[case]
    problem = problem_from_csv(text, capacity)
    problem = evolve(problem, limits=evolve(problem.limits, pad_banks=padded))
    made = plan(problem)
    assert made.shared_bytes_per_block == made.shared_bytes_per_run == capacity
    if capacity:
        less = evolve(problem, limits=evolve(problem.limits, max_shared_bytes=capacity - 1))
        refused = refusal(less)
        assert refused is not None
        assert refused.needed == capacity
        assert refused.largest_block == 0


def test_one_run_may_fit_where_two_strides_do_not():
    """The largest block is one run where its slice fits, though its stride would not."""
    buffers = [Buffer("a", 10, "u1", locations="shared")]
    refused = refusal(Problem(buffers, Limits(11, 4)))
    assert refused is not None
    assert refused.largest_block == 1
    assert refused.needed == 4 * 12
    assert plan(Problem(buffers, Limits(11, 1))).shared_bytes_per_block == 10
