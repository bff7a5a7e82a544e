"""Fitting models to data: residuals and their Jacobian by one solve, of many starts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cubie import checks
from cubie.errors import Described, InvalidOption, InvalidProblem, nearest, shown
from cubie.launch.results import Result
from cubie.reals import NotReal, real_array
from cubie.solver import Solver
from cubie.systems import Equations, Watched, split_batch
from cubie.systems.parameters import Leaf, leaves_of, parameter_names, rebuild
from cubie.systems.sensitivities.functions import FunctionOfRuns
from cubie.systems.wrapped import asked


class LeastSquares:
    """A model with data: ``scipy.optimize.least_squares(fit.fun, fit.x0, fit.jac)``.

    `fun` and `jac` at one vector take one solve together, the latest of which is kept; of several
    vectors, rows of a matrix, all are solved as one batch. What is fitted are the inputs that
    `sensitivities` names; all else stays as it is in `y0` and `args`.

    Parameters
    ----------
    residuals : callable
        ``residuals(run)`` returns an array of numbers whose squares are summed, such as
        ``(run.y[0] - data) / sigma``; see `Result.gradient` for what it may read.
    fun, t_span, y0, method, t_eval, args, sensitivities, **options
        As those of `solve_ivp`, of one run: its values are where a fit starts.
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
        For several runs in `y0` and `args`, no `sensitivities`, and logarithms of what is not
        positive.
    """

    def __init__(
        self,
        residuals: Callable,
        fun: Any,
        t_span: Sequence[float],
        y0: Any,
        method: Any = "tsit5",
        t_eval: Any = None,
        args: Any = None,
        *,
        sensitivities: Any,
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
        self._times = t_span, t_eval
        y0, self._args = _by_position(self.solver.equations, y0, args)
        batch = split_batch(y0, self._args)
        if batch.n_runs is not None:
            told = (
                "and args are of several runs, where one is fitted: give numbers, and lists where "
                "`fun` takes vectors. Several starts are rows of what `fun` and `jac` are given."
            )
            raise InvalidProblem("y0", told)
        checks.initial_states(batch.y0)
        self._y0 = batch.y0[:, 0]
        self.solver.prepare(self._y0[None], self._args, t_eval, t_span=t_span)
        joint = self.solver.kernel.integrator.loop.system.system.joint
        assert joint is not None
        self.inputs: tuple[str, ...] = joint.names
        called = self.solver.fun
        self._leaves = leaves_of(self._args)
        slots = parameter_names(asked(called), self._leaves)
        self._slots = [
            one.number if one.is_initial else slots.index(one.name) for one in joint.inputs
        ]
        self._are_initial = [one.is_initial for one in joint.inputs]
        self._given = self._values_given()
        self._log = _of_names(log, self.inputs)
        not_positive = np.flatnonzero(self._log & np.logical_not(self._given > 0.0))
        if not_positive.size:
            name, value = self.inputs[not_positive[0]], self._given[not_positive[0]]
            advice = f"{name} is {value:g}, which has no logarithm: name those that are positive."
            raise InvalidOption("log", log, advice=advice)
        self.x0: np.ndarray = np.where(
            self._log, np.log(np.where(self._log, self._given, 1)), self._given
        )
        self._watched = Watched(residuals)
        self._traced: tuple[Any, FunctionOfRuns] | None = None
        self._latest: tuple[Any, np.ndarray, np.ndarray] | None = None

    def values(self, x: Any) -> np.ndarray:
        """Return the values of the inputs, (..., P), at a vector or at several."""
        x = self._vectors(x)
        with np.errstate(over="ignore"):  # what is infinite is not solved
            return np.where(self._log, np.exp(np.where(self._log, x, 0.0)), x)

    def fun(self, x: Any) -> np.ndarray:
        """Return the residuals at a vector (P,), or at several (N, P): (m,) or (N, m).

        NaN where a run fails, which `scipy.optimize.least_squares` answers with a shorter step.
        """
        return self._solved(x)[0].copy()

    def jac(self, x: Any) -> np.ndarray:
        """Return the derivatives of the residuals by x, (m, P) or (N, m, P)."""
        return self._solved(x)[1].copy()

    def solve(self, x: Any, t_eval: Any = None, **changes: Any) -> Result:
        """Return the solution at a vector, or at each of several, as a batch of runs.

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
            Of a batch of one run, or N. Its `dy` are derivatives by the inputs, also where x holds
            logarithms: those by x are ``dy * values(x)`` there.
        """
        return self._result(np.atleast_2d(self.values(x)), t_eval, changes)

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
        result = self._result(np.where(there[:, None], rows, self._given), None, {})
        function = self._function(result, content)
        found, by_inputs = result.values_and_derivatives(function)
        found[~there], by_inputs[~there] = np.nan, np.nan
        by_x = by_inputs * np.where(self._log, rows, 1.0)[:, None]
        if values.ndim == 1:
            found, by_x = found[0], by_x[0]
        self._latest = key, found, by_x
        return found, by_x

    def _function(self, result: Result, content: Any) -> FunctionOfRuns:
        """Return the residuals, traced as they are now."""
        traced = self._traced
        if traced is None or content is None or traced[0] != content:
            traced = content, result.function_of_runs(self.residuals)
            self._traced = traced
        return traced[1]

    def _result(self, rows: np.ndarray, t_eval: Any, changes: dict[str, Any]) -> Result:
        n_runs = len(rows)
        y0 = np.tile(self._y0, (n_runs, 1))
        fitted: dict[tuple, np.ndarray] = {}
        for k, (slot, is_initial) in enumerate(zip(self._slots, self._are_initial, strict=True)):
            if is_initial:
                y0[:, slot] = rows[:, k]
                continue
            leaf = _leaf_at(self._leaves, slot)
            of_leaf = fitted.setdefault(leaf.path, _of_each_run(leaf, n_runs))
            of_leaf.reshape(n_runs, -1)[:, slot - leaf.start] = rows[:, k]
        args = [
            fitted[leaf.path] if leaf.path in fitted else _of_all_runs(leaf, n_runs)
            for leaf in self._leaves
        ]
        t_span, times = self._times
        return self.solver.solve(
            t_span,
            y0,
            times if t_eval is None else t_eval,
            args=rebuild(self._args, self._leaves, args),
            **changes,
        )

    def _values_given(self) -> np.ndarray:
        numbers = [np.ravel(leaf.value) for leaf in self._leaves if leaf.numeric]
        slots = np.concatenate([np.zeros(0), *numbers]).astype(float)
        pairs = zip(self._slots, self._are_initial, strict=True)
        return np.array([(self._y0 if initial else slots)[slot] for slot, initial in pairs])

    def _vectors(self, x: Any) -> np.ndarray:
        try:
            found = real_array(x).astype(float)
        except (NotReal, ValueError) as error:
            raise InvalidProblem("x", f"must hold real numbers: {error}.") from error
        if found.ndim not in (1, 2) or found.shape[-1] != len(self.inputs) or not found.size:
            p = len(self.inputs)
            told = f"has shape {found.shape}; it must be ({p},), or (N, {p}) for N vectors."
            raise InvalidProblem("x", told)
        return found


def _by_position(equations: Equations | None, y0: Any, args: Any) -> tuple[Any, Any]:
    """Return y0 and args by position, which of equations may be mappings by name."""
    if equations is not None:
        return equations.initial_state(y0), equations.arguments(args)
    return y0, () if args is None else args


def _of_names(log: Any, inputs: tuple[str, ...]) -> np.ndarray:
    """Return of which inputs there are logarithms."""
    if isinstance(log, (bool, np.bool_)):
        return np.full(len(inputs), bool(log))
    names = [log] if isinstance(log, str) else list(log)
    for name in names:
        if name not in inputs:
            meant = nearest(name, inputs)
            advice = f"Did you mean {meant!r}?" if meant else "Name what `sensitivities` names."
            raise InvalidOption("log", log, tuple(map(Described, inputs)), advice)
    return np.array([name in names for name in inputs])


def _leaf_at(leaves: Sequence[Leaf], slot: int) -> Leaf:
    """Return the entry of args that has a number."""
    return next(leaf for leaf in leaves if leaf.start <= slot < leaf.start + leaf.size)


def _of_each_run(leaf: Leaf, n_runs: int) -> np.ndarray:
    value = np.asarray(leaf.value, dtype=float)
    return np.array(np.broadcast_to(value, (n_runs, *value.shape)))


def _of_all_runs(leaf: Leaf, n_runs: int) -> Any:
    """Return what serves all runs so that it is not taken for what differs between them."""
    if leaf.numeric and leaf.shape and leaf.shape[0] == n_runs:
        return np.broadcast_to(leaf.value, (n_runs, *leaf.shape))
    return leaf.value
