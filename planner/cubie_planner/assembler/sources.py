"""Marking instructions by the source lines that they came from."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from attrs import field, frozen

from cubie_planner.assembler.instructions import Frame, Instruction


@frozen
class Marks:
    """Source code by file or function, such as ``"attempt.py"`` or ``"attempt.py:judge"``.

    The file is the end of a path; ``"algorithms/"`` means every file below such a folder, and
    ``":commit"`` a function in any file. A function is named as it is in the source, and holds the
    lines of functions that are made in it unless those are named themselves.
    """

    patterns: tuple[str, ...] = field(converter=tuple)

    def hold(self, instruction: Instruction) -> bool:
        """Tell whether an instruction came from there, or was inlined there."""
        return _are_marked(instruction.source, self.patterns)

    def hold_innermost(self, instruction: Instruction) -> bool:
        """Tell whether an instruction came from there, and not from what was inlined there."""
        return bool(instruction.source) and _is_marked(instruction.source[0], self.patterns)


@cache
def _are_marked(source: tuple[Frame, ...], patterns: tuple[str, ...]) -> bool:
    return any(_is_marked(frame, patterns) for frame in source)


@cache
def _is_marked(frame: Frame, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        file, _, function = pattern.partition(":")
        if _is_end_of(file, frame.file) and (not function or function in functions_at(frame)):
            return True
    return False


def _is_end_of(file: str, path: str) -> bool:
    """Tell whether a path ends with a file, or, for one with a slash at its end, lies below it.

    No name stands for every file.
    """
    if not file:
        return True
    if file.endswith("/"):
        return f"/{file}" in path
    return path == file or path.endswith(f"/{file}")


@cache
def functions_at(frame: Frame) -> tuple[str, ...]:
    """Return the functions that a line lies in, the innermost first."""
    around = [found for found in _functions_of(frame.file) if found[0] <= frame.line <= found[1]]
    return tuple(name for _, _, name in sorted(around, key=lambda found: found[1] - found[0]))


@cache
def _functions_of(file: str) -> tuple[tuple[int, int, str], ...]:
    """Return the functions of a file with their first and last line; none where there is none."""
    path = Path(file)
    if not path.is_file():
        return ()
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return ()
    return tuple(_functions_in(tree))


def _functions_in(tree: ast.AST) -> Iterable[tuple[int, int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.lineno, node.end_lineno or node.lineno, node.name
