"""The memory map as inline SVG: every buffer can be reached, is named, and is told apart.

Sizes are in units of the view box, which the page scales. Colours and hatches are
classes and patterns that `assets/map.css` and `patterns` define.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from attrs import frozen

from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import Location
from cubie_planner.plans.answer import Placement
from cubie_planner.plans.plan import Plan
from cubie_planner.report.memory_map import Arena, Tile, arenas, component, short, ticks

WIDTH, LEFT, RIGHT, TOP = 1000.0, 58.0, 24.0, 22.0
BOTTOM = 40.0
HEIGHT = 400.0  # of the drawing of shared memory, which most depends on
LEAST, MOST = 120.0, 280.0  # of other arenas', by their bytes
THIN = 6.0  # rectangles below this height have thinner lines
FONT, GLYPH = 12.0, 6.9  # height and width of a letter
N_HUES = 10

HATCHES = (
    "",
    "M0 8L8 0M-2 2L2-2M6 10L10 6",
    "M2 2h.1M6 6h.1",
    "M0 0L8 8M-2 6L2 10M6-2L10 2",
    "M0 4h8",
    "M4 0v8",
    "M0 4h8M4 0v8",
    "M0 8L8 0M0 0L8 8",
)


@frozen
class Looks:
    """What tells a buffer apart: its number in the table, a hue and a hatch."""

    number: int
    hue: int
    hatch: int


def looks(plan: Plan) -> dict[str, Looks]:
    """Return the looks of every buffer that takes bytes; 40 of them are all different."""
    names = [p.name for p in plan.placements.values() if p.size_bytes]
    return {name: Looks(i + 1, i % N_HUES, i % len(HATCHES)) for i, name in enumerate(names)}


def told(placement: Placement) -> str:
    """Return one line that says all about where a buffer is and when."""
    spans = placement.lifetime
    when = "always alive"
    if spans is not None:
        when = "alive at points " + ", ".join(f"{start}-{end}" for start, end in spans)
    where = str(placement.location)
    if placement.offset is not None:
        where += f" at offset {placement.offset}"
    inside = "" if placement.parent is None else f", inside {placement.parent}"
    return f"{placement.name}: {placement.size_bytes} B, {where}{inside}, {when}"


def patterns(scope: str) -> str:
    """Return the definitions of the hatches; their ids start with `scope`."""
    shapes = (
        f'<pattern id="{scope}-h{i}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<path class="hatch{" dots" if "h.1" in path else ""}" d="{path}"/></pattern>'
        for i, path in enumerate(HATCHES)
        if path
    )
    return f'<svg class="defs" aria-hidden="true"><defs>{"".join(shapes)}</defs></svg>'


def swatch(look: Looks, scope: str) -> str:
    """Return a small sample of a buffer's looks."""
    drawn = _filled('x=".5" y=".5" width="21" height="13"', look, scope)
    return f'<svg class="swatch" viewBox="0 0 22 14" aria-hidden="true">{drawn}</svg>'


def maps(plan: Plan, scope: str, phases: Mapping[str, Interval] | None = None) -> str:
    """Return one figure per location that holds anything."""
    found = arenas(plan, phases)
    if not found:
        return '<p class="note">No buffer takes any bytes: there is nothing to map.</p>'
    tallest = max(arena.height_bytes for arena in found)
    drawings = (_Drawing(plan, arena, tallest, scope, phases or {}) for arena in found)
    return "\n".join(drawing.figure() for drawing in drawings)


def _filled(box: str, look: Looks, scope: str, thin: bool = False) -> str:
    """Return the same box with a hue, a hatch and an outline."""
    line = "line thin" if thin else "line"
    hatch = f'<rect {box} fill="url(#{scope}-h{look.hatch})"/>' if HATCHES[look.hatch] else ""
    return f'<rect {box} class="hue c{look.hue}"/>{hatch}<rect {box} class="{line}"/>'


class _Drawing:
    """One arena, with its scales."""

    def __init__(
        self,
        plan: Plan,
        arena: Arena,
        tallest: int,
        scope: str,
        phases: Mapping[str, Interval],
    ):
        self.plan, self.arena, self.scope = plan, arena, scope
        self.looks = looks(plan)
        self.phases = phases
        self.height = HEIGHT
        if arena.location is not Location.SHARED:
            self.height = max(LEAST, MOST * arena.height_bytes / tallest)
        # Phases are written aslant, so the longest name says how much room they need.
        longest = max(map(len, phases), default=0)
        self.bottom = 26 + 0.6 * GLYPH * longest if phases else BOTTOM

    def x(self, point: float) -> float:
        first, last = self.arena.interval
        return LEFT + (point - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, byte: float) -> float:
        return TOP + self.height * (1 - byte / self.arena.height_bytes)

    def figure(self) -> str:
        by_name: dict[str, list[Tile]] = {}
        for tile in self.arena.tiles:
            by_name.setdefault(tile.name, []).append(tile)
        total = TOP + self.height + self.bottom
        title = escape(self.arena.title)
        body = [
            self._axes(),
            *(self._buffer(name, drawn) for name, drawn in by_name.items()),
            *([self._peak()] if self.arena.location is Location.SHARED else []),
        ]
        return (
            f'<figure class="map"><figcaption>{title}</figcaption>'
            f'<svg viewBox="0 0 {WIDTH:g} {total:.0f}" role="group" '
            f'aria-label="Memory map. {title}">{"".join(body)}</svg></figure>'
        )

    def _buffer(self, name: str, drawn: Sequence[Tile]) -> str:
        """Return the rectangles of one buffer as one thing that can have the focus."""
        text = escape(told(self.plan.placements[name]))
        return (
            f'<g class="tile{" nested" if drawn[0].depth else ""}" role="img" tabindex="0" '
            f'data-name="{escape(name)}" data-part="{escape(component(name))}" '
            f'aria-label="{text}"><title>{text}</title>'
            f"{''.join(self._rectangle(tile) for tile in drawn)}"
            f"{self._label(max(drawn, key=lambda t: t.interval[1] - t.interval[0]))}</g>"
        )

    def _rectangle(self, tile: Tile) -> str:
        inset = 3.0 * tile.depth
        left, right = self.x(tile.interval[0]) + inset, self.x(tile.interval[1]) - inset
        height = self.y(tile.start) - self.y(tile.end)
        box = (
            f'x="{left:.1f}" y="{self.y(tile.end):.1f}" width="{max(1.0, right - left):.1f}" '
            f'height="{height:.1f}"'
        )
        return _filled(box, self.looks[tile.name], self.scope, thin=height < THIN)

    def _label(self, tile: Tile) -> str:
        """Return the name where it fits, else the number, else nothing."""
        left, right = (self.x(point) for point in tile.label_points)
        top, bottom = (self.y(byte) for byte in reversed(tile.label_bytes))
        for word in (short(tile.name), str(self.looks[tile.name].number)):
            if len(word) * GLYPH + 6 <= right - left and bottom - top >= FONT - 2:
                place = f'x="{(left + right) / 2:.1f}" y="{(top + bottom) / 2 + 4:.1f}"'
                return f'<text class="name" {place}>{escape(word)}</text>'
        return ""

    def _axes(self) -> str:
        floor = self.y(0)
        lines = [f'<path class="axis" d="M{LEFT:g} {TOP:g}V{floor:.1f}H{WIDTH - RIGHT:g}"/>']
        for byte in ticks(0, self.arena.height_bytes, 8 if self.height > 150 else 3):
            y = self.y(byte)
            lines.append(f'<path class="axis" d="M{LEFT - 5:g} {y:.1f}h5"/>')
            lines.append(f'<text class="byte" x="{LEFT - 9:g}" y="{y + 4:.1f}">{byte}</text>')
        middle = (TOP + floor) / 2
        lines.append(
            f'<text class="title" transform="translate(13 {middle:.1f}) rotate(-90)">bytes</text>'
        )
        return "".join([*lines, *(self._phases() if self.phases else self._points())])

    def _points(self) -> list[str]:
        floor, middle = self.y(0), (LEFT + WIDTH - RIGHT) / 2
        marks = [
            f'<path class="axis" d="M{self.x(point):.1f} {floor:.1f}v5"/>'
            f'<text class="point" x="{self.x(point):.1f}" y="{floor + 18:.1f}">{point}</text>'
            for point in ticks(*self.arena.interval, 16)
        ]
        title = f'<text class="title" x="{middle:g}" y="{floor + 34:.1f}">program point</text>'
        return [*marks, title]

    def _phases(self) -> list[str]:
        """Return the names of phases, aslant, each over a faint line where it begins."""
        floor = self.y(0)
        return [
            f'<path class="grid" d="M{self.x(span[0]):.1f} {TOP:g}V{floor + 5:.1f}"/>'
            f'<text class="phase" transform="translate({self.x(span[0]):.1f} {floor + 14:.1f}) '
            f'rotate(35)">{escape(name)}</text>'
            for name, span in self.phases.items()
        ]

    def _peak(self) -> str:
        peak = self.plan.peak
        left, right = (self.x(point) for point in peak.interval or self.arena.interval)
        y = self.y(self.plan.shared_bytes_per_run)
        text = f"peak {peak.live_bytes} B"
        half = len(text) * GLYPH / 2
        middle = min(max((left + right) / 2, LEFT + half), WIDTH - RIGHT - half)
        return (
            f'<g class="peak" aria-hidden="true"><rect x="{left:.1f}" y="{y:.1f}" '
            f'width="{right - left:.1f}" height="{self.y(0) - y:.1f}"/>'
            f'<text x="{middle:.1f}" y="{y - 6:.1f}">{text}</text></g>'
        )
