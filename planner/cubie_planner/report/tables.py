"""What people look at: the plan as a table, what it adds up to, and what was proven."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.plans.answer import COST, Level
from cubie_planner.plans.cells import COLUMNS, rows
from cubie_planner.plans.plan import Plan
from cubie_planner.report.memory_map import unit_of

if TYPE_CHECKING:
    from rich.table import Table

TEXT_COLUMNS = ("buffer", "location", "offset", "bytes", "lifetime", "alias", "pin", "why")
NUMBERS = ("elements", "bytes", "offset")


@frozen
class Savings:
    """Bytes that reuse saves in slices of shared memory, or in tiles, split by what saves them.

    Attributes
    ----------
    without_reuse : int
        With neither lifetimes nor optional aliases.
    by_aliases, by_lifetimes : int
        Saved by children inside parents, and further by lifetimes.
    holes : int
        Bytes that the plan needs above buffers put one above the other: offsets that
        are pinned can leave gaps which nothing fills.
    """

    without_reuse: int
    by_aliases: int
    by_lifetimes: int
    holes: int

    @property
    def in_words(self) -> str:
        """What was saved, of how many bytes."""
        holes = f"; holes {self.holes} B" if self.holes else ""
        told = f"lifetimes {self.by_lifetimes} B, aliases {self.by_aliases} B"
        return f"{told} (of {self.without_reuse} B without reuse){holes}"


def savings(plan: Plan, place: Place = Location.SHARED) -> Savings:
    """Return what aliases and lifetimes save in the shared memory of a run, or in tiles."""
    whole = plan.bytes_without_reuse(place)
    held = plan.placed_in(place)
    with_aliases = min(whole, plan.stacked_bytes(p for p in held if p.parent is None))
    by_lifetimes = with_aliases - max((p.end or 0 for p in held), default=0)
    return Savings(whole, whole - with_aliases, max(0, by_lifetimes), max(0, -by_lifetimes))


def totals(plan: Plan) -> list[str]:
    """Return the lines below the table: totals, savings and what was proven."""
    lines = [_per_run(plan)] if plan.problem.has_runs else []
    lines += [_per_block(plan)]
    for name, used in plan.pool_bytes.items():
        lines.append(_pool(plan, name, used))
    for place in (TILE, Location.SHARED):
        saved = savings(plan, place)
        if saved.without_reuse:
            lines.append(f"saved per {unit_of(place)}: {saved.in_words}")
    lines += [_level(plan, level) for level in plan.levels]
    return [*lines, *([f"auto: {plan.note}"] if plan.note else [])]


def _per_run(plan: Plan) -> str:
    return (
        f"per run: shared {plan.shared_bytes_per_run} B (stride {plan.run_stride_bytes} B), "
        f"local {plan.local_bytes} B, persistent {plan.persistent_bytes} B"
        + (f", global {plan.global_bytes} B" if plan.global_bytes else "")
    )


def _per_block(plan: Plan) -> str:
    """Return what a block takes of its limit: tiles, and slices of so many runs."""
    limits = plan.limits
    limit = "no limit"
    if limits.max_shared_bytes is not None:
        share = 100 * plan.shared_bytes_per_block / max(1, limits.max_shared_bytes)
        limit = f"{share:.0f} % of the limit of {limits.max_shared_bytes} B"
    of = f" of {limits.block_size}" if plan.problem.has_runs else ""
    tiles = ""
    if plan.tile_bytes and plan.shared_bytes_per_run:
        tiles = f" (tiles {plan.tile_bytes} B, slices from byte {plan.slices_start_bytes})"
    elif plan.tile_bytes and plan.problem.has_runs:
        tiles = " (tiles alone)"
    return f"per block{of}: shared {plan.shared_bytes_per_block} B{tiles}, {limit}"


def _pool(plan: Plan, name: str, used: int) -> str:
    pool = plan.problem.pools[name]
    most = pool.capacity_bytes
    limit = "no limit" if most is None else f"{100 * used / max(1, most):.0f} % of {most} B"
    return f"pool {name}: {used} B per {unit_of(pool)}, {limit}"


def _level(plan: Plan, level: Level) -> str:
    """Return a level's value and what was proven, or only claimed, of it."""
    proof = "proven" if level.gap == 0 else f"bound {level.bound}, gap {100 * level.gap:.1f} %"
    claim = ", as its file claims" if level.name in plan.unverified else ""
    unit = f", {plan.prices.unit}" if level.name == COST and plan.prices.unit else ""
    return f"{level.name.replace('_', ' ')}: {level.value} ({proof}{claim}){unit}"


def table(plan: Plan) -> Table:
    """Return the plan as a rich table; the caption holds totals, savings and proofs."""
    from rich.markup import escape
    from rich.table import Table

    view = Table(title=f"memory plan ({plan.told_status})", caption=escape("\n".join(totals(plan))))
    view.caption_justify = "left"
    for column in COLUMNS:
        view.add_column(
            column,
            justify="right" if column in NUMBERS else "left",
            overflow="fold",
        )
    for cells in rows(plan):
        view.add_row(*(escape(cell) for cell in cells))
    return view


def text(plan: Plan) -> str:
    """Return the table without element counts, and totals, as plain text in aligned columns."""
    shown = [COLUMNS.index(name) for name in TEXT_COLUMNS]
    cells = [TEXT_COLUMNS, *(tuple(cells[i] for i in shown) for cells in rows(plan))]
    right = {index for index, name in enumerate(TEXT_COLUMNS) if name in NUMBERS}
    return "\n".join([*aligned(cells, right), "", *totals(plan)])


def aligned(lines: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Return lines of cells in columns of equal width; those in `right` go to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
