"""The independent checker: is this plan a valid answer to that problem?

It re-derives everything from the declarations and shares no code with what makes
plans: it imports neither the model nor the packing search nor OR-Tools.

Two buffers may share bytes only when no program point has both alive, or when one
lies (directly or through others) inside the other by an alias of the plan::

    bytes ^          +-------+
          |  +------+|   B   |      A and B never live together: they may overlap
          |  |A     |+-------+
          |  | +--+ |               C lies inside A by an alias: it may overlap A,
          |  | |C | |               but nothing else that lives with C
          +--+-+--+-+----------> program points
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from attrs import define

from cubie_planner.basics import PlannerError
from cubie_planner.declarations.buffers import Buffer, Lifetime
from cubie_planner.declarations.places import Location, Place, words
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.answer import Answer, Placement
from cubie_planner.plans.check_claims import preferred, wrong_claims
from cubie_planner.plans.check_limits import broken_layouts, broken_limits

MANY = 32
"""Pairs of one buffer beyond which those inside one another are sorted out at once."""


class PlanRejected(PlannerError, ValueError):
    """A plan breaks a rule of its problem.

    Attributes
    ----------
    rule : str
        Name of the rule that is broken.
    buffers : tuple of str
        The buffers concerned.
    """

    def __init__(self, rule: str, message: str, buffers: Iterable[str] = ()):
        super().__init__(f"[{rule}] {message}")
        self.rule = rule
        self.buffers = tuple(buffers)


def check(problem: Problem, plan: Answer) -> None:
    """Accept `plan` as an answer to `problem`, or raise.

    Raises
    ------
    PlanRejected
        Names the first rule that is broken, and the buffers that break it.
    """
    if not isinstance(problem, Problem) or not hasattr(plan, "placements"):
        raise TypeError(
            f"check takes a Problem and the Plan for it, got {type(problem).__name__} and "
            f"{type(plan).__name__}"
        )
    _check_names(problem, plan)
    tied = _tied_by_views(problem)
    for buffer in problem.buffers:
        placement = plan.placements[buffer.name]
        _check_metadata(buffer, placement)
        _check_location(problem, buffer, placement, buffer.name in tied)
        _check_offset(buffer, placement)
        _check_parent(problem, plan, buffer, placement)
    for rule, message, buffers in broken_layouts(problem):
        raise PlanRejected(rule, message, buffers)
    _check_overlaps(problem, plan)
    for rule, message, buffers in broken_limits(problem, plan):
        raise PlanRejected(rule, message, buffers)
    _check_claims(problem, plan, tied)


def _check_names(problem: Problem, plan: Answer) -> None:
    declared = [buffer.name for buffer in problem.buffers]
    missing = [name for name in declared if name not in plan.placements]
    if missing:
        raise PlanRejected("missing", f"`{missing[0]}` has no placement", missing)
    known = set(declared)
    unknown = [name for name in plan.placements if name not in known]
    if unknown:
        raise PlanRejected("unknown", f"`{unknown[0]}` is not a buffer of the problem", unknown)
    wrong = [name for name, placement in plan.placements.items() if placement.name != name]
    if wrong:
        raise PlanRejected(
            "name",
            f"the placement of `{wrong[0]}` is named `{plan.placements[wrong[0]].name}`",
            wrong,
        )
    if plan.digest != problem.digest:
        raise PlanRejected(
            "digest", f"the plan answers the problem {plan.digest[:12]}, not {problem.digest[:12]}"
        )


def _check_metadata(buffer: Buffer, placement: Placement) -> None:
    lifetime = None if buffer.always_alive else buffer.lifetime
    stated = (placement.size_bytes, placement.n_elements, placement.dtype)
    needed = (buffer.size_bytes, buffer.n_elements if buffer.enabled else 0, buffer.dtype)
    if stated != needed:
        raise PlanRejected("size", f"`{buffer.name}` is {needed}, not {stated}", [buffer.name])
    if placement.lifetime != lifetime:
        raise PlanRejected(
            "lifetime", f"`{buffer.name}` lives {lifetime}, not {placement.lifetime}", [buffer.name]
        )


def _tied_by_views(problem: Problem) -> set[str]:
    """Return the buffers that a required alias ties to the place of another."""
    views = [buffer for buffer in problem.buffers if buffer.alias_required]
    parents = {alias.parent for view in views for alias in view.aliases}
    return parents | {view.name for view in views}


def _check_location(problem: Problem, buffer: Buffer, placement: Placement, tied: bool) -> None:
    where = placement.location
    if where not in buffer.locations:
        raise PlanRejected(
            "location",
            f"`{buffer.name}` may not be {where}; allowed: {words(buffer.locations)}",
            [buffer.name],
        )
    if placement.pin != buffer.pin:
        raise PlanRejected(
            "pin",
            f"`{buffer.name}` states the pin {placement.pin}, not {buffer.pin}",
            [buffer.name],
        )
    if buffer.size_bytes == 0:
        return
    if buffer.pin is not None and where != buffer.pin:
        raise PlanRejected(
            "pin", f"`{buffer.name}` is pinned to {buffer.pin}, not {where}", [buffer.name]
        )
    asked = _asked_by_policy(problem, buffer, tied)
    if asked is not None and where != asked:
        raise PlanRejected(
            "policy", f"the policy puts `{buffer.name}` in {asked}, not {where}", [buffer.name]
        )


def _asked_by_policy(problem: Problem, buffer: Buffer, tied: bool) -> Place | None:
    """Return where the policy puts a buffer; None where it leaves that open.

    A buffer tied to another by a required alias follows that one's pin.
    """
    if buffer.pin is not None:
        return None
    if isinstance(problem.policy, Mapping):
        named = problem.policy.get(buffer.name)
        return None if named is None else buffer.resolve(named)
    if tied or problem.policy == "auto":
        return None
    return preferred(problem.policy, buffer)


def _check_offset(buffer: Buffer, placement: Placement) -> None:
    name, offset = buffer.name, placement.offset
    if buffer.size_bytes == 0 or placement.location is Location.LOCAL:
        if offset is not None:
            raise PlanRejected("offset", f"`{name}` can have no offset, got {offset}", [name])
        return
    if offset is None or offset < 0:
        raise PlanRejected("offset", f"`{name}` needs an offset >= 0, got {offset}", [name])
    if offset % buffer.alignment:
        raise PlanRejected(
            "alignment", f"`{name}` at {offset} is not aligned to {buffer.alignment}", [name]
        )
    if buffer.offset is not None and offset != buffer.offset:
        raise PlanRejected(
            "offset_pin", f"`{name}` is pinned to offset {buffer.offset}, not {offset}", [name]
        )


def _check_parent(problem: Problem, plan: Answer, buffer: Buffer, placement: Placement) -> None:
    name, parent_name = buffer.name, placement.parent
    if parent_name is None:
        if placement.parent_offset is not None:
            raise PlanRejected(
                "parent",
                f"`{name}` has the offset {placement.parent_offset} inside a parent, but none",
                [name],
            )
        if buffer.alias_required and buffer.size_bytes:
            raise PlanRejected("alias_required", f"`{name}` must lie inside a parent", [name])
        return
    pair = (name, parent_name)
    alias = next((a for a in buffer.aliases if a.parent == parent_name), None)
    if alias is None or buffer.size_bytes == 0:
        raise PlanRejected("parent", f"`{parent_name}` is no alias parent of `{name}`", pair)
    parent, host = problem.by_name[parent_name], plan.placements[parent_name]
    if host.location != placement.location:
        raise PlanRejected(
            "alias_location",
            f"`{name}` is {placement.location}, its parent `{parent_name}` is {host.location}",
            pair,
        )
    if alias.across_frames and placement.location is Location.LOCAL:
        text = f"`{name}` lies inside `{parent_name}`, an array of another function"
        raise PlanRejected("alias_location", text, pair)
    inner = placement.parent_offset
    if inner is None or not 0 <= inner <= parent.size_bytes - buffer.size_bytes:
        raise PlanRejected(
            "alias_range",
            f"`{name}` ({buffer.size_bytes} B) at {inner} does not fit inside `{parent_name}` "
            f"({parent.size_bytes} B)",
            pair,
        )
    if alias.offset is not None and inner != alias.offset:
        raise PlanRejected(
            "alias_offset",
            f"`{name}` must be at {alias.offset} of `{parent_name}`, not at {inner}",
            pair,
        )
    if placement.location is not Location.LOCAL:
        if host.offset is None or placement.offset != host.offset + inner:
            raise PlanRejected(
                "alias_range",
                f"`{name}` at {placement.offset} is not {inner} B above `{parent_name}` at "
                f"{host.offset}",
                pair,
            )
    elif inner % buffer.alignment or parent.alignment < buffer.alignment:
        raise PlanRejected(
            "alignment", f"`{name}` is not aligned to {buffer.alignment} inside its parent", pair
        )


def _check_overlaps(problem: Problem, plan: Answer) -> None:
    nests = _nests(plan)
    spaces: dict[str, list[tuple[int, str]]] = {}
    for buffer in problem.buffers:
        placement = plan.placements[buffer.name]
        if buffer.size_bytes == 0:
            continue
        if placement.location is not Location.LOCAL:
            spaces.setdefault(f"arena {placement.location}", []).append(
                (placement.offset or 0, buffer.name)
            )
        elif nests:
            nest = nests[buffer.name]
            spaces.setdefault(f"local {nest.root}", []).append((nest.start, buffer.name))
    for members in spaces.values():
        if len(members) > 1:
            _check_space(problem, nests, members)


@define
class _Nest:
    """Where a buffer stands in the tree of those inside one another.

    Numbers are given in the order of a walk down the tree: what lies inside a buffer,
    directly or through others, has the numbers from `first` to before `last`.
    """

    root: str
    start: int
    first: int
    last: int


def _nests(plan: Answer) -> dict[str, _Nest]:
    """Walk down from every buffer that lies in no other (aliases have no cycles).

    Empty where nothing lies inside anything.
    """
    if all(placement.parent is None for placement in plan.placements.values()):
        return {}
    inside: dict[str | None, list[str]] = {}
    for name, placement in plan.placements.items():
        inside.setdefault(placement.parent, []).append(name)
    found: dict[str, _Nest] = {}
    path: list[_Nest] = []
    waiting: list[str | None] = [*reversed(inside.get(None, []))]
    while waiting:
        name = waiting.pop()
        if name is None:  # all that lies in the last of the path has been visited
            path.pop().last = len(found)
            continue
        start = plan.placements[name].parent_offset or 0
        root, base = (path[-1].root, path[-1].start) if path else (name, 0)
        found[name] = _Nest(root, base + start, len(found), len(found) + 1)
        if name in inside:
            path.append(found[name])
            waiting += [None, *reversed(inside[name])]
    return found


def _check_space(problem: Problem, nests: dict[str, _Nest], members: list[tuple[int, str]]) -> None:
    """Compare all pairs that meet both in bytes and in the hulls of their lifetimes.

    Pairs are found by a sweep along bytes or along time, whichever meets fewer. Those
    inside one another may share bytes.
    """
    buffers = [problem.by_name[name] for _, name in members]
    starts = [start for start, _ in members]
    in_bytes = np.array([(s, s + b.size_bytes) for s, b in zip(starts, buffers, strict=True)])
    in_time = np.array([buffer.hull for buffer in buffers])
    along, across = min((in_bytes, in_time), (in_time, in_bytes), key=lambda axes: _meets(axes[0]))
    order = np.argsort(along[:, 0], kind="stable")
    along, across = along[order], across[order]
    walk: np.ndarray | None = None
    after = np.searchsorted(along[:, 0], along[:, 1], side="left")
    for i, first in enumerate(order.tolist()):
        window = slice(i + 1, int(after[i]))
        meets = (across[window, 0] < across[i, 1]) & (across[window, 1] > across[i, 0])
        found = np.flatnonzero(meets) + i + 1
        if nests and len(found) > MANY:
            if walk is None:
                ranges = [(nests[name].first, nests[name].last) for _, name in members]
                walk = np.array(ranges)[order]
            found = found[(walk[found, 0] >= walk[i, 1]) | (walk[found, 1] <= walk[i, 0])]
        for j in found.tolist():
            _check_pair(nests, buffers[first], buffers[int(order[j])])


def _meets(ranges: np.ndarray) -> int:
    """Return how many pairs a sweep along these ranges has to look at."""
    starts = np.sort(ranges[:, 0])
    return int(np.searchsorted(starts, ranges[:, 1], side="left").sum())


def _check_pair(nests: Mapping[str, _Nest], first: Buffer, second: Buffer) -> None:
    """Refuse two buffers that share bytes unless they never live together or are nested."""
    if nests:
        one, other = nests[first.name], nests[second.name]
        if one.first < other.last and other.first < one.last:
            return
    if live_together(first, second):
        raise PlanRejected(
            "overlap",
            f"`{first.name}` and `{second.name}` live together and share bytes",
            (first.name, second.name),
        )


def live_together(first: Buffer, second: Buffer) -> bool:
    """Return whether some program point has both alive."""
    if first.always_alive or second.always_alive:
        return True
    return _intersect(first.lifetime or (), second.lifetime or ())


def _intersect(first: Lifetime, second: Lifetime) -> bool:
    i = j = 0
    while i < len(first) and j < len(second):
        if first[i][0] < second[j][1] and second[j][0] < first[i][1]:
            return True
        if first[i][1] <= second[j][1]:
            i += 1
        else:
            j += 1
    return False


def _check_claims(problem: Problem, plan: Answer, tied: set[str]) -> None:
    """Refuse prices and levels that do not follow from the problem and the placements."""
    for rule, message in wrong_claims(problem, plan, tied):
        raise PlanRejected(rule, message)
