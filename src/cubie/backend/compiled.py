"""What the compiled targets share: allocators and other intrinsics written in LLVM.

An allocator is an intrinsic, not a function: its stack array then belongs to
the frame of the component that calls it, and can neither dangle nor be copied.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types
from numba.np import numpy_support

from cubie.backend.base import Backend, own_placement
from cubie.backend.foreign import ForeignTarget, build_foreign_rhs
from cubie.backend.foreign_check import check_compiled
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes import operations as lane_ops
from cubie.backend.lanes.straight_line import definition, emitter
from cubie.backend.lanes.types import (
    GENERIC,
    MAX_ALIGNMENT,
    Base,
    Buf,
    Lanes,
    lane_alignment,
    lane_type,
)
from cubie.errors import InvalidOption
from cubie_planner import Placement

BYTE = ir.IntType(8)
I64 = ir.IntType(64)


class CompiledBackend(Backend):
    """A target whose device functions are compiled through LLVM."""

    shared_addrspace = GENERIC

    @property
    def group_width(self) -> int:
        """Lanes of the whole group; `width` where its lanes go together."""
        return self.width

    @property
    @abstractmethod
    def _intrinsic(self) -> Callable:
        """The decorator that makes an intrinsic of this target."""

    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        lanes = Lanes(numpy_support.from_dtype(self.dtype), self.width)
        emitted = emitter(definition(function), lanes, lane_ops.MATH_CALLS[self.name])
        # Intrinsics and device functions have as many arguments as their definition says.
        names = ", ".join(inspect.signature(function).parameters)
        generate = _with_arguments("generate", f"typing_context, {names}", emitted)
        call = _with_arguments(function.__name__, names, self._intrinsic(generate))
        return self._device_as_written(call, inline) if as_written else self.device(call, inline)

    def _device_as_written(self, function: Callable, inline: bool) -> Callable:
        """Make a function callable that holds the user's equations: NaN stays NaN in them."""
        return self.device(function, inline)

    def allocator(self, placement: Placement) -> Callable:
        kind = own_placement(placement)
        dtype = numpy_support.from_dtype(placement.dtype)
        from_shared = kind in ("shared", "empty")
        addrspace = self.shared_addrspace if from_shared else GENERIC
        stride = self.width if kind in ("local", "view") else self.group_width
        buf = Buf(dtype, placement.n_elements, self.width, addrspace, stride)
        offset = (placement.offset or 0) * self.group_width
        parent_offset = (placement.parent_offset or 0) * self.width

        def allocate(typingctx, memory, parent):
            def lower(context, builder, signature, args):
                if kind == "local":
                    return stack_array(builder, buf, placement.name)
                if kind == "view":
                    return typed_pointer(builder, args[1], parent_offset, buf)
                space = memory.fields.index("persistent" if kind == "persistent" else "shared")
                base = builder.extract_value(args[0], space)
                return typed_pointer(builder, base, offset, buf)

            return buf(memory, parent), lower

        return self._intrinsic(allocate)

    def keep(self) -> Callable:
        def keep(typingctx, value):
            n = value.n if isinstance(value, Buf) else 1
            copy = Buf(value.dtype, n, value.width)

            def lower(context, builder, signature, args):
                pointer = stack_array(builder, copy, "kept")
                for i in range(n):
                    whole = isinstance(value, Buf)
                    element = codegen.load(builder, value, args[0], I64(i)) if whole else args[0]
                    codegen.store(builder, copy, pointer, I64(i), element)
                return pointer

            return copy(value), lower

        return self._intrinsic(keep)

    def weighted_sum(self, terms: Sequence[tuple[int, float]]) -> Callable:
        terms = tuple(terms)

        def total(typingctx, buf, i):
            def lower(context, builder, signature, args):
                return emit_weighted_sum(builder, signature.args[0], args[0], args[1], terms)

            return buf.element(buf, types.intp), lower

        return self._intrinsic(total)

    def phase(self, points, placements) -> Callable:
        def enter(typingctx, memory):
            def lower(context, builder, signature, args):
                return context.get_dummy_value()

            return types.none(memory), lower

        return self._intrinsic(enter)

    @property
    @abstractmethod
    def _foreign_target(self) -> ForeignTarget:
        """What compiles ordinary functions for this target."""

    def foreign_rhs(self, system) -> Callable:
        if self.width != 1:
            advice = f"{system.note} It runs on the plain numbers of one run."
            raise InvalidOption("lanes", self.width, (1,), advice)
        check_compiled(system)
        return build_foreign_rhs(self._foreign_target, system, self.dtype)

    def persistent_arena(self, size_bytes: int) -> Callable:
        """Return ``arena()``: the bytes kept across steps, in the kernel's frame."""
        size = max(1, size_bytes * self.width)
        alignment = MAX_ALIGNMENT if self.width > 1 else 8

        def arena(typingctx):
            def lower(context, builder, signature, args):
                memory = uninitialised(builder, ir.ArrayType(BYTE, size), "local_scratch")
                memory.align = alignment
                return builder.bitcast(memory, BYTE.as_pointer())

            return Base()(), lower

        return self._intrinsic(arena)


def _with_arguments(name: str, arguments: str, function: Callable) -> Callable:
    """Return a function of the named arguments that calls another one with them."""
    namespace = {"function": function}
    exec(f"def {name}({arguments}):\n    return function({arguments})\n", namespace)
    return namespace[name]


def typed_pointer(builder, pointer, offset_bytes: int, buf: Buf):
    """Return a buffer's pointer at a constant byte offset from another pointer."""
    raw = builder.bitcast(pointer, ir.PointerType(BYTE, buf.addrspace))
    address = builder.gep(raw, [I64(offset_bytes)], inbounds=True)
    return builder.bitcast(address, ir.PointerType(lane_type(buf.dtype, buf.width), buf.addrspace))


def uninitialised(builder, kind: ir.Type, name: str):
    """Reserve memory in the frame of the function being built.

    numba's own `alloca_once` fills it with zeros, by one store of the whole array: nothing needs
    them, every call pays for them, and LLVM takes seconds over an array of a few kilobytes.
    """
    with builder.goto_entry_block():
        return builder.alloca(kind, name=name)


def stack_array(builder, buf: Buf, name: str):
    """Reserve a buffer in the frame of the function being built, once per call."""
    element = lane_type(buf.dtype, buf.width)
    memory = uninitialised(builder, ir.ArrayType(element, buf.n), name)
    memory.align = lane_alignment(buf.dtype, buf.width)
    return builder.bitcast(memory, element.as_pointer())


def emit_weighted_sum(builder, buf: Buf, pointer, index, terms):
    """Emit the sum of weight * buf[index + offset]; constants take the buffer's dtype."""
    total = None
    for offset, weight in terms:
        where = builder.add(index, I64(offset)) if offset else index
        value = codegen.load(builder, buf, pointer, where)
        if weight != 1.0:
            value = builder.fmul(value, codegen.constant(buf.dtype, buf.width, weight))
        total = value if total is None else builder.fadd(total, value)
    return codegen.constant(buf.dtype, buf.width, 0.0) if total is None else total


def emit_moved(builder, buf: Buf, pointer, index, h, terms, total):
    """Emit `total` and the sum of (h * weight) * buf[index + offset], added one by one."""
    for offset, weight in terms:
        where = builder.add(index, I64(offset)) if offset else index
        factor = h
        if weight != 1.0:
            factor = builder.fmul(h, codegen.constant(buf.dtype, buf.width, weight))
        part = builder.fmul(factor, codegen.load(builder, buf, pointer, where))
        total = builder.fadd(total, part)
    return total
