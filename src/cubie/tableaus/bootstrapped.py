"""Interpolants of explicit methods whose own stages do not determine one that is good enough.

Stages are added inside the step, each evaluated where an interpolant of the stages before leads
to. With every level of them the order rises by one, until the error inside a step is of the order
of the one that is held to the tolerances (Enright, Jackson, Norsett & Thomsen, ACM TOMS 12, 1986,
p. 193). Together they are a Runge-Kutta method with more stages, of which `continuous_extension`
takes the interpolant. They cost evaluations only in steps with points inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from cubie.tableaus.continuous import Interpolant, Rows, continuous_extension


@frozen
class DenseOutput:
    """What the solution inside a step is made of.

    Attributes
    ----------
    nodes : tuple of float
        Parts of the step at which stages are added, after those of the method, in order.
    rows : tuple of (n_stages + n_added,) rows of float
        The weights that lead there.
    interpolant : Interpolant
        Of all stages.
    """

    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    interpolant: Interpolant

    @property
    def order(self) -> int:
        """The error inside a step shrinks as ``h**(order + 1)``."""
        return self.interpolant.order


def bootstrap(a: Rows, b: Sequence[float], order: int, levels: Rows) -> DenseOutput:
    """Return the solution inside a step of an explicit method with stages added at `levels`."""
    n_stages = len(b) + sum(map(len, levels))
    rows = [[*row, *[0.0] * (n_stages - len(row))] for row in a]
    weights = [*b, *[0.0] * (n_stages - len(b))]
    nodes: list[float] = []
    for level in levels:
        there = continuous_extension(*_first(rows, weights), order)
        for theta in level:
            values = there.values_at(theta)
            rows.append([*values, *[0.0] * (n_stages - len(values))])
            nodes.append(theta)
    found = continuous_extension(rows, rows, weights, order)
    added = tuple(tuple(row) for row in rows[len(b) :])
    return DenseOutput(tuple(nodes), added, found)


def _first(rows: list[list[float]], weights: list[float]):
    """Return the stages there are so far, as a method of their own."""
    n = len(rows)
    square = [row[:n] for row in rows]
    return square, square, weights[:n]
