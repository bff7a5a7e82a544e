"""What is asked: buffers, limits and a policy, validated as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from cubie_planner.basics import is_integer, listed, nearest_hint
from cubie_planner.declarations.aliases import alias_to_dict
from cubie_planner.declarations.buffers import Buffer, BufferError
from cubie_planner.declarations.global_memory import elements_that_clash, may_be_global
from cubie_planner.declarations.layouts import layout_to_dict
from cubie_planner.declarations.limits import MAX_TOTAL_BYTES, Limits, ProblemError
from cubie_planner.declarations.limits import run_stride as run_stride
from cubie_planner.declarations.places import (
    TILE,
    Location,
    Place,
    Pool,
    Scope,
    parse_place,
    rank,
)

MAX_BUFFERS = 100_000
PLACE_POLICIES = ("local", "shared", "global")
POLICIES = ("auto", *PLACE_POLICIES)

Policy = str | Mapping[str, Place]
Spot = tuple[Place, int | None]
"""A place and, where it has offsets, the byte offset there."""


def _previous(value: Any) -> dict[str, Spot]:
    if value is None:
        return {}
    placements = getattr(value, "placements", None)
    if placements is not None:
        return {name: (p.location, p.offset) for name, p in placements.items() if p.size_bytes}
    if not isinstance(value, Mapping):
        raise ProblemError(
            f"previous must be a Plan, or a mapping from buffer name to (location, offset); "
            f"got {value!r}"
        )
    return {name: _spot(name, spot) for name, spot in value.items()}


def _spot(name: str, given: Any) -> Spot:
    if isinstance(given, tuple | list) and len(given) == 2:
        location, offset = parse_place(given[0]), given[1]
        if location is Location.LOCAL and offset is None:
            return location, None
        if location is not Location.LOCAL and is_integer(offset) and 0 <= offset <= MAX_TOTAL_BYTES:
            return location, int(offset)
    raise ProblemError(
        f"previous place of `{name}` must be ('local', None), or another location with a byte "
        f"offset from 0 to {MAX_TOTAL_BYTES}; got {given!r}",
        [name],
    )


def _policy(value: Any) -> Policy:
    if isinstance(value, Mapping):
        return {str(name): parse_place(location) for name, location in value.items()}
    if value in POLICIES:
        return value
    raise ProblemError(
        f"policy {value!r} is unknown{nearest_hint(value, POLICIES)}; allowed: "
        "'auto', 'local', 'shared', 'global', or a mapping from buffer name to location"
    )


def _buffers(value: Iterable[Buffer]) -> tuple[Buffer, ...]:
    buffers = None if isinstance(value, str | bytes) else listed(value)
    if buffers is None:
        raise ProblemError(f"buffers must be a sequence of Buffer objects, got {value!r}")
    for item in buffers:
        if not isinstance(item, Buffer):
            raise ProblemError(f"buffers must be Buffer objects, got {item!r}")
    return tuple(buffers)


@frozen
class Problem:
    """Buffers to place, under limits, by a policy.

    Parameters
    ----------
    buffers : sequence of Buffer
    limits : Limits
    policy : {"auto", "local", "shared", "global"} or mapping
        Where buffers without a pin go; tiles come after the places that it names, then the pool
        of least cost. A mapping pins those it names and leaves
        the others to "auto". The pin of a buffer always wins.
    previous : Plan or mapping, optional
        A plan to stay close to: name -> (location, offset). Names that are no buffers
        any more mean nothing.
    """

    buffers: tuple[Buffer, ...] = field(converter=_buffers)
    limits: Limits = field(factory=Limits)
    policy: Policy = field(default="auto", converter=_policy)
    previous: Mapping[str, Spot] = field(default=None, converter=_previous)

    def __attrs_post_init__(self) -> None:
        _check_names(self)
        _check_pools(self)
        _check_alias_graph(self)
        _check_policy(self)
        _check_global_elements(self)
        total = sum(buffer.size_bytes + buffer.alignment for buffer in self.buffers)
        if total > MAX_TOTAL_BYTES:
            raise ProblemError(
                f"the buffers need {total} B together, more than the {MAX_TOTAL_BYTES} B for "
                "which offsets are exact"
            )

    @cached_property
    def by_name(self) -> Mapping[str, Buffer]:
        """Buffers by name, in declared order."""
        return {buffer.name: buffer for buffer in self.buffers}

    @cached_property
    def pools(self) -> Mapping[str, Pool]:
        """The pools that buffers name, by name and in order; tiles are no pool of the kernel's."""
        found = {p for b in self.buffers for p in b.locations if isinstance(p, Pool) and p != TILE}
        return {pool.name: pool for pool in sorted(found, key=rank)}

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every place there is: tiles where a buffer may be one, those of a thread, pools."""
        tiles = (TILE,) if any(TILE in b.locations for b in self.buffers) else ()
        return (*tiles, *Location, *self.pools.values())

    @cached_property
    def arenas(self) -> tuple[Place, ...]:
        """The places that have offsets."""
        return tuple(place for place in self.places if place is not Location.LOCAL)

    @cached_property
    def has_runs(self) -> bool:
        """Whether anything belongs to a thread; a kernel by block may have tiles alone."""
        scopes = {b.scope for b in self.buffers if b.size_bytes}
        return Scope.THREAD in scopes or not scopes

    def place(self, name: str) -> Place:
        """Return the place of a name; a pool is known where a buffer names it."""
        return self.pools[name] if name in self.pools else parse_place(name)

    @property
    def names_a_place(self) -> bool:
        """Whether the policy names the place of all that may live there."""
        return isinstance(self.policy, str) and self.policy in PLACE_POLICIES

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON text of this problem."""
        text = json.dumps(problem_to_dict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def problem_to_dict(problem: Problem) -> dict[str, Any]:
    """Return `problem` as plain JSON values, canonical: equal problems give equal dicts."""
    limits, most_local = problem.limits, problem.limits.max_local_bytes
    policy = problem.policy
    pools = [pool_to_dict(pool) for pool in problem.pools.values()]
    return {
        **({"pools": pools} if pools else {}),
        "buffers": [_buffer_to_dict(buffer) for buffer in problem.buffers],
        "limits": {
            "max_shared_bytes": limits.max_shared_bytes,
            "block_size": limits.block_size,
            "compute_capability": limits.compute_capability and list(limits.compute_capability),
            "pad_banks": limits.pad_banks,
            # Digests of plans that were made without a card stay what they were.
            **({} if limits.card is None else {"card": limits.card}),
            # Problems without these limits are those of before there were any.
            **({} if limits.max_registers is None else {"max_registers": limits.max_registers}),
            **({} if most_local is None else {"max_local_bytes": most_local}),
        },
        "policy": policy
        if isinstance(policy, str)
        else {name: str(location) for name, location in sorted(policy.items())},
        "previous": {
            name: [str(location), offset]
            for name, (location, offset) in sorted(problem.previous.items())
        },
    }


def pool_to_dict(pool: Pool) -> dict[str, Any]:
    """Return a pool as plain JSON values."""
    return {
        "name": pool.name,
        "capacity_bytes": pool.capacity_bytes,
        "scope": str(pool.scope),
        "cost": pool.cost,
        "alignment": pool.alignment,
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
        "aliases": [alias_to_dict(alias) for alias in buffer.aliases],
        "alias_required": buffer.alias_required,
        "access_weight": buffer.access_weight,
        "alignment": buffer.alignment,
        "enabled": buffer.enabled,
        # Digests of problems without shapes stay what they were.
        **({} if buffer.shape is None else {"shape": list(buffer.shape)}),
        **({} if buffer.layout is None else {"layout": layout_to_dict(buffer.layout)}),
    }


def _check_names(problem: Problem) -> None:
    if len(problem.buffers) > MAX_BUFFERS:
        raise ProblemError(
            f"{len(problem.buffers)} buffers are more than the {MAX_BUFFERS} this planner takes"
        )
    seen: set[str] = set()
    for buffer in problem.buffers:
        if buffer.name in seen:
            raise ProblemError(f"two buffers are named `{buffer.name}`", [buffer.name])
        seen.add(buffer.name)


def _check_pools(problem: Problem) -> None:
    """Refuse two pools of one name, and a pool that has the name of a buffer."""
    seen: dict[str, tuple[Pool, str]] = {}
    for buffer in problem.buffers:
        pools = [place for place in buffer.locations if isinstance(place, Pool)]
        for pool in sorted(pools, key=rank):
            other, first = seen.setdefault(pool.name, (pool, buffer.name))
            if other != pool:
                raise ProblemError(
                    f"`{first}` and `{buffer.name}` name different pools `{pool}`: {other!r} and "
                    f"{pool!r}; a pool is one object",
                    [first, buffer.name],
                )
            if pool != TILE and pool.name in problem.by_name:
                raise ProblemError(f"`{pool}` is a buffer and a pool", [pool.name])


def _check_alias_graph(problem: Problem) -> None:
    """Refuse unknown parents and cycles, walking the edges child -> parent."""
    by_name = problem.by_name
    for buffer in problem.buffers:
        for alias in buffer.aliases:
            if alias.parent not in by_name:
                raise ProblemError(
                    f"`{buffer.name}` is an alias of `{alias.parent}`, which is not a buffer"
                    f"{nearest_hint(alias.parent, by_name)}",
                    [buffer.name],
                )
            parent = by_name[alias.parent]
            if parent.scope is not buffer.scope:
                raise ProblemError(
                    f"`{buffer.name}`, one for each {buffer.scope}, is an alias of "
                    f"`{alias.parent}`, one for each {parent.scope}: it cannot lie inside it",
                    [buffer.name, alias.parent],
                )
    finished: set[str] = set()
    for root in problem.buffers:
        if root.name in finished or not root.aliases:
            continue
        path = [root.name]
        branches = [iter(root.aliases)]
        on_path = {root.name}
        while path:
            alias = next(branches[-1], None)
            if alias is None:
                branches.pop()
                on_path.discard(path[-1])
                finished.add(path.pop())
            elif alias.parent in on_path:
                cycle = [*path[path.index(alias.parent) :], alias.parent]
                raise ProblemError(
                    f"the aliases form a cycle: {' -> '.join(cycle)}; a buffer cannot lie inside "
                    "itself",
                    cycle[:-1],
                )
            elif alias.parent not in finished:
                path.append(alias.parent)
                on_path.add(alias.parent)
                branches.append(iter(by_name[alias.parent].aliases))


def _check_global_elements(problem: Problem) -> None:
    clash = elements_that_clash(problem.buffers)
    if clash is not None:
        raise ProblemError(*clash)


def _check_policy(problem: Problem) -> None:
    if isinstance(problem.policy, str):
        sized = [b for b in problem.buffers if b.size_bytes]
        if problem.policy == "global" and sized and not any(map(may_be_global, sized)):
            raise ProblemError(
                "the policy is 'global', and no buffer may be there: allow it in `locations`, or "
                "by `offering_global`",
                [b.name for b in sized],
            )
        return
    for name, location in problem.policy.items():
        buffer = problem.by_name.get(name)
        if buffer is None:
            raise ProblemError(
                f"the policy names `{name}`, which is not a buffer"
                f"{nearest_hint(name, problem.by_name)}",
                [name],
            )
        try:
            buffer.resolve(location)
        except BufferError as error:
            raise ProblemError(f"the policy cannot hold: {error}", [name]) from error
