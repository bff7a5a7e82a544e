"""Reading and writing problems and plans: JSON with a schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, TypeVar

import numpy as np
from attrs import fields

from cubie_planner.declarations.buffers import Alias, Buffer, BufferError
from cubie_planner.declarations.byte_counts import BYTE_LIMITS
from cubie_planner.declarations.layouts import layout_from_dict
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.places import Place, Pool, PoolError, parse_place
from cubie_planner.declarations.problem import Problem, problem_to_dict
from cubie_planner.plans.answer import Answer, Level, Placement, Prices
from cubie_planner.plans.check import check
from cubie_planner.reading import (
    FormatError,
    expect_fields,
    expect_integer,
    expect_list,
    expect_text,
    parse_json,
    shown,
)

FORMAT = "cubie-plan/2"
VERDICT = "accepted"

AnyAnswer = TypeVar("AnyAnswer", bound=Answer)


def schema() -> dict[str, Any]:
    """Return the JSON schema of problem and plan files."""
    text = (
        resources.files("cubie_planner.plans").joinpath("schema.json").read_text(encoding="utf-8")
    )
    return json.loads(text)


# --- problems -----------------------------------------------------------------------


def problem_from_dict(data: Mapping[str, Any]) -> Problem:
    """Read a problem from plain JSON values.

    Raises
    ------
    FormatError
        When a field is missing, unknown or of the wrong kind.
    BufferError, ProblemError
        When its values cannot mean anything.
    """
    optional = {"limits", "policy", "previous", "pools"}
    expect_fields(data, "problem", required={"buffers"}, optional=optional)
    pools = pools_from_list(data.get("pools", []))
    limits = data.get("limits", {})
    expect_fields(
        limits,
        "limits",
        optional={
            "max_shared_bytes",
            "block_size",
            "compute_capability",
            "pad_banks",
            "max_registers",
            "card",
            "max_local_bytes",
        },
    )
    require_numbers(limits, "limits", BYTE_LIMITS)
    buffers = []
    for index, item in enumerate(expect_list(data["buffers"], "buffers")):
        buffers.append(_buffer_from_dict(item, f"buffers[{index}]", pools))
    previous = data.get("previous", {})
    if not isinstance(previous, Mapping):
        raise FormatError(f"previous must be an object, got {shown(previous)}")
    policy = data.get("policy", "auto")
    if isinstance(policy, Mapping):
        policy = {name: _place(place, pools) for name, place in policy.items()}
    problem = Problem(
        buffers,
        Limits(**limits),
        policy,
        {
            name: _spot(expect_list(spot, f"previous.{name}"), pools)
            for name, spot in previous.items()
        },
    )
    unused = sorted(set(pools) - set(problem.pools))
    if unused:
        raise FormatError(f"no buffer may be in the pool `{unused[0]}`")
    return problem


def require_numbers(data: Mapping[str, Any], where: str, names: Iterable[str]) -> None:
    """Refuse byte counts as text: units are for people, and a file says one thing in one way."""
    for name in names:
        if isinstance(data.get(name), str):
            raise FormatError(
                f"{where}.{name} must be a byte count, a number without a unit; got "
                f"{shown(data[name])}"
            )


def pools_from_list(data: Any) -> dict[str, Pool]:
    """Read the pools that buffers name, by name."""
    pools: dict[str, Pool] = {}
    for index, item in enumerate(expect_list(data, "pools")):
        where = f"pools[{index}]"
        optional = {"capacity_bytes", "scope", "cost", "alignment"}
        expect_fields(item, where, required={"name"}, optional=optional)
        require_numbers(item, where, ["capacity_bytes"])
        try:
            pool = Pool(**item)
        except PoolError as error:
            raise FormatError(f"{where}: {error}") from error
        if pool.name in pools:
            raise FormatError(f"{where} is a second pool `{pool}`")
        pools[pool.name] = pool
    return pools


def _place(name: Any, pools: Mapping[str, Pool]) -> Place:
    """Return the place of a name: a pool of the file, or one that every kernel has."""
    return pools[name] if isinstance(name, str) and name in pools else parse_place(name)


def _spot(given: list[Any], pools: Mapping[str, Pool]) -> tuple[Any, ...]:
    return (_place(given[0], pools), *given[1:]) if given else ()


def _buffer_from_dict(data: Any, where: str, pools: Mapping[str, Pool]) -> Buffer:
    options = {field.name for field in fields(Buffer)} - {"name", "n_elements", "dtype"}
    expect_fields(data, where, required={"name", "n_elements", "dtype"}, optional=options)
    given = change_from_json(data, where, pools)
    try:
        return Buffer(**given)
    except BufferError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error


def change_from_json(data: Any, where: str, pools: Mapping[str, Pool]) -> dict[str, Any]:
    """Return fields of a buffer as it takes them, read from plain JSON values."""
    expect_fields(data, where, optional={field.name for field in fields(Buffer)})
    found = dict(data)
    if "aliases" in found:
        found["aliases"] = [
            _alias(item, f"{where}.aliases")
            for item in expect_list(found["aliases"], f"{where}.aliases")
        ]
    if found.get("lifetime") is not None:
        spans = expect_list(found["lifetime"], f"{where}.lifetime")
        found["lifetime"] = tuple(tuple(expect_list(s, f"{where}.lifetime")) for s in spans)
    if "dtype" in found:
        found["dtype"] = _dtype(found["dtype"], f"{where}.dtype")
    if found.get("shape") is not None:
        found["shape"] = expect_list(found["shape"], f"{where}.shape")
    layout = found.get("layout")
    if layout is not None and not isinstance(layout, Mapping):
        raise FormatError(f"{where}.layout must be an object, got {shown(layout)}")
    try:
        if layout is not None:
            found["layout"] = layout_from_dict(layout)
        if pools and isinstance(found.get("locations"), list):
            found["locations"] = [_place(name, pools) for name in found["locations"]]
        if pools and found.get("pin") is not None:
            found["pin"] = _place(found["pin"], pools)
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error
    return found


def _alias(data: Any, where: str) -> Alias:
    expect_fields(data, where, required={"parent"}, optional={"offset", "across_frames"})
    try:
        return Alias(**data)
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error


def _dtype(given: Any, where: str) -> np.dtype:
    text = expect_text(given, where)
    try:
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError) as error:
        raise FormatError(f"{where} {shown(text)} is not a NumPy dtype") from error


# --- plans --------------------------------------------------------------------------


def plan_to_json(plan: Answer) -> str:
    """Return the plan file's text: problem, placements, bounds and the checker's verdict.

    The text is the same, byte for byte, for equal plans.

    Raises
    ------
    PlanRejected
        When the plan does not pass the checker: no file may claim that it did.
    """
    check(plan.problem, plan)
    body = {
        "format": FORMAT,
        "digest": plan.digest,
        "verdict": VERDICT,
        "status": str(plan.status),
        "note": expect_text(plan.note, "the note"),
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
        "prices": _prices_to_dict(plan.prices),
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
        "reason": expect_text(placement.reason, f"the reason of `{placement.name}`"),
    }


def _prices_to_dict(prices: Prices) -> dict[str, Any]:
    places = {
        name: {str(place): price for place, price in options.items()}
        for name, options in prices.places.items()
    }
    return {
        "unit": prices.unit,
        "cap": prices.cap,
        "surcharge": prices.surcharge,
        "places": places,
    }


def plan_from_json(text: str, kind: type[AnyAnswer]) -> AnyAnswer:
    """Read a plan file and verify it from its text alone.

    Places, totals, prices' meaning and the value of every level are derived anew. That no
    plan does better, `levels`' bounds, is the file's word: `from_file` of the plan is True.

    Parameters
    ----------
    text : str
    kind : type
        What to make: `Plan`, or an answer without its views.

    Raises
    ------
    FormatError
        When the text is not a plan file, or was damaged.
    PlanRejected
        When the plan is not a valid answer to the problem in the file.
    """
    body = _sealed(text)
    problem = problem_from_dict(body["problem"])
    placements = {}
    for index, item in enumerate(expect_list(body["placements"], "placements")):
        placement = _placement_from_dict(problem, item, f"placements[{index}]")
        if placement.name in placements:
            raise FormatError(f"placements[{index}] places `{placement.name}` twice")
        placements[placement.name] = placement
    items = enumerate(expect_list(body["levels"], "levels"))
    levels = tuple(_level_from_dict(item, f"levels[{index}]") for index, item in items)
    prices = _prices_from_dict(problem, body["prices"])
    if any(b.size_bytes for b in problem.buffers) and not prices.places:
        raise FormatError("prices.places is empty: it must tell what every place costs")
    digest, note = expect_text(body["digest"], "digest"), expect_text(body["note"], "note")
    plan = kind(problem, placements, levels, digest, note, prices, from_file=True)
    check(problem, plan)
    totals = body["totals"]
    expect_fields(totals, "totals", required=set(plan.totals))
    for name, value in plan.totals.items():
        if expect_integer(totals[name], f"totals.{name}") != value:
            raise FormatError(f"totals.{name} is {value}: {totals[name]} does not follow")
    if str(plan.status) != body["status"]:
        raise FormatError(f"status {shown(body['status'])} does not follow from the levels")
    return plan


def _sealed(text: str) -> Mapping[str, Any]:
    """Return the object of a plan file that nothing was changed in."""
    try:
        body = parse_json(text)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise FormatError("not a plan: it is nested too deeply") from error
    if isinstance(body, Mapping) and body.get("format", FORMAT) != FORMAT:
        raise FormatError(
            f"format is {shown(body['format'])}, this version reads {FORMAT!r}; plan again"
        )
    fields = {"format", "digest", "verdict", "status", "note", "totals", "levels", "prices"}
    expect_fields(body, "plan", required=fields | {"placements", "problem", "seal"})
    if _seal(body) != body["seal"]:
        raise FormatError("the file was changed after it was written: its seal does not match")
    if body["verdict"] != VERDICT:
        raise FormatError(f"verdict must be {VERDICT!r}, got {shown(body['verdict'])}")
    return body


def _level_from_dict(data: Any, where: str) -> Level:
    expect_fields(data, where, required={"name", "value", "bound", "status"})
    level = Level(
        expect_text(data["name"], f"{where}.name"),
        expect_integer(data["value"], f"{where}.value"),
        expect_integer(data["bound"], f"{where}.bound"),
    )
    if data["status"] != str(level.status):
        raise FormatError(f"{where}.status {shown(data['status'])} does not follow from the bound")
    return level


def _prices_from_dict(problem: Problem, data: Any) -> Prices:
    expect_fields(data, "prices", required={"unit", "cap", "surcharge", "places"})
    cap, places = data["cap"], data["places"]
    if not isinstance(places, Mapping):
        raise FormatError(f"prices.places must be an object, got {shown(places)}")
    found = {}
    for name, options in places.items():
        where = f"prices.places.{name if name.isprintable() else shown(name)}"
        expect_fields(options, where, optional={str(place) for place in problem.places})
        found[name] = {
            problem.place(place): expect_integer(price, f"{where}.{place}")
            for place, price in options.items()
        }
    return Prices(
        found,
        expect_text(data["unit"], "prices.unit"),
        None if cap is None else expect_integer(cap, "prices.cap"),
        expect_integer(data["surcharge"], "prices.surcharge"),
    )


def _placement_from_dict(problem: Problem, data: Any, where: str) -> Placement:
    fields = {"location", "offset", "size_bytes", "parent", "parent_offset", "reason"}
    expect_fields(data, where, required={"name"} | fields)
    name, parent = expect_text(data["name"], f"{where}.name"), data["parent"]
    buffer = problem.by_name.get(name)
    if buffer is None:
        raise FormatError(f"{where} places `{name}`, which the problem does not have")
    for key in ("offset", "parent_offset", "size_bytes"):
        if data[key] is not None or key == "size_bytes":
            expect_integer(data[key], f"{where}.{key}")
    if parent is not None and expect_text(parent, f"{where}.parent") not in problem.by_name:
        raise FormatError(f"{where} names the parent `{parent}`, which does not exist")
    try:
        location = _place(data["location"], problem.pools)
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error
    return Placement(
        buffer.name,
        location,
        data["offset"],
        data["size_bytes"],
        buffer.n_elements if buffer.enabled else 0,
        buffer.dtype,
        parent,
        data["parent_offset"],
        None if buffer.always_alive else buffer.lifetime,
        buffer.pin,
        expect_text(data["reason"], f"{where}.reason"),
    )
