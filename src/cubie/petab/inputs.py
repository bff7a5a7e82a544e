"""What runs are given of a problem's parameters: constants and initial values, with slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.petab.document import Document, Experiment, Scale
from cubie.petab.expressions import Expressions, Function, symbol

TEN = np.log(10.0)


class Scaled:
    """The vector that is estimated, each parameter on its scale.

    Attributes
    ----------
    names : tuple of str, length P
    start, lower, upper : ndarray (P,)
        On the scales.
    """

    def __init__(self, document: Document):
        self.fixed = {one.id: one.nominal for one in document.parameters if not one.estimated}
        for name, value in self.fixed.items():
            if np.isnan(value):
                raise ModelError(f"Parameter `{name}` of {document.name} has no value, and none "
                                 "is estimated.")  # fmt: skip
        free = [one for one in document.parameters if one.estimated]
        self.names = tuple(one.id for one in free)
        self.scales = tuple(one.scale for one in free)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.start = self._on_scale([one.nominal for one in free])
            self.lower = self._on_scale([one.lower for one in free])
            self.upper = self._on_scale([one.upper for one in free])

    def _on_scale(self, values: Sequence[float]) -> np.ndarray:
        to = {Scale.LIN: float, Scale.LOG: np.log, Scale.LOG10: np.log10}
        return np.array([to[s](v) for s, v in zip(self.scales, values, strict=True)], dtype=float)

    def values(self, x: Any) -> dict[str, float]:
        """Return every parameter of the problem at a vector (P,)."""
        x = np.asarray(x, dtype=float)
        if x.shape != (len(self.names),):
            raise ModelError(f"The vector has shape {x.shape}, and {len(self.names)} parameters "
                             f"are estimated: {', '.join(self.names)}.")  # fmt: skip
        of = {Scale.LIN: lambda v: v, Scale.LOG: np.exp, Scale.LOG10: lambda v: 10.0**v}
        found = {n: float(of[s](v)) for n, s, v in zip(self.names, self.scales, x, strict=True)}
        return self.fixed | found

    def slopes(self, values: Mapping[str, float]) -> np.ndarray:
        """Return the derivatives of the parameters by the vector, (P,)."""
        by = {Scale.LIN: lambda v: 1.0, Scale.LOG: lambda v: v, Scale.LOG10: lambda v: v * TEN}
        return np.array([by[s](values[n]) for n, s in zip(self.names, self.scales, strict=True)])


class RunInputs:
    """Constants and initial values of each experiment, as functions of the parameters.

    Attributes
    ----------
    constants, states : tuple of str
        What differs from the model, or between runs; states by what they begin with.
    """

    def __init__(self, document: Document, model: Description, numbers: Mapping[str, float]):
        self.document, self.model = document, model
        self.parameters = tuple(one.id for one in document.parameters)
        targets = {name for one in document.experiments for name in one.changes}
        for name in sorted(targets):
            self._require_target(name)
        own = {name for name in self.parameters if name in model.constants}
        self.constants = tuple(n for n in model.constants if n in own or n in targets)
        self.expressions = Expressions(model, self.constants, numbers)
        follow = model.follow_from(self.constants)
        self.states = tuple(n for n in model.rates if n in targets or n in follow)
        self.numbers = numbers

    def _require_target(self, name: str) -> None:
        if name in self.model.rates or name in self.model.constants:
            return
        if name in self.model.formulas:
            raise ModelError(
                f"{self.document.name} sets `{name}` in a condition, which the model computes of "
                "others at all times."
            )
        raise ModelError(f"{self.document.name} sets `{name}` in a condition, which the model "
                         "has not.")  # fmt: skip

    def of_runs(self) -> list[Any]:
        """Return expressions of parameters: of each constant, then state, those of all runs."""
        runs = [self._of_run(one) for one in self.document.experiments]
        return [run[name] for name in (*self.constants, *self.states) for run in runs]

    def _of_run(self, experiment: Experiment) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self.constants:
            if name in experiment.changes:
                found[name] = self._of_parameters(experiment.changes[name])
            elif name in self.parameters:
                found[name] = symbol(name)
            else:
                found[name] = self.numbers[name]
        by = {symbol(name): found[name] for name in self.constants}
        for name in self.states:
            if name in experiment.changes:
                found[name] = self._of_parameters(experiment.changes[name])
            else:
                start = self.expressions.start(name)
                found[name] = start.xreplace({symbol("time"): experiment.start}).subs(by, True)
        return found

    def _of_parameters(self, given: Any) -> Any:
        """Return what a condition sets, with numbers for constants that are no parameters."""
        by = {
            one: self.numbers[str(one)]
            for one in given.free_symbols
            if str(one) not in self.parameters and str(one) in self.numbers
        }
        return given.subs(by)


class Values:
    """Expressions of the parameters alone, at a vector, with slopes by it."""

    def __init__(self, expressions: Sequence[Any], scaled: Scaled, document: Document):
        names = (*scaled.names, *scaled.fixed)
        self._function = Function(expressions, names, document.name)
        self._scaled = scaled
        self._place = {name: i for i, name in enumerate(scaled.names)}

    def at(self, parameters: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return values (m,) and slopes (m, P)."""
        values = np.array(self._function.values(parameters), dtype=float)
        slopes = np.zeros((len(values), len(self._place)))
        of_vector = self._scaled.slopes(parameters)
        for i, name, slope in self._function.slopes(parameters):
            if name in self._place:
                slopes[i, self._place[name]] = slope * of_vector[self._place[name]]
        return values, slopes
