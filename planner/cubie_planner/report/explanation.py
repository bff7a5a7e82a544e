"""What the peak of a plan is made of, and what its pins cost, as values and in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.plans.answer import COST, PRIVATE, SHARED, Answer, Peak
from cubie_planner.recording.code_lines import Origin

MOST_PINS = 64
"""Pins beyond which none is priced: each takes a plan of its own. Whole files of pinned
buffers, as MiniMalloc's are, mean nothing by their pins."""


@frozen
class PinCost:
    """What one pin changes: each level's value with it, less the value without it.

    Attributes
    ----------
    name : str
    levels : mapping of str to int
        ``cost``, ``shared_bytes``, ``local_and_persistent_bytes``; positive means that
        the pin costs that much. Places cost the same with and without pins, so that
        ``cost`` is never negative where both plans are optimal.
    """

    name: str
    levels: Mapping[str, int]

    def in_words(self, cost_unit: str) -> str:
        """What the pin costs, with units: bytes first, then what `cost` counts."""
        last = sorted(self.levels.items(), key=lambda item: item[0] == COST)
        told = [told_change(name, value, cost_unit) for name, value in last if value]
        return ", ".join(told) or "costs nothing"


BYTES_OF = {
    SHARED: "of shared memory per run",
    PRIVATE: "of local and persistent memory per run",
    "tile_bytes": "of tiles per block",
    "global_bytes": "of global memory per run",
}
"""What a level counts bytes of."""


def told_change(level: str, value: int, cost_unit: str) -> str:
    """Return a change of a level's value with its unit."""
    if level == COST:
        unit, _, _ = cost_unit.partition(":")
        return f"{value:+d} {unit.partition(',')[0] or 'of cost'}"
    where = BYTES_OF.get(level, f"of the pool {level.removesuffix('_bytes')}")
    return f"{value:+d} B {where}"


UNSEEN = "declared alive there; what was recorded has nothing in it"
HOLDS_OTHERS = "nothing of its own there: others lie in it"


class HasOrigins(Protocol):
    """What was recorded, of a kernel or of a tree of components."""

    def origins(self, points: Collection[int] | None = None) -> Mapping[str, Origin]:
        """Return the lines of code of the lives at program points; of all by default."""
        ...


@frozen
class PeakShare:
    """What the peak of an arena is made of.

    Attributes
    ----------
    peak : Peak
    sizes : mapping of str to int
        Bytes of each buffer alive at the peak, largest first; one that lies inside
        another alive there counts nothing.
    holes : int
        Bytes of the arena above the live bytes of the peak.
    origins : mapping of str to Origin, or None
        Lines of code at which the lives that meet there begin and end; None where nothing was
        recorded.
    hosts : frozenset of str
        Buffers in which others of them lie.
    """

    peak: Peak
    sizes: Mapping[str, int]
    holes: int
    origins: Mapping[str, Origin] | None = None
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: Answer, place: Place, recorded: HasOrigins | None = None) -> PeakShare:
        """Look at one arena of a plan; `recorded` tells where the code was recorded."""
        peak = plan.peak_of(place)
        sizes = {}
        for name in peak.buffers:
            inside = set(plan.ancestors(name)) & set(peak.buffers)
            sizes[name] = 0 if inside else plan.placements[name].size_bytes
        ordered = dict(sorted(sizes.items(), key=lambda item: -item[1]))
        top = max((p.end or 0 for p in plan.placed_in(place)), default=0)
        lines: Mapping[str, Origin] | None = None
        if recorded is not None:
            found = recorded.origins(None if peak.interval is None else range(*peak.interval))
            lines = {name: found[name] for name in ordered if name in found}
        hosts = frozenset(outer for name in peak.buffers for outer in plan.ancestors(name))
        return cls(peak, ordered, top - max(0, peak.live_bytes), lines, hosts)

    def unseen(self, name: str) -> str:
        """Return what is told of a buffer in which nothing was alive when it was recorded."""
        return HOLDS_OTHERS if name in self.hosts else UNSEEN

    def lines(self, what: str, unit: str) -> list[str]:
        """Return the peak in words; `what` has it, and a `unit` has one copy."""
        span = self.peak.interval
        when = f"program points {span[0]} to {span[1]}" if span else "all program points"
        lines = [f"Peak of {what}: {self.peak.live_bytes} B per {unit}, at {when}."]
        for name, size in self.sizes.items():
            lines.append(f"  {size:>8} B  {name}{'' if size else ' (inside another)'}")
            if self.origins is not None:
                lines.append(f"              {self.origins.get(name) or self.unseen(name)}")
        if self.holes:
            lines.append(f"  {self.holes:>8} B  holes between buffers")
        return lines


@frozen
class Explanation:
    """What the peak of a plan is made of, and what each pin costs.

    Attributes
    ----------
    slices : PeakShare
        Of the shared memory of a run.
    pins : tuple of PinCost
        Empty where there are more than `MOST_PINS`, or where nobody asked.
    n_pins : int
        How many buffers are pinned.
    cost_unit : str
        What ``cost`` counts, in words.
    tiles : PeakShare or None
        The same of the tiles of a block, where there are any.
    """

    slices: PeakShare
    pins: tuple[PinCost, ...]
    n_pins: int = 0
    cost_unit: str = ""
    tiles: PeakShare | None = None

    @property
    def peak(self) -> Peak:
        """When most bytes of a run's slice are alive."""
        return self.slices.peak

    @property
    def peak_bytes(self) -> Mapping[str, int]:
        """Bytes of each buffer alive then, as `PeakShare.sizes` has them."""
        return self.slices.sizes

    @property
    def fragmentation_bytes(self) -> int:
        """Shared bytes per run above the live bytes of the peak: holes."""
        return self.slices.holes

    def __str__(self) -> str:
        lines: list[str] = []
        if self.peak_bytes:
            lines += self.slices.lines("shared memory" if self.tiles is None else "slices", "run")
        if self.tiles is not None:
            lines += self.tiles.lines("tiles", "block")
        if not lines:
            lines.append("Nothing is shared.")
        for pin in self.pins:
            lines.append(f"Pin of `{pin.name}`: {pin.in_words(self.cost_unit)}.")
        if any(pin.levels.get(COST) for pin in self.pins):
            lines.append(f"Cost counts {self.cost_unit}.")
        if self.n_pins > MOST_PINS:
            lines.append(f"{self.n_pins} pins; more than {MOST_PINS} are not priced one by one.")
        return "\n".join(lines)


def unpriced(plan: Answer, recorded: HasOrigins | None = None) -> Explanation:
    """Return what the peak of `plan` is made of; what its pins cost takes planning again."""
    return Explanation(
        PeakShare.of(plan, Location.SHARED, recorded),
        (),
        len(pinned_buffers(plan)),
        plan.prices.unit,
        PeakShare.of(plan, TILE, recorded) if plan.tile_bytes else None,
    )


def pinned_buffers(plan: Answer) -> list[Buffer]:
    """Return the buffers with bytes whose place somebody fixed."""
    return [b for b in plan.problem.buffers if b.pin is not None and b.size_bytes]
