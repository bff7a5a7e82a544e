"""Tables and pictures of a plan."""

import subprocess
import sys

import pytest

from cubie_planner import Alias, Buffer, Limits, Location, Problem, plan
from cubie_planner.plans.cells import COLUMNS, rows
from cubie_planner.report import plot, savings, table, text, totals
from cubie_planner.report.memory_map import arenas, ticks, tiles
from cubie_planner.report.tables import TEXT_COLUMNS

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


def test_offsets_that_leave_holes_save_nothing():
    """Where pinned offsets cost more than lifetimes save, nothing negative is told."""
    buffers = [
        Buffer("a", 2, "f4", pin="shared", offset=0),
        Buffer("b", 2, "f4", pin="shared", offset=16),
    ]
    made = plan(Problem(buffers, Limits(4096), "shared"))
    saved = savings(made)
    assert (saved.without_reuse, saved.by_lifetimes, saved.holes) == (16, 0, 8)
    assert "lifetimes 0 B, aliases 0 B (of 16 B without reuse); holes 8 B" in "\n".join(
        totals(made)
    )


def test_text_and_rich_table_show_the_same():
    """The plain text holds every cell of its columns, and the rich table as many rows."""
    plain = text(PLAN)
    shown = [COLUMNS.index(name) for name in TEXT_COLUMNS]
    assert all(row[i] in plain for row in rows(PLAN) for i in shown)
    assert table(PLAN).row_count == PLAN.table().row_count == len(PLAN.placements)


def test_table_takes_names_literally():
    """A name that looks like markup of the table library is shown as it is."""
    from rich.console import Console

    odd = plan(Problem([Buffer("[red]a[/blue]", 1, "f4")], Limits(), "local"))
    console = Console(width=300)
    with console.capture() as captured:
        console.print(odd.table())
    assert "[red]a[/blue]" in captured.get()


def test_tiles_nest_aliases():
    """The map has one rectangle per placement and interval; children are nested deeper."""
    drawn = tiles(PLAN, Location.SHARED, (0, 5))
    assert [t.depth for t in drawn if t.name == "loop.part"] == [1]
    assert len([t for t in drawn if t.name == "loop.late"]) == 2
    part = next(t for t in drawn if t.name == "loop.part")
    rhs = next(t for t in drawn if t.name == "loop.rhs")
    assert rhs.start <= part.start < part.end <= rhs.end


def test_names_are_written_where_no_child_hides_them():
    """A parent's name stands in the larger part of it that its children leave free."""
    rhs = next(t for t in tiles(PLAN, Location.SHARED, (0, 5)) if t.name == "loop.rhs")
    assert rhs.label_points == rhs.interval
    assert rhs.label_bytes == (rhs.start + 16, rhs.end)
    later = [Alias("whole", 0)]
    made = plan(
        Problem(
            [
                Buffer("whole", 4, "f4", lifetime=((0, 4),)),
                Buffer("late", 4, "f4", lifetime=((3, 4),), aliases=later, alias_required=True),
                Buffer("all", 4, "f4", lifetime=((0, 4),)),
                Buffer("hides", 4, "f4", lifetime=((0, 4),), aliases=["all"], alias_required=True),
            ],
            policy="shared",
        )
    )
    found = {t.name: t for t in tiles(made, Location.SHARED, (0, 4))}
    assert found["whole"].label_points == (0, 3)
    assert found["all"].label_points == (0, 4)


def test_maps_hold_every_byte_of_every_location():
    """All locations are mapped over the same program points, phases included."""
    found = {arena.location: arena for arena in arenas(PLAN, {"end": (5, 9)})}
    assert {place: arena.height_bytes for place, arena in found.items()} == {
        Location.SHARED: PLAN.shared_bytes_per_run,
        Location.LOCAL_PERSISTENT: PLAN.persistent_bytes,
        Location.LOCAL: PLAN.local_bytes,
    }
    assert {arena.interval for arena in found.values()} == {(0, 9)}


def test_local_views_are_drawn_inside_their_parents():
    """Local arrays have no offset: they are stacked, and a view lies inside its parent."""
    view = Buffer("view", 2, "f4", aliases=[Alias("whole", 8)], alias_required=True)
    made = plan(Problem([Buffer("first", 1, "f4"), view, Buffer("whole", 8, "f4")], policy="local"))
    drawn = {t.name: (t.start, t.end) for t in tiles(made, Location.LOCAL, (0, 1))}
    assert drawn == {"first": (0, 4), "whole": (4, 36), "view": (12, 20)}


@pytest.mark.parametrize(
    ("span", "marks"), [((0, 1), [0, 1]), ((2, 9), [2, 4, 6, 8]), ((0, 99), [0, 20, 40, 60, 80])]
)
def test_axes_are_marked_at_round_numbers(span, marks):
    """There are few marks, a round step apart."""
    assert ticks(*span, most=5) == marks


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_plot_writes_a_picture(tmp_path, suffix, theme):
    """The memory map is written in the format of its suffix, on light or dark ground."""
    path = tmp_path / f"map.{suffix}"
    plot(PLAN, path, theme=theme, phases={"all": (0, 5)})
    assert path.stat().st_size > 5000


def test_plot_returns_its_figure_and_refuses_other_themes():
    """Without a path the figure is what a notebook shows; a wrong theme names the nearest."""
    assert len(PLAN.plot().axes) == 3
    with pytest.raises(ValueError, match=r"theme 'drak' is unknown \(did you mean 'dark'"):
        PLAN.plot(theme="drak")


def test_plot_of_a_plan_without_bytes(tmp_path):
    """A plan without any bytes still gives a picture that says so."""
    nothing = Problem([Buffer("a", 0, "f4")], Limits(), "local")
    path = tmp_path / "map.svg"
    plot(plan(nothing), path)
    assert path.exists()
    assert not arenas(plan(nothing))


def test_importing_and_planning_load_no_drawing_or_table_library():
    """What only reports need is loaded by reports only."""
    code = (
        "import sys; from cubie_planner import Buffer, Problem, plan, report; "
        "plan(Problem([Buffer('a', 1, 'f4')])); "
        "print(sorted({'rich', 'matplotlib', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
