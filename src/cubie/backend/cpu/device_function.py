"""Device functions of the CPU target: compiled into the kernel that calls them.

numba's dispatchers compile, optimise and wrap every function for calls from
Python. A kernel here is some fifty small functions that only call each other:
each is lowered once into one common module, which is optimised once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

from numba.core import compiler, typed_passes, types, untyped_passes
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_constant
from numba.core.typing import signature
from numba.core.typing.typeof import typeof_impl
from numba.extending import overload  # noqa: F401  (loads numba's extension points)

from cubie.backend.cpu.lowered import Call, Known, Looks, Lowered


class Compilation:
    """One kernel being compiled: a common module, and what is already in it.

    Parameters
    ----------
    typing_context, target_context
        numba's, for the CPU.
    library : CodeLibrary
        Where everything is lowered to.
    fastmath : set of str or False
    """

    current: Compilation | None = None

    def __init__(self, typing_context, target_context, library, fastmath):
        self.typing_context = typing_context
        self.target_context = target_context
        self.library = library
        self._fastmath = fastmath
        self.apart: set[str] = set()  # names of functions that are inlined nowhere
        self.in_given_order = False  # whether one of the functions asked for it
        self._compiled: dict[tuple, Lowered] = {}
        self._keys: dict[tuple, object] = {}
        self._under_way: list[_UnderWay] = []
        self._n_linked = 0  # of numba's libraries, those that functions lowered so far need
        self._simplify = library._optimize_functions
        library._optimize_functions = self._simplify_and_note

    @contextmanager
    def active(self):
        """Make this the compilation that device functions are typed and lowered for."""
        outer, Compilation.current = Compilation.current, self
        try:
            yield self
        finally:
            Compilation.current = outer
            for key in self._keys.values():
                self.target_context._defns.pop(key, None)

    def compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        """Lower a function for argument types, once; one that is being lowered calls it."""
        if self._under_way:
            self._under_way[-1].calls[called, arguments] = None
        return self._compile(called, arguments)

    def _compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        key = (called.identity, arguments)
        if key not in self._compiled:
            fastmath = (self._fastmath and called.faithful) or self._fastmath
            frozen_fastmath = frozenset(fastmath) if fastmath else None
            looks = Looks.of(called, arguments, frozen_fastmath, _is_device)
            result = (looks and self._found(looks)) or self._lower(
                called, arguments, fastmath, looks
            )
            self._compiled[key] = result
            if called.apart:
                self.apart.add(result.fndesc.llvm_func_name)
            self.in_given_order |= called.in_given_order
            self._keys[key] = marker = object()
            self.target_context.insert_user_function(marker, result.fndesc)
        return self._compiled[key]

    def _found(self, looks: Looks) -> Lowered | None:
        """Link what was lowered before for such a function, if that calls what this one calls."""
        for known in looks.known():
            symbols = {}
            for call in known.calls:
                # What the function found calls, one that is being lowered does not: that is
                # found again only where all that it calls is known to be among its constants.
                callee = self._compile(looks.callees[call.callee], call.arguments)
                if callee.signature.return_type != call.returned:
                    break
                symbols[call.symbol] = callee.fndesc.llvm_func_name
            else:
                result = known.linked_into(self.library, symbols)
                self._n_linked = len(self.library._linking_libraries)
                return result
        return None

    def _lower(self, called: DeviceFunction, arguments, fastmath, looks: Looks | None) -> Lowered:
        """Let numba lower a function; remember it where its looks tell all it depends on."""
        mine = _UnderWay(wanted=looks is not None)
        self._under_way.append(mine)
        try:
            result = compiler.compile_extra(
                self.typing_context,
                self.target_context,
                called.function,
                arguments,
                None,
                self._flags(called.inline, fastmath),
                {},
                self.library,
                Pipeline,  # pyright: ignore[reportArgumentType]  (any CompilerBase will do)
            )
        finally:
            self._under_way.pop()
        lowered = Lowered(result.fndesc, result.signature)
        if looks is not None and mine.bitcode is not None:
            calls = [call for made in mine.calls if (call := self._call_of(looks, *made))]
            if len(calls) == len(mine.calls):
                looks.keep(Known(lowered, mine.bitcode, mine.libraries, tuple(calls)))
        return lowered

    def _call_of(self, looks: Looks, callee: DeviceFunction, arguments: tuple) -> Call | None:
        place = looks.index(callee)
        if place is None:
            return None
        result = self._compiled[callee.identity, arguments]
        symbol = result.fndesc.llvm_func_name
        return Call(place, arguments, result.signature.return_type, symbol)

    def _simplify_and_note(self, module) -> None:
        """Simplify a lowered function's module, before it is linked; note it and what it needs."""
        self._simplify(module)
        needed = tuple(self.library._linking_libraries[self._n_linked :])
        self._n_linked += len(needed)
        if self._under_way and self._under_way[-1].wanted:
            self._under_way[-1].bitcode = module.as_bitcode()
            self._under_way[-1].libraries = needed

    def key_of(self, called: DeviceFunction, arguments: tuple) -> object:
        """Return what numba finds the lowered function under."""
        return self._keys[called.identity, arguments]

    def _flags(self, inline: bool, fastmath) -> compiler.Flags:
        flags = compiler.Flags()
        flags.no_compile = True
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_rewrites = True
        flags.error_model = "numpy"
        flags.forceinline = inline
        if fastmath:
            flags.fastmath = compiler.cpu.FastMathOptions(set(fastmath))
        return flags


class _UnderWay:
    """A function that numba is lowering: what it calls, and its module once there is one."""

    def __init__(self, wanted: bool):
        self.wanted = wanted
        self.calls: dict[tuple[DeviceFunction, tuple], None] = {}
        self.bitcode: bytes | None = None
        self.libraries: tuple = ()


class Pipeline(compiler.CompilerBase):
    """What numba does to a device function, without what such functions have no use for.

    They define no functions, use no `with` and raise nothing that is made up as they run, and
    nothing is inlined in numba's own form: ten passes instead of twenty-one.
    """

    def define_pipelines(self):
        manager = compiler.PassManager("cubie")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.AnnotateTypes,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class DeviceFunction:
    """A plain function that compiled code may call.

    Attributes
    ----------
    faithful : frozenset of str or None
        The fast-math flags it is compiled with, where fast-math is on at all; None: the kernel's.
    apart : bool
        It is inlined nowhere.
    in_given_order : bool
        Instructions of the kernel that calls it are assembled in the order that they come in.
    """

    def __init__(
        self,
        function: Callable,
        inline: bool,
        faithful: frozenset | None = None,
        apart: bool = False,
        in_given_order: bool = False,
    ):
        self.function = function
        self.inline = inline
        self.faithful = faithful
        self.apart = apart
        self.in_given_order = in_given_order

    @property
    def identity(self) -> tuple:
        """What it is: equal for those that are one function in compiled code."""
        return self.function, self.inline, self.faithful, self.apart, self.in_given_order

    def __call__(self, *args):
        raise TypeError(f"{self.function.__name__} can only be called from compiled code")


class DeviceFunctionType(types.Callable, types.Opaque):
    """Numba's view of a device function: typed and lowered when first called."""

    def __init__(self, device_function: DeviceFunction):
        self.device_function = device_function
        super().__init__(f"DeviceFunction({device_function.function.__name__}, {id(self)})")

    @property
    def key(self):
        return self.device_function

    def get_call_type(self, context, args, kws):
        if kws:
            raise TypeError("device functions take positional arguments only")
        arguments = tuple(types.unliteral(argument) for argument in args)
        compiled = _current().compile(self.device_function, arguments)
        return signature(compiled.signature.return_type, *arguments)

    def get_call_signatures(self):
        return [], True

    def get_impl_key(self, sig):
        return _current().key_of(self.device_function, sig.args)


def _is_device(value) -> bool:
    return isinstance(value, DeviceFunction)


def _current() -> Compilation:
    if Compilation.current is None:
        raise RuntimeError("a device function is typed outside of a compilation")
    return Compilation.current


register_default(DeviceFunctionType)(models.OpaqueModel)


@typeof_impl.register(DeviceFunction)
def _typeof(value, context):
    return DeviceFunctionType(value)


@lower_constant(DeviceFunctionType)
def _constant(context, builder, ty, value):
    return context.get_dummy_value()
