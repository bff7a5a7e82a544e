"""What people look at: the plan as a table, and as a map of memory over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.buffers import Interval, Location
from cubie_planner.plan import Placement, Plan

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("buffer", "location", "offset", "bytes", "lifetime", "alias", "pin", "why")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "|||", "+++", "***")


@frozen
class Savings:
    """Shared bytes per run that reuse saves, split by what saves them.

    Attributes
    ----------
    without_reuse : int
        With neither lifetimes nor optional aliases.
    by_aliases, by_lifetimes : int
        Saved by children inside parents, and further by lifetimes.
    """

    without_reuse: int
    by_aliases: int
    by_lifetimes: int


def savings(plan: Plan) -> Savings:
    """Return what aliases and lifetimes save in the shared memory of a run."""
    by_name = plan.problem.by_name
    roots = [p for p in plan.shared if p.parent is None]
    end = 0
    for placement in sorted(roots, key=lambda p: -by_name[p.name].alignment):
        alignment = by_name[placement.name].alignment
        end = -(-end // alignment) * alignment + placement.size_bytes
    whole = plan.shared_bytes_without_reuse
    with_aliases = min(end, whole)
    return Savings(whole, whole - with_aliases, with_aliases - plan.shared_bytes_per_run)


def rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the table's cells, one row per buffer in declared order."""
    return [_row(placement) for placement in plan.placements.values()]


def _row(placement: Placement) -> tuple[str, ...]:
    alias = ""
    if placement.parent is not None:
        alias = f"{placement.parent} +{placement.parent_offset}"
    spans = placement.lifetime
    return (
        placement.name,
        placement.location.value,
        "" if placement.offset is None else str(placement.offset),
        str(placement.size_bytes),
        "always" if spans is None else " ".join(f"{start}-{end}" for start, end in spans),
        alias,
        placement.pin.value if placement.pin else "",
        placement.reason,
    )


def totals(plan: Plan) -> list[str]:
    """Return the lines below the table: totals, savings and what was proven."""
    limits = plan.limits
    limit = "no limit"
    if limits.max_shared_bytes is not None:
        share = 100 * plan.shared_bytes_per_block / max(1, limits.max_shared_bytes)
        limit = f"{share:.0f} % of the limit of {limits.max_shared_bytes} B"
    saved = savings(plan)
    lines = [
        f"per run: shared {plan.shared_bytes_per_run} B (stride {plan.run_stride_bytes} B), "
        f"local {plan.local_bytes} B, persistent {plan.persistent_bytes} B",
        f"per block of {limits.block_size}: shared {plan.shared_bytes_per_block} B, {limit}",
    ]
    if saved.without_reuse:
        lines.append(
            f"saved per run: lifetimes {saved.by_lifetimes} B, aliases {saved.by_aliases} B "
            f"(of {saved.without_reuse} B without reuse)"
        )
    for level in plan.levels:
        proof = "proven" if level.gap == 0 else f"bound {level.bound}, gap {100 * level.gap:.1f} %"
        lines.append(f"{level.name.replace('_', ' ')}: {level.value} ({proof})")
    return [*lines, *([f"auto: {plan.note}"] if plan.note else [])]


def table(plan: Plan) -> Table:
    """Return the plan as a rich table; the caption holds totals, savings and proofs."""
    from rich.table import Table

    view = Table(title=f"memory plan ({plan.status})", caption="\n".join(totals(plan)))
    view.caption_justify = "left"
    for column in COLUMNS:
        view.add_column(
            column,
            justify="right" if column in ("offset", "bytes") else "left",
            overflow="fold",
        )
    for row in rows(plan):
        view.add_row(*row)
    return view


def text(plan: Plan) -> str:
    """Return the table and totals as plain text with aligned columns."""
    cells = [COLUMNS, *rows(plan)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    right = {COLUMNS.index("offset"), COLUMNS.index("bytes")}
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([*lines, "", *totals(plan)])


# --- the memory map -------------------------------------------------------------------


@frozen
class Tile:
    """One rectangle of the map: a placement during one interval."""

    name: str
    interval: Interval
    start: int
    end: int
    depth: int


def tiles(plan: Plan, location: Location) -> list[Tile]:
    """Return the rectangles of one arena; a child inside a parent has a greater depth."""
    members = [p for p in plan.placements.values() if p.location is location and p.size_bytes]
    bounds = [point for p in members for span in p.lifetime or () for point in span]
    always = (min(bounds, default=0), max(bounds, default=1))
    found = []
    for placement in members:
        depth, parent = 0, placement.parent
        while parent is not None:
            depth, parent = depth + 1, plan.placements[parent].parent
        start, end = placement.offset or 0, placement.end or 0
        for span in placement.lifetime or (always,):
            found.append(Tile(placement.name, span, start, end, depth))
    return sorted(found, key=lambda tile: tile.depth)


def plot(
    plan: Plan,
    path: str | Path,
    dark: bool = False,
    phases: Mapping[str, Interval] | None = None,
) -> None:
    """Draw the memory map: program points across, bytes up, one rectangle per placement.

    Aliases are nested in their parents, the peak is marked, and hatches keep buffers
    apart in black and white. Needs matplotlib; the suffix of `path` chooses the format.

    Parameters
    ----------
    plan : Plan
    path : path-like
    dark : bool
        Light lines on a dark ground.
    phases : mapping of str to (start, end), optional
        Names for ranges of program points, written along the axis instead of numbers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arenas = [place for place in (Location.SHARED, Location.LOCAL_PERSISTENT) if tiles(plan, place)]
    colours = _Colours("#e8e8e8", "#16181d") if dark else _Colours("#1a1a1a", "#ffffff")
    height = 1.2 + 4.4 * max(1, len(arenas))
    figure = Figure(figsize=(10, height), facecolor=colours.ground, layout="constrained")
    FigureCanvasAgg(figure)
    order = {name: index for index, name in enumerate(plan.placements)}
    for number, place in enumerate(arenas, start=1):
        axes = figure.add_subplot(len(arenas), 1, number, facecolor=colours.ground)
        _draw_arena(axes, plan, place, order, colours)
        _name_points(axes, phases, colours)
    if not arenas:
        note = "every buffer is local: nothing to map"
        figure.text(0.5, 0.5, note, color=colours.ink, ha="center")
    figure.savefig(path, facecolor=colours.ground, dpi=150)


@frozen
class _Colours:
    """Colours of lines and text, and of what they are drawn on."""

    ink: str
    ground: str


def _draw_arena(
    axes, plan: Plan, place: Location, order: dict[str, int], colours: _Colours
) -> None:
    drawn = tiles(plan, place)
    top = max(tile.end for tile in drawn)
    left, right = min(t.interval[0] for t in drawn), max(t.interval[1] for t in drawn)
    axes.set_xlim(left, right)
    axes.set_ylim(0, top * 1.12)
    for tile in drawn:
        _draw_tile(axes, tile, order[tile.name], colours)
    if place is Location.SHARED:
        _mark_peak(axes, plan, colours.ink)
    ink = colours.ink
    axes.set_xlabel("program point", color=ink)
    axes.set_ylabel("bytes per run", color=ink)
    title = f"{place.value}: {top} B per run"
    if place is Location.SHARED and top < plan.shared_bytes_without_reuse:
        title += f", {plan.shared_bytes_without_reuse} B without reuse"
    axes.set_title(title, color=ink, fontsize=11, loc="left")
    axes.tick_params(colors=ink)
    for side, spine in axes.spines.items():
        spine.set_color(ink)
        spine.set_visible(side in ("left", "bottom"))


def _draw_tile(axes, tile: Tile, index: int, colours: _Colours) -> None:
    """Draw one rectangle; its hatch is a quiet second sign beside the colour."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    fill = colormaps["tab20"](index % 20)[:3]
    inset = 0.06 * tile.depth
    left, right = tile.interval[0] + inset, tile.interval[1] - inset
    box = (left, tile.start), right - left, tile.end - tile.start
    hatch = HATCHES[index % len(HATCHES)]
    axes.add_patch(
        Rectangle(*box, facecolor=(*fill, 0.4), edgecolor=(*fill, 0.6), hatch=hatch, linewidth=0)
    )
    style = "-" if tile.depth == 0 else "--"
    axes.add_patch(
        Rectangle(*box, fill=False, edgecolor=colours.ink, linewidth=0.9, linestyle=style)
    )
    _label_tile(axes, tile, left, right, colours)


AXES_HEIGHT = 4.2 * 72  # points, of one arena's axes


def _label_tile(axes, tile: Tile, left: float, right: float, colours: _Colours) -> None:
    """Write the name in the middle, no taller than the rectangle and within the axes."""
    bytes_per_point = axes.get_ylim()[1] / AXES_HEIGHT
    size = min(8.0, max(4.5, 0.8 * (tile.end - tile.start) / bytes_per_point))
    first, last = axes.get_xlim()
    centre = (left + right) / 2
    at_edge = last - centre < 0.06 * (last - first)
    # A child's name is written higher than its parent's, which may lie behind it.
    share = 0.5 if tile.depth == 0 else 0.65
    axes.text(
        last if at_edge else centre,
        tile.start + (tile.end - tile.start) * share,
        tile.name.rsplit(".", 1)[-1],
        ha="right" if at_edge else "center",
        va="center_baseline",
        fontsize=size,
        color=colours.ink,
        bbox={"facecolor": colours.ground, "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )


def _name_points(axes, phases: Mapping[str, Interval] | None, colours: _Colours) -> None:
    """Write the names of phases where they begin, each over a faint line."""
    if not phases:
        return
    first, last = axes.get_xlim()
    shown = {name: span for name, span in phases.items() if first <= span[0] < last}
    axes.set_xticks(
        [start for start, _ in shown.values()], list(shown), rotation=-35, ha="left", va="top"
    )
    axes.set_xlabel("phase", color=colours.ink)
    for start, _ in shown.values():
        axes.axvline(start, color=colours.ink, linewidth=0.5, alpha=0.2, zorder=0)


def _mark_peak(axes, plan: Plan, ink: str) -> None:
    peak = plan.peak
    left, right = peak.interval or axes.get_xlim()
    axes.axvspan(left, right, facecolor="none", edgecolor=ink, linestyle=":", linewidth=1.5)
    axes.axhline(plan.shared_bytes_per_run, color=ink, linestyle=":", linewidth=1.0)
    axes.text(
        (left + right) / 2,
        plan.shared_bytes_per_run,
        f"peak {peak.live_bytes} B",
        ha="center",
        va="bottom",
        fontsize=8,
        color=ink,
    )
