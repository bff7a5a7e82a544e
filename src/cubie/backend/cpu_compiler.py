"""Compilation for the ``cpu`` target: one kernel, one LLVM module, one optimisation."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import compiler_lock, imputils, registry, types, typing
from numba.core.datamodel import register_default
from numba.core.typing import templates
from numba.extending import intrinsic, lower_builtin
from numba.np import numpy_support

from cubie.backend import codegen, lane_ops, vector_math
from cubie.backend.base import Kernel, KernelInputs, KernelOutputs, RunMemory
from cubie.backend.compiled import CompiledBackend
from cubie.backend.device_function import Compilation, DeviceFunction
from cubie.backend.lanes import Base, Flat, lane_type
from cubie.backend.object_code import ENTRY

# Everything but the promises that no value is NaN or infinite: a run that blows
# up must be recognised.
FASTMATH_FLAGS = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})

I64 = ir.IntType(64)

# Single vector instructions, exact on every processor.
_HARDWARE = frozenset({"sqrt", "fabs", "floor", "ceil", "trunc"})


def _math_call(context, builder, name, lanes, arguments):
    """Call a math function on lanes: a vector library where there is one, else per lane."""
    if name in _HARDWARE:
        return codegen.call_llvm_intrinsic(builder, f"llvm.{name}", lanes, arguments)
    vectorised = vector_math.call(builder, name, lanes, arguments)
    if vectorised is not None:
        return vectorised
    function = operator.pow if name == "pow" else getattr(math, name)
    scalar_signature = typing.signature(lanes.dtype, *[lanes.dtype] * len(arguments))
    scalar_function = context.get_function(function, scalar_signature)

    def scalar_of(lane):
        scalars = [codegen.lane_of(builder, a, lanes.width, lane) for a in arguments]
        return scalar_function(builder, scalars)

    return codegen.for_each_lane(builder, lanes.width, lane_type(lanes.dtype, 1), scalar_of)


@functools.cache
def _register_types() -> None:
    """Teach numba's CPU target the lane types, once a process."""
    lane_ops.register(
        lane_ops.Registrar(
            abstract_template=templates.AbstractTemplate,
            signature=typing.signature,
            infer_global=templates.infer_global,
            lower=lower_builtin,
            lower_cast=imputils.lower_cast,
            register_model=register_default,
            math_call=_math_call,
        )
    )


class CPUCompiler(CompiledBackend):
    """The CPU backend's compiling half."""

    name = "cpu"

    def __init__(self, dtype, fastmath: bool, width: int):
        super().__init__(dtype, fastmath)
        self.width = width
        _register_types()

    @property
    def _intrinsic(self) -> Callable:
        return intrinsic

    def device(self, function: Callable, inline: bool = True) -> Callable:
        return DeviceFunction(function, inline)

    def kernel(self, make_loop, memory: RunMemory, digest: str) -> Kernel:
        raise NotImplementedError("the CPU kernel is launched by CPUBackend")

    def compile_kernel(self, loop: Callable, memory: RunMemory) -> bytes:
        """Return an object file with ``void cubie_kernel_entry(int64_t *arguments)``."""
        descriptor = registry.cpu_target
        typing_context, target_context = descriptor.typing_context, descriptor.target_context
        typing_context.refresh()
        target_context.refresh()
        library = target_context.codegen().create_library("cubie_kernel")
        fastmath = set(FASTMATH_FLAGS) if self.fastmath else False
        with compiler_lock.global_compiler_lock:
            compilation = Compilation(typing_context, target_context, library, fastmath)
            with compilation.active():
                arguments = (Flat(types.int64),)
                result = compilation.compile(self._kernel(loop, memory), arguments, True)
            library.add_ir_module(_entry_module(target_context, result.fndesc))
            return _emit(library)

    def _kernel(self, loop: Callable, memory: RunMemory) -> Callable:
        """Return the function that takes groups from the counter until none is left."""
        runs_of = self.run_numbers()
        arena = self.persistent_arena(memory.persistent_bytes)
        n_scalars = 4
        inputs_of = _record_reader(KernelInputs, n_scalars, self._record_types(KernelInputs))
        outputs_of = _record_reader(
            KernelOutputs,
            n_scalars + len(KernelInputs._fields),
            self._record_types(KernelOutputs),
        )

        def kernel(arguments):
            n_groups, n_runs = arguments[1], arguments[3]
            shared = _base_at(arguments[2])
            persistent = arena()
            inputs, outputs = inputs_of(arguments), outputs_of(arguments)
            group = _fetch_add(arguments[0])
            while group < n_groups:
                loop(shared, persistent, runs_of(group), n_runs, inputs, outputs)
                group = _fetch_add(arguments[0])

        return kernel

    def _record_types(self, record) -> dict[str, types.Type]:
        """Return the element type of each array of a kernel's record."""
        integers = {"limits", "state_stride", "parameter_offsets", "parameter_strides", "saved"}
        real = numpy_support.from_dtype(self.dtype)
        special = dict.fromkeys(integers, types.int64)
        special |= {"counters": types.int32, "status": types.int32}
        return {name: special.get(name, real) for name in record._fields}


def _record_reader(record, first: int, element_types: dict[str, types.Type]) -> Callable:
    """Return an intrinsic that makes a record of arrays from consecutive addresses."""
    record_type = types.NamedTuple([Flat(t) for t in element_types.values()], record)

    @intrinsic
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


@intrinsic
def _base_at(typingctx, address):
    """Turn an address into a base for allocators."""

    def lower(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return Base()(types.int64), lower


@intrinsic
def _fetch_add(typingctx, address):
    """Take the next number from a counter that several threads share."""

    def lower(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, I64(1), "monotonic")

    return types.int64(types.int64), lower


def _entry_module(context, fndesc):
    """Return a module with the kernel's C entry point, which calls the lowered kernel."""
    module = context.create_module("cubie_entry")
    pointer = I64.as_pointer()
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), ENTRY)
    builder = ir.IRBuilder(entry.append_basic_block())
    callee = context.declare_function(module, fndesc)
    context.call_conv.call_function(builder, callee, fndesc.restype, fndesc.argtypes, entry.args)
    builder.ret_void()
    return module


def _emit(library) -> bytes:
    """Optimise the whole kernel at once and assemble it."""
    codegen_ = library._codegen
    module = library._final_module
    for linked in dict.fromkeys(library._linking_libraries):
        module.link_in(linked._get_module_for_linking(), preserve=True)
    # Only the entry is called from outside: everything else may be inlined and dropped.
    for function in module.functions:
        if not function.is_declaration and function.name != ENTRY:
            function.linkage = llvm.Linkage.internal
    passes, builder = codegen_._module_pass_manager(loop_vectorize=False, slp_vectorize=False)
    passes.run(module, builder)
    module.verify()
    return codegen_._tm.emit_object(module)
