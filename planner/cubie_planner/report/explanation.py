"""What the peak of a plan is made of, and what its pins cost, as values and in words."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.plans.answer import COST, Answer, Peak

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


@frozen
class Explanation:
    """What the peak of a plan is made of, and what each pin costs.

    Attributes
    ----------
    peak : Peak
    peak_bytes : mapping of str to int
        Bytes of each buffer alive at the peak, largest first; one that lies inside
        another alive there counts nothing.
    pins : tuple of PinCost
        Empty where there are more than `MOST_PINS`, or where nobody asked.
    n_pins : int
        How many buffers are pinned.
    fragmentation_bytes : int
        Shared bytes per run above the live bytes of the peak: holes.
    cost_unit : str
        What ``cost`` counts, in words.
    """

    peak: Peak
    peak_bytes: Mapping[str, int]
    pins: tuple[PinCost, ...]
    fragmentation_bytes: int
    n_pins: int = 0
    cost_unit: str = ""

    def __str__(self) -> str:
        lines = []
        if self.peak_bytes:
            span = self.peak.interval
            when = f"program points {span[0]} to {span[1]}" if span else "all program points"
            lines.append(f"Peak of shared memory: {self.peak.live_bytes} B per run, at {when}.")
            for name, size in self.peak_bytes.items():
                inside = "" if size else " (inside another)"
                lines.append(f"  {size:>8} B  {name}{inside}")
            if self.fragmentation_bytes:
                lines.append(f"  {self.fragmentation_bytes:>8} B  holes between buffers")
        else:
            lines.append("Nothing is shared.")
        for pin in self.pins:
            last = sorted(pin.levels.items(), key=lambda item: item[0] == COST)
            told = ", ".join(f"{value:+d} {name}" for name, value in last if value)
            lines.append(f"Pin of `{pin.name}`: {told or 'costs nothing'}.")
        if any(pin.levels.get(COST) for pin in self.pins):
            lines.append(f"Cost counts {self.cost_unit}.")
        if self.n_pins > MOST_PINS:
            lines.append(f"{self.n_pins} pins; more than {MOST_PINS} are not priced one by one.")
        return "\n".join(lines)


def unpriced(plan: Answer) -> Explanation:
    """Return what the peak of `plan` is made of; what its pins cost takes planning again."""
    peak = plan.peak
    sizes = {}
    for name in peak.buffers:
        inside = set(plan.ancestors(name)) & set(peak.buffers)
        sizes[name] = 0 if inside else plan.placements[name].size_bytes
    ordered = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    holes = plan.shared_bytes_per_run - max(0, peak.live_bytes)
    return Explanation(peak, ordered, (), holes, len(pinned_buffers(plan)), plan.prices.unit)


def pinned_buffers(plan: Answer) -> list[Buffer]:
    """Return the buffers with bytes whose place somebody fixed."""
    return [b for b in plan.problem.buffers if b.pin is not None and b.size_bytes]
