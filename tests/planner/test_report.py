"""Tables and pictures of a plan."""

import pytest

from cubie_planner import Alias, Buffer, Limits, Location, Problem, plan
from cubie_planner.report import COLUMNS, plot, rows, savings, table, text, tiles, totals

PLAN = plan(
    Problem(
        [
            Buffer("loop.state", 8, "f4", pin="shared"),
            Buffer("loop.rhs", 8, "f4", lifetime=((1, 3),)),
            Buffer("loop.part", 2, "f4", lifetime=((2, 3),), aliases=[Alias("loop.rhs", 8)]),
            Buffer("loop.late", 6, "f4", lifetime=((0, 1), (4, 5))),
            Buffer("loop.cache", 2, "f8", pin="local_persistent"),
            Buffer("loop.count", 2, "i4", pin="local"),
        ],
        Limits(4096, 8),
        "shared",
    )
)


def test_table_has_a_row_per_buffer():
    """Every buffer has a row with place, offset, bytes, lifetime, alias, pin and reason."""
    found = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(PLAN)}
    assert list(found) == list(PLAN.placements)
    assert found["loop.part"]["alias"] == "loop.rhs +8"
    assert found["loop.part"]["lifetime"] == "2-3"
    assert found["loop.late"]["lifetime"] == "0-1 4-5"
    assert found["loop.state"]["lifetime"] == "always"
    assert found["loop.state"]["pin"] == "shared"
    assert found["loop.count"]["offset"] == ""
    assert found["loop.rhs"]["why"] == "policy 'shared'"


def test_totals_say_what_reuse_saves_and_what_is_proven():
    """The lines below the table add up."""
    saved = savings(PLAN)
    assert saved.without_reuse == 96
    assert saved.by_aliases == 8
    assert saved.by_lifetimes == 24
    assert PLAN.shared_bytes_per_run == 64
    lines = "\n".join(totals(PLAN))
    assert "per run: shared 64 B (stride 68 B), local 8 B, persistent 16 B" in lines
    assert "per block of 8: shared 544 B, 13 % of the limit of 4096 B" in lines
    assert "saved per run: lifetimes 24 B, aliases 8 B (of 96 B without reuse)" in lines
    assert "shared bytes: 64 (proven)" in lines


def test_text_and_rich_table_show_the_same():
    """The plain text holds every cell, and the rich table as many rows."""
    plain = text(PLAN)
    assert all(cell in plain for row in rows(PLAN) for cell in row)
    assert table(PLAN).row_count == len(PLAN.placements)


def test_tiles_nest_aliases():
    """The map has one rectangle per placement and interval; children are nested deeper."""
    drawn = tiles(PLAN, Location.SHARED)
    assert [t.depth for t in drawn if t.name == "loop.part"] == [1]
    assert len([t for t in drawn if t.name == "loop.late"]) == 2
    part = next(t for t in drawn if t.name == "loop.part")
    rhs = next(t for t in drawn if t.name == "loop.rhs")
    assert rhs.start <= part.start < part.end <= rhs.end


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("dark", [False, True])
def test_plot_writes_a_picture(tmp_path, suffix, dark):
    """The memory map is written in the format of its suffix, on light or dark ground."""
    path = tmp_path / f"map.{suffix}"
    plot(PLAN, path, dark=dark)
    assert path.stat().st_size > 5000


def test_plot_of_an_all_local_plan(tmp_path):
    """A plan without any arena still gives a picture that says so."""
    path = tmp_path / "map.svg"
    plot(plan(Problem([Buffer("a", 1, "f4")], Limits(), "local")), path)
    assert path.exists()
