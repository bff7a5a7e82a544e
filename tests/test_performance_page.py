"""docs/performance.md shows the kept results, all of them, and nothing else."""

from benchmarks.documents import read_section
from benchmarks.performance_docs import PAGE, sections


def test_the_page_is_what_the_kept_results_say():
    """Each section is what the command writes from the raw data now."""
    for name, text in sections().items():
        assert read_section(PAGE, name) == text.strip(), name


def test_the_timings_are_of_one_clean_commit():
    """A reader can check out what was measured."""
    told = read_section(PAGE, "conditions")
    assert "Not all works" not in told
    assert "at commit " in told
    assert "dirty" not in told
