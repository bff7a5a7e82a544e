"""The packing: same optimum as brute force, honest statuses, clear errors."""

import subprocess
import sys

import pytest
from packing_oracle import (
    fault,
    first_overlap,
    lowest_height,
    random_kernel,
    random_problem,
    tiling,
)

from cubie_planner.basics import Status
from cubie_planner.packing import PackingError, PackingProblem, pack, packer
from cubie_planner.packing.search import branching, runs
from cubie_planner.packing.search import state as words
from cubie_planner.packing.search.runs import Search
from cubie_planner.packing.sections import Sections


def agree_with_brute_force(seed, most):
    """Compare the minimum, and the answers just below and at it."""
    problem = random_problem(seed, most)
    top = min(sum(problem.sizes) + sum(problem.alignments) + 30, 60)
    height = lowest_height(problem, top)
    found = pack(problem)
    if height is None:
        assert found.status is Status.INFEASIBLE, seed
        return
    assert (found.status, found.height, found.lower_bound) == (Status.OPTIMAL, height, height), seed
    assert fault(problem, found.offsets, height) is None, seed
    if height:
        below = pack(problem, height - 1)
        assert below.status is Status.INFEASIBLE
        assert below.offsets is None
        assert below.lower_bound >= height
    assert fault(problem, pack(problem, height).offsets, height) is None, seed


@pytest.mark.parametrize("most", [3, 4, 5])
def test_minimum_is_that_of_brute_force(most):
    """Every feature together, a few items: height, status and bound are exact."""
    for seed in range(200):
        agree_with_brute_force(1000 * most + seed, most)


def test_minimum_is_that_of_brute_force_for_six():
    """The same for up to six items."""
    for seed in range(60):
        agree_with_brute_force(9000 + seed, 6)


def test_search_alone_is_exact(monkeypatch):
    """Without any greedy packing the search finds and proves the same."""
    monkeypatch.setattr(packer, "greedy", lambda items, sections, enough: None)
    for seed in range(300):
        agree_with_brute_force(20000 + seed, 5)


@pytest.mark.parametrize("rule", runs.RULES)
def test_every_rule_gives_the_same_optimum(rule, monkeypatch):
    """Which section is worked on changes the time only."""
    monkeypatch.setattr(runs, "RULES", (rule,))
    monkeypatch.setattr(packer, "greedy", lambda items, sections, enough: None)
    for seed in range(60):
        agree_with_brute_force(30000 + seed, 5)


def test_kernel_sized_packings_are_proven():
    """Plain problems of a few dozen items end with a proof."""
    for count in (12, 25, 40, 60):
        for seed in range(4):
            problem = random_kernel(seed, count, gaps=False)
            found = pack(problem)
            assert found.status is Status.OPTIMAL
            assert fault(problem, found.offsets, found.lower_bound) is None


def test_all_features_keep_every_rule():
    """With gaps, nesting and pins the packing is valid and never below its bound."""
    for count in (12, 25, 40):
        for seed in range(6):
            problem = random_kernel(seed, count, nested=True, pinned=True)
            found = pack(problem, node_limit=300)
            if found.offsets is not None:
                assert fault(problem, found.offsets, found.height) is None
                assert found.height >= found.lower_bound
                assert (found.status is Status.OPTIMAL) == (found.gap == 0)


def test_exact_tilings_are_found():
    """A rectangle without any waste is put together again."""
    for seed in range(5):
        problem = tiling(seed, 40, 60, 500)
        found = pack(problem, 500)
        assert fault(problem, found.offsets, 500) is None


def test_compiled_search_takes_the_same_steps():
    """The interpreter and numba's program agree in outcome, offsets and number of nodes."""
    for problem, capacity in ((tiling(1, 70, 60, 500), 500), (random_kernel(3, 40, True), 700)):
        items = problem.items()
        runs = []
        for compiled in (False, True):
            search = Search(items, Sections.of(items), compiled)
            outcome = search.run(capacity, 400)
            runs.append((outcome.solved, outcome.offsets, search.nodes))
        assert runs[0] == runs[1]


def test_result_depends_on_nothing_but_the_problem():
    """Packing twice gives the same offsets, nodes and bound."""
    problem = random_kernel(5, 60, nested=True)
    assert pack(problem, node_limit=500) == pack(problem, node_limit=500)


def test_limit_reached_is_not_called_infeasible():
    """Without nodes a packing that greedy misses is unknown, or feasible with a gap."""
    problem = tiling(2, 40, 60, 500)
    assert pack(problem, 500, node_limit=0).status is Status.UNKNOWN
    found = pack(problem, node_limit=0)
    assert found.status is Status.FEASIBLE
    assert found.gap > 0


def test_child_that_outlives_its_parent_needs_its_bytes_for_itself():
    """A child alive after its parent excludes others from its bytes only."""
    problem = PackingProblem(
        sizes=[8, 4, 4],
        alignments=[4, 4, 4],
        lifetimes=[[(0, 2)], [(1, 4)], [(2, 4)]],
        parents=[-1, 0, -1],
    )
    found = pack(problem)
    assert (found.height, found.status) == (8, Status.OPTIMAL)
    assert fault(problem, found.offsets) is None


def test_items_that_exclude_each_other_in_pairs_raise_the_bound():
    """Three lifetimes with gaps meet in pairs, never all at once: no two may overlap."""
    lifetimes = [[(0, 1), (4, 5)], [(0, 1), (2, 3)], [(2, 3), (4, 5)]]
    found = pack(PackingProblem([4, 4, 4], [4, 4, 4], lifetimes))
    assert (found.height, found.lower_bound, found.engine) == (12, 12, "greedy")


def test_gap_under_a_pin_is_used():
    """What fits below a pinned item goes there."""
    problem = PackingProblem([8, 16], [8, 8], [None, None], fixed_offsets=[16, -1])
    assert pack(problem).offsets == (16, 0)


def test_clashing_pins_are_infeasible_without_capacity():
    """Two pinned items that overlap while alive together can never be packed."""
    problem = PackingProblem([8, 8], [4, 4], [[(0, 2)], [(1, 3)]], fixed_offsets=[0, 4])
    assert pack(problem).status is Status.INFEASIBLE


def test_nothing_to_pack():
    """No items, and items of no bytes, need no room."""
    assert pack(PackingProblem([], [], [])).height == 0
    empty = pack(PackingProblem([0, 0], [4, 4], [None, None], fixed_offsets=[8, -1]))
    assert (empty.height, empty.status) == (0, Status.OPTIMAL)


def test_kernel_sized_problems_load_no_compiler():
    """Packing a kernel imports neither numba nor ortools."""
    code = (
        "import sys; sys.path.insert(0, 'tests/planner')\n"
        "from packing_oracle import random_kernel\n"
        "from cubie_planner.packing import pack\n"
        "pack(random_kernel(1, 60, True, True))\n"
        "assert not {'numba', 'ortools', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_huge_problems_are_answered():
    """Far too many overlaps for the search: first fit in many orders, with an honest gap."""
    count = 20_000
    problem = PackingProblem(
        [16 + 16 * (i % 7) for i in range(count)],
        [16] * count,
        [[(i, i + 1000 + i % 13)] for i in range(count)],
    )
    found = pack(problem)
    assert found.engine == "first fit"
    assert found.lower_bound <= found.height
    assert first_overlap(problem, found.offsets) is None
    assert not any(offset % 16 for offset in found.offsets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [-1, 4]}, "item 0: size must be an integer >= 0, got -1"),
        ({"sizes": [1.5, 4]}, "item 0: size must be an integer >= 0, got 1.5"),
        ({"sizes": [2**60, 4]}, "add up to more than"),
        ({"alignments": [3, 4]}, "item 0: alignment must be a power of two, got 3"),
        ({"alignments": [4]}, "alignments has 1 entries for 2 sizes"),
        ({"lifetimes": [[(2, 2)], None]}, r"item 0: interval \(2, 2\) is not"),
        ({"lifetimes": [[(0, 3), (2, 4)], None]}, "item 0: intervals must be sorted"),
        ({"lifetimes": [[], None]}, "item 0: a lifetime needs an interval"),
        ({"fixed_offsets": [-2, -1]}, "item 0: fixed_offsets must be >= 0"),
        ({"parents": [1, 0]}, "item 0: is its own ancestor"),
        ({"parents": [2, -1]}, "item 0: parent must be an index below 2 or -1, got 2"),
        ({"parent_offsets": [4, -1]}, "item 0: an offset inside the parent was given"),
    ],
)
def test_bad_input_is_refused(changes, message):
    """Errors name the item, what was given and what is allowed."""
    given = {"sizes": [4, 4], "alignments": [4, 4], "lifetimes": [None, None]} | changes
    with pytest.raises(PackingError, match=message):
        PackingProblem(**given)


def test_source_of_the_search_is_complete():
    """Every function of the search is handed to the compiler, and every file to its cache."""
    defined = {
        name
        for module in runs.SOURCES
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    }
    helpers = {helper.__name__ for helper in branching.HELPERS}
    assert defined - helpers == {"Tables", "State", "search"}
    files = {helper.__module__ for helper in branching.HELPERS} | {words.__name__}
    assert files == {module.__name__ for module in runs.SOURCES}


def test_a_change_of_any_source_is_noticed(monkeypatch):
    """What the compiled program captures differs if one file of the search does."""
    before = runs._digest_of_sources()
    for i, module in enumerate(runs.SOURCES):
        changed = [*runs.SOURCES]
        changed[i] = packer
        monkeypatch.setattr(runs, "SOURCES", tuple(changed))
        assert runs._digest_of_sources() != before, module.__name__
    assert "sources" in runs._program().py_func.__code__.co_freevars
