"""`load_petab`, and the problem that it returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from cubie.launch.results import Result
from cubie.models.errors import ModelError
from cubie.models.loading import load_model
from cubie.petab.document import Document, Noise
from cubie.petab.reading import read_problem
from cubie.solver import Solver

DEFAULTS = {"method": "rodas5p", "rtol": 1e-8, "atol": 1e-10}


def load_petab(source: Any, **options: Any) -> PetabProblem:
    """Read a problem of parameter estimation in PEtab, version 1 or 2 (extra ``cubie-ode[petab]``).

    Parameters
    ----------
    source : path
        Its YAML file; or a problem of the package ``petab``.
    **options
        Those of `Solver`; by default ``method="rodas5p", rtol=1e-8, atol=1e-10``.

    Raises
    ------
    ModelError
        For what cannot be read, and for features that are not here, by name.

    Examples
    --------
    >>> problem = cubie.load_petab("problem.yaml")
    >>> scipy.optimize.minimize(problem.objective, problem.x0, jac=True, bounds=problem.bounds)
    """
    return PetabProblem(read_problem(source), **options)


@frozen(eq=False)
class _At:
    """What is known at one vector."""

    result: Result
    predicted: np.ndarray
    noise: np.ndarray
    likelihood: float
    gradient: np.ndarray
    residuals: np.ndarray
    jacobian: np.ndarray


class PetabProblem:
    """A model with experiments and measurements, and how likely these are.

    A vector `x` holds the parameters that are estimated, each on the scale that the problem gives
    it. All experiments are solved as one batch, with derivatives; what the latest vector gave is
    kept.

    Parameters
    ----------
    document : Document
    **options
        Those of `Solver`.

    Attributes
    ----------
    names : tuple of str
        What `x` holds.
    x0 : ndarray (P,)
        The nominal values.
    bounds : list of (float, float), length P
    measurements : ndarray (m,)
        As they follow in the problem.
    experiments : tuple of str
        Those of the runs.
    model : Model
    """

    def __init__(self, document: Document, **options: Any):
        # SymPy, which takes a second, is loaded for this alone.
        from cubie.petab.inputs import RunInputs, Scaled, Values
        from cubie.petab.readings import Readings

        if document.priors:
            names = ", ".join(f"`{name}`" for name in document.priors)
            warnings.warn(
                f"{document.name} has priors of {names}: they are no part of the likelihood here.",
                stacklevel=3,
            )
        self.document = document
        self._scaled = Scaled(document)
        model = load_model(document.model)
        if model.description.events:
            raise ModelError(f"The model of {document.name} has events, which are not here.",
                             "events in PEtab models")  # fmt: skip
        self._inputs = RunInputs(document, model.description, model.start)
        starts = {one.start for one in document.experiments}
        if len(starts) != 1:
            raise ModelError(f"Experiments of {document.name} start at {sorted(starts)}: they are "
                             "solved together, from one time.", "several starts")  # fmt: skip
        self._start = starts.pop()
        self._readings = Readings(document, self._inputs)
        self._values = Values(
            [*self._inputs.of_runs(), *self._readings.of_parameters], self._scaled, document
        )
        self._latest: tuple[bytes, _At] | None = None
        self._set_solver(model, DEFAULTS | options)

    def _set_solver(self, model: Any, options: dict[str, Any]) -> None:
        """Make the solver, with sensitivities by what depends on the vector."""
        constants, states = self._inputs.constants, self._inputs.states
        n_runs, rates = len(self.experiments), list(model.description.rates)
        _, slopes = self._values.at(self._scaled.values(self.x0))
        written = slopes[: n_runs * (len(constants) + len(states))] != 0.0
        moved = written.reshape(-1, n_runs, len(self.names)).any(axis=(1, 2))
        moves = dict(zip((*constants, *states), moved, strict=True))
        self._by_constants = tuple(name for name in constants if moves[name])
        self._by_states = tuple(name for name in states if moves[name])
        args, y0 = self._given(self._scaled.values(self.x0))[:2]
        self.model, _, _ = model.differentiable(self._by_constants, y0, args)
        posed = self.model.pose(y0, args, self._start)
        by = [*self._by_constants, *(f"y0[{rates.index(name)}]" for name in self._by_states)]
        if by:
            options["sensitivities"] = by
        self.solver = Solver(posed.equations, **options)

    @property
    def names(self) -> tuple[str, ...]:
        return self._scaled.names

    @property
    def x0(self) -> np.ndarray:
        return self._scaled.start.copy()

    @property
    def bounds(self) -> list[tuple[float, float]]:
        return list(zip(self._scaled.lower.tolist(), self._scaled.upper.tolist(), strict=True))

    @property
    def experiments(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.document.experiments)

    @property
    def measurements(self) -> np.ndarray:
        return np.array([one.value for one in self.document.measurements])

    def __repr__(self) -> str:
        return (
            f"PetabProblem({self.document.name!r}, {len(self.names)} of "
            f"{len(self.document.parameters)} parameters estimated, {len(self.experiments)} "
            f"experiments, {len(self.document.measurements)} measurements)"
        )

    def parameters(self, x: Any) -> dict[str, float]:
        """Return every parameter as it is, not on its scale."""
        return self._scaled.values(x)

    def simulate(self, x: Any) -> Result:
        """Return the solution of all experiments, a run each, at the times of measurements."""
        return self._at(x).result

    def simulations(self, x: Any) -> np.ndarray:
        """Return what is simulated in the place of each measurement, (m,)."""
        return self._at(x).predicted

    def noise(self, x: Any) -> np.ndarray:
        """Return the standard deviation, or scale, of each measurement, (m,)."""
        return self._at(x).noise

    def log_likelihood(self, x: Any) -> float:
        """Return the logarithm of the likelihood.

        It is minus infinity where a run failed, and where the logarithm is asked of what is not
        positive.
        """
        return self._at(x).likelihood

    def gradient(self, x: Any) -> np.ndarray:
        """Return the gradient of `log_likelihood`, (P,); NaN where that is infinite."""
        return self._at(x).gradient

    def objective(self, x: Any) -> tuple[float, np.ndarray]:
        """Return minus `log_likelihood` and its gradient, as ``minimize(..., jac=True)`` asks."""
        found = self._at(x)
        return -found.likelihood, -found.gradient

    def fun(self, x: Any) -> np.ndarray:
        """Return residuals in standard deviations, (m,), for ``least_squares(fun, x0, jac)``.

        Raises
        ------
        ModelError
            For noise that is not normal, and noise that is estimated: squares are no likelihood
            then.
        """
        self._require_squares()
        return self._at(x).residuals

    def jac(self, x: Any) -> np.ndarray:
        """Return the Jacobian of `fun`, (m, P)."""
        self._require_squares()
        return self._at(x).jacobian

    def _require_squares(self) -> None:
        for one in self.document.observables:
            if one.noise is not Noise.NORMAL:
                raise ModelError(f"Noise of `{one.id}` is of {one.noise.value}, whose likelihood "
                                 "is no sum of squares: minimise `objective`.")  # fmt: skip
            if one.id in self._readings.estimated_noise(self.names):
                raise ModelError(f"Noise of `{one.id}` depends on what is estimated, so that the "
                                 "likelihood is no sum of squares: minimise `objective`."
                                 )  # fmt: skip

    # ---- how it is computed

    def _given(self, parameters: Mapping[str, float]) -> tuple[Any, ...]:
        """Return args and y0 of the runs, slopes of both by name, and of what readings ask for."""
        names = (*self._inputs.constants, *self._inputs.states)
        n_runs, n = len(self.experiments), len(self.names)
        values, slopes = self._values.at(parameters)
        cut = n_runs * len(names)
        of_runs = dict(zip(names, values[:cut].reshape(-1, n_runs), strict=True))
        by_name = dict(zip(names, slopes[:cut].reshape(-1, n_runs, n), strict=True))
        args = {name: of_runs[name] for name in self._inputs.constants}
        y0 = {name: of_runs[name] for name in self._inputs.states}
        return args, y0, by_name, values[cut:], slopes[cut:]

    def _at(self, x: Any) -> _At:
        key = np.asarray(x, dtype=float).tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self._computed(x)
        return self._latest[1]

    def _computed(self, x: Any) -> _At:
        parameters = self._scaled.values(x)
        args, y0, by_name, read, read_slopes = self._given(parameters)
        posed = self.model.pose(y0, args, self._start)
        runs = np.broadcast_to(posed.y0, (len(self.experiments), posed.y0.shape[-1]))
        times = self._readings.times
        end = max(times[-1], self._start + 1.0) if times[-1] == self._start else times[-1]
        result = self.solver.solve((self._start, end), runs, times, args=posed.args)
        slopes = self._slopes_of_states(result, by_name)
        of_vector = np.diag(self._scaled.slopes(parameters))
        known = {name: (np.float64(value), np.zeros(len(self.names)))
                 for name, value in parameters.items()}  # fmt: skip
        for name, row in zip(self.names, of_vector, strict=True):
            known[name] = known[name][0], row
        found = self._readings.at(
            np.asarray(result.y), slopes, args, by_name, known, read, read_slopes
        )
        return _At(result, *found)

    def _slopes_of_states(self, result: Result, by_name: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the derivatives of states by the vector, (n_runs, n_states, n_times, P)."""
        y = np.asarray(result.y)
        by = (*self._by_constants, *self._by_states)
        if not by:
            return np.zeros((*y.shape, len(self.names)))
        inputs = np.stack([by_name[name] for name in by])  # (inputs, n_runs, P)
        return np.einsum("rsit,irp->rstp", np.asarray(result.dy), inputs)
