"""Chunks: boxes of runs that are computed, stored and repeated as one.

A box is whole in its last dimensions, a part of one, and one value wide in those before: the runs
of a chunk follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import frozen


@frozen
class Chunks:
    """How a space of runs is cut.

    Attributes
    ----------
    shape : tuple of int
        Of all runs.
    box : tuple of int
        Of a chunk; the last ones along a dimension may be smaller.
    """

    shape: tuple[int, ...]
    box: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], n_runs: int, group: int = 1) -> Chunks:
        """Cut so that chunks have about so many runs.

        Parameters
        ----------
        n_runs : int
            No chunk has more, where one dimension is not larger alone.
        group : int
            How many runs are computed together: a chunk is a multiple where that can be had.
        """
        box, inner = [1] * len(shape), 1
        for i in reversed(range(len(shape))):
            if inner * shape[i] <= n_runs:
                box[i] = shape[i]
                inner *= shape[i]
                continue
            rows = max(1, n_runs // inner)
            step = group // math.gcd(group, inner)
            rows = rows - rows % step if rows >= step else rows
            # Chunks of one size, where that costs none more than there would be.
            parts = -(-shape[i] // rows)
            even = -(-shape[i] // parts)
            even += -even % step
            box[i] = min(rows, even)
            break
        return cls(shape, tuple(box))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.box, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    @property
    def n_runs(self) -> int:
        """Runs of all chunks."""
        return math.prod(self.shape)

    @property
    def largest(self) -> int:
        """Runs of the largest chunk."""
        return math.prod(self.box)

    def at(self, number: int) -> tuple[slice, ...]:
        """Return the box of a chunk."""
        if not 0 <= number < len(self):
            raise IndexError(f"chunk {number} of {len(self)}")
        parts, rest = [], number
        for n, b, count in reversed(list(zip(self.shape, self.box, self.counts, strict=True))):
            rest, i = divmod(rest, count)
            parts.append(slice(i * b, min(n, (i + 1) * b)))
        return tuple(reversed(parts))

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Return how many values wide a chunk is."""
        return tuple(part.stop - part.start for part in self.at(number))

    def runs_of(self, number: int) -> range:
        """Return the numbers of its runs, which follow each other."""
        first = 0
        for n, part in zip(self.shape, self.at(number), strict=True):
            first = first * n + part.start
        return range(first, first + math.prod(self.shape_of(number)))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))
