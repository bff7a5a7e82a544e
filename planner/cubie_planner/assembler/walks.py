"""Nests of loops that are gone through step by step, where a table says how far they go.

How often an inner loop goes round may differ from one round of the outer one to the next, and with
it which of its unrolled forms is executed, and how often. Where no way in the nest depends on
anything but known whole numbers, it is walked once, from its entry to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set

from attrs import field, frozen

from cubie_planner.assembler.blocks import Flow
from cubie_planner.assembler.cells import Cells
from cubie_planner.assembler.followed import State, agreed, behind_block, known_behind
from cubie_planner.assembler.loops import Loop
from cubie_planner.assembler.tables import Tables
from cubie_planner.assembler.trips import (
    MOST_FOLLOWED,
    Trips,
    cells_of,
    known_addresses,
    needed_in,
    slice_of,
    taken,
)


@frozen
class Walk:
    """What is passed each time that a nest of loops is entered.

    Attributes
    ----------
    passes : mapping of int to int
        How often each block is.
    last : int
        The block behind which the nest is left.
    """

    passes: Mapping[int, int] = field(repr=False)
    last: int


def walks_of(
    flow: Flow,
    loops: Mapping[int, Loop],
    trips: Mapping[int, Trips],
    overwritten: Mapping[str, Set[str]],
    slow: Set[int],
    tables: Tables,
) -> dict[int, Walk]:
    """Return the walks through nests that hold loops whose trips, or whose ways, differ.

    Parameters
    ----------
    flow : Flow
    loops, trips : mappings by the head of the loop
    overwritten : mapping of str to set of str
        Registers and kinds of memory that a called function writes, by its label.
    slow : set of int
        Blocks for slow cases, which are passed by.
    tables : Tables

    Returns
    -------
    dict of int to Walk
        By the head of the outermost loop of each nest that could be walked.
    """
    open_ended = [head for head in trips if _is_untold(flow, loops[head], trips[head], slow)]
    if not open_ended:
        return {}
    start = Cells({}, tables=tables)
    behind = known_behind(flow, overwritten, start)
    known = known_addresses(flow, behind, overwritten)
    walked: dict[int, Walk] = {}
    tried: set[int] = set()
    for head in open_ended:
        for outer in _nests(head, loops, trips):
            if outer not in walked and outer not in tried:
                tried.add(outer)
                loop = loops[outer]
                walk = _walk(flow, loop, behind, overwritten, slow, start)
                if walk is None:  # a counter may lie in memory
                    cells = cells_of(flow, loop, known, tables)
                    cells = cells.among(_decisive(flow, loop, cells))
                    before = known_behind(flow, overwritten, cells) if cells.names else None
                    if before is not None:
                        walk = _walk(flow, loop, before, overwritten, slow, cells)
                if walk is not None:
                    walked[outer] = walk
            if outer in walked:
                break
    return {
        head: walk
        for head, walk in walked.items()
        if not any(head in loops[other].blocks for other in walked if other != head)
    }


def _is_untold(flow: Flow, loop: Loop, trips: Trips, slow: Set[int]) -> bool:
    """Tell whether what a loop executes does not follow from its trips alone."""
    if trips.count is None:
        return not trips.compares_reals
    ways = [[n for n in flow.following[number] if n not in slow] for number in loop.blocks]
    return sum(len(following) > 1 for following in ways) > 1


def _nests(head: int, loops: Mapping[int, Loop], trips: Mapping[int, Trips]) -> list[int]:
    """Return a loop and those around it that are no iterations, the outermost first."""
    found = [head]
    while (outer := loops[found[-1]].outer) is not None and not trips[outer].compares_reals:
        found.append(outer)
    return found[::-1]


def _decisive(flow: Flow, loop: Loop, cells: Cells) -> set[str]:
    """Return the registers and cells that the ways in a loop depend on."""
    forks = [n for n in loop.blocks if len(flow.following[n]) > 1]
    return needed_in(flow, loop, forks, cells)


def _walk(
    flow: Flow,
    loop: Loop,
    behind: Mapping[int, State],
    overwritten: Mapping[str, Set[str]],
    slow: Set[int],
    cells: Cells,
) -> Walk | None:
    """Go through a nest; None where a way depends on what is not known."""
    needed = _decisive(flow, loop, cells)
    cells = cells.among(needed)
    blocks = {n: slice_of(flow.blocks[n], needed, cells) for n in loop.blocks}
    state = agreed(behind[n] for n in flow.preceding[loop.head] if n not in loop.blocks)
    passes: Counter[int] = Counter()
    number, followed = loop.head, 0
    while followed < MOST_FOLLOWED:
        passes[number] += 1
        followed += len(blocks[number].instructions)
        state = behind_block(blocks[number], state, overwritten, cells)
        following = taken(flow, number, state)
        if len(following) > 1:
            following = tuple(other for other in following if other not in slow)
        if len(following) != 1:
            return None
        if following[0] not in loop.blocks:
            return Walk(dict(passes), number)
        number = following[0]
    return None
