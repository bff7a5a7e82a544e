"""The memory map as a picture, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.basics import nearest_hint
from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import Location
from cubie_planner.plans.plan import Plan
from cubie_planner.report.memory_map import Arena, Tile, arenas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHES = ("", "///", "..", "\\\\\\", "xx", "--", "oo", "||", "++", "/-")
PAGE_WIDTH = 10.0  # inches, of the whole figure
AXES_WIDTH = 9.2 * 72  # points, of one arena's axes
AXES_HEIGHT = 4.2 * 72
THIN = 6.0  # points; rectangles below this height have thinner lines
SMALLEST_FONT = 4.5
GLYPH = 0.58  # width of a letter over the size of its font


@frozen
class Theme:
    """Colours of lines and text, and of what they are drawn on."""

    ink: str
    ground: str


THEMES = {"light": Theme("#1a1a1a", "#ffffff"), "dark": Theme("#e8e8e8", "#16181d")}


def plot(
    plan: Plan,
    path: str | Path | None = None,
    *,
    theme: str = "light",
    phases: Mapping[str, Interval] | None = None,
) -> Figure:
    """Draw the memory map: program points across, bytes up, one rectangle per placement.

    Aliases are nested in their parents, the peak is marked, and hatches keep buffers
    apart in black and white. Needs matplotlib.

    Parameters
    ----------
    plan : Plan
    path : path-like, optional
        Where to write the picture; the suffix chooses the format.
    theme : {"light", "dark"}
        Dark lines on a light ground, or the reverse.
    phases : mapping of str to (start, end), optional
        Names for ranges of program points, written along the axis instead of numbers.

    Returns
    -------
    matplotlib.figure.Figure
        Which a notebook shows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = _theme(theme)
    maps = arenas(plan, phases)
    heights = [_share(arena, maps) for arena in maps] or [0.5]
    size = (PAGE_WIDTH, sum(1.0 + 4.4 * share for share in heights))
    figure = Figure(figsize=size, facecolor=colours.ground, layout="constrained")
    FigureCanvasAgg(figure)
    order = {name: index for index, name in enumerate(plan.placements)}
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for number, (arena, share) in enumerate(zip(maps, heights, strict=False)):
        axes = figure.add_subplot(grid[number], facecolor=colours.ground)
        _draw_arena(axes, plan, arena, order, colours, share)
        _name_points(axes, phases, colours)
    if not maps:
        figure.text(0.5, 0.5, "no buffer takes any bytes", color=colours.ink, ha="center")
    if path is not None:
        _save(figure, Path(path))
    return figure


def _save(figure: Figure, path: Path) -> None:
    """Write the picture so that equal plans give equal files: no dates, no random names."""
    from matplotlib import rc_context

    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "cubie_planner"}):
        figure.savefig(path, dpi=150, metadata=dates.get(path.suffix))


def _theme(name: str) -> Theme:
    if name in THEMES:
        return THEMES[name]
    raise ValueError(
        f"theme {name!r} is unknown{nearest_hint(name, THEMES)}; allowed: 'light', 'dark'"
    )


def _share(arena: Arena, maps: list[Arena]) -> float:
    """Return the height of an arena, 1 for shared memory; a small one stays readable."""
    if arena.location is Location.SHARED:
        return 1.0
    tallest = max(a.height_bytes for a in maps)
    return max(0.35, 0.75 * arena.height_bytes / tallest)


def _draw_arena(
    axes: Axes,
    plan: Plan,
    arena: Arena,
    order: Mapping[str, int],
    colours: Theme,
    share: float,
) -> None:
    peak = arena.location is Location.SHARED
    axes.set_xlim(*arena.interval)
    axes.set_ylim(0, arena.height_bytes * (1.12 if peak else 1.03))
    for tile in arena.tiles:
        _draw_tile(axes, tile, order[tile.name], colours)
    for tile in arena.tiles:
        _label_tile(axes, tile, colours, AXES_HEIGHT * share)
    if peak:
        _mark_peak(axes, plan, colours)
    ink = colours.ink
    axes.set_xlabel("program point", color=ink)
    axes.set_ylabel("bytes per run", color=ink)
    axes.set_title(arena.title, color=ink, fontsize=11, loc="left")
    axes.tick_params(colors=ink)
    for side, spine in axes.spines.items():
        spine.set_color(ink)
        spine.set_visible(side in ("left", "bottom"))


def _draw_tile(axes: Axes, tile: Tile, index: int, colours: Theme) -> None:
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
    points = (tile.end - tile.start) / axes.get_ylim()[1] * AXES_HEIGHT
    width = 0.9 if points > THIN else 0.4
    axes.add_patch(
        Rectangle(*box, fill=False, edgecolor=colours.ink, linewidth=width, linestyle=style)
    )


def _label_tile(axes: Axes, tile: Tile, colours: Theme, axes_height: float) -> None:
    """Write the name where no child hides it, as large as there is room; else nothing.

    What does not fit between the sides starts at the left one, or ends at the right side
    of the map.
    """
    first, last = axes.get_xlim()
    name = short(tile.name)
    room = (tile.label_bytes[1] - tile.label_bytes[0]) / axes.get_ylim()[1] * axes_height
    if room < SMALLEST_FONT:
        return
    left, right = tile.label_points
    points_per_point = AXES_WIDTH / (last - first)
    fitting = (right - left) * points_per_point / (GLYPH * len(name))
    size = min(8.0, max(SMALLEST_FONT, min(0.8 * room, fitting)))
    place, anchor = (left + right) / 2, "center"
    if fitting < size:
        at_edge = (left - first) * points_per_point + GLYPH * len(name) * size > AXES_WIDTH
        place, anchor = (last, "right") if at_edge else (left, "left")
    axes.text(
        place,
        sum(tile.label_bytes) / 2,
        name,
        ha=anchor,
        va="center_baseline",
        fontsize=size,
        color=colours.ink,
        bbox={"facecolor": colours.ground, "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )


def _name_points(axes: Axes, phases: Mapping[str, Interval] | None, colours: Theme) -> None:
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


def _mark_peak(axes: Axes, plan: Plan, colours: Theme) -> None:
    peak = plan.peak
    left, right = peak.interval or axes.get_xlim()
    ink = colours.ink
    axes.axvspan(left, right, facecolor="none", edgecolor=ink, linestyle=":", linewidth=1.5)
    axes.axhline(plan.shared_bytes_per_run, color=ink, linestyle=":", linewidth=1.0)
    axes.annotate(
        f"peak {peak.live_bytes} B",
        ((left + right) / 2, plan.shared_bytes_per_run),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color=ink,
        bbox={"facecolor": colours.ground, "edgecolor": "none", "pad": 0.6},
    )
