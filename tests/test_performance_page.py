"""docs/performance.md shows the kept results, all of them, and nothing else."""

from benchmarks.documents import read_section
from benchmarks.performance_docs import PAGE, sections


def test_the_page_is_what_the_kept_results_say():
    """Each section is what the command writes from the raw data now."""
    for name, text in sections().items():
        assert read_section(PAGE, name) == text.strip(), name
