"""What people look at: the plan as a table, and as a map of memory over time."""

from __future__ import annotations

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


def plot(plan: Plan, path: str | Path, dark: bool = False) -> None:
    """Draw the memory map: program points across, bytes up, one rectangle per placement.

    Aliases are nested in their parents, the peak is marked, and hatches keep buffers
    apart in black and white. Needs matplotlib; the suffix of `path` chooses the format.

    Parameters
    ----------
    plan : Plan
    path : path-like
    dark : bool
        Light lines on a dark ground.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arenas = [place for place in (Location.SHARED, Location.LOCAL_PERSISTENT) if tiles(plan, place)]
    ink, ground = ("#e8e8e8", "#16181d") if dark else ("#1a1a1a", "#ffffff")
    figure = Figure(figsize=(9, 1.2 + 4 * max(1, len(arenas))), facecolor=ground)
    FigureCanvasAgg(figure)
    order = {name: index for index, name in enumerate(plan.placements)}
    for number, place in enumerate(arenas, start=1):
        axes = figure.add_subplot(len(arenas), 1, number, facecolor=ground)
        _draw_arena(axes, plan, place, order, ink)
    if not arenas:
        figure.text(0.5, 0.5, "every buffer is local: nothing to map", color=ink, ha="center")
    figure.tight_layout()
    figure.savefig(path, facecolor=ground, dpi=150)


def _draw_arena(axes, plan: Plan, place: Location, order: dict[str, int], ink: str) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    drawn = tiles(plan, place)
    palette = colormaps["tab20"]
    for tile in drawn:
        index = order[tile.name]
        inset = 0.06 * tile.depth
        left, right = tile.interval[0] + inset, tile.interval[1] - inset
        axes.add_patch(
            Rectangle(
                (left, tile.start),
                right - left,
                tile.end - tile.start,
                facecolor=(*palette(index % 20)[:3], 0.55),
                edgecolor=ink,
                linewidth=1.6 if tile.depth == 0 else 1.0,
                linestyle="-" if tile.depth == 0 else "--",
                hatch=HATCHES[index % len(HATCHES)],
            )
        )
        axes.text(
            left + 0.02 * (right - left) if tile.depth == 0 else (left + right) / 2,
            (tile.start + tile.end) / 2,
            tile.name.rsplit(".", 1)[-1],
            ha="left" if tile.depth == 0 else "center",
            va="center",
            fontsize=7,
            color=ink,
            clip_on=True,
            bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
    top = max(tile.end for tile in drawn)
    axes.set_xlim(min(t.interval[0] for t in drawn), max(t.interval[1] for t in drawn))
    axes.set_ylim(0, top * 1.08)
    if place is Location.SHARED:
        _mark_peak(axes, plan, ink)
    axes.set_xlabel("program point", color=ink)
    axes.set_ylabel("bytes per run", color=ink)
    axes.set_title(f"{place.value}: {top} B per run", color=ink, fontsize=10)
    axes.tick_params(colors=ink)
    for spine in axes.spines.values():
        spine.set_color(ink)


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
