"""Fitting models to data: residuals and their Jacobian by one solve, of many starts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cubie import checks, per_run
from cubie.errors import InvalidOption, InvalidProblem, shown
from cubie.fitting.multistart import Multistart, Tolerances, minimised
from cubie.fitting.vectors import Vectors
from cubie.launch.gradients import read_data
from cubie.launch.results import Result
from cubie.solver import Solver
from cubie.systems import Batch, Watched, split_batch
from cubie.systems.sensitivities.functions import FunctionOfRuns


class LeastSquares:
    """A model with data: ``scipy.optimize.least_squares(fit.fun, fit.x0, fit.jac)``.

    `fun` and `jac` at one vector take one solve together, the latest of which is kept; of several
    vectors, rows of a matrix, all are solved as one batch. What is fitted are the inputs that
    `sensitivities` names; all else stays as it is in `y0` and `args`. Where these are of several
    runs, experiments with doses of their own for example, all runs belong to the fit.

    Parameters
    ----------
    residuals : callable
        ``residuals(run)``, or ``residuals(run, data)``, returns an array of numbers whose squares
        are summed, such as ``(run.y[0] - data) / sigma``. See `Result.gradient` for what it may
        read.
    fun, t_span, y0, method, t_eval, args, sensitivities, **options
        As those of `solve_ivp`; the values of what is fitted are where a fit starts.
    data : array_like (...), or (n_runs, ...) of several runs, optional
        What `residuals` is given of each run.
    log : bool or sequence of str
        Of which inputs the vector holds natural logarithms: of all, none, or those named. They
        must be positive then.

    Attributes
    ----------
    inputs : tuple of str
        What the vector holds.
    x0 : ndarray (P,)
        The vector of the values given.
    solver : Solver

    Raises
    ------
    InvalidProblem, InvalidOption
        For no `sensitivities`, inputs that differ between runs, logarithms of what is not positive,
        data that are not of the runs.
    """

    def __init__(
        self,
        residuals: Callable,
        fun: Any,
        t_span: Sequence[Any],
        y0: Any,
        method: Any = "tsit5",
        t_eval: Any = None,
        args: Any = None,
        *,
        sensitivities: Any,
        data: Any = None,
        log: bool | Sequence[str] = False,
        **options: Any,
    ):
        if not callable(residuals):
            told = f"must be a function of a run, not {shown(residuals)}."
            raise InvalidProblem("residuals", told)
        if not sensitivities:
            advice = "Name what is to be fitted, such as 'parameters' or ['k1', 'y0[0]']."
            raise InvalidOption("sensitivities", sensitivities, advice=advice)
        self.residuals = residuals
        self.solver = Solver(fun, method=method, sensitivities=sensitivities, **options)
        equations = self.solver.equations
        args = () if args is None else args
        if equations is not None:
            y0, args = equations.initial_state(y0), equations.arguments(args)
        span = checks.time_span(t_span)
        times = None if t_eval is None else np.asarray(t_eval)
        own = per_run.lengths_of(t_span=span[0], t_eval=times)
        batch = split_batch(y0, args, n_runs=per_run.number_of_runs(own))
        checks.initial_states(batch.y0)
        _refuse_samples(batch)
        self._span, self._times = span, times
        self._data = self._read_data(data, batch.n_runs)
        self.solver.prepare(y0, args, t_eval, t_span=t_span)
        joint = self.solver.kernel.integrator.loop.system.system.joint
        assert joint is not None
        self._vectors = Vectors(joint.inputs, self.solver.fun, args, batch, log)
        self.inputs: tuple[str, ...] = joint.names
        self.x0: np.ndarray = self._vectors.start
        self._watched = Watched(residuals)
        self._traced: tuple[Any, FunctionOfRuns] | None = None
        self._latest: tuple[Any, np.ndarray, np.ndarray] | None = None

    def values(self, x: Any) -> np.ndarray:
        """Return the values of the inputs, (P,) or (N, P), at a vector or at N."""
        return self._vectors.values(x)

    def fun(self, x: Any) -> np.ndarray:
        """Return the residuals at a vector (P,), or at N, (N, P): (m,) or (N, m).

        Those of several runs come one after the other. NaN where a run fails, which
        `scipy.optimize.least_squares` answers with a shorter step.
        """
        return self._solved(x)[0].copy()

    def jac(self, x: Any) -> np.ndarray:
        """Return the derivatives of the residuals by x, (m, P) or (N, m, P)."""
        return self._solved(x)[1].copy()

    def solve(self, x: Any, t_eval: Any = None, **changes: Any) -> Result:
        """Return the runs at a vector, or at N, those of a vector together.

        Parameters
        ----------
        x : array_like (P,) or (N, P)
        t_eval : array_like, optional
            Other times to save at.
        **changes
            Options for this solve alone.

        Returns
        -------
        Result
            Of a batch. Its `dy` are derivatives by the inputs, also where x holds logarithms.
        """
        return self._result(np.atleast_2d(self.values(x)), t_eval, changes)

    def multistart(
        self,
        starts: Any,
        bounds: Any = (-np.inf, np.inf),
        *,
        ftol: float = 1e-8,
        xtol: float = 1e-8,
        gtol: float = 1e-8,
        max_iterations: int = 100,
    ) -> Multistart:
        """Fit from many starts at once, by the Levenberg-Marquardt method.

        An iteration is one batch, of the runs of all starts that have not converged. What becomes
        of a start does not depend on the others. First steps change values by their own size at
        most, logarithms by 1.

        Parameters
        ----------
        starts : array_like (N, P)
            Vectors; see `values`.
        bounds : (array_like, array_like)
            Least and largest values, of all entries of a vector or of each, (P,).
        ftol, xtol, gtol : float
            A start has converged where the cost, or the vector, changes by less than these parts
            of itself, or the cosine between the residuals and each of their derivatives is less.
        max_iterations : int

        Raises
        ------
        InvalidOption, InvalidProblem
            For bounds that are none, and starts outside of them.
        """
        found = np.array(np.atleast_2d(starts))
        sizes = self._vectors.sizes(found)
        known = Tolerances(ftol, xtol, gtol, checks.count("max_iterations", max_iterations))
        return minimised(self._solved, found.astype(float), sizes, bounds, known)

    def _solved(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals and their derivatives by x."""
        values = self.values(x)
        content = self._watched.current()
        key = None if content is None else (content, values.shape, values.tobytes())
        latest = self._latest
        if key is not None and latest is not None and latest[0] == key:
            return latest[1:]
        rows = np.atleast_2d(values)
        there = np.all(np.isfinite(rows), axis=1)
        result = self._result(np.where(there[:, None], rows, self._vectors.given), None, {})
        data = self._data
        if data is not None:
            data = np.tile(data, (len(rows), *[1] * (data.ndim - 1)))
        function = self._function(result, data, content)
        found, by_inputs = result.values_and_derivatives(function, data)
        found = found.reshape(len(rows), -1)
        by_inputs = by_inputs.reshape(*found.shape, -1)
        found[~there], by_inputs[~there] = np.nan, np.nan
        by_x = by_inputs * self._vectors.slopes(rows)[:, None]
        if values.ndim == 1:
            found, by_x = found[0], by_x[0]
        self._latest = key, found, by_x
        return found, by_x

    def _function(self, result: Result, data: np.ndarray | None, content: Any) -> FunctionOfRuns:
        """Return the residuals, traced as they are now."""
        traced = self._traced
        if traced is None or content is None or traced[0] != content:
            traced = content, result.function_of_runs(self.residuals, data)
            self._traced = traced
        return traced[1]

    def _result(self, rows: np.ndarray, t_eval: Any, changes: dict[str, Any]) -> Result:
        y0, args = self._vectors.runs(rows)
        start, end = (self._of_runs(one, len(rows), 0) for one in self._span)
        times = self._of_runs(self._times if t_eval is None else t_eval, len(rows), 1)
        return self.solver.solve((start, end), y0, times, args=args, **changes)

    def _of_runs(self, values: Any, n_vectors: int, n_dimensions: int) -> Any:
        """Return for the runs of all vectors what each run of one may have a row of.

        Of all runs it has `n_dimensions`.
        """
        if values is None or np.ndim(values) <= n_dimensions:
            return values
        return np.tile(values, (n_vectors, *[1] * n_dimensions))

    def _read_data(self, data: Any, n_runs: int | None) -> np.ndarray | None:
        """Return data with a row for each run."""
        if data is None:
            return None
        found = read_data(data, n_runs)
        return found[None] if n_runs is None else found


def _refuse_samples(batch: Batch) -> None:
    if any(one.n_runs is not None for one in (batch.drivers or {}).values()):
        raise InvalidProblem(
            "args",
            "hold an Interpolant with samples of each run, which are not repeated here for several "
            "vectors: give each run one fit, or an Interpolant of all runs.",
        )
