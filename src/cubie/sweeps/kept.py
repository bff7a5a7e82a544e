"""Where results of a sweep go: the memory of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from attrs import evolve, frozen

from cubie.labelled.words import DRAWN, about_coordinate
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.variable import Variable

Box = Sequence[slice]


@frozen(eq=False)
class Layout:
    """What a sweep keeps, and in which pieces.

    Attributes
    ----------
    dims : tuple of str
        Of the runs.
    chunks : Chunks
    variables : tuple of Variable
    coordinates : mapping of name to (dims, values)
        Those that are known before.
    along : tuple of (int, tuple of str)
        Dimensions along which values are drawn, and their names: written with chunks.
    drawn : tuple of str
        What each run draws for itself.
    initial : tuple of str
        Which of all these are initial values, and have the names of their states.
    """

    dims: tuple[str, ...]
    chunks: Chunks
    variables: tuple[Variable, ...]
    coordinates: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    along: tuple[tuple[int, tuple[str, ...]], ...] = ()
    drawn: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()

    @property
    def bytes_per_run(self) -> int:
        """How much is kept of each run."""
        return sum(v.bytes_per_run for v in self.variables) + 8 * len(self.drawn)

    def about(self, name: str) -> dict[str, str]:
        """Return the attributes of a coordinate, or of what each run draws."""
        drawn = DRAWN if name in self.drawn else {}
        return about_coordinate(name, name in self.initial) | drawn

    def coordinates_of(self, dims: Sequence[str]) -> dict[str, str]:
        """Return the attribute that names coordinates which are no dimensions, as CF has it.

        It has spaces between names: a name with a space is found by this package alone.
        """
        along = {name: (self.dims[i],) for i, names in self.along for name in names}
        known = {name: of for name, (of, _) in self.coordinates.items()}
        found = [
            name
            for name, of in {**known, **along}.items()
            if (name,) != of and set(of) <= set(dims) and " " not in name
        ]
        return {"coordinates": " ".join(found)} if found else {}

    def without_coordinates(self) -> Layout:
        """Return what whoever writes chunks needs to know."""
        return evolve(self, coordinates={})

    @property
    def n_bytes(self) -> int:
        """How much is kept of all."""
        along = sum(8 * self.chunks.shape[i] * len(names) for i, names in self.along)
        known = sum(values.nbytes for _, values in self.coordinates.values())
        return self.bytes_per_run * self.chunks.n_runs + along + known


class Keeper(Protocol):
    """What keeps results, chunk by chunk."""

    def done(self) -> np.ndarray:
        """Return of each chunk how often it was written: 0, 1, or 1 and a number of retries."""
        ...

    def times(self, number: int) -> int:
        """Return that of one chunk."""
        ...

    def write(self, number: int, values: Mapping[str, np.ndarray], times: int) -> None:
        """Keep a chunk, whole or not at all as far as `done` tells.

        What was written as often already stays: it is the same, or newer.
        """
        ...

    def lost(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return which of these chunks, that are told done, are not there, and what is lost."""
        ...

    def read(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what was kept of a chunk."""
        ...

    def whole(self, name: str) -> Any:
        """Return all that is kept of a variable, lazily where it is on disk."""
        ...


@frozen(eq=False)
class InMemory:
    """Arrays of this process."""

    layout: Layout
    arrays: dict[str, np.ndarray]
    written: np.ndarray

    @classmethod
    def new(cls, layout: Layout) -> InMemory:
        """Return room for a sweep, of which nothing is done."""
        shape = layout.chunks.shape
        arrays = {v.name: np.full((*shape, *v.sizes), v.fill, v.dtype) for v in layout.variables}
        for name in layout.drawn:
            arrays[name] = np.full(shape, np.nan)
        for i, names in layout.along:
            arrays |= {name: np.full(shape[i], np.nan) for name in names}
        return cls(layout, arrays, np.zeros(len(layout.chunks), np.uint16))

    def done(self) -> np.ndarray:
        """Return of each chunk how often it was written."""
        return self.written.copy()

    def times(self, number: int) -> int:
        """Return how often a chunk was written."""
        return int(self.written[number])

    def write(self, number: int, values: Mapping[str, np.ndarray], times: int) -> None:
        """Keep a chunk."""
        if self.written[number] >= times:
            return
        for name, part, array in places_of(self.layout, number, values):
            self.arrays[name][part] = array
        self.written[number] = times

    def lost(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return nothing: memory does not lose anything."""
        return {}

    def read(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what was kept of a chunk."""
        box = self.layout.chunks.at(number)
        return {name: self.arrays[name][box].copy() for name in names}

    def whole(self, name: str) -> np.ndarray:
        """Return all that is kept of a variable."""
        return self.arrays[name]


def places_of(layout: Layout, number: int, values: Mapping[str, np.ndarray]) -> Any:
    """Yield (name, place, array) of all that a chunk writes, the status last.

    Values along one dimension are written by the first chunk that has them: no two write the same.
    """
    box = layout.chunks.at(number)
    along = {name: i for i, names in layout.along for name in names}
    whole, last = {v.name for v in layout.variables} | set(layout.drawn), layout.variables[-1].name
    for name in sorted(values, key=lambda name: name == last):
        if name not in along and name not in whole:
            continue  # a coordinate that was known before
        if name in whole:
            yield name, tuple(box), values[name]
        elif all(part.start == 0 for k, part in enumerate(box) if k != along[name]):
            yield name, (box[along[name]],), values[name].reshape(-1)
