"""Time courses of what a model names, from the states of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cubie.errors import shown
from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.formulas import Formula, Name, value_of
from cubie.systems.symbolic.names import hint

KINDS = ("amount", "concentration")


def course_of(
    model: Description, called: Mapping[str, str], result: Any, name: str, kind: str | None
) -> np.ndarray:
    """Return the course of something in a result; see `Model.values`.

    Parameters
    ----------
    called : mapping of str to str
        What each name is called in equations.
    """
    formula = _formula(model, name, kind)
    return _Course(model, called, result).of(formula)


def _formula(model: Description, name: str, kind: str | None) -> Formula:
    if kind is not None and kind not in KINDS:
        raise ModelError(f"kind={kind!r}: it is 'amount' or 'concentration', or None.")
    view = model.views.get(name)
    if view is None:
        if name in model.rates or name in model.formulas:
            return Name(name)
        raise ModelError(f"{model.name} has no `{name}`{hint(name, tuple(model.views))}")
    if kind is None:
        return view.value
    found = getattr(view, kind)
    return view.value if found is None else found


class _Course:
    """The names of a model along a result."""

    def __init__(self, model: Description, called: Mapping[str, str], result: Any):
        self.model, self.y = model, result.y
        self.parameters = _parameters_of(model, result)
        if not hasattr(self.y, "shape"):
            raise ModelError(
                f"The result has {shown(type(self.y).__name__)}, whose runs have numbers of points "
                "of their own: give `t_eval`, or take `result.y` of each run."
            )
        self.runs_first = np.ndim(result.status) == 1
        self.time = np.asarray(result.t)
        self.shape = np.delete(self.y.shape, 1 if self.runs_first else 0)
        self.found: dict[str, Any] = {}
        kept = {name: i for i, name in enumerate(result.state_names)}
        self.places = {name: kept[called[name]] for name in model.rates if called[name] in kept}

    def of(self, formula: Formula) -> np.ndarray:
        """Return a formula's values, as a row of `y`."""
        found = value_of(formula, self.value, self.time)
        return np.array(np.broadcast_to(found, self.shape), dtype=float)

    def value(self, name: str) -> Any:
        """Return the values of a name, in a shape that goes with those of others."""
        if name in self.places:
            return self.y[:, self.places[name]] if self.runs_first else self.y[self.places[name]]
        if name in self.parameters:
            value = np.asarray(self.parameters[name])
            return value if value.ndim == 0 else value[:, None]
        if name in self.model.rates:
            raise ModelError(
                f"The result does not have the state `{name}`, which this needs: it was left out "
                "of `save_states`."
            )
        if name not in self.found:
            self.found[name] = value_of(self.model.defined[name], self.value, self.time)
        return self.found[name]


def _parameters_of(model: Description, result: Any) -> Any:
    parameters = getattr(result, "parameters", None)
    if not parameters and model.constants:
        raise ModelError(
            "The result is none of `solve_ivp` with this model: it does not tell which values the "
            "constants had."
        )
    return parameters
