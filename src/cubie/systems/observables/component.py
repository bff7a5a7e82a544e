"""Observables as a component: what saving and summaries call."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import INLINE_SOURCE_LINES
from cubie.systems.observables.rates import rates_of
from cubie.systems.system import System


@frozen
class ObservableFunctions:
    """Device functions of observables; they read `y` and `parameters` by index only.

    Attributes
    ----------
    observe : callable
        ``observe(t, y, parameters, out, at)`` stores the value of observable i in ``out[at + i]``.
    observe_with_rate : callable
        ``observe_with_rate(t, y, dy, parameters, out, rate)`` stores values in ``out``, and in
        ``rate`` how fast they change along a solution with the derivative ``dy``.
    """

    observe: Callable
    observe_with_rate: Callable


class ObservablesComponent(CUDAFactory):
    """Compile observables for a target; they need no buffers of their own.

    Parameters
    ----------
    system : System
        Of observables, as `cubie.systems.observables.given.observables_of` makes it; or anything
        with `n_outputs` where nothing is built.
    dtype : dtype
    """

    name = "observables"
    phases = ("evaluate",)

    def __init__(self, system: System, dtype):
        super().__init__(dtype, {})
        self.system = system
        self.n_outputs = system.n_outputs

    def facts(self) -> tuple:
        return (self.system.digest, self.n_outputs)

    def build(self, context: BuildContext) -> ObservableFunctions:
        """Return the functions, of which those that nobody calls are not compiled."""
        backend, system = context.backend, self.system
        inline = system.source.count("\n") <= INLINE_SOURCE_LINES
        rates, lines = rates_of(system)
        return ObservableFunctions(
            backend.straight_line(system.rhs, inline, as_written=True),
            backend.straight_line(rates, lines <= INLINE_SOURCE_LINES, as_written=True),
        )
