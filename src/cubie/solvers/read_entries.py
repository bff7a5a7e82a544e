"""Factors without the entries that are read where they come from.

Factorisations and substitutions whose text reads such entries take the states and the parameters
that the Jacobian was evaluated at beside the factors: see `cubie.solvers.lu_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import Backend


class Factors(NamedTuple):
    """Factors, and what some of their entries are read from: where their Jacobian was taken."""

    lu: Any
    y: Any
    parameters: Any


def build_gather(backend: Backend, reads: bool) -> Callable:
    """Return ``gather(factors, matrix)``: what factorisations and substitutions work with."""

    def with_point(factors, matrix):
        return Factors(factors, matrix.y, matrix.parameters)

    def alone(factors, matrix):
        return factors

    return backend.device(with_point if reads else alone)


def factorise_at(function: Callable) -> Callable:
    """Return a factorisation that takes `Factors`."""

    def factorise(shift, factors, eps, one):
        return function(shift, factors.lu, eps, one, factors.y, factors.parameters)

    return factorise


def solve_at(function: Callable) -> Callable:
    """Return a substitution that takes `Factors`."""

    def solve(factors, rhs, rhs_at, x, x_at):
        function(factors.lu, rhs, rhs_at, x, x_at, factors.y, factors.parameters)

    return solve
