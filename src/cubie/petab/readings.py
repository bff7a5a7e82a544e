"""Measurements as functions of a solution, with the likelihood that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from cubie.models.errors import ModelError
from cubie.petab.document import Document, Measurement, Observable
from cubie.petab.expressions import Function, symbol
from cubie.petab.inputs import RunInputs
from cubie.petab.noise import Terms, terms


class Readings:
    """Measurements, grouped by observable, as functions of a solution.

    Attributes
    ----------
    times : ndarray (n_times,)
        At which something is measured.
    of_parameters : list of sympy.Expr
        What placeholders are, as they are asked for.
    """

    def __init__(self, document: Document, inputs: RunInputs):
        self.document, self.inputs = document, inputs
        measured = document.measurements
        self.times = np.unique([one.time for one in measured])
        runs = {one.id: i for i, one in enumerate(document.experiments)}
        self.of_parameters: list[Any] = []
        self.groups: list[_Group] = []
        for observable in document.observables:
            rows = [i for i, one in enumerate(measured) if one.observable == observable.id]
            if rows:
                group = [measured[i] for i in rows]
                self.groups.append(
                    _Group(
                        observable,
                        np.array(rows),
                        np.array([runs[one.experiment] for one in group]),
                        np.searchsorted(self.times, [one.time for one in group]),
                        np.array([one.value for one in group]),
                        {name: self._places(name, group) for name in observable.placeholders},
                        self._function(observable),
                    )
                )

    def _places(self, name: str, group: list[Measurement]) -> np.ndarray:
        """Return where among `of_parameters` stands what a placeholder is in each measurement."""
        places = []
        for one in group:
            if name not in one.placeholders:
                raise ModelError(f"A measurement of `{one.observable}` at {one.time:g} gives no "
                                 f"value to `{name}`.")  # fmt: skip
            places.append(len(self.of_parameters))
            self.of_parameters.append(one.placeholders[name])
        return np.array(places)

    def _function(self, observable: Observable) -> Function:
        model, expressions = self.inputs.model, self.inputs.expressions

        def of_model(given: Any) -> Any:
            names = {
                str(one): one
                for one in given.free_symbols
                if str(one) in model.views or str(one) in model.rates
            }
            return given.subs({one: expressions.now(name) for name, one in names.items()})

        value = of_model(observable.formula)
        noise = of_model(observable.noise_formula.subs(symbol(observable.id), observable.formula))
        known = (*model.rates, *self.inputs.constants, *self.inputs.parameters, "time")
        return Function(
            [value, noise], tuple(dict.fromkeys((*known, *observable.placeholders))),
            f"The formula of `{observable.id}`",
        )  # fmt: skip

    def estimated_noise(self, names: tuple[str, ...]) -> set[str]:
        """Return the observables whose noise depends on what is estimated."""
        found = set()
        for group in self.groups:
            given = {str(one) for one in group.observable.noise_formula.free_symbols}
            for name, places in group.placeholders.items():
                if name in given:
                    given |= {str(s) for i in places for s in self.of_parameters[i].free_symbols}
            if given & {*names} or given - {*group.placeholders, *self.inputs.parameters}:
                found.add(group.observable.id)
        return found

    def at(
        self, y: np.ndarray, dy: np.ndarray, args: Any, by_name: Any, parameters: Any,
        read: np.ndarray, read_slopes: np.ndarray,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Return simulations, noise, likelihood, gradient, residuals and Jacobian."""
        m, n = len(self.document.measurements), dy.shape[-1]
        predicted, sigma, likelihood, residuals = (np.full(m, np.nan) for _ in range(4))
        by, jacobian = np.full((m, n), np.nan), np.full((m, n), np.nan)
        for group in self.groups:
            known: dict[str, tuple[Any, Any]] = dict(parameters)
            for name, value in args.items():
                known[name] = value[group.runs], by_name[name][group.runs]
            for i, name in enumerate(self.inputs.model.rates):
                known[name] = y[group.runs, i, group.at], dy[group.runs, i, group.at]
            known["time"] = self.times[group.at], np.zeros(n)
            for name, places in group.placeholders.items():
                known[name] = read[places], read_slopes[places]
            value, noise = group.at_solution(known, n)
            found: Terms = terms(
                group.observable.noise, group.observable.scale, group.measured, value[0], noise[0]
            )
            rows = group.rows
            predicted[rows], sigma[rows] = value[0], noise[0]
            likelihood[rows], residuals[rows] = found.likelihood, found.residual
            by[rows] = _chained(found.likelihood_by_value, value, found.likelihood_by_noise, noise)
            jacobian[rows] = _chained(
                found.residual_by_value, value, found.residual_by_noise, noise
            )
        total = float(likelihood.sum())
        return (
            predicted, sigma, total if np.isfinite(total) else -np.inf, by.sum(axis=0), residuals,
            jacobian,
        )  # fmt: skip


def _chained(by_value: Any, value: Any, by_noise: Any, noise: Any) -> np.ndarray:
    return by_value[:, None] * value[1] + by_noise[:, None] * noise[1]


@frozen(eq=False)
class _Group:
    """The measurements of one observable: where they stand, in which run, at which time."""

    observable: Observable
    rows: np.ndarray
    runs: np.ndarray
    at: np.ndarray
    measured: np.ndarray
    placeholders: Mapping[str, np.ndarray]
    function: Function

    def at_solution(self, known: Mapping[str, tuple[Any, Any]], n: int) -> Any:
        """Return value and noise, each (rows,) with slopes (rows, n)."""
        shape = self.rows.shape
        given = {name: value for name, (value, _) in known.items()}
        values = [np.broadcast_to(one, shape) for one in self.function.values(given)]
        slopes = [np.zeros((*shape, n)), np.zeros((*shape, n))]
        for i, name, slope in self.function.slopes(given):
            slopes[i] += np.broadcast_to(slope, shape)[:, None] * known[name][1]
        return tuple(zip(values, slopes, strict=True))
