"""docs/accuracy.md shows the kept results, and what it says of them holds."""

import json

import pytest
from benchmarks.accuracy import KEPT, PEERS, TOLERANCES, methods, tolerances_of
from benchmarks.accuracy_docs import PAGE, sections
from benchmarks.documents import RESULTS, read_section


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


def test_no_error_on_the_problems_is_above_a_hundred_amplified_tolerances(kept):
    """The same of the problems of docs/implicit.md, over what each amplifies."""
    for problem, found in kept["problems"].items():
        for method, errors in found.items():
            ratios = [error for error in errors.values() if isinstance(error, float | int)]
            worst = max(ratios, default=0.0) / kept["amplification"][problem]
            assert worst < 100 or method.startswith("SciPy"), (problem, method)
