"""Basic blocks of a function and what may follow each.

The graph is that of one thread: where threads of a warp wait for each other (BSSY, BSYNC),
it goes on where they do. A call returns to what follows it; what it calls is a function of
its own, in the same section or in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from attrs import field, frozen

from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.instructions import Code, Instruction

_ENDS = ("EXIT", "RET", "BSYNC", "KILL")


@frozen(eq=False)
class Block:
    """Instructions that are executed one after the other, all or none.

    Attributes
    ----------
    first : int
        Position of its first instruction in the function.
    instructions : tuple of Instruction
    """

    first: int
    instructions: tuple[Instruction, ...] = field(repr=False)

    @property
    def last(self) -> Instruction:
        return self.instructions[-1]


@frozen(eq=False)
class Flow:
    """Blocks that can be reached from an entry, and the edges between them.

    Attributes
    ----------
    code : Code
    entry : int
        Number of the block that it begins with.
    blocks : mapping of int to Block
        By the position of their first instruction.
    following, preceding : mapping of int to tuple of int
    calls : mapping of int to tuple of str
        Labels that the block calls.
    """

    code: Code
    entry: int
    blocks: Mapping[int, Block]
    following: Mapping[int, tuple[int, ...]]
    preceding: Mapping[int, tuple[int, ...]] = field(repr=False)
    calls: Mapping[int, tuple[str, ...]] = field(repr=False)


def flow_of(code: Code, entry: int = 0) -> Flow:
    """Return the control flow of a function from one of its instructions.

    Raises
    ------
    UnreadableCode
        For a branch whose targets are not known.
    """
    blocks = _blocks_of(code)
    following = _edges(code, blocks, entry)
    preceding: dict[int, list[int]] = {number: [] for number in following}
    for number, after in following.items():
        for other in after:
            preceding[other].append(number)
    reached = {number: blocks[number] for number in following}
    return Flow(
        code=code,
        entry=entry,
        blocks=reached,
        following=following,
        preceding={number: tuple(before) for number, before in preceding.items()},
        calls={number: tuple(_called(block)) for number, block in reached.items()},
    )


def _called(block: Block) -> Iterable[str]:
    for instruction in block.instructions:
        if instruction.is_call:
            yield from instruction.targets or ("?",)


def _blocks_of(code: Code) -> dict[int, Block]:
    """Cut the code before every label and behind every instruction that may leave."""
    size = len(code.instructions)
    starts = {0, *(at for at in code.labels.values() if at < size)}
    for position, instruction in enumerate(code.instructions):
        if _may_leave(instruction) and position + 1 < size:
            starts.add(position + 1)
    bounds = [*sorted(starts), size]
    return {
        first: Block(first, code.instructions[first:behind]) for first, behind in pairwise(bounds)
    }


# Where the threads that wait at a barrier register go on: it may have been set in several places.
_Waiting = dict[str, frozenset[int]]


def _edges(code: Code, blocks: dict[int, Block], entry: int) -> dict[int, tuple[int, ...]]:
    """Return what follows each block that can be reached.

    A BSYNC leads where the BSSY before it says; which one that is depends on the way.
    """
    waiting: dict[int, _Waiting] = {entry: {}}
    following: dict[int, tuple[int, ...]] = {}
    open_blocks = [entry]
    while open_blocks:
        number = open_blocks.pop()
        block, state = blocks[number], dict(waiting[number])
        for instruction in block.instructions:
            if instruction.opcode == "BSSY":
                state[instruction.operands[0]] = frozenset([_position(code, instruction)])
        after = tuple(_successors(code, blocks, block, state))
        changed = following.get(number) != after
        following[number] = after
        for other in after:
            before = waiting.get(other)
            merged = _merged(before, state)
            if before is None or merged != before:
                waiting[other] = merged
                open_blocks.append(other)
            elif changed and other not in following:
                open_blocks.append(other)
    return following


def _merged(before: _Waiting | None, state: _Waiting) -> _Waiting:
    if before is None:
        return dict(state)
    names = before.keys() | state.keys()
    empty: frozenset[int] = frozenset()
    return {name: before.get(name, empty) | state.get(name, empty) for name in names}


def _successors(code: Code, blocks: dict[int, Block], block: Block, state: _Waiting):
    last = block.last
    behind = block.first + len(block.instructions)
    passes = not _may_leave(last) or _is_conditional(last)
    found: list[int] = []
    if last.is_jump:
        found += _branch_targets(code, last)
    elif last.opcode == "BSYNC":
        targets = state.get(last.operands[0], frozenset())
        found += sorted(targets)
        passes = passes or not targets
    if passes and behind in blocks:
        found.append(behind)
    return dict.fromkeys(found)


def _may_leave(instruction: Instruction) -> bool:
    """Tell whether what is executed next may be something else than what follows."""
    return instruction.is_jump or instruction.opcode in _ENDS


def _is_conditional(instruction: Instruction) -> bool:
    """Tell whether an instruction that may leave its block may also stay."""
    if instruction.predicate is not None:
        return instruction.predicate not in ("PT", "UPT") or instruction.negated
    # BRA may have its condition as an operand, and BRA.DIV goes where threads have parted.
    return "DIV" in instruction.modifiers or any(
        operand.lstrip("!").startswith(("P", "UP")) and operand not in ("PT", "UPT")
        for operand in instruction.operands
    )


def _branch_targets(code: Code, instruction: Instruction) -> list[int]:
    if not instruction.targets:
        raise UnreadableCode(
            f"A branch at {instruction.address:#x} of {code.name} has targets that are not known: "
            f"{instruction.name} {', '.join(instruction.operands)}.",
            instruction.name,
        )
    return [_label(code, label) for label in instruction.targets]


def _position(code: Code, instruction: Instruction) -> int:
    return _branch_targets(code, instruction)[0]


def _label(code: Code, label: str) -> int:
    if label not in code.labels:
        raise UnreadableCode(f"{code.name} branches to {label!r}, which it does not hold.", label)
    return code.labels[label]
