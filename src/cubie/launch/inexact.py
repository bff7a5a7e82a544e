"""What is told of runs whose linear systems are solved to a tolerance, or to few digits.

Such a solution changes a total that the equations keep by what the tolerances of the moment allow,
or by rounding of an ill-conditioned matrix. Where states later fall by orders of magnitude that is
more than all that is left of them, and no estimate of an error sees it: each step was as exact as
it should be. The total shows it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.algorithms.linear_systems import SolvedBy, solved_by
from cubie.backend import DeviceArray, KernelInputs
from cubie.errors import level_of_caller
from cubie.launch.event_room import on_host
from cubie.launch.ragged import RaggedArray
from cubie.launch.sensitivities import of_base
from cubie.status import RunStatus
from cubie.systems import System
from cubie.systems.totals import conserved_totals

# A total may change by so many times what the tolerances allow of its states at the end.
MOST_TOLERANCES = 100.0
# And by so many units of rounding of its terms.
ROUNDINGS = 1000.0
# Terms of a total that a message names.
MOST_NAMED = 6
# Runs that are looked at together: what is computed of them stays in the cache.
AT_ONCE = 8192
_LEAST = np.finfo(float).tiny
# How runs end whose steps are too long for factors in single precision.
_OF_FACTORS = (
    RunStatus.TOO_MANY_STEPS,
    RunStatus.SINGULAR_JACOBIAN,
    RunStatus.NEWTON_DIVERGED,
    RunStatus.STEP_TOO_SMALL,
)
NOTE_ON_FACTORS = (
    "LU factors were kept in single precision: where pivots cancel, steps stay short, and many are "
    "rejected. Leave factor_dtype='float32' out."
)


class ConservationWarning(UserWarning):
    """A total that the equations keep changed by far more than the tolerances of the end allow."""


@frozen
class InexactSolutions:
    """How linear systems are solved, and what is looked at after a solve.

    Attributes
    ----------
    solved_by : SolvedBy
    system : System
        Of the states.
    kept : tuple of int or None
        Which of them are in results; None: all, in order.
    rtol, atol : ndarray
        (1,), (n,), or with a row for each run.
    n_rows : int
        Of what runs begin at: the states, and what there is of sensitivities.
    keeps_totals : bool
        Nothing but the equations changes states.
    """

    solved_by: SolvedBy
    system: System
    kept: tuple[int, ...] | None
    rtol: np.ndarray
    atol: np.ndarray
    n_rows: int
    keeps_totals: bool

    @classmethod
    def of(cls, loop: Any, system: System, rtol: np.ndarray, atol: np.ndarray, in_pairs: bool):
        """Return what there is to look at in what a loop computes; None where there is nothing."""
        how, kept = solved_by(loop.algorithm), loop.choice.states
        if how is None:
            return None
        # An event that makes a new state may make another total.
        changes = loop.system.jumps or (in_pairs and kept is not None)
        return cls(how, *of_base(system, kept), rtol, atol, system.n_states, not changes)

    def noted(self, result: Any, inputs: KernelInputs) -> Any:
        """Return a result with notes on what was found, or itself; warn of a total that was lost.

        Parameters
        ----------
        result : cubie.Result
        inputs : KernelInputs
            Those of the launch.
        """
        narrow = self.solved_by is SolvedBy.NARROW_FACTORS
        if narrow and np.isin(result.status, _OF_FACTORS).any():
            result = result.with_note(NOTE_ON_FACTORS)
        y = result.y if self._totals else None
        if y is None or isinstance(y, DeviceArray) or not on_host(inputs):
            return result
        ended = np.atleast_1d(result.status) == RunStatus.SUCCESS
        worst = self._worst(inputs.initial_state.reshape(self.n_rows, -1), y, ended)
        if worst is None:
            return result
        told = self._told(worst, len(ended))
        warnings.warn(told, ConservationWarning, stacklevel=level_of_caller())
        return result.with_note(told)

    @cached_property
    def _totals(self) -> tuple[_Total, ...]:
        """Those that can be formed of what was kept."""
        places = {state: at for at, state in enumerate(self.kept or range(self.system.n_states))}
        totals = conserved_totals(self.system) if self.keeps_totals else ()
        return tuple(
            _Total(
                np.array([*total]),
                np.array([places[state] for state in total]),
                np.array([*total.values()]),
                MOST_TOLERANCES * float(self.atol.min()) * sum(map(abs, total.values())),
            )
            for total in totals
            if total.keys() <= places.keys()
        )

    def _worst(self, start: np.ndarray, y: Any, ended: np.ndarray) -> _Change | None:
        """Return the largest change that is too much; None where there is none."""
        last, worst = _last(y, len(ended)), None
        for total in self._totals:
            found = None
            for begin in range(0, len(ended), AT_ONCE):
                runs = slice(begin, begin + AT_ONCE)
                of_runs = self._change(total, start, last, runs, ended[runs])
                found = of_runs if found is None else found.with_others(of_runs)
            if found is not None and (worst is None or found.over > worst.over):
                worst = found
        return worst

    def _change(
        self, total: _Total, start: np.ndarray, last: np.ndarray, runs: slice, ended: np.ndarray
    ) -> _Change | None:
        """Return where a total changed most; None where it is what it may be in all of the runs."""
        after = last[total.places, runs]
        before = start[total.states] if start.shape[1] == 1 else start[total.states, runs]
        change = np.abs(total.weights @ after - total.weights @ before)
        # Where nearly nothing changed no more is computed.
        ended = ended & (change > total.least)
        if not ended.any():
            return None
        rtol, atol = (_of(one, total.states, runs) for one in (self.rtol, self.atol))
        size, rounding = np.abs(after), ROUNDINGS * np.finfo(last.dtype).eps
        may_be = MOST_TOLERANCES * (atol + rtol * size)
        limit = np.abs(total.weights) @ (may_be + rounding * np.maximum(size, np.abs(before)))
        over = np.where(ended & (change > limit), change / np.maximum(limit, _LEAST), 0.0)
        run, n_runs = int(np.argmax(over)), int(np.count_nonzero(over))
        if not n_runs:
            return None
        return _Change(total, float(over[run]), n_runs, runs.start + run, float(change[run]))

    def _told(self, worst: _Change, n_runs: int) -> str:
        where = ""
        if n_runs > 1:
            where = f" in {worst.n_runs:,} of {n_runs:,} runs, most in run {worst.run}"
        return (
            f"The equations keep {_text(worst.total, self.system.state_names)}, and it "
            f"changed{where}, by {worst.change:.3g}: {MOST_TOLERANCES * worst.over:.2g} times what "
            "rtol and atol allow at the end of the run. States that have fallen far may be wrong "
            f"altogether. {self.solved_by.value}"
        )


class _Total(NamedTuple):
    """A total: its states, their places in what was kept, and their weights.

    Changes of `least` are within all tolerances.
    """

    states: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    least: float


class _Change(NamedTuple):
    """How much a total changed.

    Attributes
    ----------
    total : _Total
    over : float
        The largest change of a run, over what it may be.
    n_runs : int
        In how many it is more.
    run : int
        Where it is largest.
    change : float
        How much it is there.
    """

    total: _Total
    over: float
    n_runs: int
    run: int
    change: float

    def with_others(self, other: _Change | None) -> _Change:
        """Return the larger of two changes, of the runs of both."""
        if other is None:
            return self
        larger = other if other.over > self.over else self
        return larger._replace(n_runs=self.n_runs + other.n_runs)


def _last(y: Any, n_runs: int) -> np.ndarray:
    """Return the last states of each run, (n_kept, n_runs), of complex ones both parts."""
    last = y.last() if isinstance(y, RaggedArray) else y[..., -1].reshape(n_runs, -1)
    if np.iscomplexobj(last):
        last = np.stack([np.real(last), np.imag(last)], -1).reshape(n_runs, -1)
    return last.T


def _of(tolerance: np.ndarray, states: np.ndarray, runs: slice) -> np.ndarray:
    """Return the tolerances of states: a column, or one for each run."""
    own = tolerance if tolerance.ndim == 1 or len(tolerance) == 1 else tolerance[runs]
    own = own if own.shape[-1] == 1 else own[..., states]
    return own.T if own.ndim == 2 else own[:, None]


def _text(total: _Total, names: Sequence[str]) -> str:
    """Write a total, at most its first terms."""
    order = np.argsort(total.states)
    weights, terms = total.weights[order] * np.sign(total.weights[order[0]]), []
    for state, weight in zip(total.states[order], weights, strict=True):
        factor = "" if abs(weight) == 1.0 else f"{abs(weight):.6g} * "
        terms.append(f"{'-' if weight < 0.0 else '+'} {factor}{names[state]}")
    text = " ".join(terms[:MOST_NAMED]).removeprefix("+ ")
    return f"{text} + ..." if len(terms) > MOST_NAMED else text
