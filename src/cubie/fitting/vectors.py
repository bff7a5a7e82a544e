"""What the numbers of a vector that is fitted are, and the runs that belong to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import Described, InvalidOption, InvalidProblem, nearest
from cubie.reals import NotReal, real_array
from cubie.systems.batch import Batch
from cubie.systems.parameters import Leaf, leaves_of, parameter_names, rebuild
from cubie.systems.system import Input
from cubie.systems.wrapped import asked


@frozen
class Place:
    """Where an input that is fitted stands: in `y0`, or in an entry of `args`.

    Attributes
    ----------
    name : str
    number : int
        Of the state, or of the number in the entry.
    path : tuple or None
        Of the entry; None of an initial state.
    """

    name: str
    number: int
    path: tuple | None


class Vectors:
    """What vectors mean: values of inputs, or their logarithms, of the runs of a problem.

    Parameters
    ----------
    inputs : sequence of Input
    fun : callable
        By which the numbers in `args` are named.
    args : tuple
        By position.
    batch : Batch
        Of these, and of the initial states.
    log : bool or sequence of str
        Of which inputs there are logarithms.

    Raises
    ------
    InvalidOption, InvalidProblem
        For inputs that differ between runs, and logarithms of what is not positive.
    """

    def __init__(self, inputs: Sequence[Input], fun: Callable, args: tuple, batch: Batch, log: Any):
        self.n_runs = batch.n_runs or 1
        self._args, self._leaves, self._swept = args, leaves_of(args), batch.swept_paths
        self._y0 = np.array(np.broadcast_to(batch.y0.T, (self.n_runs, len(batch.y0))))
        self.inputs = tuple(one.name for one in inputs)
        of_run = leaves_of(batch.args)
        names = parameter_names(asked(fun), of_run)
        self._places = [_place(one, names, of_run) for one in inputs]
        self.given = np.array([self._value_of(place) for place in self._places])
        self._log = _of_names(log, self.inputs)
        not_positive = np.flatnonzero(self._log & np.logical_not(self.given > 0.0))
        if not_positive.size:
            name, value = self.inputs[not_positive[0]], self.given[not_positive[0]]
            advice = f"{name} is {value:g}, which has no logarithm: name those that are positive."
            raise InvalidOption("log", log, advice=advice)

    @property
    def start(self) -> np.ndarray:
        """The vector of the values given, (P,)."""
        return np.where(self._log, np.log(np.where(self._log, self.given, 1.0)), self.given)

    def values(self, x: Any) -> np.ndarray:
        """Return the values of the inputs at vectors, (..., P)."""
        x = self._checked(x)
        with np.errstate(over="ignore"):  # what is infinite is not solved
            return np.where(self._log, np.exp(np.where(self._log, x, 0.0)), x)

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Return the derivatives of values by vectors, (..., P)."""
        return np.where(self._log, values, 1.0)

    def sizes(self, x: Any) -> np.ndarray:
        """Return what is a long way for each entry of vectors, (..., P)."""
        x = np.abs(self._checked(x))
        return np.where(self._log | (x == 0.0), 1.0, x)

    def runs(self, rows: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Return y0 and args of the runs at values (N, P), those of one vector together."""
        n_vectors = len(rows)
        y0 = np.tile(self._y0, (n_vectors, 1))
        args = {leaf.path: self._of_all(leaf, n_vectors) for leaf in self._leaves}
        fitted = {place.path for place in self._places}
        of_each = [leaf for leaf in self._leaves if leaf.path in fitted]
        args |= {leaf.path: self._of_each(leaf, n_vectors) for leaf in of_each}
        for place, values in zip(self._places, np.repeat(rows, self.n_runs, axis=0).T, strict=True):
            whole = y0 if place.path is None else args[place.path]
            whole.reshape(len(y0), -1)[:, place.number] = values
        return y0, rebuild(self._args, self._leaves, [args[leaf.path] for leaf in self._leaves])

    def _of_each(self, leaf: Leaf, n_vectors: int) -> np.ndarray:
        """Return an entry of args with a row for each run, to write to."""
        value = np.asarray(leaf.value, dtype=float)
        if leaf.path in self._swept:
            return np.tile(value, (n_vectors, *[1] * (value.ndim - 1)))
        return np.array(np.broadcast_to(value, (n_vectors * self.n_runs, *value.shape)))

    def _of_all(self, leaf: Leaf, n_vectors: int) -> Any:
        """Return an entry of args in which nothing is fitted."""
        is_long = leaf.numeric and leaf.shape and leaf.shape[0] == n_vectors * self.n_runs
        # What serves all runs is not to be taken for what differs between them.
        return self._of_each(leaf, n_vectors) if leaf.path in self._swept or is_long else leaf.value

    def _value_of(self, place: Place) -> float:
        values = self._y0
        if place.path is not None:
            values = self._of_each(
                next(leaf for leaf in self._leaves if leaf.path == place.path), 1
            )
        values = values.reshape(self.n_runs, -1)[:, place.number]
        if np.any(values != values[0]):
            raise InvalidProblem(
                place.name,
                "differs between the runs, and a fit has one number for it: give it once, or leave "
                "it out of `sensitivities`.",
            )
        return float(values[0])

    def _checked(self, x: Any) -> np.ndarray:
        try:
            found = real_array(x).astype(float)
        except (NotReal, ValueError) as error:
            raise InvalidProblem("x", f"must hold real numbers: {error}.") from error
        if found.ndim not in (1, 2) or found.shape[-1] != len(self.inputs) or not found.size:
            p = len(self.inputs)
            told = f"has shape {found.shape}; it must be ({p},), or (N, {p}) for N vectors."
            raise InvalidProblem("x", told)
        return found


def _place(one: Input, names: Sequence[str], leaves: Sequence[Leaf]) -> Place:
    """Return where an input stands in the state or the args of a run."""
    if one.is_initial:
        return Place(one.name, one.number, None)
    slot = names.index(one.name)
    numeric = [leaf for leaf in leaves if leaf.numeric]
    leaf = next(leaf for leaf in numeric if leaf.start <= slot < leaf.start + leaf.size)
    return Place(one.name, slot - leaf.start, leaf.path)


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
