"""The benchmark's tables get to their places in the planner's page."""

import re

import pytest
from benchmarks import planner_docs
from benchmarks.documents import read_section

ROW = {"seed": 0, "status": "optimal", "gap": 0.0, "cpu": 0.0125}
ENTRY = {
    "buffers": 12,
    "rows": [ROW],
    "statuses": {"optimal": 1},
    "median": 0.0125,
    "longest": 0.0125,
    "gap": 0.25,
    "median_wall": 0.5,
    "longest_wall": 0.75,
}


def test_a_table_replaces_the_one_before(tmp_path):
    """Only the parts that were run change, and writing twice gives the same page."""
    page = tmp_path / "planner.md"
    page.write_text(planner_docs.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    planner_docs.write({"joint": [ENTRY]}, page)
    once = page.read_text(encoding="utf-8")
    assert re.search(r"\| 12 +\| 1 +\| 1 optimal +\| 12\.5 +\| 0\.01 +\| 25\.0 %", once)
    planner_docs.write({"joint": [ENTRY]}, page)
    assert page.read_text(encoding="utf-8") == once
    assert read_section(page, "fresh") == read_section(planner_docs.PAGE, "fresh")


def test_a_page_without_the_place_is_refused(tmp_path):
    """Nothing is lost silently when the page has no place for a table."""
    page = tmp_path / "planner.md"
    page.write_text("# The planner\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"planner\.md has no section between '<!-- joint: begin"):
        planner_docs.write({"joint": [ENTRY]}, page)


def test_the_page_holds_every_table():
    """No table of the page is empty."""
    for part in planner_docs.TABLES:
        least = 1 if part == "conditions" else 3
        assert len(read_section(planner_docs.PAGE, part).splitlines()) >= least, part
