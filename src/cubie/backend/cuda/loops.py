"""`range` for component code on the ``cuda`` target: a loop the device compiler can count.

numba-cuda's own iterator advances only where a further element exists. The optimiser
of the CUDA toolkit turns that condition into selections, no longer sees how often the
loop runs, and cannot unroll it well: with a hundred states in shared memory half the
instructions of a step were spent on counting. This one advances unconditionally.
"""

from __future__ import annotations

import functools

from llvmlite import ir
from numba.core import types
from numba.cuda import cgutils, extending, models
from numba.cuda.core.imputils import RefType, iternext_impl
from numba.cuda.typing import templates


class Counter(types.SimpleIteratorType):
    """The state of a loop: a variable with the next number, and where to stop."""

    def __init__(self):
        super().__init__("Counter", types.int64)


class Count(types.IterableType):
    """Whole numbers from a start up to, and without, a stop."""

    def __init__(self):
        super().__init__("Count")

    @property
    def iterator_type(self) -> Counter:
        return Counter()


def count(*bounds):
    """Stand for `range` in device functions: one or two bounds, step one."""
    raise TypeError("this `range` is for compiled code")


def _start(context, builder, bounds):
    return bounds[0] if len(bounds) == 2 else ir.Constant(ir.IntType(64), 0)


def unroll(function: ir.Function) -> None:
    """Ask that loops of a function, of which it is known how far they go, be unrolled in full.

    Blocks stand in the order of the source: a branch back ends a loop's round.
    """
    module, blocks = function.module, list(function.blocks)
    full = module.add_metadata(["llvm.loop.unroll.full"])
    for number, block in enumerate(blocks):
        last = block.terminator
        if isinstance(last, ir.Branch) and blocks.index(last.operands[0]) <= number:
            # LLVM knows a loop by a node that begins with itself.
            loop = ir.values.MDValue(module, (full,), str(len(module.metadata)))
            loop.operands = loop, full
            last.set_metadata("llvm.loop", loop)


@functools.cache
def register_range() -> None:
    """Teach numba-cuda the types of this module, once a process."""
    members = [("start", types.int64), ("stop", types.int64)]
    state = [("following", types.EphemeralPointer(types.int64)), ("stop", types.int64)]
    _register_model(Count, members)
    _register_model(Counter, state)

    @templates.infer_global(count)
    class CountTemplate(templates.AbstractTemplate):
        def generic(self, args, kws):
            whole = all(isinstance(bound, types.Integer) for bound in args)
            if kws or not whole or len(args) not in (1, 2):
                return None
            return templates.signature(Count(), *[types.int64] * len(args))

    @extending.lower_builtin(count, types.int64)
    @extending.lower_builtin(count, types.int64, types.int64)
    def make(context, builder, sig, args):
        made = cgutils.create_struct_proxy(sig.return_type)(context, builder)
        made.start, made.stop = _start(context, builder, args), args[-1]
        return made._getvalue()

    @extending.lower_builtin("getiter", Count)
    def begin(context, builder, sig, args):
        bounds = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0])
        counter = cgutils.create_struct_proxy(sig.return_type)(context, builder)
        counter.following = cgutils.alloca_once_value(builder, bounds.start)
        counter.stop = bounds.stop
        return counter._getvalue()

    @extending.lower_builtin("iternext", Counter)
    @iternext_impl(RefType.UNTRACKED)
    def advance(context, builder, sig, args, result):
        counter = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0])
        number = builder.load(counter.following)
        result.set_valid(builder.icmp_signed("<", number, counter.stop))
        one = ir.Constant(number.type, 1)
        builder.store(builder.add(number, one, flags=["nsw"]), counter.following)
        result.yield_(number)


def _register_model(numba_type, members) -> None:
    @extending.register_model(numba_type)
    class Model(models.StructModel):
        def __init__(self, dmm, fe_type):
            super().__init__(dmm, fe_type, members)
