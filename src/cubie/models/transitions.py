"""Events of a model as states and transitions between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from cubie.models.description import Description
from cubie.models.errors import ModelError


@frozen(eq=False)
class Machine:
    """A model with the states of its events."""

    model: Description

    def events(self, equations: Any, called: Mapping, free: tuple, numbers: Mapping) -> tuple:
        """Return the events that solvers take."""
        return ()


def events_of(model: Description) -> Machine:
    """Return a model with the states of its events."""
    if model.events:
        raise ModelError(
            f"{model.name} has {len(model.events)} events, which are not here yet.", "events"
        )
    return Machine(model)
