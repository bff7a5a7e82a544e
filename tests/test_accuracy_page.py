"""docs/accuracy.md shows the kept results, and what it says of them holds."""

import json

import pytest
from benchmarks.accuracy import IMPLICIT_PEERS, KEPT, PEERS, TOLERANCES, methods, tolerances_of
from benchmarks.accuracy_docs import PAGE, problem_table, sections
from benchmarks.accuracy_problems import (
    NOT_STIFF,
    OVER_BUDGET,
    PEER_BUDGET,
    STEP_BUDGET,
    problem_errors,
    tried,
)
from benchmarks.accuracy_problems import tolerances_of as tolerances_of_problem
from benchmarks.documents import RESULTS, read_section

from cubie.tableaus import get_tableau
from tests.oracle.stiff_problems import STIFF_BY_NAME


@pytest.fixture(scope="module")
def kept():
    """What the command kept."""
    return json.loads((RESULTS / KEPT).read_text(encoding="utf-8"))


def test_the_page_is_what_the_kept_results_say(kept):
    """Each section is what the command writes from the raw data now."""
    for name, text in sections(kept).items():
        assert read_section(PAGE, name) == text.strip(), name


def test_every_adaptive_method_is_on_the_page(kept):
    """All methods with an error estimate, at all tolerances, beside SciPy's."""
    assert set(kept["random"]) == {method.name for method in methods()}
    assert set(kept["peers"]) == set(PEERS)
    for method in methods():
        assert list(kept["random"][method.name]) == [f"{t:.0e}" for t in tolerances_of(method)]
    assert (TOLERANCES[0], TOLERANCES[-1]) == (1e-3, 1e-11)


def test_no_error_on_random_systems_is_above_a_hundred_tolerances(kept):
    """The first thing that the page says, of every run."""
    for name, found in kept["random"].items():
        for tolerance, one in found.items():
            assert max(one["worst"]) < 100, (name, tolerance)
            assert one["unsolved"] == 0


def test_every_method_is_tried_on_every_problem_that_it_is_meant_for(kept):
    """All problems of docs/implicit.md, at all tolerances, beside SciPy's methods."""
    for problem in STIFF_BY_NAME:
        ours, peers = kept["problems"][problem], kept["problem_peers"][problem]
        assert set(ours) == {m.name for m in methods() if tried(m, problem)}
        assert set(peers) == set(PEERS if problem in NOT_STIFF else IMPLICIT_PEERS)
        tolerances = [f"{t:.0e}" for t in tolerances_of_problem(problem)]
        assert all(list(found) == tolerances for found in (*ours.values(), *peers.values()))
    assert {m.name for m in methods()} == set().union(*kept["problems"].values())


def test_the_page_states_the_budgets():
    """What is not tried because it takes too many steps is said to be so, with the number."""
    text = PAGE.read_text(encoding="utf-8")
    assert f"{STEP_BUDGET:,} steps" in text
    assert f"{PEER_BUDGET:,} evaluations" in text


def test_what_takes_more_steps_than_the_budget_is_said_to():
    """A tolerance that would exceed the budget is not tried, and cells say where they end."""
    found = problem_errors(STIFF_BY_NAME["hires"], get_tableau("crank_nicolson"))
    assert found["1e-11"] == OVER_BUDGET
    assert all(isinstance(found[at], float) for at in ("1e-03", "1e-05", "1e-07"))
    row = {"crank_nicolson": found}
    nothing = {"problem_peers": {}, "peers": {}, "amplification": {"hires": 1.0}}
    data = {"problems": {"hires": row}, "random": row, **nothing}
    assert " (to 1e-0" in problem_table(data, amplified=False)


def test_no_run_of_the_problems_failed(kept):
    """All ended, or would have taken more steps than they may."""
    for found in kept["problems"].values():
        for errors in found.values():
            assert all(x == OVER_BUDGET for x in errors.values() if isinstance(x, str))


def test_no_error_on_the_problems_is_above_a_hundred_amplified_tolerances(kept):
    """The same of the problems of docs/implicit.md, over what each amplifies."""
    for problem, found in kept["problems"].items():
        for method, errors in found.items():
            ratios = [error for error in errors.values() if isinstance(error, float | int)]
            worst = max(ratios, default=0.0) / kept["amplification"][problem]
            assert worst < 100, (problem, method)
