"""How large a residual is: by the error that it leaves in the solution, in units of the tolerances.

A residual r of ``(s M - J) x = b`` leaves an error of about r / s in x: that of slow components,
which a smaller one of fast components may hide. Divided by ``atol + rtol * abs(y)`` it is in the
units in which Newton's method and the error of a step are measured. Where a mass matrix says that
some equations hold no derivative, r is divided by their diagonal. Only the end of an iteration is
judged so: in the inner product of these quotients directions of descent are worse ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import Backend, absolute, in_turn, larger, maximum, quotient
from cubie.numerics.error_norm import build_scale, build_size
from cubie.solvers.contract import Blocks

# Errors of so many units of rounding are below what Newton's method corrects.
ROUNDING = 10.0


def build_measure(
    backend: Backend,
    blocks: Blocks,
    per_component: bool,
    tolerance: float,
    diagonal_at: int | None,
) -> Callable:
    """Return ``measure(launch, y, inverse, per_shift, residual)``: a squared norm.

    Parameters
    ----------
    per_component : bool
        Tolerances are given per component.
    tolerance : float
        Error that Newton's method may leave, as a fraction of the error allowed in a step.
    diagonal_at : int or None
        Where the blocks' reciprocal diagonals start in `inverse`. None: there are none, and
        residuals are divided by the shift alone.
    """
    weight, chain = _build_weight(backend, blocks, per_component, tolerance), None
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        place = None if diagonal_at is None else diagonal_at + at
        amplify = backend.device(_amplification(blocks.n_states, place, bool(eigenvalue.imag)))
        make = _of_pair if eigenvalue.imag else _of_one
        block = backend.device(make(blocks.n_states, at, weight, amplify))
        chain = block if chain is None else backend.device(_then(chain, block))
    assert chain is not None  # there is at least one eigenvalue
    return chain


def build_factors(
    backend: Backend,
    blocks: Blocks,
    per_component: bool,
    tolerance: float,
    diagonal_at: int | None,
) -> Callable:
    """Return ``store(launch, y, inverse, per_shift, factors)``.

    It stores what each element of a residual is multiplied by in `build_measure`, whose parameters
    these are.
    """
    weight, found = _build_weight(backend, blocks, per_component, tolerance), []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        place = None if diagonal_at is None else diagonal_at + at
        amplify = backend.device(_amplification(blocks.n_states, place, bool(eigenvalue.imag)))
        second = blocks.n_states if eigenvalue.imag else 0
        block = _factors(blocks.n_states, at, at + second, weight, amplify)
        found.append(backend.device(block))
    return in_turn(backend, found, 5)


def _factors(n: int, at: int, other: int, weight: Callable, amplify: Callable) -> Callable:
    def store(launch, y, inverse, per_shift, factors):
        for i in range(n):
            factor = quotient(amplify(inverse, per_shift, i), weight(launch, y, i))
            factors[at + i] = factor
            factors[other + i] = factor

    return store


def _build_weight(
    backend: Backend, blocks: Blocks, per_component: bool, tolerance: float
) -> Callable:
    """Return ``weight(launch, y, i)``: the error that is allowed in a state."""
    scale = build_scale(backend, blocks.n_states, per_component)
    size_of = build_size(backend, per_component)
    rounding = backend.constant(ROUNDING * np.finfo(backend.dtype).eps / tolerance)

    def weight(launch, y, i):
        size = size_of(y, i)
        return larger(scale(launch, i, size, size), rounding * absolute(size))

    return backend.device(weight)


def _amplification(n: int, place: int | None, is_pair: bool) -> Callable:
    """Return ``amplify(inverse, per_shift, i)``: the error that a residual of one leaves."""

    first = place or 0

    def by_shift(inverse, per_shift, i):
        return per_shift

    def by_diagonal(inverse, per_shift, i):
        return maximum(absolute(inverse[first + i]), per_shift)

    def by_complex_diagonal(inverse, per_shift, i):
        re, im = absolute(inverse[first + i]), absolute(inverse[first + n + i])
        return maximum(maximum(re, im), per_shift)

    if place is None:
        return by_shift
    return by_complex_diagonal if is_pair else by_diagonal


def _of_one(n: int, at: int, weight: Callable, amplify: Callable) -> Callable:
    def measure(launch, y, inverse, per_shift, residual):
        total = per_shift - per_shift
        for i in range(n):
            factor = quotient(amplify(inverse, per_shift, i), weight(launch, y, i))
            error = residual[at + i] * factor
            total = total + error * error
        return total

    return measure


def _of_pair(n: int, at: int, weight: Callable, amplify: Callable) -> Callable:
    def measure(launch, y, inverse, per_shift, residual):
        total = per_shift - per_shift
        for i in range(n):
            factor = quotient(amplify(inverse, per_shift, i), weight(launch, y, i))
            re, im = at + i, at + n + i
            error, error_im = residual[re] * factor, residual[im] * factor
            total = total + (error * error + error_im * error_im)
        return total

    return measure


def _then(before: Callable, after: Callable) -> Callable:
    def both(launch, y, inverse, per_shift, residual):
        first = before(launch, y, inverse, per_shift, residual)
        return first + after(launch, y, inverse, per_shift, residual)

    return both
