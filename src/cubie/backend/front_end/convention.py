"""What ends a function where numba's own code would raise: nothing that is written here raises."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

# The attribute that tells a function written here from those that numba compiles for it.
OURS = "raises_nothing"


class RaisesNothing:
    """Mixed into numba's calling convention of a target, which its own functions need.

    Numba asks whether the step of a range is zero, or an index beyond a tuple's end.
    """

    def return_user_exc(self, builder, *exception, **details):
        if not hasattr(builder.function, OURS):
            of_numba: Any = super()
            of_numba.return_user_exc(builder, *exception, **details)
        elif builder.function.ftype.return_type == ir.VoidType():
            builder.ret_void()
        else:
            builder.ret(ir.Constant(builder.function.ftype.return_type, None))

    def return_status_propagate(self, builder, status):
        if hasattr(builder.function, OURS):
            self.return_user_exc(builder)
        else:
            of_numba: Any = super()
            of_numba.return_status_propagate(builder, status)
