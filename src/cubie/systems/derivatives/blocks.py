"""Functions of a joint system whose part for each input is one matrix times its sensitivities.

Entries of the matrix, and what is of an input alone, are computed once, as text; then a loop over
the inputs multiplies. Found by what rows have in common, that would be loops over tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from cubie.systems.rolling.common import COMMON
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Value, reachable

# Products of fewer terms are text; entries of more operations are better found in loops.
LEAST_TERMS, MOST_OPERATIONS = 250, 4000


@frozen(eq=False)
class Blocks:
    """Rows of states, and of each input.

    Attributes
    ----------
    first : sequence of Expr or float
        Rows before those of inputs; none, or one of each state.
    matrix : mapping of (int, int) to Expr or float
        Entries of what multiplies the sensitivities to each input.
    rest : sequence of sequence
        Of each input what is added, one value of each state.
    """

    first: Sequence[Value]
    matrix: Mapping[tuple[int, int], Value]
    rest: Sequence[Sequence[Value]]

    @property
    def pays(self) -> bool:
        """Whether it is shorter so, and soon compiled."""
        n_inputs = len(self.rest)
        if n_inputs < 2 or n_inputs * len(self.matrix) < LEAST_TERMS:
            return False
        return len(reachable(self.values())) <= MOST_OPERATIONS

    def values(self) -> list[Value]:
        """Return all that is computed before the loop."""
        return [*self.first, *self.matrix.values(), *(one for row in self.rest for one in row)]


def write_blocks(writer: Any, blocks: Blocks, n: int) -> None:
    """Write the statements of a function of `n` states."""
    outputs, places = list(blocks.first), [f"{writer.begin}{i}]" for i in range(len(blocks.first))]

    def kept(value: Value) -> str:
        if type(value) is not Expr:
            return repr(float(value))
        outputs.append(value)
        places.append(f"{COMMON}[{writer.reserve(1)}]")
        return places[-1]

    terms: dict[int, list[str]] = {}
    for (row, column), entry in blocks.matrix.items():
        terms.setdefault(row, []).append(f"{kept(entry)} * y[{n} * k + {column}]")
    block = f"{n} * k" if blocks.first else f"{n} * (k - 1)"
    loop = [
        f"    {writer.begin}{block} + {i}] = {' + '.join(terms.get(i, ['0.0']))}" for i in range(n)
    ]
    added = []
    for number, row in enumerate(blocks.rest, int(bool(blocks.first))):
        for i, value in enumerate(row):
            if type(value) is Expr or value != 0.0:
                place = f"{writer.begin}{n * number + i}]"
                added.append(f"{place} = {place} + {kept(value)}")
    writer.write(outputs, places=places)
    writer.lines += [f"for k in range(1, {len(blocks.rest) + 1}):", *loop, *added]
