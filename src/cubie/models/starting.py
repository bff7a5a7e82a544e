"""What a model begins with: numbers of one run, or of many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.formulas import Formula, value_of


class Start:
    """Values at the start of runs, computed when they are asked for.

    Parameters
    ----------
    model : Description
    time : float or ndarray (n_runs,)
    given : mapping of str to (float or ndarray (n_runs,))
        What is given in the place of what the model begins with.
    instead : mapping of str to Formula
        And formulas in the place of its own.

    Attributes
    ----------
    unknown : list of str
        States and constants without a number, of those that were asked for.
    """

    def __init__(
        self,
        model: Description,
        time: Any,
        given: Mapping[str, Any],
        instead: Mapping[str, Formula],
    ):
        self._model, self._time, self._instead = model, time, instead
        self._found: dict[str, Any] = dict(given)
        self._above: list[str] = []
        self.unknown: list[str] = []

    def value(self, name: str) -> Any:
        """Return what something is at the start.

        Raises
        ------
        ModelError
            For what is defined by itself.
        """
        if name in self._found:
            return self._found[name]
        if name in self._above:
            chain = " -> ".join([*self._above[self._above.index(name) :], name])
            raise ModelError(f"`{name}` of {self._model.name} is defined by itself: {chain}.")
        formula = self._instead.get(name)
        if formula is None:
            formula = self._model.initial.get(name, self._model.defined.get(name))
        assert formula is not None, name
        self._above.append(name)
        if formula != formula and name in self._model.initial:  # NaN: the model gives no number
            self.unknown.append(name)
        self._found[name] = found = value_of(formula, self.value, self._time)
        self._above.pop()
        return found

    def require_states(self) -> None:
        """Refuse states that begin with no number, and tell what lacks one.

        Raises
        ------
        ModelError
        """
        for state in self._model.rates:
            before = len(self.unknown)
            if np.all(self.value(state) == self.value(state)):
                continue
            lacking = self.unknown[before:] or [one for one in self.unknown if one == state]
            lacking = lacking or self.unknown or [state]
            where = "y0" if lacking[0] in self._model.rates else "args"
            raise ModelError(
                f"`{state}` of {self._model.name} begins with no number: the model gives none for "
                f"`{lacking[0]}`. Give it in {where}={{{lacking[0]!r}: ...}}."
            )
