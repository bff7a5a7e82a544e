"""Functions of solved runs, such as the misfit to data, and their exact derivatives.

A function of the numbers that a run was solved to is traced like observables are, with these
numbers in the place of the states; how fast it changes where they change along a direction is known
then. Along the derivatives of the solution by an input that is its derivative by the input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import InvalidProblem
from cubie.systems.consistency import of_arrays
from cubie.systems.errors import ObservableError
from cubie.systems.from_function import trace_observables
from cubie.systems.observables.rates import source_of_rates
from cubie.systems.system import System

MOST_NUMBERS = 1 << 22  # of the derivatives of runs that are looked at together


class SolvedRun:
    """What a function of a run reads: a part of `Result`, of one run.

    Attributes
    ----------
    t : ndarray (n_points,)
    y : ndarray (n, n_points)
    observables : mapping of str to ndarray (n_points,)
    summaries : mapping of str or int to mapping of str to number, or to ndarray (2,)
        Those that have derivatives; see `Result.dsummaries`.
    """

    def __init__(self, t: Any, y: Any, observables: Mapping[str, Any], summaries: Mapping):
        self.t, self.y, self.observables, self.summaries = t, y, observables, summaries

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"A function of a run reads `t`, `y`, `observables` and `summaries`, and no {name!r}."
        )

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class _Named(dict):
    """A mapping that says what there is, where it is asked for something else."""

    def __init__(self, what: str, found: Mapping):
        super().__init__(found)
        self._what = what

    def __missing__(self, key: Any) -> Any:
        there = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"{self._what} has no {key!r}, but {there}")


@frozen
class Shape:
    """What there is of each run.

    Attributes
    ----------
    n_states, n_points : int
    observables : tuple of str
    summaries : tuple of (str or int, str, int)
        Of each the quantity, the label, and how many numbers it is: 1 or 2.
    """

    n_states: int
    n_points: int
    observables: tuple[str, ...] = ()
    summaries: tuple[tuple[Any, str, int], ...] = ()

    @property
    def n_of_points(self) -> int:
        """How many numbers are of points: the first ones."""
        return (self.n_states + len(self.observables)) * self.n_points

    @property
    def size(self) -> int:
        """How many numbers that is."""
        return self.n_of_points + sum(size for _, _, size in self.summaries)

    def name(self, number: int) -> str:
        """Return what a function of the run reads to get one of its numbers."""
        row, point = divmod(number, max(1, self.n_points))
        if number < self.n_states * self.n_points:
            return f"y[{row}, {point}]"
        if number < self.n_of_points:
            return f"observables[{self.observables[row - self.n_states]!r}][{point}]"
        at = self.n_of_points
        for key, label, size in self.summaries:
            if number < at + size:
                return f"summaries[{key!r}][{label!r}]"
            at += size
        return f"number {number}"

    def run(self, t: Any, numbers: Any) -> SolvedRun:
        """Return the run that has these numbers, (size,)."""
        rows = numbers[: self.n_of_points].reshape(-1, self.n_points)
        named = dict(zip(self.observables, rows[self.n_states :], strict=True))
        summed: dict[Any, dict[str, Any]] = {}
        at = self.n_of_points
        for key, label, size in self.summaries:
            summed.setdefault(key, {})[label] = numbers[at : at + size] if size > 1 else numbers[at]
            at += size
        told = {key: _Named(f"summaries[{key!r}]", of_one) for key, of_one in summed.items()}
        known = _Named("observables", named), _Named("summaries", told)
        return SolvedRun(t, rows[: self.n_states], *known)


def _numbers_of(
    shape: tuple, times: Any, has_data: bool, function: Callable, t: Any, numbers: Any, *of_run: Any
) -> list:
    """Return what a function returns for a run, one after the other.

    `of_run` are its times where `times` are None, and its data.
    """
    del t  # of an observable: there is none here
    data = of_run[len(of_run) - has_data :]
    run = Shape(*shape).run(of_run[0] if times is None else times, np.asanyarray(numbers))
    return [*np.ravel(function(run, *data))]


class FunctionOfRuns:
    """A function of runs, with its derivatives by what they are differentiated by.

    Parameters
    ----------
    function : callable
        ``function(run)`` returns a number, or an array of numbers, of a `SolvedRun`.
    shape : Shape
    times : ndarray (n_points,)
        Of all runs, or of one of them.
    own_times : bool
        Runs have times of their own, which `of` is given.
    data : ndarray, optional
        What runs are compared with, of one of them: ``function(run, data)``.

    Raises
    ------
    InvalidProblem
        For a function that cannot be traced.
    """

    def __init__(
        self,
        function: Callable,
        shape: Shape,
        times: Any,
        own_times: bool = False,
        data: np.ndarray | None = None,
    ):
        form = shape.n_states, shape.n_points, shape.observables, shape.summaries
        has_data, of_all = data is not None, None if own_times else times
        of_run = tuple(np.array(one, float) for one in (times if own_times else None, data)
                       if one is not None)  # fmt: skip
        whole = partial(_numbers_of, form, of_all, has_data, function)
        try:
            self.system: System = trace_observables(whole, shape.size, of_run)
        except ObservableError as error:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            raise InvalidProblem(name, _told(str(error), shape)) from error
        self._rates = of_arrays(source_of_rates(self.system)[0])["observe_with_rate"]

    def of(
        self, numbers: np.ndarray, changes: np.ndarray, of_runs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of runs, (N, m), and their derivatives by P inputs, (N, m, P).

        Parameters
        ----------
        numbers : ndarray (size, N)
            As `Shape` tells.
        changes : ndarray (size, N, P)
            Their derivatives.
        of_runs : ndarray (k, N)
            What runs have of their own: times, and behind them data.
        """
        m, (_, n_runs, n_inputs) = self.system.n_outputs, changes.shape
        values, rates = np.empty((m, n_runs, 1)), np.empty((m, n_runs, n_inputs))
        together = max(1, MOST_NUMBERS // max(1, len(numbers) * n_inputs))
        with np.errstate(all="ignore"):  # of runs that were not solved
            for first in range(0, n_runs, together):
                some = slice(first, first + together)
                given = numbers[:, some, None], changes[:, some], of_runs[:, some, None]
                self._rates(0.0, *given, values[:, some], rates[:, some])
        return values[..., 0].T, rates.transpose(1, 0, 2)


def _told(message: str, shape: Shape) -> str:
    """Return what tracing told of observables, as it is of a function of runs."""
    for form, words in _OF_RUNS:
        message = re.sub(form, words, message)
    message = re.sub(r"\bstate (\d+)\b", lambda found: shape.name(int(found[1])), message)
    return f"has no derivative here: {message.rstrip('.')}. Or give the derivatives by y, an array."


# What traced observables are told of, which is a function of runs here.
_OF_RUNS = (
    (r"^observables\b", "it"),
    (r" for \d+ states and these args:", " for a run:"),
    (r"conditions on the states follow", "conditions on the run's numbers follow"),
    (r"loop that depends on the states\?", "loop that depends on them?"),
    (r"loops that depend on the states", "such loops"),
    (r" for 'o\d+'", ""),
    (r"; observables are real\. Return its", ". Return its"),
    (r"; it must be one number\..*$", ": it must return a number, or an array of numbers."),
    (r", or save the states and compute .*$", ""),
)
