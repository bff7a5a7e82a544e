"""A plan, and studies of it, as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from cubie_planner import Plan, report
from cubie_planner.report.device_use import device_lines

WIDEST = 10_000


def show_plan(plan: Plan, name: str) -> None:
    """Print the table, what it adds up to, and what limits it."""
    empty = {p.name for p in plan.placements.values() if p.size_bytes == 0}
    rows = [row for row in report.rows(plan) if row[0] not in empty]
    title = f"{name}: memory plan ({plan.told_status})"
    show(table(title, report.COLUMNS, rows, report.NUMBERS), sys.stdout)
    lines = report.totals(plan)
    if empty:
        lines.insert(0, f"not listed: {len(empty)} buffers that are switched off or empty")
    print("\n".join(["", *lines, *device_lines(plan)]))


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
    lines = (line.rstrip() for line in captured.get().rstrip().splitlines())
    stream.write("\n".join([*lines, ""]))
