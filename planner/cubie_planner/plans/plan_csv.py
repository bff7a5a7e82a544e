"""A plan as CSV with every column of its table, and back to a problem with that answer only."""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from cubie_planner.declarations.buffers import Alias, Buffer, Interval, Location
from cubie_planner.declarations.problem import Limits, Problem
from cubie_planner.plans.answer import Answer
from cubie_planner.plans.cells import COLUMNS, rows
from cubie_planner.plans.csv_table import Cells, CsvTable, require_no_blanks
from cubie_planner.plans.minimalloc import is_packing, problem_of_table, problem_to_minimalloc
from cubie_planner.reading import FormatError, parse_integer, shown

PLAN_FIELDS = (*COLUMNS, "alignment")
SPAN = re.compile(r"(-?[0-9]+)-(-?[0-9]+)")


def problem_from_csv(text: str, max_shared_bytes: int | None = None) -> Problem:
    """Read MiniMalloc's CSV, or what `plan_to_csv` writes; the header tells which it is.

    Raises
    ------
    FormatError, ProblemError
        Naming the line.
    """
    table = CsvTable(text)
    if set(table.header) >= {"buffer", "location"}:
        return _problem_of_plan(table, max_shared_bytes)
    return problem_of_table(table, max_shared_bytes)


def plan_to_csv(plan: Answer) -> str:
    """Write a plan as CSV: MiniMalloc's where that can hold it, or a line per buffer.

    Read back, by `problem_from_csv`, either gives a problem whose only answer is this plan.
    """
    if is_packing(plan.problem):
        return problem_to_minimalloc(plan.problem, plan)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(PLAN_FIELDS)
    for buffer, cells in zip(plan.problem.buffers, rows(plan), strict=True):
        require_no_blanks(buffer.name)
        writer.writerow([*cells, buffer.alignment])
    return out.getvalue()


def _problem_of_plan(table: CsvTable, max_shared_bytes: int | None) -> Problem:
    """Read the lines of `plan_to_csv`: every place, offset and parent is demanded."""
    names = list(table.header)
    for index, name in enumerate(names):
        if name in names[:index] or name not in PLAN_FIELDS:
            kind = "the column {} twice" if name in names[:index] else "an unknown column {}"
            raise FormatError(f"the CSV header has {kind.format(shown(name))}")
    missing = [name for name in PLAN_FIELDS if name not in names]
    if missing:
        raise FormatError(f"the CSV header lacks {missing[0]!r}; it has {shown(names)}")
    buffers = [_placed_buffer(where, cells) for where, cells in table.rows(names)]
    return Problem(buffers, Limits(max_shared_bytes))


def _placed_buffer(where: str, cells: Cells) -> Buffer:
    try:
        location = Location.parse(cells["location"])
        dtype = np.dtype(cells["dtype"])
    except (TypeError, ValueError, SyntaxError) as error:
        raise FormatError(f"{where}: {error}") from error
    at, (pin, _, pin_at) = cells["offset"], cells["pin"].partition("@")
    if pin not in ("", str(location)) or (pin_at and at and pin_at != at):
        lies = f"{location}@{at}" if at else str(location)
        raise FormatError(f"{where}: the pin {shown(cells['pin'])} is not where it lies, {lies}")
    buffer = Buffer(
        cells["buffer"],
        parse_integer(cells["elements"], where),
        dtype,
        lifetime=_spans(cells["lifetime"], where),
        alignment=parse_integer(cells["alignment"], where),
        pin=location,
        offset=parse_integer(at, where) if at else None,
        aliases=_parent(cells["alias"], where),
        alias_required=bool(cells["alias"]),
    )
    if buffer.size_bytes != parse_integer(cells["bytes"], where):
        raise FormatError(f"{where}: has {cells['bytes']} bytes, not {buffer.size_bytes}")
    return buffer


def _spans(text: str, where: str) -> tuple[Interval, ...] | None:
    if text == "always":
        return None
    found = [(span, SPAN.fullmatch(span)) for span in text.split()]
    wrong = [span for span, match in found if match is None]
    if wrong or not found:
        told = shown(wrong[0] if wrong else text)
        raise FormatError(f"{where}: the lifetime {told} is neither 'always' nor start-end")
    return tuple(
        (parse_integer(match[1], where), parse_integer(match[2], where))
        for _, match in found
        if match is not None
    )


def _parent(text: str, where: str) -> tuple[Alias, ...]:
    if not text:
        return ()
    name, plus, offset = text.rpartition(" +")
    if not plus or not name:
        raise FormatError(f"{where}: the alias {shown(text)} is not of the form parent +offset")
    return (Alias(name, parse_integer(offset, where)),)
