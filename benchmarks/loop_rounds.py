"""How often loops of component code go round, where machine code alone does not tell.

How far a loop over a table goes, or one over the rest of a matrix's column, no counter of known
numbers says. Interpreted, the same source tells it line by line.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from cubie_planner.assembler.blocks import Flow
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.loops import Loop
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.assembler.trips import counters_of

Line = tuple[str, int]


class LoopRounds:
    """Rounds of `for` statements in some files, in the mean of all times that they are entered.

    Parameters
    ----------
    work : callable
        Executes their source under the interpreter.
    files : iterable of str
        Ends of paths.
    """

    def __init__(self, work: Callable[[], object], files: Iterable[str]):
        ends, self._passed = tuple(files), Counter[Line]()

        def look(frame, event, argument):
            if event == "call" and not frame.f_code.co_filename.endswith(ends):
                return None
            if event == "line":
                self._passed[frame.f_code.co_filename, frame.f_lineno] += 1
            return look

        before = sys.gettrace()
        sys.settrace(look)
        try:
            work()
        finally:
            sys.settrace(before)

    def of(self, line: Line) -> float | None:
        """Return the rounds of the statement at a line; None where it was not interpreted."""
        loops = _loops_in(line[0])
        if line[1] not in loops or not self._passed[line]:
            return None
        rounds = self._passed[line[0], loops[line[1]].first]
        # The line of the statement is passed before each round, and once when all are over.
        entered = self._passed[line] - rounds
        return rounds / entered if entered > 0 else None

    def trips(self, code: MachineCode, otherwise: int) -> Callable[[Flow, int], int]:
        """Return ``trips(flow, head)``: how often the head of a loop is passed each time."""
        functions = {function.flow: function for function in code.functions.by_label.values()}

        def trips(flow: Flow, head: int) -> int:
            function = functions[flow]
            line = _statement(flow, function.loops[head])
            rounds = None if line is None else self.of(line)
            if line is None or rounds is None:
                return otherwise
            counters = counters_of(flow, function.loops[head], function.loops, function.overwritten)
            gains = [abs(gain) for one, gain in counters.items() if _is_at(one, line)]
            return max(1, round(rounds / min(gains, default=1)))

        return trips


class _Loop:
    def __init__(self, node: ast.For | ast.While):
        self.last, self.first = node.end_lineno or node.lineno, node.body[0].lineno


@cache
def _loops_in(file: str) -> dict[int, _Loop]:
    """Return the loops of a file by their lines, outer ones first."""
    path = Path(file)
    if not path.is_file():
        return {}
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.lineno: _Loop(node) for node in nodes if isinstance(node, ast.For | ast.While)}


@cache
def _around(file: str, line: int) -> tuple[Line, ...]:
    """Return the loops that a line lies in, the innermost first."""
    return tuple(
        (file, at)
        for at, loop in sorted(_loops_in(file).items(), reverse=True)
        if at <= line <= loop.last
    )


def _statement(flow: Flow, loop: Loop) -> Line | None:
    """Return the statement that a loop of machine code came from: that of the jump back."""
    for latch in loop.latches:
        last = flow.blocks[latch].last
        for line in _chain(last):
            if _is_at(last, line):
                return line
    return None


def _is_at(instruction: Instruction, line: Line) -> bool:
    return any((frame.file, frame.line) == line for frame in instruction.source[:1])


def _chain(instruction: Instruction) -> tuple[Line, ...]:
    frames = instruction.source
    return tuple(line for frame in frames for line in _around(frame.file, frame.line))
