"""Jacobi's preconditioner folded into the product: no vector holds the diagonal, or D^-1 v."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cubie.backend import Backend, in_turn
from cubie.solvers.contract import Blocks
from cubie.systems.component import INLINE_SOURCE_LINES
from cubie.systems.derivatives.scaled import scaled_module
from cubie.systems.system import System


def build_scaled_product(
    backend: Backend, system: System, blocks: Blocks, mass: Mapping[tuple[int, int], float]
) -> Callable:
    """Return ``product(matrix, vec, out)``.

    It stores A D^-1 vec, with A the matrices of the blocks and D their diagonal.
    """
    return _of_all_blocks(
        backend, system, blocks, mass, "product", _product_of_one, _product_of_pair
    )


def build_diagonal_solve(
    backend: Backend, system: System, blocks: Blocks, mass: Mapping[tuple[int, int], float]
) -> Callable:
    """Return ``scale(matrix, x, x_at)``, which stores D^-1 x in place."""
    return _of_all_blocks(backend, system, blocks, mass, "scale", _scale_of_one, _scale_of_pair)


def _of_all_blocks(backend: Backend, system: System, blocks: Blocks, mass, name, of_one, of_pair):
    pairs = any(eigenvalue.imag for eigenvalue in blocks.eigenvalues)
    module = scaled_module(system, mass, pairs)
    found = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        function = getattr(module, f"{name}_pair" if eigenvalue.imag else name)
        lines = [line for *_, line in function.__code__.co_lines() if line]
        inline = max(lines) - min(lines) <= INLINE_SOURCE_LINES
        make = of_pair if eigenvalue.imag else of_one
        generated = backend.straight_line(function, inline, as_written=True)
        block = backend.device(make(backend, eigenvalue, at, generated))
        found.append(block)
    return in_turn(backend, found, 3)


def _product_of_one(backend: Backend, eigenvalue: complex, at: int, generated: Callable):
    factor = backend.constant(eigenvalue.real)

    def product(matrix, vec, out):
        t, shift, y, p = matrix
        generated(shift * factor, t, y, p, vec, at, out, at)

    return product


def _product_of_pair(backend: Backend, eigenvalue: complex, at: int, generated: Callable):
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)

    def product(matrix, vec, out):
        t, shift, y, p = matrix
        generated(shift * real, shift * imaginary, t, y, p, vec, at, out, at)

    return product


def _scale_of_one(backend: Backend, eigenvalue: complex, at: int, generated: Callable):
    factor = backend.constant(eigenvalue.real)

    def scale(matrix, x, x_at):
        t, shift, y, p = matrix
        generated(shift * factor, t, y, p, x, x_at + at)

    return scale


def _scale_of_pair(backend: Backend, eigenvalue: complex, at: int, generated: Callable):
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)

    def scale(matrix, x, x_at):
        t, shift, y, p = matrix
        generated(shift * real, shift * imaginary, t, y, p, x, x_at + at)

    return scale
