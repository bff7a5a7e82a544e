"""A plan as CSV with every column of its table, and back to a problem with that answer only."""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from cubie_planner.declarations.buffers import Alias, Buffer, Interval
from cubie_planner.declarations.layouts import (
    Layout,
    LayoutError,
    layout_from_dict,
    layout_to_dict,
)
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.places import (
    OWN_PLACES,
    TILE,
    Place,
    Pool,
    PoolError,
    parse_place,
)
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.answer import Answer
from cubie_planner.plans.cells import COLUMNS, rows
from cubie_planner.plans.csv_table import Cells, CsvTable, require_no_blanks
from cubie_planner.plans.minimalloc import is_packing, problem_of_table, problem_to_minimalloc
from cubie_planner.reading import FormatError, parse_integer, shown

PLAN_FIELDS = (*COLUMNS, "alignment")
POOL, SHAPE, LAYOUT = "pool", "shape", "layout"
"""Columns of plans that have such: the scope of the buffer's pool, and its bytes or "any"; the
numbers of a shape; the kind of a layout, and its numbers."""
MORE = (POOL, SHAPE, LAYOUT)
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
    more = _more_columns(plan)
    writer.writerow([*PLAN_FIELDS, *more])
    for buffer, cells in zip(plan.problem.buffers, rows(plan), strict=True):
        require_no_blanks(buffer.name)
        told = _more_cells(buffer, plan.placements[buffer.name].location)
        writer.writerow([*cells, buffer.alignment, *(told[column] for column in more)])
    return out.getvalue()


def _more_columns(plan: Answer) -> list[str]:
    """Return the columns that this plan needs besides."""
    buffers = plan.problem.buffers
    shaped = any(b.shape is not None for b in buffers)
    laid_out = any(b.layout is not None for b in buffers)
    wanted = {POOL: bool(plan.problem.pools), SHAPE: shaped, LAYOUT: laid_out}
    return [column for column, is_wanted in wanted.items() if is_wanted]


def _more_cells(buffer: Buffer, place: Place) -> dict[str, str]:
    pool = ""
    if isinstance(place, Pool) and place != TILE:
        room = "any" if place.capacity_bytes is None else place.capacity_bytes
        pool = f"{place.scope} {room}"
    layout = layout_to_dict(buffer.layout) or {}
    return {
        POOL: pool,
        SHAPE: "" if buffer.shape is None else " ".join(map(str, buffer.shape)),
        LAYOUT: " ".join(map(str, layout.values())),
    }


def _problem_of_plan(table: CsvTable, max_shared_bytes: int | None) -> Problem:
    """Read the lines of `plan_to_csv`: every place, offset and parent is demanded."""
    names = list(table.header)
    for index, name in enumerate(names):
        if name in names[:index] or name not in (*PLAN_FIELDS, *MORE):
            kind = "the column {} twice" if name in names[:index] else "an unknown column {}"
            raise FormatError(f"the CSV header has {kind.format(shown(name))}")
    missing = [name for name in PLAN_FIELDS if name not in names]
    if missing:
        raise FormatError(f"the CSV header lacks {missing[0]!r}; it has {shown(names)}")
    buffers = [_placed_buffer(where, cells) for where, cells in table.rows(names)]
    return Problem(buffers, Limits(max_shared_bytes))


def _placed_buffer(where: str, cells: Cells) -> Buffer:
    try:
        location = _located(where, cells)
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
        locations=OWN_PLACES if location in OWN_PLACES else (location,),
        pin=location,
        offset=parse_integer(at, where) if at else None,
        aliases=_parent(cells["alias"], where),
        alias_required=bool(cells["alias"]),
        shape=_numbers(cells.get(SHAPE, ""), where),
        layout=_layout(cells.get(LAYOUT, ""), where),
    )
    if buffer.size_bytes != parse_integer(cells["bytes"], where):
        raise FormatError(f"{where}: has {cells['bytes']} bytes, not {buffer.size_bytes}")
    return buffer


def _numbers(text: str, where: str) -> tuple[int, ...] | None:
    return tuple(parse_integer(part, where) for part in text.split()) or None


def _layout(text: str, where: str) -> Layout | None:
    if not text:
        return None
    kind, *numbers = text.split()
    names = {"padding": ("elements",), "swizzle": ("span", "unit", "rows")}.get(kind, ())
    if len(names) != len(numbers) or not names:
        raise FormatError(f"{where}: {shown(text)} is no layout")
    values = [parse_integer(number, where) for number in numbers]
    try:
        return layout_from_dict({"kind": kind, **dict(zip(names, values, strict=True))})
    except LayoutError as error:
        raise FormatError(f"{where}: {error}") from error


def _located(where: str, cells: Cells) -> Place:
    """Return the place of a line; a pool is told in a column of its own."""
    told = cells.get(POOL, "")
    if not told:
        return parse_place(cells["location"])
    scope, _, room = told.partition(" ")
    capacity = None if room == "any" else parse_integer(room, where)
    try:
        return Pool(cells["location"], capacity, scope, alignment=4096)
    except PoolError as error:
        raise FormatError(f"{where}: {error}") from error


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
