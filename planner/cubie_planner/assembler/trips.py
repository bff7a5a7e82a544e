"""How often a loop runs, where its counter says so.

Registers are followed from the entry of the function to the head of the loop, and then
round the loop, as often as its exits are known not to be taken. That finds the trips of loops
that were unrolled, whose counters go down, or which compare addresses, without knowing any
of their forms. Where a loop ends depends on data, its counter still says how much of it was
unrolled into a round. A counter may lie in memory and be loaded and stored in every round: words
of memory are followed, too, where registers alone do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

from attrs import frozen

from cubie_planner.assembler.blocks import Block, Flow
from cubie_planner.assembler.cells import NO_CELLS, Cells, Known
from cubie_planner.assembler.followed import State, agreed, behind_block, follow, known_behind
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.integers import condition
from cubie_planner.assembler.loops import Loop, reverse_postorder
from cubie_planner.assembler.operands import Offset, Value, address_of
from cubie_planner.assembler.registers import is_predicate, is_register, read, written
from cubie_planner.assembler.tables import NO_TABLES, Tables

MOST_TRIPS = 100_000
# Instructions that are followed round a loop at most.
MOST_FOLLOWED = 5_000_000

_COMPARES_REALS = re.compile(r"U?[DFH](SET|SETP|CHK)2?$")


@frozen
class Trips:
    """How often the head of a loop is passed each time the loop is entered.

    Attributes
    ----------
    count : int or None
        None where it depends on data.
    may_end_sooner : bool
        Whether there is another exit beside the counted one, whose condition is not known.
    compares_reals : bool
        Whether the exits of a loop whose trips are not known depend on comparisons of
        floating-point numbers, as those of iterations do; and not on whole numbers alone, of which
        the code does not tell the first or the last.
    """

    count: int | None
    may_end_sooner: bool = False
    compares_reals: bool = False


def trips_of(
    flow: Flow,
    loops: Mapping[int, Loop],
    overwritten: Mapping[str, Set[str]],
    tables: Tables = NO_TABLES,
) -> dict[int, Trips]:
    """Return the trips of each loop by its head.

    `overwritten` are the registers and the kinds of memory that a function writes, by the label
    that calls it.
    """
    start = Cells({}, tables=tables)
    rounds = {
        head: _Round.of(flow, loop, loops, overwritten, start) for head, loop in loops.items()
    }
    behind = known_behind(flow, overwritten, start)
    found = {head: _run(around, behind) for head, around in rounds.items()}
    open_ended = [loops[head] for head, trips in found.items() if trips.count is None]
    known = known_addresses(flow, behind, overwritten) if open_ended else {}
    rounds = {
        loop.head: around
        for loop in open_ended
        if (
            around := _Round.of(flow, loop, loops, overwritten, cells_of(flow, loop, known, tables))
        ).cells.names
    }
    if rounds:
        cells = Cells.united(around.cells for around in rounds.values())
        behind = known_behind(flow, overwritten, cells)
        found |= {head: _run(around, behind) for head, around in rounds.items()}
    return found


def counters_of(
    flow: Flow,
    loop: Loop,
    loops: Mapping[int, Loop],
    overwritten: Mapping[str, Set[str]],
    in_memory: bool = False,
) -> dict[Instruction, int]:
    """Return how far counters go on in a round of a loop, by the instructions that write them.

    Counters are registers, or words of memory where those are asked for, that an exit of the loop
    depends on, and which change by the same number in every round, whichever way it goes.
    """
    cells = NO_CELLS
    if in_memory:
        known = known_addresses(flow, known_behind(flow, overwritten), overwritten)
        cells = cells_of(flow, loop, known)
    around = _Round.of(flow, loop, loops, overwritten, cells)
    code = [i for block in around.blocks.values() for i in block.instructions]
    known = {name for i in code for name in _reads(i, cells) if not is_predicate(name)}
    state: State = {name: Offset(name, 0) for name in known}
    # In the first round a register may take over what another one begins with.
    once, left, _ = around.go(state)
    twice, left_then, _ = around.go(once)
    if left or left_then:
        return {}
    gains = {name: _gain(once[name], twice.get(name)) for name in once}
    return {i: gains[name] for i in code for name in _writes(i, cells) if gains.get(name)}


def _gain(before: Value, after: Value) -> int:
    if not isinstance(before, Offset) or not isinstance(after, Offset):
        return 0
    return after.by - before.by if after.base == before.base else 0


def cells_of(flow: Flow, loop: Loop, known: Known, tables: Tables = NO_TABLES) -> Cells:
    """Return the words of memory that a loop loads."""
    return Cells.of([flow.blocks[number].instructions for number in loop.blocks], known, tables)


def known_addresses(
    flow: Flow, behind: Mapping[int, State], overwritten: Mapping[str, Set[str]]
) -> dict[Instruction, tuple[str, int]]:
    """Return addresses of 32 bits whose start is known in other words than a register's name."""
    found: dict[Instruction, tuple[str, int]] = {}
    for number, block in flow.blocks.items():
        state = agreed(behind[p] for p in flow.preceding[number] if p in behind)
        for instruction in block.instructions:
            place = address_of(instruction)
            value = state.get(place[0]) if place and is_register(place[0]) else None
            if place and isinstance(value, Offset):
                found[instruction] = value.base, value.by + place[1]
            follow(instruction, state, overwritten, NO_CELLS)
    return found


def _reads(instruction: Instruction, cells: Cells) -> frozenset[str]:
    return read(instruction) | set(cells.loaded(instruction).values())


def _writes(instruction: Instruction, cells: Cells) -> tuple[str, ...]:
    return (*written(instruction), *cells.changed(instruction))


@frozen
class _Round:
    """What is followed on a way round a loop: nothing that its exits do not depend on.

    Attributes
    ----------
    flow : Flow
    loop : Loop
    order : list of int
        Blocks of the loop, each before those that follow it.
    blocks : mapping of int to Block
        With the instructions alone that matter.
    exits : set of int
        Blocks from which the loop can be left.
    changed_inside : mapping of int to set of str
        For the head of each inner loop, registers that are written in it.
    overwritten : mapping of str to set of str
        Registers and kinds of memory that a called function writes, by its label.
    cells : Cells
        Words of memory that are followed like registers.
    """

    flow: Flow
    loop: Loop
    order: list[int]
    blocks: Mapping[int, Block]
    exits: set[int]
    changed_inside: Mapping[int, set[str]]
    overwritten: Mapping[str, Set[str]]
    cells: Cells

    @classmethod
    def of(
        cls, flow: Flow, loop: Loop, loops: Mapping[int, Loop], overwritten, cells: Cells = NO_CELLS
    ) -> _Round:
        inside = loop.blocks
        exits = {n for n in inside if any(o not in inside for o in flow.following[n])}
        needed = needed_in(flow, loop, exits, cells)
        cells = cells.among(needed)
        edges = {
            n: tuple(o for o in flow.following[n] if o in inside and o != loop.head) for n in inside
        }
        changed = {
            head: {
                name
                for n in other.blocks
                for i in flow.blocks[n].instructions
                for name in _writes(i, cells)
            }
            for head, other in loops.items()
            if head in inside and head != loop.head
        }
        return cls(
            flow=flow,
            loop=loop,
            order=reverse_postorder(loop.head, edges),
            blocks={n: slice_of(flow.blocks[n], needed, cells) for n in inside},
            exits=exits,
            changed_inside=changed,
            overwritten=overwritten,
            cells=cells,
        )

    @property
    def compares_reals(self) -> bool:
        """Whether what is followed depends on a comparison of floating-point numbers."""
        return any(
            _COMPARES_REALS.match(instruction.opcode)
            for block in self.blocks.values()
            for instruction in block.instructions
        )

    def go(self, start: State) -> tuple[State, bool, list[int]]:
        """Return what is known at the head again, whether the loop was left, and open exits."""
        ways: dict[int, list[State]] = {self.loop.head: [start]}
        at_head: list[State] = []
        unknown = []
        for number in self.order:
            if number not in ways:
                continue
            before = agreed(ways[number])
            for name in self.changed_inside.get(number, ()):
                before.pop(name, None)
            after = behind_block(self.blocks[number], before, self.overwritten, self.cells)
            following = taken(self.flow, number, after)
            if number in self.exits and len(following) == len(self.flow.following[number]):
                unknown.append(number)
            if following and all(other not in self.loop.blocks for other in following):
                return start, True, unknown
            for other in following:
                place = at_head if other == self.loop.head else ways.setdefault(other, [])
                place.append(after)
        return agreed(at_head), False, unknown


def taken(flow: Flow, number: int, state: State) -> tuple[int, ...]:
    """Return what follows a block as far as its condition is known."""
    following, last = flow.following[number], flow.blocks[number].last
    holds = condition(last, state)
    if last.is_jump and len(following) == 2 and holds is not None:
        return following[:1] if holds else following[1:]
    return following


def _run(round_of: _Round, behind: Mapping[int, State]) -> Trips:
    """Go round a loop until an exit is known to be taken."""
    loop = round_of.loop
    before = (p for p in round_of.flow.preceding[loop.head] if p not in loop.blocks)
    state = agreed(behind[number] for number in before)
    may_end_sooner = False
    size = sum(len(block.instructions) for block in round_of.blocks.values())
    for trip in range(1, min(MOST_TRIPS, MOST_FOLLOWED // size) + 1):
        state, left, unknown = round_of.go(state)
        may_end_sooner = may_end_sooner or bool(unknown)
        if left:
            return Trips(trip, may_end_sooner)
        if len(unknown) == len(round_of.exits):
            break
    return Trips(None, compares_reals=round_of.compares_reals)


def needed_in(flow: Flow, loop: Loop, ends: Iterable[int], cells: Cells) -> set[str]:
    """Return the registers and cells that the conditions at the ends of blocks depend on."""
    needed: set[str] = set()
    for number in ends:
        needed |= read(flow.blocks[number].last)
    code = [i for number in loop.blocks for i in flow.blocks[number].instructions]
    writers = [(instruction, _writes(instruction, cells)) for instruction in code]
    size = -1
    while len(needed) > size:
        size = len(needed)
        for instruction, names in writers:
            if not needed.isdisjoint(names):
                needed |= _reads(instruction, cells) | set(written(instruction))
    return needed


def slice_of(block: Block, needed: set[str], cells: Cells) -> Block:
    """Return a block with the instructions alone that matter, and its last."""
    kept = [
        instruction
        for instruction in block.instructions[:-1]
        if instruction.is_call or not needed.isdisjoint(_writes(instruction, cells))
    ]
    return Block(block.first, (*kept, block.last))
