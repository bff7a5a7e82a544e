"""Events as a component: what the loop calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from cubie.backend import Backend, in_turn
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import INLINE_SOURCE_LINES
from cubie.systems.drivers.calling import build_driven, never_a_time
from cubie.systems.drivers.calls import n_kept
from cubie.systems.events.given import Rules
from cubie.systems.observables.component import ObservablesComponent


@frozen
class EventFunctions:
    """Device functions of events.

    They read `y` and `parameters` by index only; where drivers are called, a `Given` goes where
    the parameters go.

    Attributes
    ----------
    values : callable
        ``values(t, y, parameters, out, at)``: stores the number of event i in ``out[at + i]``.
    applied : tuple of (callable or None)
        Of each event ``apply(t, y, parameters, out, at)``: stores the new state; `out` may be `y`.
    """

    values: Callable
    applied: tuple[Callable | None, ...]


class EventsComponent(CUDAFactory):
    """Compile events for a target; they need no buffers of their own.

    Parameters
    ----------
    systems : EventSystems or None
        None where nothing is built.
    rules : Rules
    dtype : dtype
    first_driver : int
        Where their drivers come in the launch's arrays: behind those of all other functions.
    breakpoints : bool
        Runs have times that no step crosses.
    n_faults_before : int
        How many slots behind the parameters are of the right-hand side.
    """

    name = "events"
    phases = ("evaluate",)

    def __init__(
        self,
        systems: Any,
        rules: Rules,
        dtype,
        first_driver: int = 0,
        breakpoints: bool = False,
        n_faults_before: int = 0,
    ):
        super().__init__(dtype, {})
        self.rules, self.n_events = rules, len(rules)
        self._parts: list[ObservablesComponent] = []
        self._values: list[ObservablesComponent] = []
        self.fault_slot = 0
        self._applied: list[ObservablesComponent | None] = [None] * len(rules)
        self.breakpoints = False
        if systems is None:
            return
        self.breakpoints = breakpoints and any(system.drivers for system in systems)

        self.fault_slot = systems.values[0].n_parameters + n_faults_before

        def part(system: Any) -> ObservablesComponent:
            of_others = sum(one.n_drivers for one in self._parts)
            made = ObservablesComponent(system, dtype, first_driver + of_others, self.breakpoints)
            self._parts.append(made)
            return made

        self._values = [part(system) for system in systems.values]
        self._applied = [None if one is None else part(one) for one in systems.applied]

    @property
    def systems(self) -> list[Any]:
        """What is computed: the numbers of all events, and states that they make."""
        return [part.system for part in self._parts]

    @property
    def n_drivers(self) -> int:
        """How many drivers each function of them calls at most."""
        return max((part.n_drivers for part in self._parts), default=0)

    @property
    def n_called(self) -> int:
        """Elements that calls of drivers need."""
        return max(
            (
                n_kept(part.n_drivers) + sum(map(len, part.system.module.RHS_CALLS))
                for part in self._parts
                if part.n_drivers
            ),
            default=0,
        )

    @property
    def takes_given(self) -> bool:
        """Whether a `Given` goes where the parameters go."""
        return self.n_drivers > 0

    @property
    def n_faults(self) -> int:
        """Slots behind the parameters, in which a function says that it failed."""
        return int(any(_is_foreign(part.system) for part in self._parts))

    def facts(self) -> tuple:
        slot = self.fault_slot if self.n_faults else 0
        return (self.rules, self.breakpoints, slot, *(part.facts() for part in self._parts))

    def build(self, context: BuildContext) -> EventFunctions:
        backend = context.backend
        applied = [None if one is None else self._built(one, backend) for one in self._applied]
        values = [self._built(one, backend) for one in self._values]
        if len(values) > 1:
            values = [backend.device(_stored_at(value, k)) for k, value in enumerate(values)]
        return EventFunctions(in_turn(backend, values, 5), tuple(applied))

    def build_key(self, context: BuildContext) -> str:
        identity = [context.backend.identity(part.system) for part in self._parts]
        key = super().build_key(context)
        return f"{key} {identity}" if any(identity) else key

    def _built(self, part: ObservablesComponent, backend: Backend) -> Callable:
        """Return a function of (t, y, parameters, out, at)."""
        system = part.system
        if _is_foreign(system):
            foreign = backend.foreign_rhs(system, self.fault_slot)
            # It takes parameters, and calls no drivers.
            return backend.device(_of_parameters(foreign)) if self.takes_given else foreign
        inline = system.source.count("\n") <= INLINE_SOURCE_LINES
        generated = backend.straight_line(system.rhs, inline, as_written=True)
        if not self.takes_given:
            return generated
        module, limited = system.module, self.breakpoints
        driven = build_driven(backend, part, "rhs", module, generated, limited)
        if not part.n_drivers:
            return driven  # one part of several that calls none
        return backend.device(_asked_anew(driven, part.n_drivers, never_a_time(backend)))


def _is_foreign(system: Any) -> bool:
    """Tell whether a function is compiled as it stands."""
    return getattr(system, "kind", None) == "compiled"


def _of_parameters(function: Callable) -> Callable:
    def of_parameters(t, y, given, out, at):
        function(t, y, given.parameters, out, at)

    return of_parameters


def _stored_at(function: Callable, k: int) -> Callable:
    """Return what stores the number of event `k` in its place."""

    def stored(t, y, given, out, at):
        function(t, y, given, out, at + k)

    return stored


def _asked_anew(driven: Callable, n_drivers: int, never: Any) -> Callable:
    """Return a function that takes no values of drivers over from another one."""

    def asked_anew(t, y, given, out, at):
        given.drivers[n_drivers] = never
        driven(t, y, given, out, at)

    return asked_anew
