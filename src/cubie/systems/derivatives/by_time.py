"""Derivatives by time as components: compiled from the generated module, or by differences."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from cubie.backend import absolute, maximum, minimum, select, square_root
from cubie.factory import BuildContext
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.choice import EXACT_TO, Derivatives, coupling_of, derivatives_of
from cubie.systems.derivatives.component import Derivative


class TimeDerivativeComponent(Derivative):
    """Build ``time_derivative(memory, t, h, y, p, out, at)``.

    It stores the partial derivatives of the right-hand side by t in ``out[at + i]``, for a step
    of signed size `h`.
    """

    name = "time_derivative"

    @functools.cached_property
    def derivatives(self) -> Derivatives:
        """Those of the matrix; with sensitivities only that of the states' block is needed."""
        system = self.system.system
        return derivatives_of(system) if system.joint is None else coupling_of(system)

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options):
        super().__init__(system, per_component, dtype, options)
        self.register_buffer(
            "time_rhs", self.n_states, phases=("evaluate",), enabled=self.by_differences
        )

    def by_differences(self) -> bool:
        """Tell whether the right-hand side has to be evaluated: no `jac` holds this one."""
        return self.derivatives.kind != "exact"

    @property
    def vanishes(self) -> bool:
        """The right-hand side does not depend on the time."""
        return self.derivatives.autonomous

    def _build_exact(self, generated: Callable) -> Callable:
        def time_derivative(memory, t, h, y, p, out, at):
            generated(t, y, p, out, at)

        return time_derivative

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_rhs = context.allocator("time_rhs")
        backend = context.backend
        constant = backend.constant
        eps = constant(np.finfo(backend.dtype).eps)
        zero, one = constant(0.0), constant(1.0)
        inexact = constant(EXACT_TO)

        def rounding(t, length):
            return eps * maximum(absolute(t), length)

        def of_sensitivities(t, length):
            return maximum(rounding(t, length), inexact * length)

        rounding = backend.device(rounding)
        error = rounding if self.system.system.joint is None else backend.device(of_sensitivities)

        def time_derivative(memory, t, h, y, p, out, at):
            here = alloc_rhs(memory, None)
            # The function varies over times as long as a step, and is rounded as its argument is:
            # the two errors of a difference over d, d / h and eps t / d, are equal where
            length = absolute(h)
            apart = square_root(error(t, length) * length)
            later = t + minimum(apart, length) * select(h < zero, -one, one)
            rhs(t, y, p, here, 0)
            rhs(later, y, p, out, at)
            for i in range(n):
                out[at + i] = (out[at + i] - here[i]) / (later - t)

        return time_derivative
