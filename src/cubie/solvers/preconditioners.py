"""Approximate inverses that Krylov methods apply to a residual.

With D the diagonal of the matrix A and A = D - E, Jacobi's is D^-1. The Neumann series adds
powers: the inverse is the sum of ``(D^-1 E)**k D^-1`` over k, cut off after `neumann_order`
powers; it converges where D dominates, as it does for small steps. Those that are factorised stand
in `cubie.solvers.factorised`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cubie.backend import Backend, in_turn
from cubie.solvers.contract import Blocks

PRECONDITIONERS = ("none", "jacobi", "neumann", "ilu0", "block_jacobi", "banded")


def build_invert_diagonal(
    backend: Backend, blocks: Blocks, mass: Mapping[tuple[int, int], float]
) -> Callable:
    """Return ``invert(shift, diagonal, one)``.

    From J_ii in ``diagonal[i]`` it stores the reciprocals of ``shift * eigenvalue * M_ii - J_ii``
    in place, in the layout of the unknowns.
    """
    diagonal = [mass.get((i, i), 0.0) for i in range(blocks.n_states)]
    found = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        real = _weight(backend, [eigenvalue.real * value for value in diagonal])
        if eigenvalue.imag:
            imaginary = _weight(backend, [eigenvalue.imag * value for value in diagonal])
            invert = _invert_complex(blocks.n_states, at, real, imaginary)
        else:
            invert = _invert_real(blocks.n_states, at, real)
        found.append(backend.device(invert))
    # The first block's elements hold the diagonal of all: it comes last.
    return in_turn(backend, reversed(found), 3)


def _weight(backend: Backend, values: list[float]) -> Callable:
    """Return ``weight(i)``: without a table where all are the same."""
    if len({*values}) > 1:
        return backend.table(np.array(values).astype(backend.dtype))
    same = backend.constant(values[0])

    def weight(i):
        return same

    return backend.device(weight)


def _invert_real(n: int, at: int, real: Callable) -> Callable:
    def invert(shift, diagonal, one):
        for i in range(n):
            diagonal[at + i] = one / (shift * real(i) - diagonal[i])

    return invert


def _invert_complex(n: int, at: int, real: Callable, imaginary: Callable) -> Callable:
    def invert(shift, diagonal, one):
        for i in range(n):
            re, im = shift * real(i) - diagonal[i], shift * imaginary(i)
            size = one / (re * re + im * im)
            diagonal[at + i], diagonal[at + n + i] = re * size, -im * size

    return invert


def build_scale(backend: Backend, blocks: Blocks, first: int = 0) -> Callable:
    """Return ``scale(inverse, vec, out)``.

    It adds (D^-1 vec)_i to ``out[i]``; D^-1 as `build_invert_diagonal` left it, for these blocks
    from element `first` on.
    """
    found = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        make = _scale_complex if eigenvalue.imag else _scale_real
        block = backend.device(make(blocks.n_states, at, first + at))
        found.append(block)
    return in_turn(backend, found, 3)


def _scale_real(n: int, at: int, place: int) -> Callable:
    def scale(inverse, vec, out):
        for i in range(n):
            out[at + i] = out[at + i] + inverse[place + i] * vec[at + i]

    return scale


def _scale_complex(n: int, at: int, place: int) -> Callable:
    def scale(inverse, vec, out):
        for i in range(n):
            first, second = at + i, at + n + i
            re, im = vec[first], vec[second]
            a, b = inverse[place + i], inverse[place + n + i]
            out[first] = out[first] + (a * re - b * im)
            out[second] = out[second] + (a * im + b * re)

    return scale


def build_preconditioner(
    backend: Backend, kind: str, order: int, blocks: Blocks, apply: Callable, scale: Callable
) -> Callable:
    """Return ``precondition(memory, launch, matrix, inverse, vec, out, temp) -> z``.

    It stores an approximation of A^-1 vec in `out`, a buffer of its own, and returns that; `temp`
    is scratch of the same size; `scale` is that of `build_scale`. A kind of "none" returns `vec`,
    and needs no `out`: whoever changes both vectors reads z first.
    """
    n = blocks.n_unknowns
    zero = backend.constant(0.0)

    def itself(memory, launch, matrix, inverse, vec, out, temp):
        return vec

    def jacobi(memory, launch, matrix, inverse, vec, out, temp):
        for i in range(n):
            out[i] = matrix.shift * zero
        scale(inverse, vec, out)
        return out

    def neumann(memory, launch, matrix, inverse, vec, out, temp):
        for i in range(n):
            out[i] = matrix.shift * zero
        scale(inverse, vec, out)
        # Horner's rule: z + D^-1 (vec - A z) adds a power to the series.
        for _ in range(order):
            apply(memory, launch, matrix, out, 0, temp, 0)
            for i in range(n):
                temp[i] = vec[i] - temp[i]
            scale(inverse, temp, out)
        return out

    return backend.device({"none": itself, "jacobi": jacobi, "neumann": neumann}[kind])
