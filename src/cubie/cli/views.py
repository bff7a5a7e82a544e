"""A plan, and studies of it, as a table for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from cubie_planner import Placement, Plan, report
from cubie_planner.cost import CostModel
from cubie_planner.device import Device, occupancy

COLUMNS = (
    *("buffer", "elements", "dtype", "bytes", "location", "offset", "lifetime"),
    *("alias", "pin", "why"),
)
WIDEST = 10_000
NUMBERS = ("elements", "bytes", "offset")


def plan_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the cells of every buffer, in declared order."""
    return [_cells(plan, p) for p in plan.placements.values()]


def _cells(plan: Plan, placement: Placement) -> tuple[str, ...]:
    spans = placement.lifetime
    inside = placement.parent
    return (
        placement.name,
        str(placement.n_elements),
        placement.dtype.name,
        str(placement.size_bytes),
        placement.location.value,
        "" if placement.offset is None else str(placement.offset),
        "always" if spans is None else " ".join(f"{start}-{end}" for start, end in spans),
        "" if inside is None else f"{inside} +{placement.parent_offset}",
        _pin(plan, placement),
        placement.reason,
    )


def _pin(plan: Plan, placement: Placement) -> str:
    if placement.pin is None:
        return ""
    offset = plan.problem.by_name[placement.name].offset
    return placement.pin.value if offset is None else f"{placement.pin.value}@{offset}"


def plan_csv(plan: Plan) -> str:
    """Return one line per buffer below a line of column names."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(plan_rows(plan))
    return out.getvalue()


def show_plan(plan: Plan, name: str) -> None:
    """Print the table, what it adds up to, and what limits it."""
    empty = {p.name for p in plan.placements.values() if p.size_bytes == 0}
    rows = [row for row in plan_rows(plan) if row[0] not in empty]
    show(table(f"{name}: memory plan ({plan.status})", COLUMNS, rows, NUMBERS), sys.stdout)
    lines = report.totals(plan)
    if empty:
        lines.insert(0, f"not listed: {len(empty)} buffers that are switched off or empty")
    print("\n".join([*lines, *residency(plan)]))


def residency(plan: Plan) -> list[str]:
    """Return how much of a multiprocessor the plan can fill, and what stops it."""
    capability = plan.limits.compute_capability
    if capability is None:
        return []
    device = Device.for_capability(capability)
    locations = {name: p.location for name, p in plan.placements.items()}
    cost = CostModel.for_capability(capability).predict(
        plan.problem, locations, shared_bytes_per_run=plan.shared_bytes_per_run
    )
    size, shared = plan.limits.block_size, plan.shared_bytes_per_block
    found = occupancy(device, size, cost.registers, shared)
    return [
        f"{device.name}: {found.blocks_per_sm} blocks of {size} resident per multiprocessor, "
        f"{100 * found.fraction:.0f} % of its warps, limited by {' and '.join(found.limited_by)}",
        f"{device.name}, modelled: {cost.registers} registers and {cost.stack_bytes} B of stack "
        "per thread",
    ]


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[str]
) -> Table:
    """Return a table with the columns named in `numbers` aligned to the right."""
    view = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        view.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        view.add_row(*(str(cell) for cell in row))
    return view


def show(view: Table, stream: TextIO) -> None:
    """Print a table; into a file or a pipe it goes unwrapped, whatever its width."""
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        console.print(view)
        return
    options = console.options.update(max_width=WIDEST)
    console.width = max(1, Measurement.get(console, options, view).maximum)
    with console.capture() as captured:
        console.print(view)
    lines = (line.rstrip() for line in captured.get().splitlines())
    stream.write("\n".join([*lines, ""]))
