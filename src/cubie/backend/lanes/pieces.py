"""Long straight-line functions, cut into pieces that are functions of their own.

What LLVM does with one block of thousands of loads and stores takes time that grows with the
square of their number: of the equations of 1000 states several seconds. A piece is given the
buffers and indices of the whole. What one piece computes and a later one reads goes through a
frame that the whole reserves; nothing is computed twice, and every operation is the same.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from llvmlite import ir

from cubie.backend.lanes.types import Lanes, lane_alignment

BYTE = ir.IntType(8)
I64 = ir.IntType(64)
RETURNED = "return"


@define
class _Frame:
    """Where values that outlive a piece lie: one slot a name, as large as a run's lanes."""

    lanes: Lanes
    n_slots: int = 0
    names: dict[str, int] = field(factory=dict)
    kinds: dict[str, ir.Type] = field(factory=dict)

    @property
    def slot_bytes(self) -> int:
        # A whole number may lie there, too.
        return max(8, self.lanes.width * self.lanes.dtype.bitwidth // 8)

    @property
    def n_bytes(self) -> int:
        return max(1, self.n_slots) * self.slot_bytes

    @property
    def alignment(self) -> int:
        return lane_alignment(self.lanes.dtype, self.lanes.width)

    def reserve(self, name: str, kind: ir.Type) -> None:
        """Give a name a slot, if it has none."""
        if name not in self.names:
            self.names[name] = self.n_slots
            self.n_slots += 1
        self.kinds[name] = kind

    def store(self, builder, base, name: str, value) -> None:
        builder.store(value, self._pointer(builder, base, name)).align = self.alignment

    def load(self, builder, base, name: str):
        loaded = builder.load(self._pointer(builder, base, name))
        loaded.align = self.alignment
        return loaded

    def _pointer(self, builder, base, name: str):
        at = builder.gep(base, [I64(self.names[name] * self.slot_bytes)], inbounds=True)
        return builder.bitcast(at, self.kinds[name].as_pointer())


def emit_in_pieces(emit: Any, statements: Sequence[ast.stmt], length: int) -> Any:
    """Emit statements as calls of functions of at most `length`; return the value of `return`.

    Parameters
    ----------
    emit : object
        Has `lanes`, the `builder`, `values` and `buffers` of the function's arguments, and
        ``body(statements)``, which emits them with these.
    statements : sequence of ast.stmt
    length : int
    """
    pieces = [statements[k : k + length] for k in range(0, len(statements), length)]
    whole, buffers, frame = emit.builder, dict(emit.buffers), _Frame(emit.lanes)
    indices = {name: emit.values[name] for name in emit.indices}
    lanes = {name: value for name, value in emit.values.items() if name not in indices}
    for name, value in lanes.items():
        frame.reserve(name, value.type)
    functions = []
    for number, (piece, read, later) in enumerate(_with_names(pieces)):
        emit.builder = _begin(whole, buffers, indices, number)
        _emit_piece(emit, frame, piece, read, later)
        functions.append(emit.builder.function)
    emit.builder, emit.buffers = whole, buffers
    with whole.goto_entry_block():
        room = whole.alloca(ir.ArrayType(BYTE, frame.n_bytes), name="pieces")
        room.align = frame.alignment
    base = whole.bitcast(room, BYTE.as_pointer())
    for name, value in lanes.items():
        frame.store(whole, base, name, value)
    given = [base, *(pointer for _, pointer in buffers.values()), *indices.values()]
    for function in functions:
        whole.call(function, given)
    return frame.load(whole, base, RETURNED) if RETURNED in frame.names else None


def _with_names(pieces) -> list[tuple[Sequence[ast.stmt], set[str], set[str]]]:
    """Return each piece with the names that it reads, and those that the ones after it read."""
    found, later = [], set()
    for piece in reversed(pieces):
        read = _names(piece, ast.Load)
        found.append((piece, read, later))
        later = later | read
    return found[::-1]


def _begin(whole, buffers, indices, number: int) -> ir.IRBuilder:
    """Return a builder within a new function, which takes the frame, buffers and indices."""
    kinds = [pointer.type for _, pointer in buffers.values()]
    kinds = [BYTE.as_pointer(), *kinds, *(I64 for _ in indices)]
    module, name = whole.function.module, f"{whole.function.name}.piece.{number}"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    return ir.IRBuilder(function.append_basic_block())


def _emit_piece(
    emit: Any, frame: _Frame, piece: Sequence[ast.stmt], read: set[str], later: set[str]
) -> None:
    """Emit one piece, given the names that it and those after it read."""
    builder = emit.builder
    base, *arguments = builder.function.args
    n_buffers = len(emit.buffers)
    pointers, numbers = arguments[:n_buffers], arguments[n_buffers:]
    emit.buffers = {
        name: (kind, pointer)
        for (name, (kind, _)), pointer in zip(emit.buffers.items(), pointers, strict=True)
    }
    # Values that are no constants belong to the function that they were computed in.
    emit.values = {
        name: value
        for name, value in emit.values.items()
        if isinstance(value, (float, ir.Constant))
    }
    emit.values |= dict(zip(emit.indices, numbers, strict=True))
    for name in sorted(read & set(frame.names)):
        emit.values[name] = frame.load(builder, base, name)
    # What only a loop knows has no value behind it: a later piece of that name has its own.
    known = set(emit.values) | _names([s for s in piece if isinstance(s, ast.Assign)], ast.Store)
    returned = emit.body(piece)
    written = _names(piece, ast.Store) & known & later
    written = {name: emit.values[name] for name in written}
    if returned is not None:
        written[RETURNED] = returned
    for name, value in sorted(written.items()):
        if isinstance(value, (float, ir.Constant)):
            # The same in every function; what the name was before is not looked at again.
            frame.names.pop(name, None)
            continue
        frame.reserve(name, value.type)
        frame.store(builder, base, name, value)
    builder.ret_void()


def _names(statements: Sequence[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    """Return the names that statements read (`ast.Load`), or give values (`ast.Store`)."""
    return {
        node.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }
