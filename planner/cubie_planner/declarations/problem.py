"""What is asked: buffers, limits and a policy, validated as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from cubie_planner.basics import PlannerError, is_integer, listed, nearest_hint
from cubie_planner.declarations.buffers import Buffer, BufferError, Location
from cubie_planner.declarations.global_memory import elements_that_clash, may_be_global

MAX_BUFFERS = 100_000
MAX_TOTAL_BYTES = 2**50
MAX_BLOCK_SIZE = 2**20
PLACE_POLICIES = ("local", "shared", "global")
POLICIES = ("auto", *PLACE_POLICIES)

Policy = str | Mapping[str, Location]
Spot = tuple[Location, int | None]
"""A location and, where the location has offsets, the byte offset there."""


class ProblemError(PlannerError, ValueError):
    """The parts of a problem do not fit together.

    Attributes
    ----------
    buffers : tuple of str
        The buffers concerned.
    """

    def __init__(self, message: str, buffers: Iterable[str] = ()):
        super().__init__(message)
        self.buffers = tuple(buffers)


@frozen
class Limits:
    """What the hardware and the launch allow.

    Parameters
    ----------
    max_shared_bytes : int or None
        Shared memory one block may use; None means no limit.
    block_size : int
        Runs (threads) per block; each has its own slice.
    compute_capability : (major, minor) or None
        Read by the cost rule of the ``auto`` policy only.
    max_registers : int or None
        Registers that a thread is compiled for at most; None for as many as a block of this size
        leaves. Read by the cost rule only, too.
    card : str or None
        A card of that capability, by its listed name: the cost rule then takes its clock, caches
        and bandwidth instead of those of the usual card.
    max_local_bytes : int or None
        Bytes that a run may have in local and persistent arrays together; None means no limit.
        What is beyond goes to global memory, where buffers allow that and "auto" decides.
    pad_banks : bool
        Pad the slice of a run to an odd number of words, so that the same element
        of neighbouring runs lies in different banks.

    A block of one run has no neighbours: it needs the bytes of its slice, not one more.
    """

    max_shared_bytes: int | None = None
    block_size: int = 1
    compute_capability: tuple[int, int] | None = None
    pad_banks: bool = True
    max_registers: int | None = None
    card: str | None = None
    max_local_bytes: int | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("max_shared_bytes", "max_local_bytes"):
            limit = getattr(self, name)
            if limit is not None and (not is_integer(limit) or not 0 <= limit <= MAX_TOTAL_BYTES):
                raise ProblemError(
                    f"{name} must be a byte count from 0 to {MAX_TOTAL_BYTES}, or None for no "
                    f"limit; got {limit!r}"
                )
        if not is_integer(self.block_size) or not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise ProblemError(
                f"block_size must be an integer from 1 to {MAX_BLOCK_SIZE}, got {self.block_size!r}"
            )
        if not isinstance(self.pad_banks, bool):
            raise ProblemError(f"pad_banks must be True or False, got {self.pad_banks!r}")
        most = self.max_registers
        if most is not None and (not is_integer(most) or most < 1):
            raise ProblemError(
                f"max_registers must be a positive integer, or None for no limit; got {most!r}"
            )
        given = self.compute_capability
        if given is not None:
            pair = tuple(given) if isinstance(given, tuple | list) else ()
            if len(pair) != 2 or not all(is_integer(part) for part in pair):
                raise ProblemError(
                    f"compute_capability must be (major, minor) such as (9, 0), got {given!r}"
                )
            object.__setattr__(self, "compute_capability", pair)
        if self.card is not None and not (isinstance(self.card, str) and given is not None):
            raise ProblemError(
                f"card must be the name of one of the compute capability, got {self.card!r} of "
                f"{given!r}"
            )

    def stride(self, shared_bytes_per_run: int, alignment: int) -> int:
        """Return the distance between the slices of consecutive runs, in bytes."""
        return run_stride(shared_bytes_per_run, alignment, self.pad_banks and self.block_size > 1)

    def block_bytes(self, shared_bytes_per_run: int, alignment: int) -> int:
        """Return the shared bytes of a block: a stride per run, or the slice of its only run."""
        if self.block_size == 1:
            return shared_bytes_per_run
        return self.stride(shared_bytes_per_run, alignment) * self.block_size

    def run_capacity(self, alignment: int) -> int | None:
        """Return the most shared bytes a run may use; None means no limit."""
        if self.max_shared_bytes is None or self.block_size == 1:
            return self.max_shared_bytes
        unit = max(4, alignment)
        units = self.max_shared_bytes // self.block_size // unit
        if self.pad_banks and units and units % 2 == 0:
            units -= 1
        return units * unit


def run_stride(shared_bytes_per_run: int, alignment: int, pad_banks: bool = True) -> int:
    """Return the distance between the shared slices of consecutive runs, in bytes.

    The slice is rounded up to a multiple of `alignment` (at least 4, a bank's width)
    and, with `pad_banks`, to an odd number of those units: equal elements of 32
    consecutive runs then fall into 32 different banks of 4 bytes (or, for wider
    units, into as few wavefronts as their width allows).
    """
    if shared_bytes_per_run == 0:
        return 0
    unit = max(4, alignment)
    units = -(-shared_bytes_per_run // unit)
    if pad_banks and units % 2 == 0:
        units += 1
    return units * unit


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
        location, offset = Location.parse(given[0]), given[1]
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
        return {str(name): Location.parse(location) for name, location in value.items()}
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
        Where buffers without a pin go. A mapping pins those it names and leaves
        the others to "auto". The pin of a buffer always wins.
    previous : Plan or mapping, optional
        A plan to stay close to: name -> (location, offset). Names that are no buffers
        any more mean nothing.
    """

    buffers: tuple[Buffer, ...] = field(converter=_buffers)
    limits: Limits = Limits()
    policy: Policy = field(default="auto", converter=_policy)
    previous: Mapping[str, Spot] = field(default=None, converter=_previous)

    def __attrs_post_init__(self) -> None:
        _check_names(self)
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
    return {
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
