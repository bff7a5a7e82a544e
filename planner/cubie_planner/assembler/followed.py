"""What registers and words of memory hold behind each block, as far as whole numbers tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from cubie_planner.assembler.blocks import Block, Flow
from cubie_planner.assembler.cells import NO_CELLS, Cells
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.integers import results
from cubie_planner.assembler.loops import reverse_postorder
from cubie_planner.assembler.operands import Value, value_of

State = dict[str, Value]


def known_behind(
    flow: Flow, overwritten: Mapping[str, Set[str]], cells: Cells = NO_CELLS
) -> dict[int, State]:
    """Return what registers hold behind each block, whichever way led there."""
    order = reverse_postorder(flow.entry, flow.following)
    behind: dict[int, State] = {}
    changed = True
    while changed:
        changed = False
        for number in order:
            before = agreed(behind[p] for p in flow.preceding[number] if p in behind)
            after = behind_block(flow.blocks[number], before, overwritten, cells)
            if behind.get(number) != after:
                behind[number], changed = after, True
    return behind


def agreed(states: Iterable[State]) -> State:
    """Return what all of the states agree upon."""
    found: State | None = None
    for state in states:
        if found is None:
            found = dict(state)
        else:
            found = {name: value for name, value in found.items() if state.get(name) == value}
    return found or {}


def behind_block(
    block: Block, state: State, overwritten: Mapping[str, Set[str]], cells: Cells
) -> State:
    state = dict(state)
    for instruction in block.instructions:
        follow(instruction, state, overwritten, cells)
    return state


def follow(
    instruction: Instruction, state: State, overwritten: Mapping[str, Set[str]], cells: Cells
) -> None:
    """Make of what is known before an instruction what is known behind it."""
    if instruction.is_call:
        kept = _behind_call(instruction, state, overwritten, cells)
        for name in state.keys() - kept.keys():
            del state[name]
    moved = _moved(instruction, state, cells)
    for name, value in results(instruction, state, moved).items():
        if value is None:
            state.pop(name, None)
        else:
            state[name] = value


def _moved(instruction: Instruction, state: State, cells: Cells) -> State:
    """Return what an instruction loads into registers, and what words hold that it may change."""
    loaded = {name: state.get(cell) for name, cell in cells.loaded(instruction).items()}
    loaded |= cells.tables.loaded(instruction, state)
    changed = cells.changed(instruction).items()
    return loaded | {c: None if o is None else value_of(o, state) for c, o in changed}


def _behind_call(
    instruction, state: State, overwritten: Mapping[str, Set[str]], cells: Cells
) -> State:
    """Forget what a called function writes; all, where it is not known."""
    if not instruction.targets or any(label not in overwritten for label in instruction.targets):
        return {}
    lost = set().union(*(overwritten[label] for label in instruction.targets))
    lost |= cells.lost(lost)
    return {name: value for name, value in state.items() if name not in lost}
