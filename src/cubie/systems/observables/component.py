"""Observables as a component: what saving and summaries call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from cubie.backend import Backend
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import INLINE_SOURCE_LINES
from cubie.systems.observables.rates import rates_of
from cubie.systems.system import System


class ObservableFunctions:
    """Device functions of observables, made when they are asked for.

    They read `y` and `parameters` by index only.

    Parameters
    ----------
    system : System
    backend : Backend
    """

    def __init__(self, system: System, backend: Backend):
        self._system, self._backend = system, backend

    @cached_property
    def observe(self) -> Callable:
        """``observe(t, y, parameters, out, at)``: stores observable i in ``out[at + i]``."""
        lines = self._system.source.count("\n")
        return self._made(self._system.rhs, lines)

    @cached_property
    def observe_with_rate(self) -> Callable:
        """``observe_with_rate(t, y, dy, parameters, out, rate)``.

        Stores the values in ``out``, and in ``rate`` how fast they change along a solution whose
        derivative is ``dy``.
        """
        return self._made(*rates_of(self._system))

    def _made(self, function: Callable, lines: int) -> Callable:
        return self._backend.straight_line(function, lines <= INLINE_SOURCE_LINES, as_written=True)


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
        return ObservableFunctions(self.system, context.backend)
