"""The sentence that says why there is no plan: what clashes, why, and what would help.

It names the members of the clashing set, all of them and nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.places import OWN_PLACES, TILE, Location
from cubie_planner.engines.overload import Overload
from cubie_planner.engines.task import LIMIT, Task

if TYPE_CHECKING:
    from cubie_planner.engines.cpsat.variables import Demand


@frozen
class Clash:
    """A member of a clashing set.

    Attributes
    ----------
    name : str
        A buffer, ``max_shared``, or a pool.
    kinds : tuple of str
        What of it takes part, as in `cpsat.variables.Demand`; empty for a parent of which nothing
        but its bytes are in the way of its views.
    """

    name: str
    kinds: tuple[str, ...] = ()


def clashes(task: Task, demands: Iterable[Demand]) -> list[Clash]:
    """Return the members of a set of demands, with the parents that views could not use.

    The limits come last.
    """
    kinds: dict[str, list[str]] = {}
    limits: list[Clash] = []
    for key in demands:
        if key.kind == "capacity":
            limits.append(Clash(key.name, (key.kind,)))
        else:
            kinds.setdefault(key.name, []).append(key.kind)
    members = [Clash(name, tuple(found)) for name, found in kinds.items() if name != LIMIT]
    views = [task.by_name[member.name] for member in members if "view" in member.kinds]
    parents = dict.fromkeys(alias.parent for view in views for alias in view.aliases)
    members += [Clash(name) for name in parents if name not in kinds]
    return [*members, *limits, *([Clash(LIMIT, ("limit",))] if LIMIT in kinds else [])]


def message(
    task: Task,
    core: Sequence[Clash],
    load: Overload | None,
    needed: int | None,
    block: int | None,
) -> str:
    """Return the sentence about a clashing set, and ways out."""
    full = [member.name for member in core if "capacity" in member.kinds]
    limited = any(member.name == LIMIT for member in core)
    members = [m for m in core if m.name != LIMIT and "capacity" not in m.kinds]
    alone = len(members) == 1
    told = _listed([_member(task, member, members) for member in members])
    limits = task.problem.limits
    if not limited and not full:
        cannot = "can be nowhere" if alone else "cannot hold together"
        return f"{told} {cannot}, whatever max_shared is. {_capital(_changes(task, members))}."
    verb = "does" if alone else "do"
    text = f"{told} {verb} not fit {_under(task, full, limited)}"
    if load is not None:
        when = (
            f" at program points {load.interval[0]} to {load.interval[1]}" if load.interval else ""
        )
        unit = "block" if load.place == TILE else "run"
        left = f"{_runs(limits)} each"
        if load.place == TILE:
            left = "a block may have"
        elif load.beside:
            left += f" beside {load.beside} B of tiles"
        text += (
            f": {load.live_bytes} B per {unit} must be shared{when} ({', '.join(load.live)}), "
            f"{load.live_bytes - load.capacity} B more than the {load.capacity} B that {left}"
        )
    unpin = "unpin it" if alone else "unpin one of them"
    remedies = [unpin] if any(_pinned(task, member) for member in members) else []
    if any(_policy_put(task, member) for member in members):
        remedies.append("let the policy 'auto' choose")
    if block:
        remedies.append(f"lower block_size from {limits.block_size} to {block}")
    if needed is not None and needed <= _most_shared(limits):
        remedies.append(f"raise max_shared to {_bytes(needed)}")
    remedies += [f"enlarge `{name}`" for name in full]
    remedy = f". To make it work, {', or '.join(remedies)}" if remedies else ""
    return f"{text}{remedy}."


def _under(task: Task, full: Sequence[str], limited: bool) -> str:
    """Return the limits that a clashing set breaks, in words."""
    most = task.problem.limits.max_shared_bytes or 0
    told = [f"into the {_bytes(task.problem.pools[n].capacity_bytes or 0)} of `{n}`" for n in full]
    return _listed([*told, *([f"under max_shared = {_bytes(most)}"] if limited else [])])


def _runs(limits: Limits) -> str:
    one = limits.block_size == 1
    return "a block of 1 run leaves" if one else f"{limits.block_size} runs per block leave"


def _changes(task: Task, members: Sequence[Clash]) -> str:
    """Return what about the members could be changed, where the limit takes no part."""
    it = "it" if len(members) == 1 else "one of them"
    kinds = {kind for member in members for kind in member.kinds}
    changes = [f"unpin {it}"] if any(_pinned(task, member) for member in members) else []
    if any(_policy_put(task, member) for member in members):
        changes.append("let the policy 'auto' choose")
    if "offset" in kinds:
        changes.append("change an offset")
    if "allowed" in kinds:
        changes.append(f"allow {it} more places")
    if "view" in kinds:
        changes.append("enlarge a parent, or let an alias be optional")
    return ", or ".join(changes) or f"change the size or the lifetime of {it}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _most_shared(limits: Limits) -> float:
    """Return the shared bytes that a block can have at all on the device that is meant."""
    if limits.compute_capability is None:
        return math.inf
    from cubie_planner.gpu.device import Device, DeviceError

    try:
        return Device.for_capability(limits.compute_capability).shared_per_block_optin
    except DeviceError:  # a device that only the user knows
        return math.inf


def _pinned(task: Task, member: Clash) -> bool:
    """Return whether to unpin a member would help: its pin takes part."""
    buffer = task.by_name.get(member.name)
    takes_part = "pin" in member.kinds or "offset" in member.kinds
    return buffer is not None and buffer.pin is not None and takes_part


def _policy_put(task: Task, member: Clash) -> bool:
    buffer = task.by_name.get(member.name)
    if buffer is None or buffer.pin is not None or "pin" not in member.kinds:
        return False
    return task.problem.policy in ("shared", "global") and not buffer.alias_required


def _member(task: Task, member: Clash, members: Sequence[Clash]) -> str:
    """Return a member with its size and why it takes part."""
    buffer = task.problem.by_name[member.name]
    why = [*_bound(task, buffer, member.kinds), *_no_host(task, buffer, member, members)]
    return f"`{buffer.name}` ({', '.join([f'{buffer.size_bytes} B', *why])})"


def _bound(task: Task, buffer: Buffer, kinds: Sequence[str]) -> list[str]:
    """Return what binds a buffer to where it is."""
    why = []
    if buffer.pin is not None and ("pin" in kinds or "offset" in kinds):
        at = "" if buffer.offset is None or "offset" not in kinds else f" at offset {buffer.offset}"
        why.append(f"pinned to {buffer.pin}{at}")
    elif "pin" in kinds:
        why.append(f"put in {' or '.join(map(str, task.domains[buffer.name]))} by the policy")
    elif "allowed" in kinds and not buffer.locations >= OWN_PLACES:
        places = sorted(map(str, buffer.locations))
        only = "allowed only in" if len(places) == 1 else "allowed in"
        why.append(f"{only} {' or '.join(places)}")
    if "view" in kinds:
        why.append(f"a view of {' or '.join(f'`{alias.parent}`' for alias in buffer.aliases)}")
    return why


def _no_host(task: Task, parent: Buffer, member: Clash, members: Sequence[Clash]) -> list[str]:
    """Return why a buffer is no parent for the views among the members, where that is plain."""
    if not parent.enabled:
        return ["disabled"]
    views = [task.by_name[other.name] for other in members if "view" in other.kinds]
    own = [v for v in views if any(a.parent == parent.name for a in v.aliases)]
    large = [v for v in own if v.size_bytes > parent.size_bytes]
    if large and len(large) == len(own):
        return ["too small"]
    narrow = [v for v in own if v.alignment > parent.alignment]
    if narrow and not member.kinds and any(Location.LOCAL in task.domains[v.name] for v in narrow):
        return [f"aligned to {parent.alignment} B"]
    return []


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _bytes(value: int) -> str:
    return f"{value} B ({value / 1024:.4g} KiB)" if value >= 1024 else f"{value} B"
