"""A function's statements, in numba's form: read once from code that many functions share.

Component code makes functions anew for each kernel: they differ in what they close over, and
hardly ever in code. What numba makes of the code takes a third of the time of the front end.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable
from typing import Any

from attrs import frozen
from numba.core import bytecode, interpreter, ir, ssa

from cubie.backend.front_end.rounds import first_round_apart
from cubie.recent import Recent

MOST_CODES = 1000  # of some ten kilobytes each


@frozen
class Statements:
    """What a function does, whatever the values are that it takes from outside.

    Attributes
    ----------
    blocks : list of (label, block)
        numba's, each variable assigned once or by phi nodes, in the order of the code. Nobody
        changes them.
    outside : tuple of ir.Global or ir.FreeVar
        Where names from outside are read; a function has their `values`.
    """

    blocks: list[tuple[int, Any]]
    outside: tuple[Any, ...]

    @classmethod
    def of(cls, function: Callable, first_round: bool) -> Statements:
        """Read a function, the first round of its largest loop by itself if so asked."""
        code: Any = function.__code__
        # Codes of two files, or of lines of other lengths, may be equal.
        where = code.co_filename, code.co_linetable
        key = code, where, tuple(inspect.signature(function).parameters), first_round
        return _READ.get(key) or _READ.put(key, cls._read(function, first_round))

    @classmethod
    def _read(cls, function: Callable, first_round: bool) -> Statements:
        identity = bytecode.FunctionIdentity.from_function(function)
        untyped = interpreter.Interpreter(identity).interpret(bytecode.ByteCode(identity))
        blocks = first_round_apart(untyped.blocks) if first_round else untyped.blocks
        blocks = sorted(ssa._run_ssa(blocks).items())
        assigned = [s.value for _, block in blocks for s in block.body if isinstance(s, ir.Assign)]
        # By identity: both rounds of a loop read names at one place of the code.
        names = {id(v): v for v in assigned if isinstance(v, (ir.Global, ir.FreeVar))}
        outside = tuple(names.values())
        for name in outside:
            del name.value  # it would be taken for that of another function, and live for ever
        return cls(blocks, outside)

    def values(self, function: Callable) -> dict[int, Any]:
        """Return what names from outside mean in a function of this code, by their identity."""
        return {id(name): _value(function, name) for name in self.outside}


def _value(function: Any, name: Any) -> Any:
    """Return the value that numba reads: its mark of what is undefined, where there is none."""
    if isinstance(name, ir.Global):
        missing = getattr(builtins, name.name, ir.UNDEFINED)
        return function.__globals__.get(name.name, missing)
    try:
        return function.__closure__[name.index].cell_contents
    except ValueError:
        return ir.UNDEFINED


_READ: Recent[Statements] = Recent(MOST_CODES)
