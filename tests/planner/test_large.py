"""Problems far larger than any kernel: an answer or a clear error, never a hang."""

import random

import pytest

from cubie_planner import Alias, Buffer, Limits, PlanUnknown, Problem, Status, check, plan


def many(n: int, length: int) -> list[Buffer]:
    rng = random.Random(n)
    starts = [rng.randrange(n) for _ in range(n)]
    return [
        Buffer(
            f"b{i}",
            rng.randrange(1, 64),
            rng.choice(("f4", "f8")),
            lifetime=((start, start + rng.randrange(1, length)),),
        )
        for i, start in enumerate(starts)
    ]


@pytest.mark.parametrize("policy", ["local", "shared", "auto"])
def test_thousands_of_buffers_are_planned(policy):
    """Three thousand buffers get a plan with an honest bound."""
    answer = plan(Problem(many(3000, 40), Limits(), policy))
    assert answer.levels[-1].bound <= answer.levels[-1].value
    if policy == "shared":
        assert answer.shared_bytes_per_run < answer.shared_bytes_without_reuse / 20
        assert answer.levels[0].gap < 0.25


def test_views_pins_and_gaps_hold_in_large_problems():
    """Views lie in their parents and pinned offsets hold among thousands of buffers."""
    items = many(2000, 30)
    items += [
        Buffer("whole", 64, "f4"),
        Buffer("part", 4, "f4", aliases=[Alias("whole", 16)], alias_required=True),
        Buffer("fixed", 4, "f4", pin="shared", offset=128),
        Buffer("gapped", 4, "f8", lifetime=((0, 1), (1500, 1600))),
    ]
    problem = Problem(items, Limits(), "shared")
    answer = plan(problem, effort=0.01)
    check(problem, answer)
    assert answer.placements["part"].parent == "whole"
    assert answer.placements["fixed"].offset == 128


def test_large_problem_that_does_not_fit_is_a_clear_error():
    """Where first fit finds no room the error says so, and claims no impossibility."""
    with pytest.raises(PlanUnknown, match="2000 buffers are more than the 1500"):
        plan(Problem(many(2000, 400), Limits(256), "shared"), effort=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [pytest.param("local", marks=pytest.mark.every_config), "shared"]
)
def test_a_hundred_thousand_buffers_are_planned(policy):
    """A hundred thousand buffers get a checked plan."""
    answer = plan(Problem(many(100_000, 50), Limits(), policy))
    assert answer.status in (Status.OPTIMAL, Status.FEASIBLE)
