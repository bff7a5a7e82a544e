"""What people look at: the plan as a table, what it adds up to, and what was proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.plans.answer import COST, Level
from cubie_planner.plans.cells import COLUMNS, rows
from cubie_planner.plans.plan import Plan

if TYPE_CHECKING:
    from rich.table import Table

TEXT_COLUMNS = ("buffer", "location", "offset", "bytes", "lifetime", "alias", "pin", "why")
NUMBERS = ("elements", "bytes", "offset")


@frozen
class Savings:
    """Shared bytes per run that reuse saves, split by what saves them.

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


def savings(plan: Plan) -> Savings:
    """Return what aliases and lifetimes save in the shared memory of a run."""
    whole = plan.shared_bytes_without_reuse
    with_aliases = min(whole, plan.stacked_bytes(p for p in plan.shared if p.parent is None))
    by_lifetimes = with_aliases - plan.shared_bytes_per_run
    return Savings(whole, whole - with_aliases, max(0, by_lifetimes), max(0, -by_lifetimes))


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
        f"local {plan.local_bytes} B, persistent {plan.persistent_bytes} B"
        + (f", global {plan.global_bytes} B" if plan.global_bytes else ""),
        f"per block of {limits.block_size}: shared {plan.shared_bytes_per_block} B, {limit}",
    ]
    if saved.without_reuse:
        lines.append(
            f"saved per run: lifetimes {saved.by_lifetimes} B, aliases {saved.by_aliases} B "
            f"(of {saved.without_reuse} B without reuse)"
            + (f"; holes {saved.holes} B" if saved.holes else "")
        )
    lines += [_level(plan, level) for level in plan.levels]
    return [*lines, *([f"auto: {plan.note}"] if plan.note else [])]


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
    cells = [TEXT_COLUMNS, *([cells[i] for i in shown] for cells in rows(plan))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(TEXT_COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, "", *totals(plan)])
