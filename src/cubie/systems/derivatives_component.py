"""Derivatives as components: compiled from the generated module, or found by differences."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from cubie.backend import absolute, maximum, select
from cubie.factory import BuildContext, CUDAFactory
from cubie.systems.component import INLINE_SOURCE_LINES, SystemComponent
from cubie.systems.derivatives import Derivatives, derivatives

SMALLEST_SCALE = 1e-6  # of a state, as far as its difference step is concerned


class _Derivative(CUDAFactory):
    """One of the derivatives of a system; buffers and text are looked at as late as possible.

    The buffers are those that differences need: one for a shifted state, and one for a derivative
    at the state itself.
    """

    phases = ("evaluate",)

    def __init__(self, system: SystemComponent, dtype, options):
        super().__init__(dtype, options)
        self.system = system
        self.n_states = system.n_states
        self.add_child(system, during="evaluate")

    @functools.cached_property
    def derivatives(self) -> Derivatives:
        """The derivatives of the system, generated on first use."""
        return derivatives(self.system.system)

    def by_differences(self) -> bool:
        """Tell whether the right-hand side has to be evaluated."""
        return self.derivatives.kind == "differences"

    def facts(self) -> tuple:
        return (self.derivatives.digest,)

    def build(self, context: BuildContext) -> Callable:
        if self.by_differences():
            return context.backend.device(self._build_differences(context), inline=False)
        function = getattr(self.derivatives.module, self.name)
        lines = [line for *_, line in function.__code__.co_lines() if line]
        inline = max(lines) - min(lines) <= INLINE_SOURCE_LINES
        generated = context.backend.straight_line(function, inline)
        return context.backend.device(self._build_exact(generated))

    def _build_exact(self, generated: Callable) -> Callable:
        raise NotImplementedError

    def _build_differences(self, context: BuildContext) -> Callable:
        raise NotImplementedError

    def _difference_constants(self, context: BuildContext) -> tuple:
        constant, dtype = context.backend.constant, context.backend.dtype
        return constant(np.sqrt(np.finfo(dtype).eps)), constant(SMALLEST_SCALE)


class JacobianComponent(_Derivative):
    """Build ``jacobian(shared, persistent, t, y, parameters, jac, at)``.

    It stores entry k of `pattern` in ``jac[at + k]``.
    """

    name = "jacobian"

    def __init__(self, system: SystemComponent, dtype, options):
        super().__init__(system, dtype, options)
        for buffer in ("difference_state", "difference_rhs"):
            self.register_buffer(
                buffer, self.n_states, phases=("evaluate",), enabled=self.by_differences
            )

    @property
    def pattern(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each entry."""
        return self.derivatives.pattern

    def _build_exact(self, generated: Callable) -> Callable:
        def jacobian(shared, persistent, t, y, parameters, jac, at):
            generated(t, y, parameters, jac, at)

        return jacobian

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("difference_state")
        alloc_rhs = context.allocator("difference_rhs")
        step, smallest = self._difference_constants(context)

        def jacobian(shared, persistent, t, y, parameters, jac, at):
            shifted = alloc_state(shared, persistent, None)
            here = alloc_rhs(shared, persistent, None)
            for i in range(n):
                shifted[i] = y[i]
            rhs(t, y, parameters, here, 0)
            for j in range(n):
                shifted[j] = y[j] + step * maximum(absolute(y[j]), smallest)
                # The step as rounded, so that numerator and denominator agree.
                size = shifted[j] - y[j]
                column = at + j * n
                rhs(t, shifted, parameters, jac, column)
                for i in range(n):
                    jac[column + i] = (jac[column + i] - here[i]) / size
                shifted[j] = y[j]

        return jacobian


class JVPComponent(_Derivative):
    """Build ``jvp(shared, persistent, t, y, parameters, vec, vec_at, out, at)``.

    It stores J vec in ``out[at + i]``; vec is read at ``vec[vec_at + j]``.
    """

    name = "jvp"

    def __init__(self, system: SystemComponent, dtype, options):
        super().__init__(system, dtype, options)
        for buffer in ("product_state", "product_rhs"):
            self.register_buffer(
                buffer, self.n_states, phases=("evaluate",), enabled=self.by_differences
            )

    def _build_exact(self, generated: Callable) -> Callable:
        def jvp(shared, persistent, t, y, parameters, vec, vec_at, out, at):
            generated(t, y, parameters, vec, vec_at, out, at)

        return jvp

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state, alloc_rhs = (
            context.allocator("product_state"),
            context.allocator("product_rhs"),
        )
        step, smallest = self._difference_constants(context)
        zero, one = context.backend.constant(0.0), context.backend.constant(1.0)

        def jvp(shared, persistent, t, y, parameters, vec, vec_at, out, at):
            shifted = alloc_state(shared, persistent, None)
            here = alloc_rhs(shared, persistent, None)
            largest_state, largest_part = smallest + y[0] * zero, y[0] * zero
            for i in range(n):
                largest_state = maximum(absolute(y[i]), largest_state)
                largest_part = maximum(absolute(vec[vec_at + i]), largest_part)
            nothing = largest_part <= zero
            size = step * largest_state / select(nothing, one, largest_part)
            for i in range(n):
                shifted[i] = y[i] + size * vec[vec_at + i]
            rhs(t, y, parameters, here, 0)
            rhs(t, shifted, parameters, out, at)
            for i in range(n):
                out[at + i] = (out[at + i] - here[i]) / size

        return jvp


class DiagonalComponent(_Derivative):
    """Build ``diagonal(shared, persistent, t, y, parameters, out, at)``.

    It stores J_ii in ``out[at + i]``.
    """

    name = "diagonal"

    def __init__(self, system: SystemComponent, dtype, options):
        super().__init__(system, dtype, options)
        for buffer in ("diagonal_state", "diagonal_rhs"):
            size = self.n_states * (2 if buffer == "diagonal_rhs" else 1)
            self.register_buffer(buffer, size, phases=("evaluate",), enabled=self.by_differences)

    def _build_exact(self, generated: Callable) -> Callable:
        def diagonal(shared, persistent, t, y, parameters, out, at):
            generated(t, y, parameters, out, at)

        return diagonal

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("diagonal_state")
        alloc_rhs = context.allocator("diagonal_rhs")
        step, smallest = self._difference_constants(context)

        def diagonal(shared, persistent, t, y, parameters, out, at):
            shifted = alloc_state(shared, persistent, None)
            slopes = alloc_rhs(shared, persistent, None)
            for i in range(n):
                shifted[i] = y[i]
            rhs(t, y, parameters, slopes, 0)
            for i in range(n):
                shifted[i] = y[i] + step * maximum(absolute(y[i]), smallest)
                rhs(t, shifted, parameters, slopes, n)
                out[at + i] = (slopes[n + i] - slopes[i]) / (shifted[i] - y[i])
                shifted[i] = y[i]

        return diagonal


class TimeDerivativeComponent(_Derivative):
    """Build ``time_derivative(shared, persistent, t, y, parameters, out, at)``.

    It stores the partial derivatives of the right-hand side by t in ``out[at + i]``.
    """

    name = "time_derivative"

    def __init__(self, system: SystemComponent, dtype, options):
        super().__init__(system, dtype, options)
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
        def time_derivative(shared, persistent, t, y, parameters, out, at):
            generated(t, y, parameters, out, at)

        return time_derivative

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_rhs = context.allocator("time_rhs")
        step, smallest = self._difference_constants(context)

        def time_derivative(shared, persistent, t, y, parameters, out, at):
            here = alloc_rhs(shared, persistent, None)
            later = t + step * maximum(absolute(t), smallest)
            rhs(t, y, parameters, here, 0)
            rhs(later, y, parameters, out, at)
            for i in range(n):
                out[at + i] = (out[at + i] - here[i]) / (later - t)

        return time_derivative
