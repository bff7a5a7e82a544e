"""Tiles beside slices, and pools: what they mean, what is refused, and how they are told."""

import pytest
from attrs import evolve
from random_problems import kernel_problem, with_pools

from cubie_planner import (
    Alias,
    Buffer,
    BufferError,
    FormatError,
    Limits,
    Location,
    Plan,
    PlanInfeasible,
    PlanRejected,
    PlanUnknown,
    Pool,
    PoolError,
    Problem,
    ProblemError,
    Scope,
    Status,
    check,
    plan,
    plan_to_csv,
    problem_from_csv,
    problem_from_dict,
    problem_to_dict,
)
from cubie_planner.declarations.places import TILE
from cubie_planner.explain import explain
from cubie_planner.gpu.cost import CostModel
from cubie_planner.report import text
from cubie_planner.report.page import html

SCRATCH = Pool("scratch", 64, "block", cost=9)
NEAR = Pool("near", 40, cost=0.5)
TILES = (
    Buffer("a", 16, "f4", locations="tile", lifetime=((0, 2),)),
    Buffer("b", 16, "f4", locations="tile", lifetime=((0, 2),)),
    Buffer("sums", 16, "f8", locations="tile", lifetime=((3, 5),)),
)
SLICES = (
    Buffer("mine", 3, "f8", locations="shared", lifetime=((1, 4),)),
    Buffer("own", 3, "f4"),
)
POOLED = (
    Buffer("far", 8, "f4", locations=("tile", SCRATCH), lifetime=((0, 2),)),
    Buffer("deep", 8, "f4", locations=SCRATCH, lifetime=((1, 3),)),
    Buffer("deeper", 4, "f4", locations=SCRATCH, lifetime=((2, 4),)),
    Buffer("close", 5, "f8", locations=("local", NEAR), pin="near"),
)
PROBLEM = Problem((*TILES, *SLICES, *POOLED), Limits(1016, 32, pad_banks=False))
PLAN = plan(PROBLEM)


def test_tiles_are_below_the_slices_of_all_threads():
    """A block has one copy of a tile; the slices of its runs start above, aligned."""
    assert PLAN.status is Status.OPTIMAL
    assert PLAN.tile_bytes == 128 + 32
    assert (PLAN.slices_start_bytes, PLAN.run_stride_bytes) == (160, 24)
    assert PLAN.shared_bytes_per_block == 160 + 32 * 24
    assert PLAN.placements["sums"].offset == 0
    assert {PLAN.problem.by_name[name].scope for name in ("a", "far")} == {Scope.BLOCK}
    odd = Problem((Buffer("t", 5, "u1", locations="tile"), SLICES[0]), Limits(None, 2))
    assert plan(odd).slices_start_bytes == 8
    assert plan(odd).shared_bytes_per_block == 8 + 2 * 24


def test_the_only_run_of_a_block_gets_its_slice_and_no_more():
    """With one run a block needs the end of its slice, which starts above the tiles."""
    made = plan(Problem((TILES[0], SLICES[0]), Limits(64 + 24)))
    assert made.shared_bytes_per_block == 88
    with pytest.raises(PlanInfeasible) as error:
        plan(Problem((TILES[0], SLICES[0]), Limits(87)))
    assert error.value.needed == 88
    assert set(error.value.core) == {"a", "mine", "max_shared"}


def moved(name, **changes):
    placement = evolve(PLAN.placements[name], **changes)
    return evolve(PLAN, placements={**PLAN.placements, name: placement})


def with_limit(most, problem=PROBLEM):
    tighter = evolve(problem, limits=evolve(problem.limits, max_shared_bytes=most))
    return evolve(PLAN, problem=tighter, digest=tighter.digest)


BROKEN = {
    "overlap": lambda: moved("b", offset=0),
    "overlap (pool)": lambda: moved("deep", offset=PLAN.placements["deeper"].offset),
    "location": lambda: moved("a", location=Location.SHARED),
    "location (pool)": lambda: moved("mine", location=NEAR),
    "location (other pool)": lambda: moved("deep", location=Pool("scratch", 128, "block")),
    "pin": lambda: moved("close", location=Location.LOCAL, offset=None),
    "alignment": lambda: moved("sums", offset=4),
    "offset": lambda: moved("a", offset=None),
    "capacity": lambda: with_limit(927),
    "capacity (tiles)": lambda: moved("sums", offset=960),
    "capacity (pool)": lambda: moved("close", offset=8),
    "claims": lambda: evolve(
        PLAN,
        levels=tuple(
            evolve(level, value=0, bound=0) if level.name == "tile_bytes" else level
            for level in PLAN.levels
        ),
    ),
    "levels": lambda: evolve(
        PLAN, levels=tuple(level for level in PLAN.levels if level.name != "near_bytes")
    ),
    "prices": lambda: evolve(
        PLAN,
        prices=evolve(
            PLAN.prices, places={**PLAN.prices.places, "mine": {Location.SHARED: 2, TILE: 0}}
        ),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plan_names_the_rule(case):
    """Every rule about tiles and pools refuses a plan that breaks it."""
    broken = BROKEN[case]()
    with pytest.raises(PlanRejected) as refused:
        check(broken.problem, broken)
    assert refused.value.rule == case.split(" ")[0]


def test_capacity_is_that_of_tiles_and_slices_together():
    """One byte less than both need is refused in words that name both."""
    check(with_limit(928).problem, with_limit(928))
    with pytest.raises(PlanRejected) as refused:
        check(with_limit(927).problem, with_limit(927))
    assert str(refused.value) == (
        "[capacity] 160 B of tiles and 32 runs x 24 B = 768 B exceed max_shared = 927 B"
    )


def test_files_and_csv_give_the_same_plan():
    """A plan is read from its JSON as it was, and from its CSV as the only answer."""
    assert Plan.from_json(PLAN.to_json()) == PLAN
    assert problem_from_dict(problem_to_dict(PROBLEM)) == PROBLEM
    again = plan(evolve(problem_from_csv(plan_to_csv(PLAN)), limits=PROBLEM.limits))
    for name, placement in PLAN.placements.items():
        found = again.placements[name]
        assert (str(found.location), found.offset) == (str(placement.location), placement.offset)
    assert again.pool_bytes == PLAN.pool_bytes


def test_a_plan_with_global_memory_survives_its_csv():
    """Places that a buffer may be in only by name are named."""
    made = plan(Problem([Buffer("far", 4, "f8", locations=("global",), lifetime=((0, 2),))]))
    again = plan(problem_from_csv(plan_to_csv(made)))
    assert again.placements["far"].location is Location.GLOBAL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pools": [{"name": "scratch"}, {"name": "scratch"}]}, "second pool `scratch`"),
        ({"pools": [{"name": "two words"}]}, "letters, digits and underscores"),
        ({"pools": [{"name": "x", "size": 3}]}, "size"),
        ({"pools": [{"name": "unused"}]}, "no buffer may be in the pool `unused`"),
        ({"pools": 3}, "pools"),
    ],
)
def test_files_with_odd_pools_are_refused(change, said):
    """A pool that is none, is there twice, or holds nothing is a fault of the file."""
    given = {"buffers": [{"name": "b", "n_elements": 1, "dtype": "<f4"}], **change}
    with pytest.raises(FormatError, match=said):
        problem_from_dict(given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ""}, "letters"),
        ({"name": "shared"}, "meaning of its own"),
        ({"name": "tile"}, "meaning of its own"),
        ({"name": "p", "capacity_bytes": -1}, "capacity_bytes"),
        ({"name": "p", "capacity_bytes": True}, "capacity_bytes"),
        ({"name": "p", "scope": "warp"}, "scope"),
        ({"name": "p", "cost": -1}, "cost"),
        ({"name": "p", "cost": float("nan")}, "cost"),
        ({"name": "p", "alignment": 3}, "alignment"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(options, said):
    """By the name of the pool, with what was given and what is allowed."""
    with pytest.raises(PoolError, match=said):
        Pool(**options)


def test_what_does_not_belong_together_is_refused():
    """One scope for a buffer and for those it lies in; one pool of a name; no wider alignment."""
    with pytest.raises(BufferError, match="one for each thread or one for the block"):
        Buffer("b", 4, "f4", locations=("tile", "local"))
    with pytest.raises(BufferError, match="alignment 512 is more than a pool"):
        Buffer("b", 4, "f4", locations=SCRATCH, alignment=512)
    with pytest.raises(ValueError, match=r"location 'tiel' is unknown \(did you mean 'tile'"):
        Buffer("b", 4, "f4", locations="tiel")
    one, other = Pool("p", 8), Pool("p", 16)
    with pytest.raises(ProblemError, match="`x` and `y` name different pools `p`"):
        Problem([Buffer("x", 1, "f4", locations=one), Buffer("y", 1, "f4", locations=other)])
    with pytest.raises(ProblemError, match="`p` is a buffer and a pool"):
        Problem([Buffer("p", 1, "f4", locations=one)])
    inside = Buffer("inside", 1, "f4", aliases=[Alias("a")])
    with pytest.raises(ProblemError, match="one for each thread, is an alias of `a`, one for each"):
        Problem([TILES[0], inside])


def test_words_are_those_of_blocks_where_there_are_no_runs():
    """Nothing is told per run of a kernel that has tiles alone; both units where there are both."""
    made = plan(Problem(TILES, Limits(1024)))
    assert [level.name for level in made.levels] == ["cost", "tile_bytes"]
    for said in (text(made), str(explain(made)), html(made)):
        assert "per run" not in said
    assert "per block: shared 128 B, 12 % of the limit of 1024 B" in text(made)
    assert "Peak of tiles: 128 B per block" in str(explain(made))
    assert "tile: 128 B per block, 256 B without reuse" in html(made)
    with pytest.raises(PlanInfeasible) as error:
        plan(Problem(TILES, Limits(120)))
    assert str(error.value) == (
        "`sums` (128 B, allowed only in tile) does not fit under max_shared = 120 B: 128 B per "
        "block must be shared at program points 3 to 5 (sums), 8 B more than the 120 B that a "
        "block may have. To make it work, raise max_shared to 128 B."
    )
    both = text(PLAN)
    assert "per run: shared 24 B (stride 24 B), local 12 B, persistent 0 B" in both
    assert "per block of 32: shared 928 B (tiles 160 B, slices from byte 160)" in both
    assert "pool near: 40 B per run, 100 % of 40 B" in both
    assert "pool scratch: 48 B per block, 75 % of 64 B" in both
    assert "Peak of slices: 24 B per run" in str(explain(PLAN))


def test_a_full_pool_is_named():
    """Where a pool's capacity clashes it belongs to the core, and enlarging it is a remedy."""
    buffers = [
        Buffer(name, 8, "f4", locations=("tile", SCRATCH), lifetime=((0, 2),)) for name in "abc"
    ]
    with pytest.raises(PlanInfeasible) as error:
        plan(Problem(buffers, Limits(20)))
    assert set(error.value.core) == {"a", "b", "c", "scratch", "max_shared"}
    assert "do not fit into the 64 B of `scratch` and under max_shared = 20 B" in str(error.value)
    assert "enlarge `scratch`" in str(error.value)
    assert plan(Problem(buffers, Limits(32))).tile_bytes == 32


def test_the_cheapest_pool_comes_after_the_places_of_a_policy():
    """A policy puts what may be in none of its places in a tile, else in the cheapest pool."""
    dear, cheap = Pool("dear", cost=5), Pool("a_cheap", cost=2)
    buffers = [Buffer("x", 4, "f4", locations=(dear, cheap)), TILES[0]]
    for policy in ("local", "shared"):
        made = plan(Problem(buffers, Limits(), policy))
        assert made.placements["x"].location == cheap
        assert made.placements["a"].location == TILE
    for policy, place in (("local", Location.LOCAL), ("auto", Location.LOCAL)):
        made = plan(Problem([Buffer("y", 4, "f4", locations=("local", cheap))], Limits(), policy))
        assert made.placements["y"].location is place


def test_pins_are_priced_with_units():
    """What a pin costs is told in bytes of what, and in what the cost counts."""
    buffers = [
        Buffer("x", 4, "f4", pin="shared"),
        Buffer("y", 2, "f4", locations=("tile", SCRATCH)),
    ]
    buffers[1] = evolve(buffers[1], pin="scratch")
    said = str(explain(plan(Problem(buffers))))
    assert (
        "Pin of `x`: +16 B of shared memory per run, -16 B of local and persistent memory per run, "
        "+2 points."
    ) in said
    assert "Pin of `y`: -8 B of tiles per block, +8 B of the pool scratch, +16 points." in said


def test_tiles_take_their_part_of_a_device():
    """The shared bytes of a block that occupancy sees are those of tiles and slices."""
    limits = Limits(None, 128, compute_capability=(9, 0))
    big = Buffer("big", 20_000, "f4", locations="tile")
    made = plan(Problem([big, Buffer("own", 8, "f4")], limits))
    cost = CostModel.for_capability((9, 0)).predict(
        made.problem, {name: p.location for name, p in made.placements.items()}
    )
    assert cost.shared_bytes_per_block == made.shared_bytes_per_block == 80_000
    assert cost.resident_runs == 2 * 128
    assert cost.stack_bytes == 0


def test_every_view_shows_tiles_and_pools(tmp_path):
    """The table for terminals, the picture and the page have all places, with their units."""
    pytest.importorskip("matplotlib")
    figure = PLAN.plot(tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert len(figure.axes) == 5
    titles = " ".join(axes.get_title() for axes in figure.axes) + drawn
    for said in ("tile: 160 B per block", "near: 40 B per run", "scratch: 48 B per block"):
        assert said in titles
        assert said in html(PLAN)
    assert PLAN.table().row_count == len(PROBLEM.buffers)


def test_thousands_of_buffers_have_tiles_below_their_slices():
    """What is packed without the exact engines keeps to the same limits."""
    tiles = [
        Buffer(f"t{i}", 1 + i % 7, "f4", locations="tile", lifetime=((i, i + 9),))
        for i in range(900)
    ]
    slices = [
        Buffer(f"s{i}", 1 + i % 5, "f4", locations="shared", lifetime=((i, i + 4),))
        for i in range(800)
    ]
    near = Pool("near", 64)
    pooled = [
        Buffer(f"p{i}", 1 + i % 3, "f4", locations=near, lifetime=((i, i + 2),)) for i in range(50)
    ]
    free = plan(Problem((*tiles, *slices, *pooled), Limits(None, 8), "shared"))
    assert free.pool_bytes["near"] <= 64
    assert free.tile_bytes
    assert free.shared_bytes_per_run
    most = free.shared_bytes_per_block
    assert plan(evolve(free.problem, limits=Limits(most, 8))).shared_bytes_per_block <= most
    tight = evolve(free.problem, limits=Limits(most, 8))
    assert plan(tight, fits=True).shared_bytes_per_block <= most
    with pytest.raises(PlanUnknown):
        plan(evolve(free.problem, limits=Limits(free.tile_bytes // 2, 8)))


def test_a_plan_that_only_has_to_fit_leaves_room_for_slices():
    """Tiles are packed low where slices follow, however high they could be."""
    fitted = 0
    for seed in range(60):
        problem = with_pools(kernel_problem(seed, 9), seed)
        try:
            lowest = plan(problem)
        except (PlanInfeasible, PlanUnknown):
            continue
        if lowest.status is not Status.OPTIMAL or not lowest.shared_bytes_per_block:
            continue
        limits = evolve(problem.limits, max_shared_bytes=lowest.shared_bytes_per_block)
        found = plan(evolve(problem, limits=limits), fits=True)
        assert found.shared_bytes_per_block <= lowest.shared_bytes_per_block
        fitted += 1
    assert fitted > 20
