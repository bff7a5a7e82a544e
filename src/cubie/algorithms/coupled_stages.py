"""The equations of all stages of a fully implicit method, taken apart by eigenvectors.

With z the increments of all stages, ``(A^-1 x M) z / h = f(t + c h, y + z)``. The eigenvectors of
A^-1 take it apart: with z = (T x I) w the matrix of Newton's method has a block for each real
eigenvalue and one for each complex pair, of n equations each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from attrs import field, frozen

from cubie.algorithms.separate_stages import build_separate_stages
from cubie.algorithms.stage_slots import build_sums
from cubie.backend import Backend, in_turn
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks
from cubie.solvers.newton_contract import SeparateStages
from cubie.systems.component import SystemComponent
from cubie.systems.drivers.calling import build_recall
from cubie.systems.generated import load_module

Rows = tuple[tuple[float, ...], ...]
# On GPUs compilers unroll loops over this many states; of more the code would grow too large.
ROUNDS, FEW_STATES = 10, 40


@frozen
class Transformation:
    """What makes the inverse of a coefficient matrix block-diagonal.

    Attributes
    ----------
    eigenvalues : tuple of complex
        Of A^-1: real ones, then of each complex pair the one above the axis.
    to_stages, to_blocks : rows of numbers
        T and its inverse. A pair has two columns: the real part of its eigenvector, and the
        imaginary part with its sign changed.
    """

    eigenvalues: tuple[complex, ...]
    to_stages: Rows
    to_blocks: Rows

    @classmethod
    def of(cls, a_inverse: Sequence[Sequence[float]]) -> Transformation:
        values, vectors = np.linalg.eig(np.array(a_inverse, dtype=float))
        # Scaled so that the increments of the last stage are sums of those of the blocks.
        vectors = vectors / vectors[-1]
        tiny = 1e-10 * np.abs(values).max()
        real = [k for k, value in enumerate(values) if abs(value.imag) <= tiny]
        upper = [k for k, value in enumerate(values) if value.imag > tiny]
        columns = [vectors[:, k].real for k in real]
        for k in upper:
            columns += [vectors[:, k].real, -vectors[:, k].imag]
        to_stages = np.array(columns).T
        found = [complex(values[k].real) for k in real] + [complex(values[k]) for k in upper]
        return cls(tuple(found), _rows(to_stages), _rows(np.linalg.inv(to_stages)))


def _rows(matrix: np.ndarray) -> Rows:
    return tuple(tuple(row) for row in matrix.tolist())


@frozen
class CoupledEquations:
    """``(T^-1 x I) f(t + c h, y + (T x I) w) - (Lambda x M) w / h = 0``; `base` is not used."""

    n_states: int
    # A child of the method: what depends on it is built anew where it changes.
    system: SystemComponent = field(repr=False)
    c: tuple[float, ...]
    transformation: Transformation
    blocks: Blocks
    couples_stages = True

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        backend = context.backend
        stages = [self._build_stage(backend, rhs, i) for i in range(len(self.c))]
        sections = zip(self.transformation.eigenvalues, self.blocks.offsets, strict=False)
        masses = [self._build_mass(backend, add_mass, value, at) for value, at in sections]
        add_stages, add_masses = in_turn(backend, stages, 3), in_turn(backend, masses, 3)
        transform = self._build_transform(backend)

        def evaluate(stage, argument, out):
            add_stages(stage, argument, out)
            transform(out)
            add_masses(stage.shift, stage.increment, out)

        return evaluate

    def _build_transform(self, backend: Backend) -> Callable:
        """Return ``transform(out)``: derivatives of stages become right-hand sides of blocks."""
        n, rows = self.n_states, enumerate(self.transformation.to_blocks)
        transform = build_sums(backend, [(j * n, self._sections(row)) for j, row in rows])
        # Loops that are short enough are unrolled: their values stay in registers.
        n_pieces = -(-n // ROUNDS) if n <= FEW_STATES else 1
        bounds = [n * piece // n_pieces for piece in range(n_pieces + 1)]

        def piece(first: int, last: int) -> Callable:
            def transform_some(out):
                for k in range(first, last):
                    transform(out, k)

            return backend.device(transform_some)

        return in_turn(backend, [piece(*pair) for pair in itertools.pairwise(bounds)], 1)

    def _sections(self, weights: Iterable[float]) -> list[tuple[int, float]]:
        return [(j * self.n_states, float(weight)) for j, weight in enumerate(weights)]

    def build_separate(
        self, context: BuildContext, rhs: Callable, add_mass: Callable, scale: Callable
    ) -> SeparateStages:
        return build_separate_stages(self, context, rhs, add_mass, scale)

    def build_place(self, context: BuildContext) -> Callable:
        """Return the mean of the stages, one matrix being that of all."""
        n, mean = self.n_states, np.mean(self.transformation.to_stages, axis=0)
        total = context.backend.weighted_sum(self._sections(mean))
        centre = context.backend.constant(float(np.mean(self.c)))

        def place(stage, out):
            for k in range(n):
                out[k] = stage.state[k] + total(stage.increment, k)
            return stage.t + centre * stage.h

        return place

    def _build_stage(self, backend: Backend, rhs: Callable, i: int) -> Callable:
        """Evaluate f at stage `i`: its argument may lie where that of the last stage goes."""
        n, c = self.n_states, backend.constant(self.c[i])
        total = backend.weighted_sum(self._sections(self.transformation.to_stages[i]))
        recall = build_recall(backend, self.system, i)

        def add_stage(stage, argument, out):
            for k in range(n):
                argument[k] = stage.state[k] + total(stage.increment, k)
            t = stage.t + c * stage.h
            recall(t, stage.parameters)
            rhs(t, argument, stage.parameters, out, i * n)

        return backend.device(add_stage)

    def _build_mass(self, backend: Backend, add_mass: Callable, value: complex, at: int):
        """Subtract a block's part of ``(Lambda x M) w / h``."""
        real, imaginary = backend.constant(value.real), backend.constant(value.imag)
        other = at + self.n_states

        def one(shift, increment, out):
            add_mass(-shift * real, increment, at, out, at)

        def pair(shift, increment, out):
            add_mass(-shift * real, increment, at, out, at)
            add_mass(shift * imaginary, increment, other, out, at)
            add_mass(-shift * imaginary, increment, at, out, other)
            add_mass(-shift * real, increment, other, out, other)

        return backend.device(pair if value.imag else one)


_HEADER = '''"""Collocation polynomial of {stages} stages, continued beyond its step.

Written by cubie: changes are overwritten.
"""


def extrapolate(increment, at, ratio):
'''


def build_extrapolate(
    backend: Backend, c: Sequence[float], transformation: Transformation, n: int
) -> Callable:
    """Return ``extrapolate(increment, at, ratio)``.

    For the state numbered `at` it replaces the transformed increments of one step by those that
    the same polynomial has in a next step, `ratio` times as long (H&W II, IV.8).
    """
    source = _write_extrapolate(c, transformation, n)
    function = load_module(source).extrapolate
    return backend.straight_line(function, inline=False)


def _write_extrapolate(c: Sequence[float], transformation: Transformation, n: int) -> str:
    """Write the text: powers of the time after the step's end, scaled by the ratio, summed."""
    stages, nodes = len(c), np.array([0.0, *c])
    # The polynomial is zero at the start, and z at the nodes; its value at the end drops out.
    at_nodes = np.vander(nodes - 1.0, increasing=True)
    powers = np.linalg.inv(at_nodes)[1:, 1:] @ np.array(transformation.to_stages)
    values = np.vander(np.array(c), stages + 1, increasing=True)[:, 1:]
    values = np.array(transformation.to_blocks) @ values
    numbers = range(stages)
    lines = [f"w{j} = increment[at + {j * n}]" for j in numbers]
    for k in numbers:
        lines.append(f"r{k} = " + (f"r{k - 1} * ratio" if k else "ratio"))
        total = " + ".join(f"{float(powers[k, j])!r} * w{j}" for j in numbers)
        lines.append(f"p{k} = r{k} * ({total})")
    for j in numbers:
        total = " + ".join(f"{float(values[j, k])!r} * p{k}" for k in numbers)
        lines.append(f"increment[at + {j * n}] = {total}")
    return _HEADER.format(stages=stages) + "".join(f"    {line}\n" for line in lines)
