"""Derivatives as components: compiled from the generated module, or found by differences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from cubie.backend import absolute, as_real, maximum, select
from cubie.factory import BuildContext, CUDAFactory
from cubie.numerics.error_norm import build_scale
from cubie.systems.component import INLINE_SOURCE_LINES, SystemComponent
from cubie.systems.derivatives.choice import PRODUCTS, Derivatives, derivatives_of
from cubie.systems.derivatives.plain_entries import PlainEntry, module_without, plain_entries
from cubie.systems.derivatives.sparsity import column_groups, grouped
from cubie.systems.drivers.calling import build_driven
from cubie.systems.drivers.calls import n_kept

# Units of rounding of the right-hand side that a difference is to exceed (as in LSODE and CVODE).
ABOVE_ROUNDING = 1000.0


class Derivative(CUDAFactory):
    """One of the derivatives of a system; buffers and text are looked at as late as possible.

    The buffers are those that differences need: one for a shifted state, and one for a derivative
    at the state itself.

    Parameters
    ----------
    system : SystemComponent
    per_component : bool
        Tolerances are given per component.
    dtype : dtype
    options : mapping
    """

    phases = ("evaluate",)

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options):
        super().__init__(dtype, options)
        self.system = system
        self.n_states = system.n_states
        self.per_component = per_component
        self.add_child(system, during="evaluate")
        system.add_derivative(self)

    @functools.cached_property
    def derivatives(self) -> Derivatives:
        """The derivatives of the system, generated on first use."""
        return derivatives_of(self.system.system, products=self.name in PRODUCTS)

    @property
    def module(self):
        """The generated module."""
        return self.derivatives.module

    def by_differences(self) -> bool:
        """Tell whether the right-hand side has to be evaluated."""
        return self.derivatives.kind == "differences"

    @property
    def n_slots(self) -> int:
        """Elements that calls of drivers need in it."""
        if not self.system.n_drivers or self.derivatives.kind != "exact":
            return 0
        calls = getattr(self.derivatives.module, f"{self.name.upper()}_CALLS", ())
        return n_kept(self.system.n_drivers) + sum(map(len, calls))

    @property
    def n_common(self) -> int:
        """Elements that values need which outputs of it have in common."""
        return self.derivatives.common.get(self.name, 0)

    def facts(self) -> tuple:
        given = self.system.breakpoints, self.system.has_common
        return (self.derivatives.digest, self.per_component, *given)

    def build(self, context: BuildContext) -> Callable:
        if self.by_differences():
            return context.backend.device(self._build_differences(context), inline=False)
        function = getattr(self.module, self.name)
        lines = [line for *_, line in function.__code__.co_lines() if line]
        is_long = max(lines) - min(lines) > INLINE_SOURCE_LINES
        inline = not (is_long or self.system.is_in_loops)
        generated = context.backend.straight_line(function, inline, as_written=True)
        if self.system.takes_given:
            system, module = self.system, self.module
            generated = build_driven(
                context.backend, system, self.name, module, generated, system.breakpoints
            )
        return context.backend.device(self._build_exact(generated))

    def _build_exact(self, generated: Callable) -> Callable:
        raise NotImplementedError

    def _build_differences(self, context: BuildContext) -> Callable:
        raise NotImplementedError


class _ByDifferences(Derivative):
    """A derivative by the states."""

    def _build_increments(self, context: BuildContext) -> tuple[Callable, Callable]:
        """Return ``least(launch, shift, y, f)`` and ``increment(..., y_j, f_j, j)``.

        A state is changed by a small part of itself, or of what its tolerance takes for nothing;
        and by so much that rounding of the right-hand side stays far below what a step may err
        by, which `least` finds in tolerances, the same for all states (as the codes LSODE and
        CVODE do).
        """
        n, constant, device = self.n_states, context.backend.constant, context.backend.device
        eps = np.finfo(context.backend.dtype).eps
        scale = build_scale(context.backend, n, self.per_component)
        fraction, factor = constant(np.sqrt(eps)), constant(ABOVE_ROUNDING * eps)
        zero, one = constant(0.0), constant(1.0)

        def least(launch, shift, y, f):
            largest = shift * zero
            for j in range(n):
                weight = scale(launch, j, y[j], f[j] / shift)
                largest = maximum(absolute(f[j]) / weight, largest)
            return factor * largest / absolute(shift)

        def increment(launch, shift, smallest, state, slope, j):
            nothing = scale(launch, j, state * zero, state * zero)
            part = fraction * maximum(absolute(state), nothing)
            # A state that is zero is weighed as after a step.
            typical = select(state == zero, slope / shift, state)
            weight = scale(launch, j, typical, typical)
            size = maximum(part, smallest * weight)
            # Along the flow: whoever starts at the edge of the domain goes inside.
            return size * select(slope * shift < zero, -one, one)

        return device(least), device(increment)


class JacobianComponent(_ByDifferences):
    """Build ``jacobian(memory, launch, matrix, jac, at)``.

    It stores entry k of `pattern` in ``jac[at + k]``. A `cubie.solvers.contract.Matrix` says
    where; the reciprocal of its shift is about the size of a step.

    Parameters
    ----------
    system, per_component, dtype, options
        As for every derivative.
    stored : dtype, optional
        Of the buffer `jac`, which may hold narrower numbers than those of the run: entries are
        evaluated as any, and rounded when they are stored. By default it is the run's.

    Attributes
    ----------
    left_out : callable
        Returns the numbers of `plain` entries that are not stored: others follow each other.
    """

    name = "jacobian"
    left_out: Callable[[], frozenset[int]] = frozenset

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options, stored=None):
        super().__init__(system, per_component, dtype, options)
        self.stored = np.dtype(dtype if stored is None else stored)
        self.narrows = self.stored != np.dtype(dtype)
        for buffer in ("difference_state", "difference_rhs"):
            self.register_buffer(
                buffer, self.n_states, phases=("evaluate",), enabled=self.by_differences
            )
        self.register_buffer(
            "difference_columns", self.n_states, phases=("evaluate",), enabled=self.in_groups
        )

    def in_groups(self) -> bool:
        """Tell whether columns without a row in common are found together.

        Narrower numbers could hold no right-hand side that another one is subtracted from: columns
        are then found apart, each a group of its own where all entries may be there.
        """
        known = getattr(self.system.system, "sparsity", None) is not None
        return (known or self.narrows) and self.by_differences()

    def facts(self) -> tuple:
        return (*super().facts(), self.stored.name, sorted(self.left_out()))

    @property
    def pattern(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each entry."""
        return self.derivatives.pattern

    @property
    def plain(self) -> Mapping[int, PlainEntry]:
        """Entries that can be read where they come from, by their numbers."""
        generated = self.derivatives.kind != "differences" and not self.system.takes_given
        return plain_entries(self.derivatives.text) if generated else {}

    @property
    def module(self):
        left_out = self.left_out()
        return module_without(self.derivatives.text, left_out) if left_out else super().module

    @property
    def n_evaluations(self) -> int:
        """Of the right-hand side, for one by differences."""
        if not self.by_differences():
            return 0
        return 1 + (len(column_groups(self.pattern, self.n_states)))

    @property
    def is_constant(self) -> bool:
        """The Jacobian is the same all along a run."""
        return self.derivatives.constant

    @property
    def is_evaluated(self) -> bool:
        """It is none that the user gave as numbers."""
        return not (self.is_constant and self.system.system.jacobian_is_given)

    def _build_exact(self, generated: Callable) -> Callable:
        def jacobian(memory, launch, matrix, jac, at):
            generated(matrix.t, matrix.y, matrix.parameters, jac, at)

        return jacobian

    def _build_differences(self, context: BuildContext) -> Callable:
        if self.in_groups():
            return self._build_groups(context)
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("difference_state")
        alloc_rhs = context.allocator("difference_rhs")
        least, increment = self._build_increments(context)

        def jacobian(memory, launch, matrix, jac, at):
            t, shift, y, p = matrix
            shifted = alloc_state(memory, None)
            here = alloc_rhs(memory, None)
            for i in range(n):
                shifted[i] = y[i]
            rhs(t, y, p, here, 0)
            smallest = least(launch, shift, y, here)
            for j in range(n):
                shifted[j] = y[j] + increment(launch, shift, smallest, y[j], here[j], j)
                # The step as rounded, so that numerator and denominator agree.
                size = shifted[j] - y[j]
                column = at + j * n
                rhs(t, shifted, p, jac, column)
                for i in range(n):
                    jac[column + i] = (jac[column + i] - here[i]) / size
                shifted[j] = y[j]

        return jacobian

    def _build_groups(self, context: BuildContext) -> Callable:
        """Return `jacobian` by one evaluation for each group of columns."""
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("difference_state")
        alloc_rhs = context.allocator("difference_rhs")
        alloc_columns = context.allocator("difference_columns")
        least, increment = self._build_increments(context)
        groups, of_entries, of_columns = grouped(self.pattern, n)
        in_groups = np.array([column for group in groups for column in group], dtype=np.int64)
        n_groups = len(groups)
        table = context.backend.table  # compiled component code reads tables, no arrays
        rows, starts, columns = table(of_entries), table(of_columns), table(in_groups)
        ends = table(np.cumsum([0, *map(len, groups)], dtype=np.int64))
        rounded = context.backend.device(self._build_rounded(context))

        def jacobian(memory, launch, matrix, jac, at):
            t, shift, y, p = matrix
            shifted = alloc_state(memory, None)
            here = alloc_rhs(memory, None)
            there = alloc_columns(memory, None)
            for i in range(n):
                shifted[i] = y[i]
            rhs(t, y, p, here, 0)
            smallest = least(launch, shift, y, here)
            for group in range(n_groups):
                for place in range(ends(group), ends(group + 1)):
                    j = columns(place)
                    shifted[j] = y[j] + increment(launch, shift, smallest, y[j], here[j], j)
                rhs(t, shifted, p, there, 0)
                for place in range(ends(group), ends(group + 1)):
                    j = columns(place)
                    size = shifted[j] - y[j]
                    for k in range(starts(j), starts(j + 1)):
                        row = rows(k)
                        jac[at + k] = rounded((there[row] - here[row]) / size)
                    shifted[j] = y[j]

        return jacobian

    def _build_rounded(self, context: BuildContext) -> Callable:
        """Return ``rounded(value)``: an entry as it is stored."""
        one = context.backend.in_dtype(self.stored).constant(1.0)

        def to_stored(value):
            return as_real(value, one)

        def as_it_is(value):
            return value

        return to_stored if self.narrows else as_it_is


class JVPComponent(_ByDifferences):
    """Build ``jvp(memory, launch, matrix, vec, vec_at, out, at)``.

    It stores J vec in ``out[at + i]``; vec is read at ``vec[vec_at + j]``.
    """

    name = "jvp"

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options):
        super().__init__(system, per_component, dtype, options)
        for buffer in ("product_state", "product_rhs"):
            self.register_buffer(
                buffer, self.n_states, phases=("evaluate",), enabled=self.by_differences
            )

    def _build_exact(self, generated: Callable) -> Callable:
        def jvp(memory, launch, matrix, vec, vec_at, out, at):
            generated(matrix.t, matrix.y, matrix.parameters, vec, vec_at, out, at)

        return jvp

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state, alloc_rhs = (
            context.allocator("product_state"),
            context.allocator("product_rhs"),
        )
        least, increment = self._build_increments(context)
        zero, one = context.backend.constant(0.0), context.backend.constant(1.0)

        def jvp(memory, launch, matrix, vec, vec_at, out, at):
            t, shift, y, p = matrix
            shifted = alloc_state(memory, None)
            here = alloc_rhs(memory, None)
            rhs(t, y, p, here, 0)
            smallest = least(launch, shift, y, here)
            # As far along the vector as the first state allows.
            most = shift * zero
            for j in range(n):
                size = increment(launch, shift, smallest, y[j], here[j], j)
                most = maximum(absolute(vec[vec_at + j]) / absolute(size), most)
            size = one / select(most <= zero, one, most)
            for i in range(n):
                shifted[i] = y[i] + size * vec[vec_at + i]
            rhs(t, shifted, p, out, at)
            for i in range(n):
                out[at + i] = (out[at + i] - here[i]) / size

        return jvp


class DiagonalComponent(_ByDifferences):
    """Build ``diagonal(memory, launch, matrix, out, at)``.

    It stores J_ii in ``out[at + i]``.
    """

    name = "diagonal"

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options):
        super().__init__(system, per_component, dtype, options)
        for buffer in ("diagonal_state", "diagonal_rhs"):
            size = self.n_states * (2 if buffer == "diagonal_rhs" else 1)
            self.register_buffer(buffer, size, phases=("evaluate",), enabled=self.by_differences)

    def _build_exact(self, generated: Callable) -> Callable:
        def diagonal(memory, launch, matrix, out, at):
            generated(matrix.t, matrix.y, matrix.parameters, out, at)

        return diagonal

    def _build_differences(self, context: BuildContext) -> Callable:
        n = self.n_states
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("diagonal_state")
        alloc_rhs = context.allocator("diagonal_rhs")
        least, increment = self._build_increments(context)

        def diagonal(memory, launch, matrix, out, at):
            t, shift, y, p = matrix
            shifted = alloc_state(memory, None)
            slopes = alloc_rhs(memory, None)
            for i in range(n):
                shifted[i] = y[i]
            rhs(t, y, p, slopes, 0)
            smallest = least(launch, shift, y, slopes)
            for i in range(n):
                shifted[i] = y[i] + increment(launch, shift, smallest, y[i], slopes[i], i)
                rhs(t, shifted, p, slopes, n)
                out[at + i] = (slopes[n + i] - slopes[i]) / (shifted[i] - y[i])
                shifted[i] = y[i]

        return diagonal
