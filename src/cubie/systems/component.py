"""The system of equations as a component: what step algorithms call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.backend import OF_LANES, FormCosts
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.adding import added
from cubie.systems.drivers.calling import build_driven
from cubie.systems.drivers.calls import n_kept
from cubie.systems.generated import load_module

# Where the generated text is longer than this, a copy in every stage costs more
# compile time and instruction cache than the call saves.
INLINE_SOURCE_LINES = 200


class SystemComponent(CUDAFactory):
    """Compile a system's right-hand side for a target; it needs no buffers of its own.

    What it is handed as `p` is the parameters, or a `Given` where the system calls drivers, it or
    one of its derivatives computes values that rows have in common, or runs have breakpoints.

    Parameters
    ----------
    system : System
        Or anything with `n_states` and `n_parameters` where nothing is built.
    dtype : dtype
    breakpoints : bool
        Runs have times that no step crosses: only times on one side of them are asked for.
    own_clock : bool
        Runs have spans, step sizes or stops of their own.
    jumps : bool
        Events change the state.
    form_costs : FormCosts
        By which those who factorise its matrices choose a form: those of the target.
    """

    name = "system"
    phases = ("evaluate",)
    first_driver = 0  # in the launch's arrays

    def __init__(
        self,
        system: Any,
        dtype,
        breakpoints: bool = False,
        own_clock: bool = False,
        jumps: bool = False,
        form_costs: FormCosts = OF_LANES,
    ):
        super().__init__(dtype, {})
        self.system = system
        self.breakpoints, self.own_clock, self.jumps = breakpoints, own_clock, jumps
        self.form_costs = form_costs
        self._derivatives: list[Any] = []
        self.n_states = system.n_states
        self.n_parameters = system.n_parameters

    def facts(self) -> tuple:
        return (self.system.digest, self.breakpoints, self.own_clock, self.jumps, self.has_common)

    def build_key(self, context: BuildContext) -> str:
        identity = context.backend.identity(self.system)
        return (
            f"{super().build_key(context)} {identity}" if identity else super().build_key(context)
        )

    @property
    def n_drivers(self) -> int:
        """How many drivers the equations call."""
        return len(getattr(self.system, "drivers", ()))

    @property
    def takes_given(self) -> bool:
        """Whether a `Given` goes where the parameters go."""
        return self.breakpoints or self.n_drivers > 0 or self.has_common

    @property
    def n_common(self) -> int:
        """Elements that values need which rows of the right-hand side have in common."""
        return getattr(self.system, "n_common", 0)

    @property
    def has_common(self) -> bool:
        """Whether it, or a derivative that the method asks for, computes such values."""
        return self.n_common > 0 or any(each.n_common > 0 for each in self._derivatives)

    @property
    def n_blocks(self) -> int:
        """How often there are as many states as the user has: once, and for each sensitivity."""
        joint = getattr(self.system, "joint", None)
        return 1 if joint is None else joint.n_blocks

    def of_states(self) -> SystemComponent:
        """Return the component of the states alone, of a system with sensitivities."""
        return _OfStates(self, self.buffer_registry.dtype)

    def add_derivative(self, derivative: Any) -> None:
        """Note that a component gets what the right-hand side gets; it tells its `n_common`."""
        self._derivatives.append(derivative)

    @property
    def n_slots(self) -> int:
        """Elements that calls of drivers in the right-hand side need."""
        if not self.n_drivers:
            return 0
        return n_kept(self.n_drivers) + sum(map(len, self.system.module.RHS_CALLS))

    @property
    def n_faults(self) -> int:
        """Slots behind the parameters, in which the right-hand side says that it failed."""
        is_compiled = getattr(self.system, "kind", None) == "compiled"
        return int(is_compiled or self.may_leave_samples)

    @property
    def may_leave_samples(self) -> bool:
        """Whether a run fails that asks a driver for what it has no samples of."""
        return self.n_drivers > 0 and any(bounded for *_, bounded in self.system.structures)

    @property
    def works_in_place(self) -> bool:
        """Derivatives may be stored where the state is read, with `at` zero.

        Generated text is written that way, but for loops; what a user's compiled function reads
        when, nobody knows.
        """
        return getattr(self.system, "kind", None) == "traced" and not self.is_in_loops

    @property
    def is_in_loops(self) -> bool:
        """Equations of many states were found to repeat a form."""
        is_text = getattr(self.system, "kind", None) == "traced"
        return is_text and not getattr(self.system.module, "IN_PLACE", True)

    @property
    def adds(self) -> bool:
        """Derivatives can be added to what is there: `build_adding`.

        Not those of a user's compiled function, which come in an array of their own.
        """
        return getattr(self.system, "kind", None) != "compiled"

    @property
    def _is_inlined(self) -> bool:
        return self.works_in_place and self.system.source.count("\n") <= INLINE_SOURCE_LINES

    def build(self, context: BuildContext) -> Callable:
        """Return ``rhs(t, y, p, dy, at)``, which writes ``dy[at + i]``."""
        system = self.system
        if system.kind == "compiled":
            rhs = context.backend.foreign_rhs(system)
        else:
            rhs = context.backend.straight_line(system.rhs, self._is_inlined, as_written=True)
        backend, limited = context.backend, self.breakpoints
        if self.takes_given:
            rhs = build_driven(backend, self, "rhs", system.module, rhs, limited)
        rates = getattr(system.joint, "rates", None)
        if rates is None:
            return rhs
        return backend.device(_in_sum(rhs, self._build_added(backend, rates)))

    def build_adding(self, context: BuildContext) -> Callable:
        """Return ``add(t, y, p, dy, at, factor)``, where it `adds`.

        It writes ``dy[at + i] = factor * dy[at + i] + f_i``, with a number for all lanes.
        """
        backend, add = context.backend, self._build_added(context.backend, self.system)
        below = context.within(self.name)
        return backend.called(below.path, self.phases, add)

    def _build_added(self, backend: Any, system: Any) -> Callable:
        module = load_module(added(system.source), system.path.with_suffix(".added.py"))
        add = backend.straight_line(module.rhs, self._is_inlined, as_written=True)
        if not self.takes_given:
            return add
        return build_driven(backend, self, "rhs", module, add, self.breakpoints, adds=True)


class _OfStates(SystemComponent):
    """The states of a system with sensitivities; it is given what that is given."""

    def __init__(self, joint: SystemComponent, dtype):
        of_runs = joint.breakpoints, joint.own_clock, joint.jumps
        super().__init__(joint.system.joint.base, dtype, *of_runs, joint.form_costs)
        self._joint = joint

    @property
    def has_common(self) -> bool:
        return self._joint.has_common

    def add_derivative(self, derivative: Any) -> None:
        self._joint.add_derivative(derivative)


def _in_sum(rhs: Callable, add: Callable) -> Callable:
    """Return a right-hand side that is one, and what another adds to it."""

    def both(t, y, p, dy, at):
        rhs(t, y, p, dy, at)
        add(t, y, p, dy, at, 1.0)

    return both


def may_have_common(component: Any) -> bool:
    """Tell whether a component may need common values: `n_common`, which is not found out yet."""
    return hasattr(type(component), "n_common")
