"""What every linear solver offers to Newton's method and to Rosenbrock steps.

The matrices are ``shift * eigenvalue * M - J``, with J the Jacobian of the right-hand side at one
point, M the mass matrix, and shift a number of the run, usually 1 / (h * gamma). A step with one
diagonal coefficient has one eigenvalue, 1. For a fully implicit method the eigenvalues are those
of the inverse of its coefficient matrix (Hairer & Wanner II, IV.8), a complex pair given by the
one of positive imaginary part: all blocks share one Jacobian and are prepared together.

A vector of unknowns has a section for each eigenvalue: n elements for a real one, n real parts
then n imaginary parts for a complex one. Together they have n elements a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from attrs import field, frozen, validators

from cubie.errors import InvalidOption
from cubie.factory import CUDAFactory
from cubie.systems.derivatives.component import JacobianComponent


class Matrix(NamedTuple):
    """Which matrices of the form ``shift * eigenvalue * M - J`` are meant: J is that of (t, y)."""

    t: Any
    shift: Any  # usually 1 / (h * gamma)
    y: Any  # buffer, (n,)
    parameters: Any  # buffer, (m,)


@frozen
class LinearSolverFunctions:
    """Device functions of a linear solver.

    Attributes
    ----------
    prepare : callable
        ``prepare(memory, launch, matrix) -> ok``: builds what `solve` uses of a `Matrix`. The
        mask tells in which lanes the matrices are regular.
    solve : callable
        ``solve(memory, launch, matrix, rhs, rhs_at, x, x_at) -> (ok, iterations)``: solves for
        the N unknowns ``x[x_at + i]`` with the right-hand side ``rhs[rhs_at + i]``, which may be
        the same elements and is left as it was otherwise. `matrix` must be that of `prepare`.
        `iterations` counts
        products with the Jacobian per lane (int32 lanes, 0 for a direct solver). Lanes whose mask
        is false hold the best that was found, or nothing useful where the matrix is singular.
    filter : callable or None
        As `solve`, with the block ``blocks.filter`` alone, for its n unknowns.
    renew : callable or None
        ``renew(memory, launch, matrix, anew, shift) -> ok``: as `prepare`, with the `shift` that is
        given, of Jacobians that stay until the next call: only in the lanes of the mask `anew` it
        is that of `matrix`. None unless the solver `keeps_jacobian`.
    """

    prepare: Callable
    solve: Callable
    filter: Callable | None
    renew: Callable | None = None


def _checked_eigenvalues(instance, attribute, value):
    for eigenvalue in value:
        if complex(eigenvalue).imag < 0.0:
            raise InvalidOption(
                attribute.name, value, advice="Give of a complex pair the one above the axis."
            )


@frozen
class Blocks:
    """Which matrices are solved with, and where their unknowns lie.

    Attributes
    ----------
    n_states : int
    eigenvalues : tuple of complex
        Imaginary part zero for a real block, positive for one that stands for a pair.
    filter : int, optional
        Number of the real block that an error estimate is filtered with.
    filter_only : bool
        That block is the last one, and holds none of the unknowns of `solve`.
    """

    n_states: int = field(validator=validators.ge(1))
    eigenvalues: tuple[complex, ...] = field(
        default=(1.0 + 0.0j,),
        converter=lambda values: tuple(complex(v) for v in values),
        validator=(validators.min_len(1), _checked_eigenvalues),
    )
    filter: int | None = None
    filter_only: bool = False

    @property
    def solved(self) -> Blocks:
        """The blocks of `solve`."""
        return Blocks(self.n_states, self.eigenvalues[:-1]) if self.filter_only else self

    @property
    def filtering(self) -> Blocks:
        """The block of `filter`."""
        assert self.filter is not None
        return Blocks(self.n_states, self.eigenvalues[self.filter : self.filter + 1])

    @property
    def filter_at(self) -> int:
        """First element of the filter's block in arrays of all blocks."""
        return 0 if self.filter is None else self.offsets[self.filter]

    @property
    def offsets(self) -> tuple[int, ...]:
        """First element of each block in arrays of all."""
        starts = [0]
        for eigenvalue in self.eigenvalues:
            starts.append(starts[-1] + self.n_states * (2 if eigenvalue.imag else 1))
        return tuple(starts[:-1])

    @property
    def n_unknowns(self) -> int:
        """Number of unknowns of `solve`."""
        return self.n_elements - self.n_states * self.filter_only

    @property
    def n_elements(self) -> int:
        """Size of arrays of all blocks."""
        return self.n_states * sum(2 if value.imag else 1 for value in self.eigenvalues)


class LinearSolver(CUDAFactory):
    """Base of the linear solvers.

    Attributes
    ----------
    blocks : Blocks
    per_component : bool
        Tolerances are given per component.
    note : str
        How the derivatives are found.
    factorised_jacobian : component or None
        What evaluates the entries of the Jacobian that it factorises; None where it does not.
    keeps_jacobian : bool
        It has a `renew`. What it prepared then stays until something else is prepared.
    narrows : bool
        Solutions have fewer digits than the run's numbers.
    reads_entries : bool
        Its `solve` may read entries of the Jacobian where they come from: in the state and the
        parameters of its `Matrix`. Set by who owns it, and keeps them as they are.
    """

    name = "linear_solver"
    keeps_jacobian = False
    narrows = False
    reads_entries = False
    factorised_jacobian: JacobianComponent | None = None
    phases = ("jacobian", "factorise", "solve")
    entries: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "prepare": ("jacobian", "factorise"),
        "solve": ("solve",),
        "filter": ("solve",),
    }

    def __init__(self, blocks: Blocks, per_component: bool, dtype, options: Mapping[str, Any]):
        super().__init__(dtype, options)
        self.blocks, self.per_component = blocks, per_component
        self.note = ""
