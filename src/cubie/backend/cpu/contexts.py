"""What numba knows where it lowers operations of device functions: numbers, ranges, tuples, lanes.

numba's own contexts for the CPU know arrays, strings, dictionaries, random numbers and what else
Python has; to load all that takes longer than to compile a small kernel. Ordinary functions, in
kernels too, are compiled with numba's own.
"""

from __future__ import annotations

import functools

from numba.core import callconv, cpu, fastmathpass, imputils
from numba.core.typing import context, templates

from cubie.backend.cpu.types import register_types
from cubie.backend.front_end.convention import RaisesNothing

# Where numba says what operations mean for numbers, ranges and tuples. Whatever else the process
# has loaded, arrays for a user's own numba functions say, is left out: no history tells here.
TYPED_IN = {
    "abc",  # of classes that numba makes at run time
    "numba.core.typing.builtins",
    "numba.core.typing.collections",
    "numba.core.typing.mathdecl",
    "numba.cpython.builtins",
    "numba.cpython.mathimpl",
    "numba.cpython.numbers",
    "numba.cpython.rangeobj",
    "numba.cpython.tupleobj",
    "numba.cpython.unsafe.tuple",
}


class Convention(RaisesNothing, callconv.CPUCallConv):
    """numba's, but that functions written here end where it would raise."""


def _written_in(template) -> str:
    """Return the module of what tells the types of an operation."""
    for name in "_overload_func", "_definition_func":
        if hasattr(template, name):
            return getattr(template, name).__module__
    # What is told of a function's name is wrapped by numba.
    written = template.__bases__[0] if template.__name__ == "Template" else template
    return written.__module__


def _of_numbers(kind) -> bool:
    return all(_written_in(each) in TYPED_IN for each in getattr(kind, "templates", ()))


class TypingContext(context.BaseContext):
    """Types of operations; those of attributes are told by `Operations`."""

    def __init__(self, declarations: templates.Registry):
        self._declarations = declarations
        super().__init__()

    def _load_builtins(self):
        from numba.core.typing import builtins, collections, mathdecl  # noqa: F401  (they register)

        for registry in (templates.builtin_registry, mathdecl.registry, self._declarations):
            ours = registry is self._declarations
            for function in registry.functions:
                if ours or _written_in(function) in TYPED_IN:
                    self.insert_function(function(self))
            for value, kind in registry.globals:
                if ours or _of_numbers(kind):
                    self._add(value, kind)

    def _add(self, value, kind) -> None:
        known = self._lookup_global(value)
        if known is None:
            self.insert_global(value, kind)
        else:
            self._remove_global(value)
            self._insert_global(value, known.augment(kind))


class TargetContext(cpu.CPUContext):
    """Code of operations."""

    def __init__(self, typing_context: TypingContext, implementations: imputils.Registry):
        super().__init__(typing_context)
        self.install_registry(implementations)
        self.install_registry(imputils.builtin_registry)

    def load_additional_registries(self):
        from numba.cpython import mathimpl

        self.install_registry(mathimpl.registry)

    def post_lowering(self, mod, library):
        # Not numba's runtime: nothing here makes arrays.
        if self.fastmath:
            fastmathpass.rewrite_module(mod, self.fastmath)

    @property
    def call_conv(self):
        return Convention(self)


@functools.cache
def contexts() -> tuple[TypingContext, TargetContext]:
    """Return the two contexts of this process."""
    from numba.cpython import builtins, iterators, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401

    declarations, implementations = templates.Registry(), imputils.Registry("cubie_cpu")
    register_types(declarations, implementations)
    typing_context = TypingContext(declarations)
    typing_context.refresh()
    target_context = TargetContext(typing_context, implementations)
    target_context.refresh()
    return typing_context, target_context
