"""The planner's pages are true: their code runs in the simulator and prints what they say."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import KERNELS, PAGES, blocks, outputs, resources, table, written_table


@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_says(page, tmp_path):
    """All blocks in order, as a reader would save them; each output is the text after it."""
    found = blocks(page)
    assert [kind for kind, _ in found] == ["python", "text"] * (len(found) // 2)
    said = [body for kind, body in found if kind == "text"]
    assert outputs(page, tmp_path) == said
    assert any("True" in text for text in said) or page == "planner-places.md"


def test_the_kernels_compile_to_what_their_page_says(tmp_path):
    """Assembled for sm_90: registers, stack and spills; and no more bytes than by hand."""
    pytest.importorskip("cuda.bindings.nvjitlink")
    rows = resources(tmp_path)
    assert [row[0] for row in rows] == list(KERNELS)
    for _, planned, by_hand, *_ in rows:
        assert int(planned) <= int(by_hand)
    assert table(rows) == written_table()
