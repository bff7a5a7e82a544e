"""Compilation for the ``cpu`` target: one kernel, one LLVM module, one optimisation."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import compiler_lock, types
from numba.np import numpy_support

from cubie.backend.arrays import KernelInputs, KernelOutputs, element_dtypes
from cubie.backend.base import Kernel, RunMemory
from cubie.backend.bundles import Memory
from cubie.backend.compiled import CompiledBackend
from cubie.backend.cpu.compilation import CPUCompilation
from cubie.backend.cpu.contexts import contexts
from cubie.backend.cpu.foreign import NUMBA_ENVIRONMENT, CPUForeignTarget
from cubie.backend.cpu.object_code import ENTRY, FRAME_BYTES, ROOM, ROOM_BYTES, target_machine
from cubie.backend.cpu.refill import refill, take, while_waiting_pays
from cubie.backend.foreign import ForeignTarget
from cubie.backend.front_end import lowering
from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import MAX_ALIGNMENT, Base, Flat, Lanes, lane_type
from cubie.backend.register_limits import NO_LIMITS
from cubie.backend.run_queue import STOP_BYTES

# Everything but the promises that no value is NaN or infinite: a run that blows
# up must be recognised.
FASTMATH_FLAGS = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})
# The user's equations may hold infinities and NaN that mean something, and signs of zero. With
# `reassoc`, (x + 1) - x is 1 for a NaN; with `arcp`, 1 / sqrt(0) and 0 / 1e-310 are NaN.
FAITHFUL_FLAGS = frozenset({"contract"})

I64 = ir.IntType(64)


class CPUCompiler(CompiledBackend):
    """The CPU backend's compiling half."""

    name = "cpu"
    statements_at_once = 256
    flags_of_scaled_rows = ("contract", "reassoc")

    def __init__(self, dtype, fastmath: bool, width: int, group_width: int):
        super().__init__(dtype, fastmath)
        self.width = width
        self._group_width = group_width
        contexts()

    @property
    def group_width(self) -> int:
        return self._group_width

    @property
    def _intrinsic(self) -> Callable:
        return Intrinsic

    def device(self, function: Callable, inline: bool = True) -> Callable:
        return DeviceFunction(function, inline)

    def _device_as_written(self, function: Callable, inline: bool) -> Callable:
        # Loops, and long text: LLVM would copy them into every stage of a step.
        return DeviceFunction(function, inline, FAITHFUL_FLAGS, apart=not inline)

    def one_copy(
        self, function: Callable, in_memory: bool = False, iterated: bool = False
    ) -> Callable:
        return DeviceFunction(function, inline=False, apart=True)

    def in_given_order(self, function: Callable) -> Callable:
        return DeviceFunction(function, inline=True, in_given_order=True)

    def first_round_apart(self, function: Callable) -> Callable:
        return DeviceFunction(function, inline=False, first_round=True)

    @property
    def _foreign_target(self) -> ForeignTarget:
        return CPUForeignTarget(set(FAITHFUL_FLAGS) if self.fastmath else False)

    def kernel(self, make_loop, memory: RunMemory, digest: str, registers=NO_LIMITS) -> Kernel:
        raise NotImplementedError("the CPU kernel is launched by CPUBackend")

    def compile_kernel(self, loop: Callable, memory: RunMemory) -> bytes:
        """Return an object file with ``void cubie_kernel_entry(int64_t *arguments)``."""
        typing_context, target_context = contexts()
        library = _new_library(target_context)
        fastmath = set(FASTMATH_FLAGS) if self.fastmath else False
        with compiler_lock.global_compiler_lock:
            compilation = CPUCompilation(typing_context, target_context, library, fastmath)
            kernel = DeviceFunction(self._kernel(loop, memory), inline=True)
            result = compilation.compile(kernel, (Flat(types.int64),))
            library.add_ir_module(_entry_module(target_context, result.symbol))
            return _emit(library, compilation)

    def _kernel(self, loop: Callable, memory: RunMemory) -> Callable:
        """Return the function that works through the queue until no run is left."""
        arena = self.persistent_arena(memory.persistent_bytes)
        beyond = _bytes_ahead(global_begin(memory, self.width)) if memory.global_bytes else _nothing
        n_scalars = 3
        inputs_of = _record_reader(KernelInputs, n_scalars, self._record_types(KernelInputs))
        outputs_of = _record_reader(
            KernelOutputs,
            n_scalars + len(KernelInputs._fields),
            self._record_types(KernelOutputs),
        )

        def kernel(arguments):
            inputs, outputs = inputs_of(arguments), outputs_of(arguments)
            shared = _base_at(arguments[1])
            where = Memory(shared, arena(), beyond(shared))
            loop(where, arguments[0], arguments[2], inputs, outputs)

        return kernel

    def first_runs(self) -> Callable:
        lanes = Lanes(types.int64, self.width)

        def first(typingctx, queue):
            def lower(context, builder, signature, args):
                start = take(builder, args[0], I64(lanes.width))
                if lanes.width == 1:
                    return start
                steps = ir.Constant(lane_type(types.int64, lanes.width), list(range(lanes.width)))
                return builder.add(codegen.splat(builder, start, lanes.width), steps)

            return lanes(types.int64), lower

        return Intrinsic(first)

    def more_runs(self) -> Callable:
        lanes = Lanes(types.int64, self.width)

        def more(typingctx, queue, free, run, n_runs):
            def lower(context, builder, signature, args):
                return refill(builder, lanes.width, args[0], args[1], args[2])

            return lanes(types.int64, free, run, types.int64), lower

        return Intrinsic(more)

    def keep_going(self, together: bool = False) -> Callable:
        width = self.width

        def going(typingctx, queue, active, beyond):
            def lower(context, builder, signature, args):
                queue, active, beyond = args
                wanted = builder.not_(_called_off(builder, queue))
                goes = builder.and_(wanted, codegen.any_true(builder, active, width))
                if width == 1:
                    return goes
                if together:
                    in_step = builder.or_(active, beyond)
                    return builder.and_(goes, codegen.all_true(builder, in_step, width))
                return while_waiting_pays(builder, width, goes, active, beyond)

            return types.boolean(types.int64, active, beyond), lower

        return Intrinsic(going)

    def interrupted(self) -> Callable:
        def stopped(typingctx, queue):
            def lower(context, builder, signature, args):
                return _called_off(builder, args[0])

            return types.boolean(types.int64), lower

        return Intrinsic(stopped)

    def _record_types(self, record) -> dict[str, types.Type]:
        """Return the element type of each array of a kernel's record."""
        dtypes = element_dtypes(record, self.dtype)
        return {name: numpy_support.from_dtype(dtype) for name, dtype in dtypes.items()}


def global_begin(memory: RunMemory, width: int) -> int:
    """Return where what stands for global memory begins, in the memory of a group of runs.

    On the CPU both are memory that the kernel owns: one lies behind the other.
    """
    return -(-memory.shared_stride * width // MAX_ALIGNMENT) * MAX_ALIGNMENT


def _bytes_ahead(n_bytes: int) -> Callable:
    """Return ``ahead(base)``: the base so many bytes further on."""

    def ahead(typingctx, base):
        def lower(context, builder, signature, args):
            return builder.gep(args[0], [I64(n_bytes)], inbounds=True)

        return base(base), lower

    return Intrinsic(ahead)


@Intrinsic
def _nothing(typingctx, base):
    """Generate ``nothing(base)``: an empty tuple."""
    empty = types.Tuple(())

    def lower(context, builder, signature, args):
        return context.make_tuple(builder, empty, [])

    return empty(base), lower


def _record_reader(record, first: int, element_types: dict[str, types.Type]) -> Callable:
    """Return an intrinsic that makes a record of arrays from consecutive addresses."""
    record_type = types.NamedTuple([Flat(t) for t in element_types.values()], record)

    @Intrinsic
    def read(typingctx, arguments):
        def lower(context, builder, signature, args):
            pointers = []
            for position, element in enumerate(record_type.types):
                address = builder.load(builder.gep(args[0], [I64(first + position)]))
                pointer = ir.PointerType(lane_type(element.dtype, 1))
                pointers.append(builder.inttoptr(address, pointer))
            return context.make_tuple(builder, record_type, pointers)

        return record_type(arguments), lower

    return read


@Intrinsic
def _base_at(typingctx, address):
    """Turn an address into a base for allocators."""

    def lower(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return Base()(types.int64), lower


def _called_off(builder, queue):
    """Emit whether the flag of a `RunQueue` is set; another thread may do so at any moment."""
    at = builder.add(queue, I64(STOP_BYTES))
    flag = builder.load_atomic(builder.inttoptr(at, I64.as_pointer()), "monotonic", 8)
    return builder.icmp_unsigned("!=", flag, I64(0))


def _entry_module(context, symbol: str):
    """Return a module with the kernel's C entry point, which calls the lowered kernel."""
    module = context.create_module("cubie_entry")
    room = ir.GlobalVariable(module, ir.ArrayType(I64, ROOM_BYTES // 8), ROOM)
    room.initializer = ir.Constant(room.value_type, None)
    pointer = I64.as_pointer()
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), ENTRY)
    # Vector registers are spilled to aligned memory only where the frame is aligned from the
    # start. (llvmlite writes the alignment only next to another attribute.)
    entry.attributes.add("nounwind")
    entry.attributes.alignstack = MAX_ALIGNMENT
    builder = ir.IRBuilder(entry.append_basic_block())
    kernel = lowering.declare(context, module, symbol, (Flat(types.int64),), types.none, True)
    lowering.call(context, builder, kernel, types.none, True, entry.args)
    builder.ret_void()
    return module


def _new_library(context):
    """Return a library that simplifies functions one by one, so that the best are inlined.

    As numba's own does, which makes the passes anew for each function.
    """
    codegen = context.codegen()
    library = codegen.create_library("cubie_kernel")
    builder = llvm.create_pass_builder(target_machine(), _tuning())
    passes = builder.getFunctionPassManager()

    def simplify(module):
        module.data_layout = codegen._data_layout
        for function in module.functions:
            passes.run(function, builder)

    library._optimize_functions = simplify
    return library


def _emit(library, compilation: CPUCompilation) -> bytes:
    """Optimise the whole kernel at once and assemble it."""
    module = library._final_module
    for linked in dict.fromkeys(library._linking_libraries):
        module.link_in(linked._get_module_for_linking(), preserve=True)
    # Only the entry is called from outside: everything else may be inlined and dropped.
    for function in module.functions:
        if not function.is_declaration and function.name != ENTRY:
            function.linkage = llvm.Linkage.internal
        if function.name in compilation.apart:
            function.add_function_attribute("noinline")
    # Numba's environments hold Python objects, which no code here may use.
    for variable in module.global_variables:
        if NUMBA_ENVIRONMENT in variable.name:
            variable.linkage = llvm.Linkage.internal
    machine = target_machine()
    builder = llvm.create_pass_builder(machine, _tuning())
    builder.getModulePassManager().run(module, builder)
    note = f"@{FRAME_BYTES} = global i64 {_frame_bytes(module)}"
    module.link_in(llvm.parse_assembly(note, module._context))
    module.verify()
    with _unscheduled() if compilation.in_given_order else contextlib.nullcontext():
        return machine.emit_object(module)


# Of an `alloca` in a function's text: what it reserves; of that, how many, and of what.
_ALLOCA = re.compile(r"= alloca (?:inalloca )?(.*?)(?:, align|$)", re.MULTILINE)
_COUNTS, _SCALAR = re.compile(r"(\d+) x "), re.compile(r"\b(double|float|i\d+)\b")
_SCALAR_BYTES = {"double": 8, "float": 4, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i1": 1}
_RECORD_BYTES = 64  # of an alignment, a pointer, or a few of them


def _frame_bytes(module) -> int:
    """Return the bytes of all arrays in the frames of a module's functions, at most."""
    functions = (str(function) for function in module.functions if not function.is_declaration)
    return sum(_array_bytes(found) for text in functions for found in _ALLOCA.findall(text))


def _array_bytes(reserved: str) -> int:
    """Return the bytes of an array by the text of what is reserved for it."""
    scalar = _SCALAR.search(reserved)
    size = _SCALAR_BYTES.get(scalar[1], _RECORD_BYTES) if scalar else _RECORD_BYTES
    return max(_RECORD_BYTES, size * math.prod(map(int, _COUNTS.findall(reserved))))


@contextlib.contextmanager
def _unscheduled():
    """Let LLVM assemble instructions in the order that they come in.

    The option is the process's; numba's lock on compilers is held while it differs.
    """
    llvm.set_option("", "-enable-misched=false")
    try:
        yield
    finally:
        llvm.set_option("", "-enable-misched=true")


def _tuning():
    # Lanes are vectors already: LLVM's own vectorisers would only reorder them.
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    return options
