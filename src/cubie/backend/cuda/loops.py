"""`range` for component code on the ``cuda`` target: a loop the device compiler can count.

numba-cuda's own iterator advances only where a further element exists. The optimiser
of the CUDA toolkit turns that condition into selections, no longer sees how often the
loop runs, and cannot unroll it well: with a hundred states in shared memory half the
instructions of a step were spent on counting. This one advances unconditionally.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

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
    """Ask that loops of a function, of which it is known how far they go, be unrolled in full."""
    _ask("llvm.loop.unroll.full", function, [last for last, _, _ in _loops(function)])


def keep_rounds(function: ir.Function) -> None:
    """Ask that the outermost loops of a function be left loops."""
    loops = _loops(function)
    outermost = [
        last
        for last, first, end in loops
        if not any(a <= first and end <= b and (a, b) != (first, end) for _, a, b in loops)
    ]
    _ask("llvm.loop.unroll.disable", function, outermost)


def _loops(function: ir.Function) -> list[tuple[Any, int, int]]:
    """Return of each loop the branch that ends a round, and its first block and its last.

    Blocks stand in the order of the source: a branch back ends a loop's round.
    """
    blocks = list(function.blocks)
    place = {block: number for number, block in enumerate(blocks)}
    found = []
    for number, block in enumerate(blocks):
        last = block.terminator
        if isinstance(last, ir.Branch | ir.ConditionalBranch):
            targets = [one for one in last.operands if isinstance(one, ir.Block)]
            found += [(last, place[one], number) for one in targets if place[one] <= number]
    return found


def _ask(what: str, function: ir.Function, branches: Iterable[Any]) -> None:
    module = function.module
    asked = module.add_metadata([what])
    for last in branches:
        # LLVM knows a loop by a node that begins with itself.
        loop = ir.values.MDValue(module, (asked,), str(len(module.metadata)))
        loop.operands = loop, asked
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
