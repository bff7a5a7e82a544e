"""What was decided among alternatives: the options, their plan, and what was proven of both.

Levels are those of plans, of all combinations of options together: the cost is that of the places
and of the options. A level is proven where no combination can do better, which is the case when
each was planned and proven, or has a lower bound above what was reached.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.byte_counts import BYTE_LIMITS
from cubie_planner.declarations.choices import (
    Alternatives,
    Choice,
    Option,
    Picked,
    alternatives_to_dict,
)
from cubie_planner.declarations.limits import ProblemError
from cubie_planner.plans.answer import COST, MOVES, PRIVATE, SHARED, Level
from cubie_planner.plans.check import PlanRejected, check
from cubie_planner.plans.files import (
    change_from_json,
    pools_from_list,
    problem_from_dict,
    require_numbers,
)
from cubie_planner.plans.plan import Plan
from cubie_planner.reading import (
    FormatError,
    expect_fields,
    expect_integer,
    expect_list,
    expect_text,
    parse_json,
    read_text,
    shown,
)

FORMAT = "plan-decision/1"
ORDER = (COST, SHARED, "tile_bytes", PRIVATE, "global_bytes")
"""Levels of all combinations; pools follow by name, and the moves come last."""


@frozen
class Outcome:
    """What became of one combination of options.

    Attributes
    ----------
    picked : mapping of str to str
        Option by choice.
    values : mapping of str to int or None
        What its plan reaches at every level, the cost of the options included; None without one.
    bounds : mapping of str to int
        What no plan of it does better than, each given the values of the levels before; without a
        plan those that hold whatever it would be.
    impossible : bool
        Whether it was proven that it has no plan.
    note : str
        Why there is no plan, or why none was made.
    """

    picked: Picked
    values: Mapping[str, int] | None
    bounds: Mapping[str, int]
    impossible: bool = False
    note: str = ""


@frozen
class Decision:
    """The options that were picked, with their plan.

    Attributes
    ----------
    alternatives : Alternatives
    picked : mapping of str to str
        Option by choice.
    plan : Plan
        Of `alternatives.problem_of(picked)`.
    levels : tuple of Level
        Objectives in order, over all combinations: what was reached, and the proven bound.
    outcomes : tuple of Outcome
        Of every combination.
    """

    alternatives: Alternatives
    picked: Picked
    plan: Plan
    levels: tuple[Level, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def status(self) -> Status:
        """OPTIMAL when every level is proven over all combinations, else FEASIBLE."""
        proven = all(level.status is Status.OPTIMAL for level in self.levels)
        return Status.OPTIMAL if proven else Status.FEASIBLE

    def to_json(self) -> str:
        """Return the decision with its alternatives and its plan as JSON text."""
        check_decision(self)
        body: dict[str, Any] = {
            "format": FORMAT,
            "alternatives": alternatives_to_dict(self.alternatives),
            "picked": dict(self.picked),
            "levels": [{"name": v.name, "value": v.value, "bound": v.bound} for v in self.levels],
            "outcomes": [
                {
                    "picked": dict(outcome.picked),
                    "values": None if outcome.values is None else dict(outcome.values),
                    "bounds": dict(outcome.bounds),
                    "impossible": outcome.impossible,
                    "note": outcome.note,
                }
                for outcome in self.outcomes
            ],
            "plan": json.loads(self.plan.to_json()),
        }
        body["seal"] = _seal(body)
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Decision":
        """Read a decision and verify it from its text alone.

        What is claimed of other combinations, that they cost more or cannot be, is the word of
        the file; `decide` the alternatives again to prove it.

        Raises
        ------
        FormatError
            When the text is none, or was damaged.
        PlanRejected
            When it does not hold.
        """
        return _from_json(text)

    def save(self, path: str | Path) -> None:
        """Write the decision to `path` as JSON."""
        Path(path).write_text(self.to_json(), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> "Decision":
        """Read a decision from `path` and verify it again from the file alone."""
        return cls.from_json(read_text(path))


def in_order(names: Iterable[str]) -> list[str]:
    """Return levels of several plans in the order in which they matter."""
    found = set(names)
    pools = sorted(found - {*ORDER, MOVES})
    return [name for name in (*ORDER, *pools, MOVES) if name in found]


def levels_of(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the levels of all combinations together, in order.

    Bytes of a place that no plan has a level for count where another combination needs some: it
    is out for that.
    """
    found: set[str] = set()
    for outcome in outcomes:
        found |= set(outcome.values or ()) | {n for n, bound in outcome.bounds.items() if bound}
    return in_order(found)


def joint_levels(reached: Mapping[str, int], outcomes: Sequence[Outcome]) -> tuple[Level, ...]:
    """Return what is proven of a choice that reaches `reached`, by what became of all of them.

    A bound of a level holds for all plans of a combination that are no worse at the levels
    before than its own, or than its bounds where it has none. So a combination whose bound is
    above what was reached is out from there on; and where one could be better at a level,
    nothing is proven of those that follow.
    """
    levels = []
    rivals = [outcome for outcome in outcomes if not outcome.impossible]
    is_open = False
    for name in in_order(reached):
        value = reached[name]
        least = [0 if is_open else outcome.bounds.get(name, 0) for outcome in rivals]
        bound = min((value, *least))
        levels.append(Level(name, value, bound))
        is_open = is_open or bound < value
        rivals = [o for o, found in zip(rivals, least, strict=True) if found <= value]
    return tuple(levels)


def check_decision(decision: Decision) -> None:
    """Accept a decision, or raise.

    Raises
    ------
    PlanRejected
        With the rule that is broken: ``choice``, ``problem``, ``claims``, ``outcomes``, or one of
        those of plans.
    """
    alternatives, plan = decision.alternatives, decision.plan
    try:
        problem = alternatives.problem_of(decision.picked)
    except ProblemError as error:
        raise PlanRejected("choice", str(error)) from error
    if plan.problem != problem:
        raise PlanRejected("problem", "the plan is of another problem than its options make")
    check(problem, plan)
    reached = {level.name: level.value for level in plan.levels}
    extra = alternatives.cost_of(decision.picked)
    reached[COST] = reached.get(COST, 0) + extra
    _check_outcomes(decision, reached)
    names = in_order({*reached, *levels_of(decision.outcomes)})
    expected = joint_levels({name: reached.get(name, 0) for name in names}, decision.outcomes)
    if tuple(decision.levels) != expected:
        raise PlanRejected("claims", "the levels do not follow from the plan and the outcomes")


def _check_outcomes(decision: Decision, reached: Mapping[str, int]) -> None:
    """Every combination has one outcome, and none of those with a plan is better."""
    wanted = list(decision.alternatives.combinations())
    if [dict(outcome.picked) for outcome in decision.outcomes] != wanted:
        raise PlanRejected("outcomes", "there is not one outcome for every combination, in order")
    for outcome in decision.outcomes:
        told = ", ".join(f"{name} = {option}" for name, option in outcome.picked.items())
        if outcome.impossible and outcome.values is not None:
            raise PlanRejected("outcomes", f"{told}: there is a plan, and proof that there is none")
        if outcome.values is None:
            if dict(outcome.picked) == dict(decision.picked):
                raise PlanRejected("outcomes", f"{told} was picked, and has no plan")
            continue
        if any(outcome.bounds.get(n, 0) > value for n, value in outcome.values.items()):
            raise PlanRejected("outcomes", f"{told}: a bound is above what was reached")
        names = in_order({*reached, *outcome.values})
        theirs = [outcome.values.get(name, 0) for name in names]
        ours = [reached.get(name, 0) for name in names]
        if theirs < ours:
            raise PlanRejected("outcomes", f"{told} is better than what was picked")
        if dict(outcome.picked) == dict(decision.picked) and theirs != ours:
            raise PlanRejected("outcomes", f"{told} was picked, and its plan reaches other values")


# --- files ----------------------------------------------------------------------------


def _seal(body: Mapping[str, Any]) -> str:
    content = {key: value for key, value in body.items() if key != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _from_json(text: str) -> Decision:
    try:
        body = parse_json(text)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}") from error
    required = {"format", "alternatives", "picked", "levels", "outcomes", "plan", "seal"}
    expect_fields(body, "decision", required=required)
    if body["format"] != FORMAT:
        raise FormatError(f"format is {shown(body['format'])}, this version reads {FORMAT!r}")
    if _seal(body) != body["seal"]:
        raise FormatError("the file was changed after it was written: its seal does not match")
    decision = Decision(
        alternatives_from_dict(body["alternatives"]),
        _picked(body["picked"], "picked"),
        Plan.from_json(json.dumps(body["plan"], ensure_ascii=False)),
        tuple(
            _level(item, f"levels[{index}]")
            for index, item in enumerate(expect_list(body["levels"], "levels"))
        ),
        tuple(
            _outcome(item, f"outcomes[{index}]")
            for index, item in enumerate(expect_list(body["outcomes"], "outcomes"))
        ),
    )
    check_decision(decision)
    return decision


def _picked(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise FormatError(f"{where} must be an object, got {shown(data)}")
    return {name: expect_text(option, f"{where}.{name}") for name, option in data.items()}


def _level(data: Any, where: str) -> Level:
    expect_fields(data, where, required={"name", "value", "bound"})
    name = expect_text(data["name"], f"{where}.name")
    numbers = (expect_integer(data[key], f"{where}.{key}") for key in ("value", "bound"))
    return Level(name, *numbers)


def _integers(data: Any, where: str) -> dict[str, int]:
    if not isinstance(data, Mapping):
        raise FormatError(f"{where} must be an object, got {shown(data)}")
    return {name: expect_integer(value, f"{where}.{name}") for name, value in data.items()}


def _outcome(data: Any, where: str) -> Outcome:
    expect_fields(data, where, required={"picked", "values", "bounds", "impossible", "note"})
    if not isinstance(data["impossible"], bool):
        raise FormatError(f"{where}.impossible must be true or false")
    values = data["values"]
    return Outcome(
        _picked(data["picked"], f"{where}.picked"),
        None if values is None else _integers(values, f"{where}.values"),
        _integers(data["bounds"], f"{where}.bounds"),
        data["impossible"],
        expect_text(data["note"], f"{where}.note"),
    )


def alternatives_from_dict(data: Mapping[str, Any]) -> Alternatives:
    """Read alternatives from plain JSON values.

    Raises
    ------
    FormatError, BufferError, ProblemError
    """
    expect_fields(data, "alternatives", required={"problem", "choices"}, optional={"pools"})
    pools = pools_from_list(data.get("pools", []))
    choices = []
    for index, item in enumerate(expect_list(data["choices"], "choices")):
        where = f"choices[{index}]"
        expect_fields(item, where, required={"name", "options"})
        options = []
        for number, option in enumerate(expect_list(item["options"], f"{where}.options")):
            spot = f"{where}.options[{number}]"
            optional = {"cost", "buffers", "limits"}
            expect_fields(option, spot, required={"name"}, optional=optional)
            changes = option.get("buffers", {})
            if not isinstance(changes, Mapping):
                raise FormatError(f"{spot}.buffers must be an object, got {shown(changes)}")
            read = {
                name: change_from_json(change, f"{spot}.buffers.{name}", pools)
                for name, change in changes.items()
            }
            limits = option.get("limits", {})
            if isinstance(limits, Mapping):
                require_numbers(limits, f"{spot}.limits", BYTE_LIMITS)
            options.append(Option(option["name"], option.get("cost", 0), read, limits))
        choices.append(Choice(item["name"], options))
    return Alternatives(problem_from_dict(data["problem"]), choices)
