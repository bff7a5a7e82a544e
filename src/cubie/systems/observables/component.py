"""Observables as a component: what saving and summaries call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from cubie.backend import Backend
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import INLINE_SOURCE_LINES
from cubie.systems.drivers.calling import build_driven
from cubie.systems.drivers.calls import n_kept
from cubie.systems.observables.rates import module_of_rates
from cubie.systems.system import System


class ObservableFunctions:
    """Device functions of observables, made when they are asked for.

    They read `y` and `parameters` by index only; where drivers are called a `Given` goes where the
    parameters go. So it does where steps with breakpoints are followed: a step is observed on its
    side of them.

    Parameters
    ----------
    component : ObservablesComponent
    backend : Backend
    """

    def __init__(self, component: ObservablesComponent, backend: Backend):
        self._component, self._backend = component, backend

    @cached_property
    def observe(self) -> Callable:
        """``observe(t, y, parameters, out, at)``: stores observable i in ``out[at + i]``."""
        system = self._component.system
        return self._made("rhs", system.module, system.source.count("\n"), False)

    @cached_property
    def observe_with_rate(self) -> Callable:
        """``observe_with_rate(t, y, dy, parameters, out, rate)``.

        Stores the values in ``out``, and in ``rate`` how fast they change along a solution whose
        derivative is ``dy``.
        """
        limited = self._component.breakpoints
        return self._made("observe_with_rate", *module_of_rates(self._component.system), limited)

    def _made(self, name: str, module: Any, lines: int, limited: bool) -> Callable:
        function, inline = getattr(module, name), lines <= INLINE_SOURCE_LINES
        generated = self._backend.straight_line(function, inline, as_written=True)
        if not self._component.n_drivers and not limited:
            return generated
        return build_driven(self._backend, self._component, name, module, generated, limited)


class ObservablesComponent(CUDAFactory):
    """Compile observables for a target; they need no buffers of their own.

    Parameters
    ----------
    system : System
        Of observables, as `cubie.systems.observables.given.observables_of` makes it; or anything
        with `n_outputs` where nothing is built.
    dtype : dtype
    first_driver : int
        Where its drivers come in the launch's arrays: behind those of the right-hand side.
    breakpoints : bool
        Steps are followed that do not cross certain times.
    """

    name = "observables"
    phases = ("evaluate",)
    may_leave_samples = False  # what is not there is NaN, and ends no run

    def __init__(self, system: System, dtype, first_driver: int = 0, breakpoints: bool = False):
        super().__init__(dtype, {})
        self.system = system
        self.breakpoints = breakpoints
        self.n_outputs = system.n_outputs
        self.n_parameters = system.n_parameters
        self.first_driver = first_driver

    @property
    def n_drivers(self) -> int:
        """How many drivers the observables call."""
        return len(getattr(self.system, "drivers", ()))

    @property
    def n_called(self) -> int:
        """Elements that calls of drivers need."""
        if not self.n_drivers:
            return 0
        calls = (
            self.system.module.RHS_CALLS,
            module_of_rates(self.system)[0].OBSERVE_WITH_RATE_CALLS,
        )
        return n_kept(self.n_drivers) + max(sum(map(len, rounds)) for rounds in calls)

    def facts(self) -> tuple:
        return (self.system.digest, self.n_outputs, self.first_driver, self.breakpoints)

    def build(self, context: BuildContext) -> ObservableFunctions:
        return ObservableFunctions(self, context.backend)
