"""Factors in single precision inside a run in double precision (mixed precision).

Newton's method asks of its matrix that changes shrink. Its residuals stay numbers of the run, and
with them what it converges to; factors of half the digits make it converge a little slower (Kelley,
SIAM Review 64 (2022) 191-211; Higham & Mary, Acta Numerica 31 (2022) 347-414). Where a pivot loses
half of its 24 bits to cancellation the matrix counts as singular, and the step is attempted again
with a smaller size.

Single precision ends at 1e38 and 1e-38, so that the factorised matrix has no units. With the
tolerances w of the states and c near 1 / shift it is ``c (shift M - J)``, its rows divided and its
columns multiplied by w: right-hand sides and changes are in tolerances, of which 1e-38 is nothing.
All of these are powers of two: no digit is lost, and elimination rounds as it would without them.
States that the mass matrix couples have one w, so that M stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cubie.backend import (
    Backend,
    absolute,
    as_real,
    exponent_of,
    maximum,
    minimum,
    power_of_two,
    select,
)
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale, build_size
from cubie.solvers.elimination import Position
from cubie.systems.generated import load_module

# Tolerances that states are measured in lie between these: neither the quotient of any two, nor c
# over one leaves the range of normal numbers.
LEAST_UNIT, LARGEST_UNIT = 2.0**-60, 2.0**26
# So far c may be from 1, and the product of shift and c from it.
LARGEST_FACTOR, LARGEST_SHIFT = 2.0**60, 2.0**100
# A pivot that lost this many units of rounding to cancellation counts as zero. Of 24 bits twelve
# are to be left: what is conserved, or slow beside fast reactions that cancel, is else so much less
# exact than the rest of a change that Newton's method sees nothing of it. With 16 units the stiff
# problem E5, whose states fall by twenty orders of magnitude, ended as a success with numbers that
# were a million times too large. Steps of Hires, the Oregonator, Van der Pol's equation and Pollu
# are the same with any limit from 16 units to 65536.
PIVOT_LOSS, PIVOT_LOSS_IN_SINGLE = 16.0, 4096.0

_TEXT = '''"""Units of a {n} x {n} matrix: {entries} entries.

Written by cubie: changes are overwritten.
"""


def scale(lu, units, unit):
'''


class RunPrecision:
    """Factors of the run's own precision: nothing is done.

    Parameters
    ----------
    solver : cubie.solvers.lu.LUSolver
    """

    pivot_loss = PIVOT_LOSS

    def __init__(self, solver: Any):
        self.solver = solver
        self.dtype = solver.buffer_registry.dtype

    def register_buffers(self) -> None:
        """Register buffers with the solver."""

    def build_weigh(self, context: BuildContext) -> Callable:
        """Return ``weigh(memory, launch, y)``, which finds the units of states at `y`."""

        def weigh(memory, launch, y):
            pass

        return context.backend.device(weigh)

    def build_weigh_anew(self, context: BuildContext) -> Callable:
        """Return ``weigh(memory, launch, y, anew)``: others only in the lanes of a mask."""

        def weigh(memory, launch, y, anew):
            pass

        return context.backend.device(weigh)

    def build_factorise(self, context: BuildContext, eliminate: Callable) -> Callable:
        """Return ``factorise(memory, shift, factors) -> ok`` of what eliminates all blocks.

        `factors` begin with the entries of the Jacobian.
        """
        eps, one = self._constants(context.backend)

        def factorise(memory, shift, factors):
            return eliminate(shift, factors, eps, one)

        return context.backend.device(factorise)

    def build_substitution(self, context: BuildContext, substitute: Callable, n: int) -> Callable:
        """Return ``substitute(memory, factors, rhs, rhs_at, x, x_at)`` for n unknowns."""

        def substitute_in_place(memory, factors, rhs, rhs_at, x, x_at):
            substitute(factors, rhs, rhs_at, x, x_at)

        return context.backend.device(substitute_in_place)

    def backend(self, backend: Backend) -> Backend:
        """Return the target of functions on factors."""
        return backend.in_dtype(self.dtype)

    def _constants(self, backend: Backend):
        """Return the part of a pivot that must be left, and one."""
        inner = self.backend(backend)
        eps = inner.constant(self.pivot_loss * np.finfo(self.dtype).eps)
        return eps, inner.constant(1.0)


class SinglePrecision(RunPrecision):
    """Factors in single precision; see the module.

    Of n states the buffer `factor_units` holds c / w, which right-hand sides are multiplied by, and
    then w, which solutions are; `scaled_unknowns` holds the unknowns of a solution, in units.
    """

    pivot_loss = PIVOT_LOSS_IN_SINGLE

    def __init__(self, solver: Any):
        super().__init__(solver)
        self.dtype = np.dtype(np.float32)

    def register_buffers(self) -> None:
        solver = self.solver
        n, keeps = solver.blocks.n_states, solver.keeps_jacobian
        solver.register_buffer(
            "factor_units",
            2 * n,
            dtype=self.dtype,
            phases=None if keeps else (("jacobian", "solve"),),
            persistent=True,
            access_weight=6.0,
        )
        # What else is factorised has other units: those of the Jacobian that is kept stay here.
        solver.register_buffer(
            "kept_units", 2 * n, dtype=self.dtype, persistent=True, enabled=keeps, access_weight=0.5
        )
        solver.register_buffer(
            "scaled_unknowns",
            max(solver.blocks.n_unknowns, n),
            dtype=self.dtype,
            phases=("solve",),
            access_weight=20.0,
        )

    def build_weigh(self, context: BuildContext) -> Callable:
        alloc, weigh = context.allocator("factor_units"), self._build_units(context)

        def weigh_all(memory, launch, y):
            weigh(launch, y, alloc(memory, None))

        return context.backend.device(weigh_all)

    def build_weigh_anew(self, context: BuildContext) -> Callable:
        alloc, alloc_kept = context.allocator("factor_units"), context.allocator("kept_units")
        weigh, size = self._build_units(context), 2 * self.solver.blocks.n_states

        def weigh_anew(memory, launch, y, anew):
            units, kept = alloc(memory, None), alloc_kept(memory, None)
            weigh(launch, y, units)
            for i in range(size):
                kept[i] = select(anew, units[i], kept[i])
                units[i] = kept[i]

        return context.backend.device(weigh_anew)

    def _build_units(self, context: BuildContext) -> Callable:
        """Return ``weigh(launch, y, units)``, which stores 1 / w and w."""
        backend, n, solver = context.backend, self.solver.blocks.n_states, self.solver
        scale, size_of = (
            build_scale(backend, n, solver.per_component),
            build_size(backend, solver.per_component),
        )
        least, most = backend.constant(LEAST_UNIT), backend.constant(LARGEST_UNIT)
        _, one = self._constants(backend)
        join = self._build_join(backend)

        def weigh(launch, y, units):
            for i in range(n):
                value = size_of(y, i)
                weight = minimum(maximum(scale(launch, i, value, value), least), most)
                units[n + i] = power_of_two(exponent_of(as_real(weight, one)))
            join(units)
            for i in range(n):
                units[i] = power_of_two(-exponent_of(units[n + i]))

        return backend.device(weigh)

    def _build_join(self, backend: Backend) -> Callable:
        """Return ``join(units)``: states that the mass matrix couples get the largest of theirs."""
        n, pairs = self.solver.blocks.n_states, _coupled(self.solver.mass)
        n_pairs, table = len(pairs), np.array(pairs, np.int64).reshape(-1, 2)
        first = backend.table(np.ascontiguousarray(table[:, 0]))
        other = backend.table(np.ascontiguousarray(table[:, 1]))

        def join(units):
            for k in range(n_pairs):
                i = n + first(k)
                units[i] = maximum(units[i], units[n + other(k)])
            for k in range(n_pairs):
                units[n + other(k)] = units[n + first(k)]

        def nothing(units):
            pass

        return backend.device(join if n_pairs else nothing)

    def build_factorise(self, context: BuildContext, eliminate: Callable) -> Callable:
        backend, n = context.backend, self.solver.blocks.n_states
        alloc, scale = context.allocator("factor_units"), self._build_scale(backend)
        constant = backend.constant
        least, most = constant(1.0 / LARGEST_FACTOR), constant(LARGEST_FACTOR)
        smallest, largest = constant(1.0 / LARGEST_SHIFT), constant(LARGEST_SHIFT)
        eps, one = self._constants(backend)

        def factorise(memory, shift, factors):
            units = alloc(memory, None)
            size = absolute(shift)
            fits = (size >= smallest) & (size <= largest)
            within = as_real(minimum(maximum(size, least), most), one)
            unit = power_of_two(-exponent_of(within))
            scale(factors, units, unit)
            for i in range(n):
                units[i] = units[i] * unit
            return fits & eliminate(as_real(shift * as_real(unit, shift), one), factors, eps, one)

        return backend.device(factorise)

    def _build_scale(self, backend: Backend) -> Callable:
        """Return ``scale(lu, units, unit)``, which brings the Jacobian's entries into units."""
        inner, n = self.backend(backend), self.solver.blocks.n_states
        pattern = self.solver.jacobian.pattern
        if not self.solver.in_loops:
            module = load_module(write_scaling(n, pattern))
            return inner.straight_line(module.scale, inline=False)
        places = np.array(pattern, np.int64).reshape(-1, 2)
        n_entries = len(places)
        row = inner.table(np.ascontiguousarray(places[:, 0]))
        column = inner.table(np.ascontiguousarray(places[:, 1]))

        def scale(lu, units, unit):
            for k in range(n_entries):
                lu[k] = lu[k] * unit * (units[row(k)] * units[n + column(k)])

        return backend.device(scale, inline=False)

    def build_substitution(self, context: BuildContext, substitute: Callable, n: int) -> Callable:
        backend, n_states = context.backend, self.solver.blocks.n_states
        alloc, alloc_scaled = (
            context.allocator("factor_units"),
            context.allocator("scaled_unknowns"),
        )
        sections, (_, one) = n // n_states, self._constants(backend)
        like = backend.constant(1.0)

        def substitute_in_units(memory, factors, rhs, rhs_at, x, x_at):
            units, scaled = alloc(memory, None), alloc_scaled(memory, None)
            for section in range(sections):
                first = section * n_states
                for i in range(n_states):
                    value = rhs[rhs_at + first + i]
                    scaled[first + i] = as_real(value * as_real(units[i], value), one)
            substitute(factors, scaled, 0, scaled, 0)
            for section in range(sections):
                first = section * n_states
                for i in range(n_states):
                    value = as_real(scaled[first + i], like)
                    x[x_at + first + i] = value * as_real(units[n_states + i], like)

        return backend.device(substitute_in_units)


def write_scaling(n: int, pattern: Iterable[Position]) -> str:
    """Return the source of the module with `scale`; see `SinglePrecision`."""
    pattern = tuple(pattern)
    lines = [
        f"    lu[{k}] = lu[{k}] * unit"
        + (f" * (units[{row}] * units[{n + column}])" if row != column else "")
        for k, (row, column) in enumerate(pattern)
    ]
    return _TEXT.format(n=n, entries=len(pattern)) + "\n".join(lines or ["    pass"]) + "\n"


def _coupled(positions: Iterable[Position]) -> list[tuple[int, int]]:
    """Return (first, other) for each other state of groups that entries off the diagonal make."""
    groups: list[set[int]] = []
    for row, column in positions:
        if row == column:
            continue
        joined = {row, column}.union(*(g for g in groups if row in g or column in g))
        groups = [g for g in groups if not g & joined] + [joined]
    return [(min(group), other) for group in groups for other in sorted(group - {min(group)})]
