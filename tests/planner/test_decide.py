"""Alternatives decided with places and offsets: the best by brute force, proven, and checked."""

import json
import random

import pytest
from attrs import evolve
from brute_force import optimum
from random_problems import kernel_problem, tiny_problem, with_pools

from cubie_planner import (
    Buffer,
    BufferError,
    FormatError,
    Level,
    Limits,
    Location,
    Padding,
    PlanInfeasible,
    PlanRejected,
    Pool,
    Problem,
    ProblemError,
    Status,
    check,
    plan,
)
from cubie_planner.decide import Alternatives, Choice, Decision, Option, decide
from cubie_planner.plans.decision import _seal, check_decision, joint_levels
from cubie_planner.report import decision_text

BUFFERS = (
    Buffer("lu", 16, "f8", locations=("shared", "local")),
    Buffer("sums", 4, "f8", locations="shared"),
    Buffer("k1", 4, "f8", locations="shared"),
    Buffer("k2", 4, "f8", locations="shared", lifetime=((0, 1),)),
)
PROBLEM = Problem(BUFFERS, Limits(16384, 64), "shared")
PRECISION = Choice("factors", [Option("f64"), Option("f32", 2, buffers={"lu": {"dtype": "f4"}})])
FORM = Choice(
    "form",
    [
        Option("k", buffers={"sums": {"enabled": False}}),
        Option("sums", 1, buffers={"k1": {"enabled": False}, "k2": {"enabled": False}}),
    ],
)
BLOCK = Choice(
    "block",
    [Option("128", limits={"block_size": 128}), Option("64", 1, limits={"block_size": 64})],
)
ALTERNATIVES = Alternatives(PROBLEM, [PRECISION, FORM, BLOCK])
DECISION = decide(ALTERNATIVES)


def random_choices(problem, seed, most=3):
    """Choices of every kind: types, sizes, buffers in use, limits, places; each with a price."""
    rng = random.Random(seed)
    names = [b.name for b in problem.buffers]
    kinds = [
        lambda name: {name: {"dtype": rng.choice(("u1", "u2", "u4"))}},
        lambda name: {name: {"n_elements": rng.choice((1, 2, 4))}},
        lambda name: {name: {"enabled": False}},
        lambda name: {name: {"lifetime": ((0, 1),), "persistent": False}},
    ]
    free = {b.name for b in problem.buffers if b.offset is None}
    touched = rng.sample(names, min(len(names), rng.choice((1, 2))))
    choices = []
    for number, name in enumerate(n for n in touched if n in free):
        options = [Option("as it is", rng.choice((0, 1)))]
        for index in range(rng.choice((1, 2))):
            change = rng.choice(kinds)(name)
            options.append(Option(f"o{index}", rng.choice((0, 1, 3)), buffers=change))
        rng.shuffle(options)
        choices.append(Choice(f"c{number}", options))
    if not choices or rng.random() < 0.5:
        sizes = rng.sample((1, 2, 4, 32), 2)
        options = [Option(f"{n}", rng.choice((0, 1)), limits={"block_size": n}) for n in sizes]
        choices.append(Choice("block", options))
    return choices[:most]


def alternatives_of(problem, seed):
    """Random alternatives; None where an option cannot hold with the others."""
    try:
        return Alternatives(problem, random_choices(problem, seed))
    except ProblemError:
        return None


def best_by_brute_force(alternatives):
    """The least values over all combinations, each tried out, with the levels of its own plan."""
    best = None
    for picked in alternatives.combinations():
        problem = alternatives.problem_of(picked)
        found = optimum(problem)
        if found is not None:
            score = (found[0] + alternatives.cost_of(picked), *found[1:])
            best = score if best is None else min(best, score)
    return best


def values_of(decision):
    found = {level.name: level.value for level in decision.levels}
    pools = sorted(
        {
            p
            for o in decision.alternatives.combinations()
            for p in decision.alternatives.problem_of(o).pools
        }
    )
    names = ["cost", "shared_bytes"]
    base = decision.alternatives.problem
    names += ["tile_bytes"] if any("tile" in map(str, b.locations) for b in base.buffers) else []
    names += ["local_and_persistent_bytes", "global_bytes", *(f"{n}_bytes" for n in pools), "moves"]
    return tuple(found.get(name, 0) for name in names)


def tiny_alternatives(n, seeds):
    """Yield seeds with random alternatives of n buffers, every other one with pools."""
    for seed in range(seeds):
        problem = tiny_problem(seed, n)
        problem = with_pools(problem, seed) if seed % 2 else problem
        alternatives = alternatives_of(problem, seed)
        if alternatives is not None:
            yield seed, alternatives


@pytest.mark.parametrize(("n", "seeds"), [(2, 40), (3, 50), (4, 30), (5, 8), (6, 3)])
def test_brute_force_finds_nothing_better(n, seeds):
    """Up to six buffers with tiles, pools and choices: what trying everything finds, proven."""
    compared = impossible = 0
    for seed, alternatives in tiny_alternatives(n, seeds):
        try:
            found = decide(alternatives)
        except PlanInfeasible:
            assert best_by_brute_force(alternatives) is None, (n, seed)
            impossible += 1
            continue
        assert found.status is Status.OPTIMAL
        assert values_of(found) == best_by_brute_force(alternatives), (n, seed)
        compared += 1
    assert compared > seeds / 3


@pytest.mark.parametrize(("n", "seeds"), [(2, 40), (3, 30), (4, 12)])
def test_a_combination_that_fits_is_found_exactly_where_there_is_one(n, seeds):
    """By brute force; what is claimed beyond is true, and not better than the best."""
    found = impossible = 0
    for seed, alternatives in tiny_alternatives(n, seeds):
        best = best_by_brute_force(alternatives)
        try:
            first = decide(alternatives, fits=True)
        except PlanInfeasible:
            assert best is None, (n, seed)
            impossible += 1
            continue
        assert best is not None, (n, seed)
        assert values_of(first) >= best, (n, seed)
        assert (values_of(first) == best) or first.status is Status.FEASIBLE
        assert Decision.from_json(first.to_json()) == first
        found += 1
    assert found > seeds / 3
    assert impossible


def test_the_first_that_fits_is_enough():
    """The least cost comes first, and what it leaves is not looked at; options are checked."""
    first = decide(ALTERNATIVES, fits=True)
    assert first.picked["factors"] == "f64"
    looked = [outcome for outcome in first.outcomes if outcome.values is not None]
    assert len(looked) == 1
    notes = {outcome.note.partition(" ")[0] for outcome in first.outcomes if not outcome.values}
    assert notes <= {"not", "costs", "`lu`"}
    with pytest.raises(TypeError, match="fits must be True or False, got 7"):
        decide(ALTERNATIVES, fits=7)
    with pytest.raises(ValueError, match="effort must be a number"):
        decide(ALTERNATIVES, effort="much")


@pytest.mark.parametrize("part", range(100))
def test_ten_thousand_random_decisions_pass_the_checker(part):
    """Tiles, pools and choices together: what is decided is accepted, and so is its file."""
    made = 0
    for seed in range(100 * part, 100 * (part + 1)):
        problem = with_pools(kernel_problem(seed, 3 + seed % 8), seed)
        alternatives = alternatives_of(problem, seed)
        if alternatives is None:
            continue
        try:
            found = decide(alternatives, effort=0.01)
        except PlanInfeasible:
            continue
        check(found.plan.problem, found.plan)
        check_decision(found)
        made += 1
        if seed % 20 == 0:
            assert Decision.from_json(found.to_json()) == found
    assert made > 40


def test_options_places_and_offsets_are_decided_together():
    """Blocks of 128 have no room for all; 64 cost 1, and are cheaper than the other form."""
    assert DECISION.status is Status.OPTIMAL
    assert DECISION.picked == {"factors": "f64", "form": "k", "block": "64"}
    assert [(level.name, level.value) for level in DECISION.levels] == [
        ("cost", 1),
        ("shared_bytes", 192),
        ("local_and_persistent_bytes", 0),
    ]
    assert DECISION.plan.limits.block_size == 64
    said = decision_text(DECISION)
    assert said.splitlines()[2].split() == ["f64", "k", "64", "1", "192", "0", "picked"]
    assert "impossible: `lu`" in said
    assert "costs at least 2, more than what was picked" in said
    assert said.endswith("local and persistent bytes: 0 (proven)")


def test_bytes_that_only_others_need_are_out():
    """A combination is proven worse by bytes of a place that the picked one has no level for."""
    scratch = Pool("scratch", 8, "block", 1)
    buffers = [
        Buffer("a", 1, "u1", locations=("tile", scratch)),
        Buffer("held", 1, "u4", locations="tile"),
        Buffer("b", 1, "u4", locations=("shared", "local"), pin="shared"),
    ]
    off = Option("off", 2, buffers={"b": {"enabled": False}})
    used = Choice("use", [off, Option("as it is")])
    found = decide(Alternatives(Problem(buffers, Limits(64)), [used]))
    assert found.picked == {"use": "off"}
    assert found.status is Status.OPTIMAL
    assert Decision.from_json(found.to_json()) == found


def test_what_cheaper_options_cost_in_places_counts():
    """An option of 2 is worth it where it keeps two buffers out of a pool that costs 3 each."""
    dear = Pool("dear", cost=1.5)
    buffers = [Buffer(n, 4, "f8", locations=("shared", dear)) for n in "ab"]
    wide = Problem(buffers, Limits(32))
    single = Option("f32", 2, buffers={n: {"dtype": "f4"} for n in "ab"})
    found = decide(Alternatives(wide, [Choice("precision", [Option("f64"), single])]))
    assert found.picked == {"precision": "f64"}  # 2 + 3 against 2 + 2 + 2
    found = decide(
        Alternatives(wide, [Choice("precision", [Option("f64"), evolve(single, cost=0)])])
    )
    assert found.picked == {"precision": "f32"}
    assert found.levels[0].value == 4


def test_a_changed_buffer_keeps_what_it_asked_for():
    """Natural alignments stay natural, those asked for stay, shapes and layouts are kept."""
    buffers = [
        Buffer("a", 4, "f8"),
        Buffer("b", 4, "f8", alignment=16),
        Buffer("c", (4, 4), "f8", layout=Padding(1)),
        Buffer("d", (4, 4), "f8"),
    ]
    changes = {
        "a": {"dtype": "f4"},
        "b": {"dtype": "f4"},
        "c": {"layout": None},
        "d": {"n_elements": 8},
    }
    choice = Choice("x", [Option("plain"), Option("changed", buffers=changes)])
    made = Alternatives(Problem(buffers), [choice]).problem_of({"x": "changed"}).by_name
    assert (made["a"].alignment, made["b"].alignment) == (4, 16)
    assert (made["c"].n_elements, made["c"].shape) == (16, (4, 4))
    assert (made["d"].n_elements, made["d"].shape) == (8, None)


def replaced(**changes):
    return evolve(DECISION, **changes)


def with_outcome(index, **changes):
    outcomes = list(DECISION.outcomes)
    outcomes[index] = evolve(outcomes[index], **changes)
    return replaced(outcomes=tuple(outcomes))


PICKED = next(i for i, o in enumerate(DECISION.outcomes) if o.picked == DECISION.picked)
BROKEN = {
    "choice": lambda: replaced(picked={"factors": "f64"}),
    "choice (unknown)": lambda: replaced(picked={**DECISION.picked, "form": "other"}),
    "problem": lambda: replaced(picked={**DECISION.picked, "form": "sums"}),
    "problem (limits)": lambda: replaced(plan=plan(PROBLEM)),
    "overlap": lambda: replaced(
        plan=evolve(
            DECISION.plan,
            placements={
                **DECISION.plan.placements,
                "k1": evolve(
                    DECISION.plan.placements["k1"], offset=DECISION.plan.placements["lu"].offset
                ),
            },
        )
    ),
    "claims": lambda: replaced(levels=(Level("cost", 0, 0), *DECISION.levels[1:])),
    "claims (bound)": lambda: replaced(
        levels=(evolve(DECISION.levels[0], bound=0), *DECISION.levels[1:])
    ),
    "claims (proof)": lambda: with_outcome(0, impossible=False),
    "outcomes": lambda: replaced(outcomes=DECISION.outcomes[1:]),
    "outcomes (twice)": lambda: with_outcome(0, picked=DECISION.outcomes[1].picked),
    "outcomes (better)": lambda: with_outcome(
        3, values={"cost": 0, "shared_bytes": 8}, bounds={"cost": 0}
    ),
    "outcomes (bound)": lambda: with_outcome(PICKED, bounds={"cost": 2}),
    "outcomes (both)": lambda: with_outcome(PICKED, impossible=True),
    "outcomes (none)": lambda: with_outcome(PICKED, values=None),
    "outcomes (other)": lambda: with_outcome(
        PICKED, values={**(DECISION.outcomes[PICKED].values or {}), "cost": 2}
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_decision_names_the_rule(case):
    """Each decision that was broken by hand is refused by the rule it breaks."""
    with pytest.raises(PlanRejected) as refused:
        check_decision(BROKEN[case]())
    assert refused.value.rule == case.split(" ")[0]


def test_levels_are_proven_only_where_every_combination_is():
    """A combination that might be better leaves its level open, and all that follow."""
    reached = {"cost": 4, "shared_bytes": 100}
    picked = evolve(DECISION.outcomes[PICKED], values=reached, bounds=reached)

    def bounds(**other):
        rival = evolve(picked, **other)
        return [level.bound for level in joint_levels(reached, (picked, rival))]

    assert bounds(values=None, bounds={"cost": 5}) == [4, 100]
    assert bounds(values=None, bounds={"cost": 4, "shared_bytes": 101}) == [4, 100]
    assert bounds(values=None, bounds={"cost": 4}) == [4, 0]
    assert bounds(values=None, bounds={"cost": 3, "shared_bytes": 200}) == [3, 0]
    assert bounds(values=None, bounds={}, impossible=True) == [4, 100]
    worse = {"cost": 6, "shared_bytes": 10}
    assert bounds(values=worse, bounds={"cost": 4, "shared_bytes": 10}) == [4, 10]
    assert bounds(values=worse, bounds={"cost": 5, "shared_bytes": 10}) == [4, 100]


def test_a_search_that_ends_early_claims_nothing():
    """With no effort a plan may be found, but not proven: the decision says so."""
    problem = kernel_problem(26, 40)
    choice = Choice("x", [Option("a"), Option("b", 0, limits={"pad_banks": False})])
    found = decide(Alternatives(problem, [choice]), effort=0.0001)
    separate = [
        plan(Alternatives(problem, [choice]).problem_of({"x": n}), effort=0.0001) for n in "ab"
    ]
    proven = all(made.status is Status.OPTIMAL for made in separate)
    assert (found.status is Status.OPTIMAL) <= proven


def test_nothing_possible_is_an_error_with_its_reason():
    """Where no combination has a plan the error says so, and why of the first."""
    big = Problem([Buffer("a", 64, "f8", locations="shared")], Limits(256), "shared")
    choice = Choice("type", [Option("f8"), Option("f4", 1, buffers={"a": {"dtype": "f4"}})])
    tight = evolve(big, limits=Limits(128))
    assert decide(Alternatives(big, [choice])).picked == {"type": "f4"}
    with pytest.raises(PlanInfeasible) as error:
        decide(Alternatives(tight, [choice]))
    assert str(error.value).startswith(
        "none of 2 combinations of options has a plan; with type = f8: `a` (512 B"
    )
    assert error.value.core == ("a", "max_shared")


def test_a_file_gives_the_same_decision():
    """What is written is read back the same, pools that only an option names included."""
    assert Decision.from_json(DECISION.to_json()) == DECISION
    near = Pool("near", 1024)
    moved = Option("near", buffers={"lu": {"locations": [near], "pin": near}})
    shape = Option("shape", 1, buffers={"lu": {"n_elements": (4, 4), "layout": Padding(1)}})
    alias = Option("view", 1, buffers={"k2": {"aliases": ["k1"]}, "lu": {"pin": "local"}})
    given = Alternatives(PROBLEM, [Choice("lu", [moved, shape, alias])])
    found = decide(given)
    assert found.plan.placements["lu"].location == near
    again = Decision.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert [again.alternatives.problem_of(p) for p in given.combinations()] == [
        given.problem_of(p) for p in given.combinations()
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "cubie-plan/2"}, "format"),
        ({"picked": 3}, "picked"),
        ({"levels": [{"name": "cost"}]}, "lacks"),
        ({"outcomes": [{}]}, "lacks"),
        ({"alternatives": {}}, "lacks"),
        ({"more": 1}, "more"),
    ],
)
def test_odd_files_are_refused(change, said):
    """A file that was damaged, or is none, is told apart from a decision that is wrong."""
    body = {**json.loads(DECISION.to_json()), **change}
    with pytest.raises(FormatError):
        Decision.from_json(json.dumps(body))
    body["seal"] = _seal(body)
    with pytest.raises((FormatError, PlanRejected), match=said):
        Decision.from_json(json.dumps(body))
    with pytest.raises(FormatError, match="not JSON"):
        Decision.from_json("decision")


F4 = {"dtype": "f4"}
ODD = {
    "no choice": (lambda: Alternatives(PROBLEM, []), "at least one"),
    "no option": (lambda: Choice("c", []), "among Option objects"),
    "two of a name": (lambda: Choice("c", [Option("a"), Option("a")]), "two options `a`"),
    "choices of a name": (lambda: Alternatives(PROBLEM, [FORM, FORM]), "two choices are named"),
    "cost": (lambda: Option("a", -1), "cost of option `a`"),
    "name": (lambda: Option(""), "name of the option"),
    "changes": (lambda: Option("a", buffers={"lu": 3}), "told by name and field"),
    "limits": (lambda: Option("a", limits=3), "changes of limits are a mapping"),
    "problem": (lambda: Alternatives(BUFFERS, [FORM]), "are of a Problem"),
    "buffer": (
        lambda: Alternatives(PROBLEM, [Choice("c", [Option("a", buffers={"lo": F4})])]),
        r"changes the buffer `lo` \(did you mean 'lu'",
    ),
    "field": (
        lambda: Alternatives(PROBLEM, [Choice("c", [Option("a", buffers={"lu": {"dtyp": 1}})])]),
        r"field of a buffer `dtyp` \(did you mean 'dtype'",
    ),
    "renamed": (
        lambda: Alternatives(PROBLEM, [Choice("c", [Option("a", buffers={"lu": {"name": "x"}})])]),
        "changes the field of a buffer `name`",
    ),
    "limit": (
        lambda: Alternatives(PROBLEM, [Choice("c", [Option("a", limits={"blocksize": 1})])]),
        r"limit `blocksize` \(did you mean 'block_size'",
    ),
    "value": (
        lambda: Alternatives(PROBLEM, [Choice("c", [Option("a", limits={"block_size": 0})])]),
        "with c = a: block_size must be",
    ),
    "both": (
        lambda: Alternatives(PROBLEM, [BLOCK, evolve(BLOCK, name="again")]),
        "the choices `block` and `again` both change block_size",
    ),
    "many": (
        lambda: Alternatives(
            PROBLEM, [Choice(f"c{i}", [Option("a"), Option("b")]) for i in range(13)]
        ),
        "8192 combinations",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_alternatives_that_cannot_be_are_refused(case):
    """By name, with what was given and what is allowed."""
    make, said = ODD[case]
    with pytest.raises((ProblemError, BufferError), match=said):
        make()


def test_costs_that_count_different_things_are_not_added():
    """Points and cycles of a card cannot be compared; and decide takes alternatives alone."""
    limits = Limits(None, 64, compute_capability=(9, 0))
    problem = Problem([Buffer(f"b{i}", 80, "f8") for i in range(12)], limits)
    fewer = {b.name: {"n_elements": 1} for b in problem.buffers}
    choice = Choice("size", [Option("large"), Option("small", buffers=fewer)])
    with pytest.raises(ProblemError, match="cannot be compared"):
        decide(Alternatives(problem, [choice]))
    with pytest.raises(TypeError, match="decide takes Alternatives"):
        decide(problem)
    local = evolve(problem, policy="local")
    assert decide(Alternatives(local, [choice])).picked == {"size": "small"}
    assert decide(Alternatives(local, [choice])).plan.placements["b0"].location is Location.LOCAL
