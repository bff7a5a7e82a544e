"""Derivatives of functions of results: of a loss its gradient, of residuals their Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from cubie.errors import InvalidProblem, shown
from cubie.launch.summaries import derivatives_of_summaries, goes_on_for_ever
from cubie.run.saving import SaveMode
from cubie.systems.sensitivities.functions import FunctionOfRuns, Shape


def read_data(data: Any, n_runs: int | None) -> np.ndarray:
    """Return data as a new array of numbers, with a row for each run where there are several."""
    try:
        found = np.array(data, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem("data", f"must be an array of numbers: {error}.") from error
    if n_runs is not None and (not found.ndim or len(found) != n_runs):
        told = f"has shape {found.shape}; of {n_runs} runs it must have a row for each."
        raise InvalidProblem("data", told)
    return found


class Differentiated:
    """The part of a `Result` that differentiates what is computed of it."""

    _kind: Any
    _n_runs: int | None
    _by: Any
    _outputs: Any
    _span: Any
    t: Any
    y: Any
    dy: Any
    summaries: Any
    observables: Any
    dobservables: Any
    status: Any
    t_reached: Any

    @cached_property
    def dsummaries(self) -> dict[Any, dict[str, Any]]:
        tracking, by = self._kind.tracking, self._by
        if tracking is None or by is None:
            return {}
        written = self._outputs.arrays.summaries
        endless = goes_on_for_ever(self._kind.window, self._span, self.t_reached)
        about = written, tracking, self._n_runs, self._span, by.sizes
        return derivatives_of_summaries(*about, endless)

    def gradient(self, loss: Callable | Any, data: Any = None) -> np.ndarray:
        """Return the gradient of a number of each run by the inputs of `sensitivities`.

        Parameters
        ----------
        loss : callable or array_like
            ``loss(run)`` returns a number. It reads ``run.y`` (n, n_points), ``run.t``,
            ``run.observables`` and ``run.summaries``, as those of a result of one run, and is
            traced like `fun` is: the gradient is exact. Or its derivatives by `y`, of the shape of
            `y`, or of that of one run for all.
        data : array_like (...) or (n_runs, ...), optional
            What runs are compared with, of a batch with a row for each: ``loss(run, data)`` gets
            that of the run.

        Returns
        -------
        ndarray (P,) or (n_runs, P)
            NaN of runs that failed.

        Raises
        ------
        InvalidProblem
            Where there are no sensitivities, or no points that all runs have; for a loss that
            cannot be traced, or is not one number.
        """
        if not callable(loss):
            if data is not None:
                raise InvalidProblem("data", "go with a function of a run: `loss` is none.")
            return self._alone(self._contracted(loss))
        data = self._data_of_runs(data)
        function = self.function_of_runs(loss, data, "gradient")
        if function.system.n_outputs != 1:
            m = function.system.n_outputs
            raise InvalidProblem("loss", f"must be one number; it is {m}. Of those see `jacobian`.")
        return self._alone(self.values_and_derivatives(function, data)[1][:, 0])

    def jacobian(self, residuals: Callable, data: Any = None) -> np.ndarray:
        """Return the derivatives of some numbers of each run by the inputs of `sensitivities`.

        Parameters
        ----------
        residuals : callable
            ``residuals(run)`` returns an array of m numbers, or of more dimensions, which are m
            numbers in C order. See `gradient`.
        data : array_like (...) or (n_runs, ...), optional
            As there: ``residuals(run, data)``.

        Returns
        -------
        ndarray (m, P) or (n_runs, m, P)

        Raises
        ------
        InvalidProblem
            As `gradient` does.
        """
        if not callable(residuals):
            raise InvalidProblem("residuals", f"must be a function, not {shown(residuals)}.")
        data = self._data_of_runs(data)
        function = self.function_of_runs(residuals, data)
        return self._alone(self.values_and_derivatives(function, data)[1])

    def function_of_runs(
        self, function: Callable, data: np.ndarray | None, what: str = "jacobian"
    ) -> FunctionOfRuns:
        """Return a function of runs as it can be differentiated at results like this one.

        `data` of each run, (N, ...), if there are any.
        """
        self._require_points(what)
        shape, times = self._shape(), self.t
        own = times.ndim == 2
        if own:  # those of one run, to trace with
            times = times[int(np.argmax(np.isfinite(times).sum(axis=1)))]
        return FunctionOfRuns(function, shape, times, own, None if data is None else data[0])

    def values_and_derivatives(
        self, function: FunctionOfRuns, data: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what a function is of each run, (N, m), and its derivatives, (N, m, P).

        NaN of runs that failed. `data` as `function_of_runs` was given them.
        """
        states = [] if self.y is None else [(self.y, self.dy)]
        of_points = [*states, *((self.observables[name], self.dobservables[name])
                                for name in self.observables)]  # fmt: skip
        n_runs, n_inputs = self._n_runs or 1, len(self._by.sizes)
        numbers, changes = [], []
        for values, by in of_points:
            numbers.append(self._of_runs(values).reshape(n_runs, -1))
            by = np.moveaxis(self._of_runs(by), -2, -1)
            changes.append(by.reshape(n_runs, -1, n_inputs))
        for key, label, _ in self._shape().summaries:
            numbers.append(self._of_runs(self.summaries[key][label]).reshape(n_runs, -1))
            by = self._of_runs(self.dsummaries[key][label])
            changes.append(by.reshape(n_runs, -1, n_inputs))
        own = [np.zeros((0, n_runs)), *([self.t.T] if self.t.ndim == 2 else [])]
        own += [] if data is None else [data.reshape(n_runs, -1).T]
        values, rates = function.of(
            np.concatenate(numbers, axis=1).astype(float).T,
            np.concatenate(changes, axis=1).astype(float).transpose(1, 0, 2),
            np.concatenate(own),
        )
        failed = np.atleast_1d(self.status) < 0
        values[failed], rates[failed] = np.nan, np.nan
        return values, rates

    def _shape(self) -> Shape:
        """Return what there is to compute a function of."""
        names = tuple(self.observables)
        summed = [
            (key, label, 2 if by.ndim > 1 + (self._n_runs is not None) else 1)
            for key, of in self.dsummaries.items()
            for label, by in of.items()
        ]
        states = None if self.y is None else self._of_runs(self.y)
        if states is None and not names and not summed:
            raise InvalidProblem("save_states", "keeps nothing to compute a function of.")
        known = states if states is not None else (
            self._of_runs(self.observables[names[0]]) if names else np.zeros((1, 0)))  # fmt: skip
        return Shape(
            0 if states is None else states.shape[1], known.shape[-1], names, tuple(summed)
        )

    def _contracted(self, weights: Any) -> np.ndarray:
        """Return the sums of derivatives by `y` times `dy`, (N, P)."""
        self._require_points("gradient")
        if self.y is None:
            raise InvalidProblem("save_states", "keeps no state: give a function of observables.")
        y, dy = self._of_runs(self.y), self._of_runs(self.dy)
        try:
            given = np.asarray(weights, dtype=float)
        except (TypeError, ValueError) as error:
            told = f"must be a function of a run, or an array of numbers, not {shown(weights)}."
            raise InvalidProblem("loss", told) from error
        if given.shape not in (y.shape, y.shape[1:]):
            allowed = f"{y.shape[1:]}, as that of one run"
            allowed += "" if self._n_runs is None else f", or {y.shape}"
            told = f"has shape {given.shape}; of derivatives by `y` it must be {allowed}."
            raise InvalidProblem("loss", told)
        weighed = np.broadcast_to(given, y.shape)[:, :, None]
        # Points that do not count may be those that a run did not reach.
        found = np.where(weighed == 0.0, 0.0, weighed * dy).sum(axis=(1, 3))
        found[np.atleast_1d(self.status) < 0] = np.nan
        return found

    def _data_of_runs(self, data: Any) -> np.ndarray | None:
        """Return data with an axis of runs."""
        return None if data is None else self._of_runs(read_data(data, self._n_runs))

    def _require_points(self, what: str) -> None:
        """Refuse results in which there is nothing to differentiate."""
        if self._by is None:
            told = "needs derivatives of the solution: solve with sensitivities=, see there."
            raise InvalidProblem(what, told)
        mode = self._kind.mode
        if mode is SaveMode.STEPS:
            told = "needs points at times of its own, not at steps: solve with t_eval=."
            raise InvalidProblem(what, told)
        events = self._kind.events
        if mode is SaveMode.FINAL and events is not None and events.ends:
            told = (
                "is not of final states where events end runs, at times that depend on inputs: "
                "solve with t_eval=, or see `dy_events`."
            )
            raise InvalidProblem(what, told)

    def _of_runs(self, values: Any) -> np.ndarray:
        """Return something of each run with the axis of runs that one run lacks."""
        return np.asarray(values)[None] if self._n_runs is None else np.asarray(values)

    def _alone(self, values: np.ndarray) -> np.ndarray:
        return values[0] if self._n_runs is None else values
