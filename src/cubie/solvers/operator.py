"""The matrices of a linear solver as a function: products without the matrix."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, in_turn
from cubie.solvers.contract import Blocks


def build_operator(backend: Backend, blocks: Blocks, jvp: Callable, add_mass: Callable) -> Callable:
    """Return ``apply(memory, launch, matrix, vec, vec_at, out, out_at)``.

    It stores the product of the matrices ``shift * eigenvalue * M - J`` with the vector of all
    unknowns.

    Parameters
    ----------
    jvp : callable
        Product of the Jacobian with n elements of a vector.
    add_mass : callable
        See `cubie.systems.mass.build_mass_product`.
    """
    found = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        make = _complex_block if eigenvalue.imag else _real_block
        block = backend.device(make(backend, blocks.n_states, eigenvalue, at, jvp, add_mass))
        found.append(block)
    return in_turn(backend, found, 7)


def _real_block(backend: Backend, n: int, eigenvalue: complex, at: int, jvp, add_mass) -> Callable:
    factor = backend.constant(eigenvalue.real)

    def apply(memory, launch, matrix, vec, vec_at, out, out_at):
        first, place = vec_at + at, out_at + at
        jvp(memory, launch, matrix, vec, first, out, place)
        for i in range(n):
            out[out_at + at + i] = -out[out_at + at + i]
        add_mass(matrix.shift * factor, vec, vec_at + at, out, out_at + at)

    return apply


def _complex_block(
    backend: Backend, n: int, eigenvalue: complex, at: int, jvp, add_mass
) -> Callable:
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)

    def apply(memory, launch, matrix, vec, vec_at, out, out_at):
        re, im = vec_at + at, vec_at + at + n
        out_re, out_im = out_at + at, out_at + at + n
        jvp(memory, launch, matrix, vec, re, out, out_re)
        jvp(memory, launch, matrix, vec, im, out, out_im)
        for i in range(2 * n):
            out[out_re + i] = -out[out_re + i]
        add_mass(matrix.shift * real, vec, re, out, out_re)
        add_mass(-matrix.shift * imaginary, vec, im, out, out_re)
        add_mass(matrix.shift * real, vec, im, out, out_im)
        add_mass(matrix.shift * imaginary, vec, re, out, out_im)

    return apply
