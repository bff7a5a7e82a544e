"""A model, all values that it is computed with, and what is kept of its runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import evolve

from cubie.labelled.words import COMPONENT, INPUT, STATE, TIME
from cubie.run.summaries.request import Asked
from cubie.sweeps.axes import Rows, Space
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.codec import NotData, is_of_models, to_json
from cubie.sweeps.derivatives import inputs_of
from cubie.sweeps.draws import Draws
from cubie.sweeps.kept import Layout
from cubie.sweeps.model import Model
from cubie.sweeps.names import require_names
from cubie.sweeps.outputs import components_of, variables_of
from cubie.systems import System, fingerprint

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
MOST_DRAWN_AT_ONCE = 10**7  # values along one dimension, as a coordinate that is known before


class Whole:
    """A model, and all values that it is computed with."""

    def __init__(self, model: Model, space: Space, drawn: Draws | None):
        self.model, self.space, self.drawn = model, space, drawn
        self.variables = variables_of(model)
        self._require_names()

    def _require_names(self) -> None:
        drawn = () if self.drawn is None else self.drawn.names
        require_names(self.space, drawn, self.variables)

    def layout(self, chunks: Chunks) -> Layout:
        """Return what is kept, and in which pieces."""
        along, coordinates = [], {}
        for i, axis in enumerate(self.space.axes):
            if isinstance(axis, Rows):
                for name, values in zip(axis.names, axis.columns, strict=True):
                    coordinates[name] = ((axis.dim,), values)
                coordinates |= {name: ((axis.dim,), values) for name, values in axis.labels}
            elif axis.size <= MOST_DRAWN_AT_ONCE and len(chunks) > 1:
                for name, values in axis.at(np.arange(axis.size)).items():
                    coordinates[name] = ((axis.dim,), values)
            else:
                along.append((i, axis.names))
        components = np.array(components_of(self.model), dtype=str)
        if components.size:
            coordinates[COMPONENT] = ((COMPONENT,), components)
        if any(STATE in v.dims for v in self.variables):
            names = self.model.state_names
            coordinates[STATE] = ((STATE,), np.array(names, dtype=str))
        if inputs := inputs_of(self.model):
            coordinates[INPUT] = ((INPUT,), np.array(inputs, dtype=str))
        if self.model.times is not None:
            coordinates[TIME] = ((TIME,), self.model.times)
        drawn = () if self.drawn is None else self.drawn.names
        initial = tuple(place.name for place in self.model.places if place.of == "state")
        return Layout(
            self.space.dims, chunks, self.variables, coordinates, tuple(along), tuple(drawn),
            initial,
        )  # fmt: skip

    @cached_property
    def content(self) -> bytes:
        """All of it as JSON; empty where a part is no data."""
        return self._as_json[0]

    @property
    def lacking(self) -> str:
        """What of it is no data."""
        return self._as_json[1]

    @cached_property
    def _as_json(self) -> tuple[bytes, str]:
        try:
            return to_json((self.model, self.space, self.drawn)), ""
        except NotData as error:
            return b"", str(error)

    @cached_property
    def digest(self) -> str:
        """What tells the sweep from others.

        Of a part that is no data, such as a function that was not traced, it is what that refers
        to, as far as it can be seen.
        """
        # Notes are of the machine, too, on which it was prepared.
        parts = (evolve(self.model, notes=()), self.space, self.drawn)
        text = to_json(parts) if self.content else _identity(parts).encode()
        return hashlib.sha256(text).hexdigest()


def _identity(value: Any) -> str:
    """Return what tells something from others, be it data or not."""
    try:
        return hashlib.sha256(to_json(value)).hexdigest()
    except NotData:
        pass
    if isinstance(value, System):
        return value.digest
    if isinstance(value, Asked):  # whose code has a name for once, where it cannot be seen
        return _identity(value.quantities)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_identity, value))})"
    if isinstance(value, Mapping):
        return _identity([(repr(key), entry) for key, entry in value.items()])
    of = type(value)
    if attrs.has(of) and is_of_models(of):
        fields = (part for part in attrs.fields(of) if part.init)
        return _identity([of.__qualname__, *(getattr(value, part.name) for part in fields)])
    # Where the content of an object cannot be seen, it goes by its name.
    name = f"{of.__module__}.{of.__qualname__} {ADDRESS.sub('', repr(value))}"
    return fingerprint(value, of) or fingerprint(value) or name
