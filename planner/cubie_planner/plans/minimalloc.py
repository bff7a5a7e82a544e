"""MiniMalloc's CSV, which holds packing problems.

It has a line per buffer: when it comes alive, when it dies, and its bytes::

    id,lower,upper,size,alignment,gaps,offset
    a,0,9,128,1,3-5@0:64 6-7,0

`a` lives at points 0 to 8, but not at 6, and at 3 and 4 only its bytes 0 to 63 do. In
files with ``end`` for ``upper`` the last point is meant, in gaps too. A part that lives on
in a gap is a buffer of its own here, a view of those bytes: ``a@3-5``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from cubie_planner.declarations.buffers import Alias, Buffer, Interval
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.places import Location
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.answer import Answer
from cubie_planner.plans.csv_table import Cells, CsvTable, require_no_blanks
from cubie_planner.reading import FormatError, parse_integer, shown

CSV_FIELDS = ("id", "lower", "upper", "size")
OPTIONAL_FIELDS = ("alignment", "hint", "gaps", "offset")
SYNONYMS = {
    "buffer_id": "id",
    "buffer": "id",
    "start": "lower",
    "begin": "lower",
    "end": "upper",
}
GAP = re.compile(r"(?P<first>-?[0-9]+)-(?P<last>-?[0-9]+)(?:@(?P<low>[0-9]+):(?P<high>[0-9]+))?")


def problem_from_minimalloc(text: str, max_shared_bytes: int | None = None) -> Problem:
    """Read MiniMalloc's CSV (id, lower, upper, size; optionally alignment, gaps, offset, hint).

    Every buffer must be shared, with bytes as elements. A gap cuts the lifetime: ``3-5``
    means not alive at points 3 and 4; in ``3-5@0:64`` bytes 0 to 63 stay alive, as a view
    named ``id@3-5``. ``buffer_id``, ``start`` and ``end`` (the last point, not the one
    after it) are understood as well. An offset is a pin; a hint is where the buffer stays
    if nothing speaks against it.

    Raises
    ------
    FormatError
        When a column is missing, unknown or there twice, or a cell is not what its column
        holds; names the line.
    BufferError, ProblemError
        When the values cannot mean anything.
    """
    return problem_of_table(CsvTable(text), max_shared_bytes)


def problem_of_table(table: CsvTable, max_shared_bytes: int | None) -> Problem:
    """Return the problem of MiniMalloc's lines."""
    names = [SYNONYMS.get(name, name) for name in table.header]
    table.known(names, CSV_FIELDS, OPTIONAL_FIELDS)
    last = int("end" in table.header)  # an `end` is the last point alive
    buffers: list[Buffer] = []
    hints = {}
    for where, cells in table.rows(names):
        buffers += _minimalloc_buffers(where, cells, last)
        hint = cells.get("hint", "")
        if hint and parse_integer(hint, where) >= 0:
            hints[cells["id"]] = (Location.SHARED, parse_integer(hint, where))
    return Problem(buffers, Limits(max_shared_bytes, pad_banks=False), "shared", hints)


def _minimalloc_buffers(where: str, cells: Cells, last: int) -> list[Buffer]:
    """Return a line's buffer, and a view for every part of it that lives on in a gap."""
    span = (parse_integer(cells["lower"], where), parse_integer(cells["upper"], where) + last)
    size, offset = parse_integer(cells["size"], where), cells.get("offset", "")
    alignment = parse_integer(cells.get("alignment") or "1", where)
    pieces, windows = _cut_gaps(span, cells.get("gaps", ""), where, last)
    whole = Buffer(
        cells["id"],
        size,
        "u1",
        lifetime=pieces,
        alignment=alignment,
        locations=(Location.SHARED,),
        pin=Location.SHARED if offset else None,
        offset=parse_integer(offset, where) if offset else None,
    )
    found = [whole]
    for when, (low, high) in windows:
        if not low < high <= size:
            raise FormatError(f"{where}: the window {low}:{high} is not within the {size} B")
        if low == 0 and high == size:
            raise FormatError(f"{where}: the gap {when[0]}-{when[1]} leaves all bytes alive")
        name = _view_name(whole.name, when)
        alias = Alias(whole.name, low)
        found.append(
            Buffer(
                name,
                high - low,
                "u1",
                lifetime=(when,),
                locations=(Location.SHARED,),
                aliases=(alias,),
                alias_required=True,
            )
        )
    return found


def _view_name(name: str, when: Interval) -> str:
    return f"{name}@{when[0]}-{when[1]}"


def _cut_gaps(
    span: Interval, gaps: str, where: str, last: int
) -> tuple[tuple[Interval, ...], list[tuple[Interval, tuple[int, int]]]]:
    """Return when a buffer is alive as a whole, and the windows that live on between."""
    if span[0] >= span[1]:
        return (span,), []  # refused with the buffer
    pieces, windows, start = [], [], span[0]
    for gap in gaps.split():
        found = GAP.fullmatch(gap)
        if found is None:
            raise FormatError(
                f"{where}: the gap {shown(gap)} is not of the form first-last or "
                "first-last@low:high"
            )
        first = parse_integer(found["first"], where)
        end = parse_integer(found["last"], where) + last
        if not span[0] <= first < end <= span[1]:
            raise FormatError(
                f"{where}: the gap {gap} is empty or outside the life, {span[0]} to {span[1]}"
            )
        if first < start:
            raise FormatError(f"{where}: the gap {gap} begins before the one ahead of it ends")
        if first > start:
            pieces.append((start, first))
        if found["low"] is not None:
            window = (parse_integer(found["low"], where), parse_integer(found["high"], where))
            windows.append(((first, end), window))
        start = end
    if start < span[1]:
        pieces.append((start, span[1]))
    if not pieces:
        raise FormatError(f"{where}: the gaps leave no point at which all of it is alive")
    return tuple(pieces), windows


def is_packing(problem: Problem) -> bool:
    """Return whether MiniMalloc's CSV can hold the problem: one arena, and offsets alone."""
    limits, windows = problem.limits, _windows(problem)
    return (limits.block_size == 1 or not limits.pad_banks) and all(
        _only_shared(problem, b) and b.shape is None and (not b.aliases or b.name in windows)
        for b in problem.buffers
    )


def _only_shared(problem: Problem, buffer: Buffer) -> bool:
    if buffer.shape is not None:
        return False
    if buffer.pin is not None or len(buffer.locations) == 1:
        return (buffer.pin or next(iter(buffer.locations))) is Location.SHARED
    return problem.policy == "shared" and Location.SHARED in buffer.locations


def _windows(problem: Problem) -> dict[str, str]:
    """Return the views that are what lives on of another buffer in a gap, with that one."""
    found: dict[str, str] = {}
    for view in problem.buffers:
        spans = view.lifetime or ()
        if not view.alias_required or len(view.aliases) != 1 or len(spans) != 1:
            continue
        alias, when = view.aliases[0], spans[0]
        host = problem.by_name[alias.parent]
        if alias.offset is None or host.aliases or host.lifetime is None:
            continue
        apart = all(when[1] <= start or end <= when[0] for start, end in host.lifetime)
        end = alias.offset + view.size_bytes
        within = 0 < view.size_bytes < host.size_bytes and end <= host.size_bytes
        plain = view.alignment == 1 and view.offset is None
        if apart and within and plain and view.name == _view_name(host.name, when):
            found[view.name] = host.name
    return found


def problem_to_minimalloc(problem: Problem, plan: Answer | None = None) -> str:
    """Write the buffers as MiniMalloc's CSV; lifetimes of several intervals become gaps.

    Columns that would say nothing, of alignments of 1 and of no gaps, are left out.

    Parameters
    ----------
    problem : Problem
        Aliases cannot be expressed, but for the views that `problem_from_minimalloc`
        makes of windows: a problem with any other is refused.
    plan : Plan, optional
        Adds the column ``offset``.

    Raises
    ------
    FormatError
        When a buffer has aliases, is not shared in the plan, or has blanks around its name.
    """
    windows = _windows(problem)
    whole = [b for b in problem.buffers if b.name not in windows]
    for buffer in whole:
        _require_writable(buffer, plan)
    bounds = [point for b in problem.buffers for span in b.lifetime or () for point in span]
    always = (min(bounds, default=0), max(bounds, default=1))
    parts: dict[str, list[Buffer]] = {}
    for view, host in windows.items():
        parts.setdefault(host, []).append(problem.by_name[view])
    lives = {b.name: _life(b, parts.get(b.name, ()), always) for b in whole}
    columns = {"alignment": any(b.alignment != 1 for b in whole)}
    columns["hint"] = bool(problem.previous) and plan is None
    columns["gaps"] = any(gaps for _, gaps in lives.values())
    columns["offset"] = plan is not None
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CSV_FIELDS, *(name for name, used in columns.items() if used)])
    for buffer in whole:
        (lower, upper), gaps = lives[buffer.name]
        offset = plan.placements[buffer.name].offset if plan else None
        hint = problem.previous.get(buffer.name, (None, -1))[1]
        cells = {"alignment": buffer.alignment, "hint": hint, "gaps": gaps, "offset": offset or 0}
        row = [buffer.name, lower, upper, buffer.size_bytes]
        writer.writerow(row + [cells[name] for name, used in columns.items() if used])
    return out.getvalue()


def _require_writable(buffer: Buffer, plan: Answer | None) -> None:
    if buffer.aliases:
        raise FormatError(f"`{buffer.name}` has aliases, which MiniMalloc's CSV cannot hold")
    require_no_blanks(buffer.name)
    if plan is None or not buffer.size_bytes:
        return
    where = plan.placements[buffer.name].location
    if where is not Location.SHARED:
        raise FormatError(
            f"`{buffer.name}` is {where}; MiniMalloc's CSV holds what is shared, and nothing else"
        )


def _life(buffer: Buffer, parts: Iterable[Buffer], always: Interval) -> tuple[Interval, str]:
    """Return from when to when a buffer lives at all, and its gaps in MiniMalloc's words."""
    spans = [always] if buffer.always_alive else list(buffer.lifetime or ())
    pieces = [(span, "") for span in spans]
    for part in parts:
        low = part.aliases[0].offset or 0
        pieces += [(span, f"@{low}:{low + part.size_bytes}") for span in part.lifetime or ()]
    pieces.sort()
    gaps = []
    reached = pieces[0][0][0]
    for (start, end), window in pieces:
        if start > reached:
            gaps.append(f"{reached}-{start}")
        if window:
            gaps.append(f"{start}-{end}{window}")
        reached = end
    return (pieces[0][0][0], reached), " ".join(gaps)
