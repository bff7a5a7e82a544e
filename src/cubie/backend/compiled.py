"""What the compiled targets share: allocators and other intrinsics written in LLVM.

An allocator is an intrinsic, not a function: its stack array then belongs to
the frame of the component that calls it, and can neither dangle nor be copied.
"""

from __future__ import annotations

import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.np import numpy_support

from cubie.backend.base import Backend
from cubie.backend.foreign import ForeignTarget, build_foreign_rhs
from cubie.backend.foreign_check import check_compiled
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes import operations as lane_ops
from cubie.backend.lanes.straight_line import definition, definitions, emitter
from cubie.backend.lanes.types import (
    GENERIC,
    MAX_ALIGNMENT,
    Base,
    Buf,
    Lanes,
    lane_alignment,
    lane_type,
)
from cubie.backend.run_memory import own_placement
from cubie.backend.tables import Table
from cubie.errors import InvalidOption
from cubie_planner import Placement

BYTE = ir.IntType(8)
I64 = ir.IntType(64)
# Elements of a copy that text copies; more of them are copied in a loop, whose size is constant.
MOST_COPIED_ONE_BY_ONE = 64


class CompiledBackend(Backend):
    """A target whose device functions are compiled through LLVM."""

    shared_addrspace = GENERIC
    table_addrspace = GENERIC
    global_addrspace = GENERIC
    # Generated functions of more statements are compiled as several; None: as one in any case.
    statements_at_once: int | None = None
    # Fast-math of rows of equations that are something times a number; see `emitter`.
    flags_of_scaled_rows: tuple[str, ...] = ()

    @property
    def group_width(self) -> int:
        """Lanes of the whole group; `width` where its lanes go together."""
        return self.width

    @property
    def lanes_of_global(self) -> int:
        """Runs whose elements lie side by side in global memory: [element][run]."""
        return self.group_width

    @property
    @abstractmethod
    def _intrinsic(self) -> Callable:
        """The decorator that makes an intrinsic of this target."""

    def straight_line(
        self, function: Callable, inline: bool = True, as_written: bool = False
    ) -> Callable:
        lanes = Lanes(numpy_support.from_dtype(self.dtype), self.width)
        math_calls, tables = lane_ops.MATH_CALLS[self.name], self._tables_of(function)
        of_scaled_rows = self.flags_of_scaled_rows if as_written and self.fastmath else ()
        emitted = emitter(
            definition(function), lanes, math_calls, tables, self.statements_at_once,
            of_scaled_rows, definitions(function),
        )  # fmt: skip
        # Intrinsics and device functions have as many arguments as their definition says.
        names = ", ".join(inspect.signature(function).parameters)
        generate = with_arguments("generate", f"typing_context, {names}", emitted)
        call = with_arguments(function.__name__, names, self._intrinsic(generate))
        return self._device_as_written(call, inline) if as_written else self.device(call, inline)

    def _tables_of(self, function: Callable) -> dict[str, Callable]:
        """Return how to read the tables of a generated module."""
        found = {}
        for name, value in function.__globals__.items():
            if isinstance(value, Table):
                whole = all(type(number) is int for number in value.values)
                numbers = np.array(value.values, np.int64 if whole else self.dtype)
                found[name] = _reader(_narrow(numbers), self.table_addrspace)
        return found

    def _device_as_written(self, function: Callable, inline: bool) -> Callable:
        """Make a function callable that holds the user's equations: NaN stays NaN in them."""
        return self.device(function, inline)

    def allocator(self, placement: Placement) -> Callable:
        kind = own_placement(placement)
        dtype = numpy_support.from_dtype(placement.dtype)
        from_shared = kind in ("shared", "empty")
        addrspace = self.shared_addrspace if from_shared else GENERIC
        stride = self.width if kind in ("local", "view") else self.group_width
        if kind == "global":
            addrspace, stride = self.global_addrspace, self.lanes_of_global
        buf = Buf(dtype, placement.n_elements, self.width, addrspace, stride)
        offset = (placement.offset or 0) * self.group_width
        global_offset = (placement.offset or 0) * self.lanes_of_global
        parent_offset = (placement.parent_offset or 0) * self.width
        # Code is found again by what an intrinsic closes over: by the backend it never is, nor by
        # the rest of the plan in another one.
        name, in_global = placement.name, self._in_global

        def allocate(typingctx, memory, parent):
            def lower(context, builder, signature, args):
                if kind == "local":
                    return stack_array(builder, buf, name)
                if kind == "view":
                    return typed_pointer(builder, args[1], parent_offset, buf)
                if kind == "global":
                    space = memory.fields.index("global_memory")
                    where = builder.extract_value(args[0], space)
                    return in_global(builder, where, global_offset, buf)
                space = memory.fields.index("persistent" if kind == "persistent" else "shared")
                base = builder.extract_value(args[0], space)
                return typed_pointer(builder, base, offset, buf)

            return buf(memory, parent), lower

        return self._intrinsic(allocate)

    @staticmethod
    def _in_global(builder, where, offset_bytes: int, buf: Buf):
        """Return a buffer's pointer, that many bytes from where global memory of the run begins."""
        return typed_pointer(builder, where, offset_bytes, buf)

    def keep(self) -> Callable:
        def keep(typingctx, value):
            n = value.n if isinstance(value, Buf) else 1
            copy = Buf(value.dtype, n, value.width)

            def lower(context, builder, signature, args):
                pointer = stack_array(builder, copy, "kept")

                def copy_element(i):
                    whole = isinstance(value, Buf)
                    element = codegen.load(builder, value, args[0], i) if whole else args[0]
                    codegen.store(builder, copy, pointer, i, element)

                if n <= MOST_COPIED_ONE_BY_ONE:
                    for i in range(n):
                        copy_element(I64(i))
                else:
                    with cgutils.for_range(builder, I64(n)) as loop:
                        copy_element(loop.index)
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

    def table(self, values: np.ndarray) -> Callable:
        values = _narrow(values)
        read = _reader(values, self.table_addrspace)
        is_whole = values.dtype.kind == "u"
        returned = types.int64 if is_whole else numpy_support.from_dtype(values.dtype)

        def table(typingctx, i):
            def lower(context, builder, signature, args):
                index = context.cast(builder, args[0], signature.args[0], types.int64)
                return read(builder)(index)

            return returned(i), lower

        return self._intrinsic(table)

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

    def foreign_rhs(self, system, fault_slot: int | None = None) -> Callable:
        if self.width != 1:
            advice = f"{system.note} It runs on the plain numbers of one run."
            raise InvalidOption("lanes", self.width, (1,), advice)
        check_compiled(system if system.joint is None else system.joint.base)
        return build_foreign_rhs(self._foreign_target, system, self.dtype, fault_slot)

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


def with_arguments(name: str, arguments: str, function: Callable) -> Callable:
    """Return a function of the named arguments that calls another one with them."""
    namespace = {"function": function}
    exec(f"def {name}({arguments}):\n    return function({arguments})\n", namespace)
    return namespace[name]


def _reader(values: np.ndarray, addrspace: int) -> Callable:
    """Return ``read(builder)``, which gives ``element(index)``: whole numbers have 64 bits."""
    is_whole = values.dtype.kind == "u"
    name = f"cubie_table_{hashlib.sha256(values.tobytes()).hexdigest()[:16]}_{values.dtype.name}"

    def read(builder):
        memory = _constant_array(builder, name, values, addrspace)

        def element(index):
            found = builder.load(builder.gep(memory, [index], inbounds=True))
            return builder.zext(found, I64) if is_whole and values.itemsize < 8 else found

        return element

    return read


def _narrow(values: np.ndarray) -> np.ndarray:
    """Return the same numbers, whole ones in as few bytes as the largest takes; one at least."""
    if values.dtype.kind != "f":
        values = values.astype(np.min_scalar_type(int(values.max(initial=0))))
    return values if values.size else np.zeros(1, values.dtype)


def _constant_array(builder, name: str, values: np.ndarray, addrspace: int):
    """Return a pointer to numbers that lie in the module's constant data, once."""
    memory = builder.module.globals.get(name)
    if memory is None:
        data = values.tobytes()
        # As text of bytes: a constant for each number would take seconds for a hundred thousand,
        # and so does llvmlite's own text, which looks at each byte, for millions.
        kind = ir.ArrayType(BYTE, len(data))
        text = '"\\' + data.hex("\\") + '"'
        memory = ir.GlobalVariable(builder.module, kind, name, addrspace)
        memory.linkage, memory.global_constant, memory.align = "internal", True, values.itemsize
        memory.initializer = ir.FormattedConstant(kind, f"c{text}")
    if values.dtype.kind == "u":
        element = ir.IntType(8 * values.itemsize)
    else:
        element = lane_type(numpy_support.from_dtype(values.dtype), 1)
    return builder.bitcast(memory, ir.PointerType(element, addrspace))


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
