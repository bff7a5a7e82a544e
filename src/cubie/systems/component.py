"""The system of equations as a component: what step algorithms call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.factory import BuildContext, CUDAFactory

# Where the generated text is longer than this, a copy in every stage costs more
# compile time and instruction cache than the call saves.
INLINE_SOURCE_LINES = 200


class SystemComponent(CUDAFactory):
    """Compile a system's right-hand side for a target; it needs no buffers of its own.

    Parameters
    ----------
    system : System
        Or anything with `n_states` and `n_parameters` where nothing is built.
    dtype : dtype
    """

    name = "system"
    phases = ("evaluate",)

    def __init__(self, system: Any, dtype):
        super().__init__(dtype, {})
        self.system = system
        self.n_states = system.n_states
        self.n_parameters = system.n_parameters

    def facts(self) -> tuple:
        return (self.system.digest,)

    def build_key(self, context: BuildContext) -> str:
        identity = context.backend.identity(self.system)
        return (
            f"{super().build_key(context)} {identity}" if identity else super().build_key(context)
        )

    @property
    def n_faults(self) -> int:
        """Slots behind the parameters, in which the right-hand side says that it failed."""
        return int(getattr(self.system, "kind", None) == "compiled")

    @property
    def works_in_place(self) -> bool:
        """Derivatives may be stored where the state is read, with `at` zero.

        Generated text is written that way; what a user's compiled function reads when, nobody
        knows.
        """
        return getattr(self.system, "kind", None) == "traced"

    def build(self, context: BuildContext) -> Callable:
        """Return ``rhs(t, y, p, dy, at)``, which writes ``dy[at + i]``."""
        system = self.system
        if system.kind == "compiled":
            return context.backend.foreign_rhs(system)
        inline = system.source.count("\n") <= INLINE_SOURCE_LINES
        return context.backend.straight_line(system.rhs, inline, as_written=True)
