"""CSV: what is written is read back, by this planner and, where it can hold it, MiniMalloc."""

from __future__ import annotations

import random

import pytest
from attrs import evolve
from random_problems import kernel_problem

from cubie_planner import (
    Alias,
    Buffer,
    FormatError,
    Limits,
    Location,
    PlanInfeasible,
    PlanUnknown,
    Problem,
    Status,
    plan,
    plan_to_csv,
    problem_from_csv,
    problem_from_minimalloc,
    problem_to_minimalloc,
)
from cubie_planner.plans.minimalloc import is_packing


def packing(seed: int) -> Problem:
    """A random packing problem: gaps, windows, alignments, pinned offsets."""
    rng = random.Random(seed)
    buffers: list[Buffer] = []
    for index in range(rng.randint(2, 9)):
        size, start = rng.randint(2, 40), rng.randint(-3, 9)
        ends = sorted(rng.sample(range(start + 1, start + 12), 3))
        gap, window = rng.random() < 0.4, rng.random() < 0.5
        spans = ((start, ends[0]), (ends[1], ends[2])) if gap else ((start, ends[2]),)
        pinned = index == 0 and rng.random() < 0.5
        name = f"b{index}"
        buffers.append(
            Buffer(
                name,
                size,
                "u1",
                lifetime=spans,
                alignment=rng.choice((1, 1, 4, 16)),
                locations="shared",
                pin="shared" if pinned else None,
                offset=16 if pinned else None,
            )
        )
        if gap and window:
            low = rng.randint(0, size - 2)
            buffers.append(
                Buffer(
                    f"{name}@{ends[0]}-{ends[1]}",
                    rng.randint(1, size - low - 1),
                    "u1",
                    lifetime=((ends[0], ends[1]),),
                    locations="shared",
                    aliases=[Alias(name, low)],
                    alias_required=True,
                )
            )
    return Problem(buffers, Limits(None, pad_banks=False), "shared")


def lines_of(text: str) -> list[dict[str, str]]:
    """Read a CSV as MiniMalloc does: no quotes, one cell per column, integers as they are."""
    head, *rest = text.splitlines()
    columns = head.split(",")
    assert set(columns) <= {"id", "lower", "upper", "size", "alignment", "hint", "gaps", "offset"}
    for line in rest:
        assert len(line.split(",")) == len(columns)
    return [dict(zip(columns, line.split(","), strict=True)) for line in rest]


def test_packing_problems_survive_minimallocs_csv():
    """Gaps, windows, alignments and pins are read back as they were."""
    windows = 0
    for seed in range(80):
        problem = packing(seed)
        assert is_packing(problem)
        pins = {b.name: b.offset for b in problem.buffers}
        made = plan(problem)
        again = problem_from_minimalloc(problem_to_minimalloc(evolve(problem)))
        assert [evolve(b, pin=None, offset=None) for b in problem.buffers] == list(again.buffers)
        solved = problem_from_minimalloc(plan_to_csv(made))
        for buffer in solved.buffers:
            if not buffer.aliases:
                assert buffer.offset == made.placements[buffer.name].offset
                assert pins[buffer.name] in (None, buffer.offset)
        windows += any("@" in b.name for b in problem.buffers)
    assert windows > 10


def test_solved_packing_is_read_back_as_the_same_plan():
    """A plan's CSV is a problem whose only answer is that plan."""
    for seed in range(40):
        made = plan(packing(seed))
        text = plan_to_csv(made)
        lines = lines_of(text)
        assert [line["id"] for line in lines] == [n for n in made.placements if "@" not in n]
        again = plan(problem_from_csv(text, made.shared_bytes_per_block))
        assert {n: p.offset for n, p in again.placements.items()} == {
            n: p.offset for n, p in made.placements.items()
        }


def test_plain_packing_has_the_five_columns():
    """Where there is nothing more to say, nothing more is written."""
    buffers = [Buffer("a", 8, "u1", lifetime=((0, 3),)), Buffer("b", 4, "u1", lifetime=((1, 5),))]
    made = plan(Problem(buffers, Limits(12), "shared"))
    assert plan_to_csv(made) == "id,lower,upper,size,offset\na,0,3,8,0\nb,1,5,4,8\n"


def test_window_is_written_as_minimalloc_writes_it():
    """Two gaps of which one keeps a part alive: the part is a view here, a window there."""
    text = "id,lower,upper,size,gaps\na,0,9,64,3-5@0:16 6-7\n"
    problem = problem_from_csv(text)
    whole, part = problem.buffers
    assert whole.lifetime == ((0, 3), (5, 6), (7, 9))
    assert (part.name, part.lifetime, part.size_bytes) == ("a@3-5", ((3, 5),), 16)
    assert (part.aliases, part.alias_required) == ((Alias("a", 0),), True)
    assert problem_to_minimalloc(problem) == text


def test_window_keeps_its_bytes_and_frees_the_others():
    """While only a part lives, others may use the rest, and not the part."""
    head = "id,lower,upper,size,gaps\na,0,9,64,3-5@0:16\n"
    beside = plan(problem_from_csv(f"{head}b,3,5,48,\n", 64))
    assert beside.placements["b"].offset == 16
    with pytest.raises(PlanInfeasible):
        plan(problem_from_csv(f"{head}b,3,5,49,\n", 64))
    with pytest.raises(PlanInfeasible):
        plan(problem_from_csv(f"{head}b,2,5,48,\n", 64))


def test_end_is_the_last_point_alive():
    """`end` is one less than `upper`, in gaps as well."""
    old = "buffer_id,start,end,size,gaps\na,0,8,64,3-4@0:16 6-6\n"
    new = "id,lower,upper,size,gaps\na,0,9,64,3-5@0:16 6-7\n"
    assert problem_from_csv(old) == problem_from_csv(new)


def test_ranges_that_touch_leave_no_gap():
    """Where one range ends as the next begins there is no gap to write."""
    buffers = [Buffer("a", 8, "u1", lifetime=((0, 2), (2, 5)), locations="shared")]
    text = problem_to_minimalloc(Problem(buffers))
    assert text == "id,lower,upper,size\na,0,5,8\n"


def test_plans_of_every_kind_are_read_back():
    """Places, offsets, parents, types and lifetimes of any plan survive its CSV."""
    kinds = set()
    for seed in range(60):
        try:
            made = plan(kernel_problem(seed, 4 + seed % 9), effort=0.1)
        except (PlanInfeasible, PlanUnknown):
            continue
        text = plan_to_csv(made)
        kinds.add(text.split(",")[0])
        limits = made.limits
        problem = problem_from_csv(text, limits.max_shared_bytes)
        asked = evolve(problem, limits=limits)
        again = plan(asked)
        assert again.status is Status.OPTIMAL
        assert list(again.placements) == list(made.placements)
        for name, before in made.placements.items():
            after = again.placements[name]
            for what in ("location", "offset", "size_bytes", "dtype", "parent", "lifetime"):
                assert getattr(after, what) == getattr(before, what), (name, what)
            if before.location is not Location.LOCAL or before.parent:
                assert after.parent_offset == before.parent_offset
    assert kinds == {"buffer"}


@pytest.mark.parametrize(
    ("buffers", "policy", "message"),
    [
        ([Buffer("a", 4, "u1"), Buffer("b", 2, "u1", aliases="a")], "shared", "`b` has aliases"),
        ([Buffer(" a", 4, "u1")], "shared", "blanks around the name"),
        ([Buffer("a", 4, "u1", pin="local")], "shared", "`a` is local"),
    ],
)
def test_what_minimallocs_csv_cannot_hold_is_refused(buffers, policy, message):
    """Nothing is left out silently."""
    problem = Problem(buffers, Limits(), policy)
    with pytest.raises(FormatError, match=message):
        problem_to_minimalloc(problem, plan(problem))


def test_plan_with_blanks_around_a_name_is_not_written():
    """What could not be read back the same is not written."""
    with pytest.raises(FormatError, match="blanks around the name"):
        plan_to_csv(plan(Problem([Buffer("a ", 4, "u1", pin="local")])))
