"""Reading and writing problems and plans: JSON with a schema, and MiniMalloc CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Mapping, Set
from importlib import resources
from typing import Any

import numpy as np

from cubie_planner.buffers import Alias, Buffer, BufferError, Location
from cubie_planner.plan import Level, Placement, Plan
from cubie_planner.problem import Limits, Problem

FORMAT = "cubie-plan/1"
CSV_FIELDS = ("id", "lower", "upper", "size")


class FormatError(ValueError):
    """A file is not what it should be; the message says where."""


def schema() -> dict[str, Any]:
    """Return the JSON schema of problem and plan files."""
    text = resources.files("cubie_planner").joinpath("schema.json").read_text(encoding="utf-8")
    return json.loads(text)


# --- problems -----------------------------------------------------------------------


def problem_to_dict(problem: Problem) -> dict[str, Any]:
    """Return `problem` as plain JSON values, canonical: equal problems give equal dicts."""
    limits = problem.limits
    policy = problem.policy
    return {
        "buffers": [_buffer_to_dict(buffer) for buffer in problem.buffers],
        "limits": {
            "max_shared_bytes": limits.max_shared_bytes,
            "block_size": limits.block_size,
            "compute_capability": limits.compute_capability and list(limits.compute_capability),
            "pad_banks": limits.pad_banks,
        },
        "policy": policy
        if isinstance(policy, str)
        else {name: str(location) for name, location in sorted(policy.items())},
        "previous": {
            name: [str(location), offset]
            for name, (location, offset) in sorted(problem.previous.items())
        },
    }


def _buffer_to_dict(buffer: Buffer) -> dict[str, Any]:
    return {
        "name": buffer.name,
        "n_elements": buffer.n_elements,
        "dtype": buffer.dtype.str,
        "lifetime": None if buffer.lifetime is None else [list(span) for span in buffer.lifetime],
        "persistent": buffer.persistent,
        "locations": sorted(str(location) for location in buffer.locations),
        "pin": buffer.pin and str(buffer.pin),
        "offset": buffer.offset,
        "aliases": [{"parent": alias.parent, "offset": alias.offset} for alias in buffer.aliases],
        "alias_required": buffer.alias_required,
        "access_weight": buffer.access_weight,
        "alignment": buffer.alignment,
        "enabled": buffer.enabled,
    }


def problem_from_dict(data: Mapping[str, Any]) -> Problem:
    """Read a problem from plain JSON values.

    Raises
    ------
    FormatError
        When a field is missing, unknown or of the wrong kind.
    BufferError, ProblemError
        When its values cannot mean anything.
    """
    _expect_fields(data, "problem", required={"buffers"}, optional={"limits", "policy", "previous"})
    limits = data.get("limits", {})
    _expect_fields(
        limits,
        "limits",
        optional={"max_shared_bytes", "block_size", "compute_capability", "pad_banks"},
    )
    buffers = []
    for index, item in enumerate(_expect_list(data["buffers"], "buffers")):
        buffers.append(_buffer_from_dict(item, f"buffers[{index}]"))
    previous = data.get("previous") or {}
    if not isinstance(previous, Mapping):
        raise FormatError(f"previous must be an object, got {previous!r}")
    return Problem(
        buffers,
        Limits(**limits),
        data.get("policy", "auto"),
        {name: tuple(_expect_list(spot, f"previous.{name}")) for name, spot in previous.items()},
    )


def _buffer_from_dict(data: Any, where: str) -> Buffer:
    options = {
        "lifetime",
        "persistent",
        "locations",
        "pin",
        "offset",
        "aliases",
        "alias_required",
        "access_weight",
        "alignment",
        "enabled",
    }
    _expect_fields(data, where, required={"name", "n_elements", "dtype"}, optional=options)
    fields = dict(data)
    aliases = _expect_list(fields.pop("aliases", []), f"{where}.aliases")
    for alias in aliases:
        _expect_fields(alias, f"{where}.aliases", required={"parent"}, optional={"offset"})
    if fields.get("lifetime") is not None:
        spans = _expect_list(fields["lifetime"], f"{where}.lifetime")
        fields["lifetime"] = tuple(tuple(_expect_list(s, f"{where}.lifetime")) for s in spans)
    try:
        fields["dtype"] = np.dtype(fields["dtype"])
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}.dtype {fields['dtype']!r} is not a NumPy dtype") from error
    try:
        return Buffer(**fields, aliases=[Alias(**alias) for alias in aliases])
    except BufferError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error


def _expect_fields(
    data: Any, where: str, required: Set[str] = frozenset(), optional: Set[str] = frozenset()
) -> None:
    if not isinstance(data, Mapping):
        raise FormatError(f"{where} must be an object, got {type(data).__name__}")
    missing = sorted(required - set(data))
    unknown = sorted(set(data) - required - optional)
    if missing:
        raise FormatError(f"{where} lacks {missing[0]!r}")
    if unknown:
        raise FormatError(
            f"{where} has an unknown field {unknown[0]!r}; known: "
            f"{', '.join(sorted(required | optional))}"
        )


def _expect_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise FormatError(f"{where} must be a list, got {type(value).__name__}")
    return list(value)


def _expect_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{where} must be text, got {value!r}")
    return value


# --- plans --------------------------------------------------------------------------


def plan_to_json(plan: Plan) -> str:
    """Return the plan file's text: problem, placements, bounds and the checker's verdict.

    The text is the same, byte for byte, for equal plans.

    Raises
    ------
    PlanRejected
        When the plan does not pass the checker: no file may claim that it did.
    """
    from cubie_planner.check import check

    check(plan.problem, plan)
    body = {
        "format": FORMAT,
        "digest": plan.digest,
        "verdict": "accepted",
        "status": str(plan.status),
        "note": plan.note,
        "totals": plan.totals,
        "levels": [
            {
                "name": level.name,
                "value": level.value,
                "bound": level.bound,
                "status": str(level.status),
            }
            for level in plan.levels
        ],
        "placements": [_placement_to_dict(p) for p in plan.placements.values()],
        "problem": problem_to_dict(plan.problem),
    }
    body["seal"] = _seal(body)
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _seal(body: Mapping[str, Any]) -> str:
    """Digest of everything else in the file: tells damage apart from a wrong plan."""
    content = {key: value for key, value in body.items() if key != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _placement_to_dict(placement: Placement) -> dict[str, Any]:
    return {
        "name": placement.name,
        "location": str(placement.location),
        "offset": placement.offset,
        "size_bytes": placement.size_bytes,
        "parent": placement.parent,
        "parent_offset": placement.parent_offset,
        "reason": placement.reason,
    }


def plan_from_json(text: str) -> Plan:
    """Read a plan file and verify it from its text alone.

    Raises
    ------
    FormatError
        When the text is not a plan file, or was damaged.
    PlanRejected
        When the plan is not a valid answer to the problem in the file.
    """
    from cubie_planner.check import check

    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error}") from error
    required = {"format", "digest", "levels", "placements", "problem", "seal", "totals", "status"}
    _expect_fields(body, "plan", required=required, optional={"verdict", "note"})
    if body["format"] != FORMAT:
        raise FormatError(f"format is {body['format']!r}, this version reads {FORMAT!r}")
    if _seal(body) != body["seal"]:
        raise FormatError("the file was changed after it was written: its seal does not match")
    problem = problem_from_dict(body["problem"])
    placements = {}
    for index, item in enumerate(_expect_list(body["placements"], "placements")):
        placement = _placement_from_dict(problem, item, f"placements[{index}]")
        if placement.name in placements:
            raise FormatError(f"placements[{index}] places `{placement.name}` twice")
        placements[placement.name] = placement
    levels = []
    for item in _expect_list(body["levels"], "levels"):
        _expect_fields(item, "levels", required={"name", "value", "bound"}, optional={"status"})
        for key in ("value", "bound"):
            if type(item[key]) is not int:
                raise FormatError(f"levels.{key} must be an integer, got {item[key]!r}")
        level = Level(_expect_text(item["name"], "levels.name"), item["value"], item["bound"])
        if item.get("status", level.status) != level.status:
            raise FormatError(f"levels.status {item['status']!r} does not follow from the bound")
        levels.append(level)
    note = _expect_text(body.get("note", ""), "note")
    plan = Plan(problem, placements, tuple(levels), body["digest"], note)
    check(problem, plan)
    if plan.totals != body["totals"] or str(plan.status) != body["status"]:
        raise FormatError("totals or status of the file do not follow from its placements")
    return plan


def _placement_from_dict(problem: Problem, data: Any, where: str) -> Placement:
    fields = {"location", "offset", "size_bytes", "parent", "parent_offset", "reason"}
    _expect_fields(data, where, required={"name"} | fields)
    buffer = problem.by_name.get(data["name"])
    if buffer is None:
        raise FormatError(f"{where} places `{data['name']}`, which the problem does not have")
    for key in ("offset", "parent_offset", "size_bytes"):
        if data[key] is not None and type(data[key]) is not int:
            raise FormatError(f"{where}.{key} must be an integer, got {data[key]!r}")
    if data["parent"] is not None and data["parent"] not in problem.by_name:
        raise FormatError(f"{where} names the parent `{data['parent']}`, which does not exist")
    return Placement(
        buffer.name,
        Location.parse(data["location"]),
        data["offset"],
        data["size_bytes"],
        buffer.n_elements if buffer.enabled else 0,
        buffer.dtype,
        data["parent"],
        data["parent_offset"],
        None if buffer.always_alive else buffer.lifetime,
        buffer.pin,
        _expect_text(data["reason"], f"{where}.reason"),
    )


# --- MiniMalloc CSV -----------------------------------------------------------------


def problem_from_minimalloc(text: str, max_shared_bytes: int | None = None) -> Problem:
    """Read MiniMalloc's CSV (id, lower, upper, size; optionally alignment, gaps, offset).

    Every buffer is pinned to shared memory with bytes as elements. A gap cuts the
    lifetime: ``3-5`` means not alive at points 3 and 4. Gaps that keep part of a buffer
    alive (``3-5:0-64``) cannot be expressed and are refused.

    Raises
    ------
    FormatError
        When a column is missing, or a cell is not what its column holds; names the line.
    """
    rows = csv.DictReader(io.StringIO(text))
    header = [name.strip() for name in rows.fieldnames or []]
    for name in CSV_FIELDS:
        if name not in header:
            raise FormatError(f"the CSV header lacks {name!r}; it has {header}")
    buffers = []
    for row in rows:
        cells = {key.strip(): (value or "").strip() for key, value in row.items() if key}
        where = f"line {rows.line_num}"
        span = (_csv_int(cells["lower"], where), _csv_int(cells["upper"], where))
        offset = cells.get("offset", "")
        buffers.append(
            Buffer(
                cells["id"],
                _csv_int(cells["size"], where),
                "u1",
                lifetime=_cut_gaps(span, cells.get("gaps", ""), where),
                alignment=_csv_int(cells.get("alignment") or "1", where),
                pin=Location.SHARED,
                offset=_csv_int(offset, where) if offset else None,
            )
        )
    return Problem(buffers, Limits(max_shared_bytes, pad_banks=False), "shared")


def _csv_int(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise FormatError(f"{where}: {text!r} is not an integer") from error


def _cut_gaps(span: tuple[int, int], gaps: str, where: str) -> tuple[tuple[int, int], ...]:
    pieces, start = [], span[0]
    for gap in gaps.split():
        times, _, kept = gap.partition(":")
        first, dash, last = times.partition("-")
        if kept or not dash:
            raise FormatError(f"{where}: the gap {gap!r} is not of the form first-last")
        if _csv_int(first, where) > start:
            pieces.append((start, _csv_int(first, where)))
        start = _csv_int(last, where)
    if start < span[1]:
        pieces.append((start, span[1]))
    return tuple(pieces)


def problem_to_minimalloc(problem: Problem, plan: Plan | None = None) -> str:
    """Write the buffers as MiniMalloc's CSV; lifetimes of several intervals become gaps.

    Parameters
    ----------
    problem : Problem
        Aliases cannot be expressed: a problem with any is refused.
    plan : Plan, optional
        Adds the column ``offset``.

    Raises
    ------
    FormatError
        When a buffer has aliases.
    """
    bounds = [point for b in problem.buffers for span in b.lifetime or () for point in span]
    always = (min(bounds, default=0), max(bounds, default=1))
    out = io.StringIO()
    header = [*CSV_FIELDS, "alignment", "gaps", *(["offset"] if plan else [])]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for buffer in problem.buffers:
        if buffer.aliases:
            raise FormatError(f"`{buffer.name}` has aliases, which MiniMalloc's CSV cannot hold")
        spans = list(buffer.lifetime or ()) if not buffer.always_alive else [always]
        gaps = " ".join(f"{a[1]}-{b[0]}" for a, b in itertools.pairwise(spans))
        row: list[object] = [buffer.name, spans[0][0], spans[-1][1], buffer.size_bytes]
        row += [buffer.alignment, gaps]
        if plan:
            row.append(plan.placements[buffer.name].offset)
        writer.writerow(row)
    return out.getvalue()
