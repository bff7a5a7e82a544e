"""Sensitivities in what goes into a launch, and in what comes out: states with others behind them.

They are solved for times the size of their input; see `cubie.systems.sensitivities.joint`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import KernelInputs
from cubie.errors import InvalidProblem
from cubie.launch.points import Points
from cubie.launch.ragged import RaggedArray
from cubie.run.saving import Choice
from cubie.systems import Batch
from cubie.systems.consistency import evaluator
from cubie.systems.drivers.pieces import Pieces
from cubie.systems.events.traced import EventSystems
from cubie.systems.system import Joint, System


def joint_start(
    joint: Joint | None, y0: np.ndarray, dtype: np.dtype, rtol: np.ndarray, atol: np.ndarray
) -> np.ndarray:
    """Return the start of all states, (n (1 + P), N), from that of the states, (n, N).

    Sizes of inputs are those that runs see, in their `dtype`. Tolerances decide how long directions
    are.
    """
    if joint is None:
        return y0
    y0 = y0.astype(dtype)
    start = np.zeros((joint.n_blocks, *y0.shape), y0.dtype)
    start[0] = y0
    if joint.of_directions:
        length = _length_of_directions(rtol, atol)
        start[1:] = _directions(joint)[:, :, None] * length
        return start.reshape(-1, y0.shape[1])
    for block, one in enumerate(joint.inputs, 1):
        if one.is_initial:
            start[block, one.number] = _size(y0[one.number])
    return start.reshape(-1, y0.shape[1])


def _length_of_directions(rtol: np.ndarray, atol: np.ndarray) -> np.ndarray:
    """Return how long directions are, one number or (N,).

    Errors of so much as `atol` are then `rtol` of it, whatever the unit of the state is. Of several
    tolerances the largest decide: no state is held to less.
    """
    relative, absolute = rtol.max(axis=-1), atol.max(axis=-1)
    both = (relative > 0.0) & (absolute > 0.0)
    return np.where(both, absolute / np.where(both, relative, 1.0), 1.0)


def _directions(joint: Joint) -> np.ndarray:
    """Return orthogonal directions of length 1, (P, n): the same on every machine.

    They are drawn: to what is special in equations, symmetries or states by themselves, they are
    not.
    """
    n = joint.base.n_states
    drawn = np.random.RandomState(1980).standard_normal((len(joint.inputs), n))
    for k, row in enumerate(drawn):
        for _ in range(2):
            for before in drawn[:k]:
                row -= sum(row * before) * before
            row /= np.sqrt(sum(row * row))
    return drawn


@frozen
class RunInputs:
    """What derivatives of runs are by, as the runs had it.

    Attributes
    ----------
    sizes : ndarray (P, N)
        Of each input.
    parameters : ndarray (m, N), or None
        Where times of events are differentiated.
    drivers : tuple of tuple of Pieces
        What the derivative of each event's time calls.
    tolerances : tuple of ndarray
        rtol and atol, (1,) or (n (1 + P),), or with a row for each run.
    """

    sizes: np.ndarray
    parameters: np.ndarray | None
    drivers: tuple[tuple[Pieces, ...], ...]
    tolerances: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(
        cls,
        system: System,
        events: EventSystems | None,
        inputs: KernelInputs,
        n_runs: int,
        batch: Batch,
        tolerances: tuple[np.ndarray, np.ndarray],
    ) -> RunInputs | None:
        """Return those of a launch; None where nothing is differentiated."""
        joint, timings = system.joint, () if events is None else events.timings
        if joint is None or joint.of_directions:
            return None
        runs = np.arange(n_runs)
        at = inputs.parameter_offsets[:-1, None] + inputs.parameter_strides[:-1, None] * runs
        parameters = inputs.parameters[at]
        states = inputs.initial_state.reshape(joint.base.n_states * joint.n_blocks, -1)
        sizes = np.empty((len(joint.inputs), n_runs), inputs.parameters.dtype)
        for row, one in zip(sizes, joint.inputs, strict=True):
            row[:] = _size((states if one.is_initial else parameters)[one.number])
        called = tuple(
            () if one is None else tuple(driver.pieces for driver in one.drivers_of(batch.drivers))
            for one in timings
        )
        return cls(sizes, parameters if timings else None, called, tolerances)

    def of_event(
        self, k: int, timing: System, joint: Joint, times: np.ndarray, states: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the derivatives of times and of states of event `k`, (..., P) and (..., n, P).

        And where it grazes, (...): the derivatives are NaN there.

        Parameters
        ----------
        times : ndarray (N, room)
        states : ndarray (N, room, n (1 + P))
        """
        n_runs, room = times.shape
        if any(pieces.columns > 1 for pieces in self.drivers[k]):
            raise InvalidProblem(
                "sensitivities",
                f"of the times of events[{k}] cannot be had: they are of an Interpolant with "
                "samples of each run.",
            )
        runs = np.repeat(np.arange(n_runs), room)
        flat = states.reshape(n_runs * room, states.shape[-1]).T.astype(float)
        assert self.parameters is not None
        parameters = self.parameters[:, runs].astype(float)
        n, size = joint.base.n_states, self.sizes[:, runs]
        at_times, whole = times.reshape(-1), flat
        if joint.base.kind != "traced":  # its slopes are no expressions in `timing`
            slopes = np.full((n, len(at_times)), np.nan)
            there = np.flatnonzero(~np.isnan(at_times))
            of_these = at_times[there], flat[:n, there], parameters[:, there]
            slopes[:, there] = evaluator(joint.base)(*of_these)
            whole = np.concatenate([flat, slopes])
        given = at_times, whole, parameters
        with np.errstate(all="ignore"):  # of what did not happen
            found = evaluator(timing, self.drivers[k])(*given)
        moves, slopes, (rise, bend), by_state = np.split(found, len(size) + np.array([0, n, n + 2]))
        unset = np.isnan(at_times)
        grazes = ~unset & self._grazes(rise, bend, by_state, flat[:n], runs)
        moves = np.where(unset | grazes, np.nan, moves)
        by_inputs = flat[n:].reshape(len(size), n, -1)
        whole = (by_inputs + moves[:, None] * slopes) / size[:, None]
        moves, whole = moves / size, np.where(unset | grazes, np.nan, whole)
        shape = n_runs, room, len(size)
        dtype = states.dtype
        return (
            moves.T.reshape(shape).astype(dtype),
            whole.T.reshape(n_runs, room, n, len(size)).astype(dtype),
            grazes.reshape(n_runs, room),
        )

    def _grazes(
        self,
        rise: np.ndarray,
        bend: np.ndarray,
        by_state: np.ndarray,
        states: np.ndarray,
        runs: np.ndarray,
    ) -> np.ndarray:
        """Tell where the number of an event turns back within its own error.

        It goes on by ``rise**2 / (2 bend)`` behind its root at most. Where tolerances of the states
        make more of a difference to it, they decide whether the event happens.
        """
        rtol, atol = (
            one[:, None] if one.ndim == 1 else one[runs].T for one in self.tolerances
        )  # rows of states and of sensitivities, or one
        rtol, atol = (one[: len(states)] if len(one) > 1 else one for one in (rtol, atol))
        with np.errstate(all="ignore"):
            error = (np.abs(by_state) * (atol + rtol * np.abs(states))).sum(axis=0)
            return (rise == 0.0) | (rise * rise <= 2.0 * error * np.abs(bend))


def _size(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0.0, 1.0, np.abs(values)).astype(values.dtype)


def names_kept(observables: System | None, choice: Choice) -> tuple[str, ...]:
    """Return the names of the observables that are kept, but for derivatives of them."""
    if observables is None:
        return ()
    names, joint = choice.of_observables(observables.output_names), observables.joint
    return names if joint is None else names[: len(names) // joint.n_blocks]


def of_base(system: System, chosen: Any) -> tuple[System, Any]:
    """Return the system of the states alone, and which of them were chosen; None: all of them."""
    joint = system.joint
    if joint is None or chosen is None:
        return system if joint is None else joint.base, chosen
    if joint.of_directions:
        return joint.base, None if chosen == tuple(range(joint.base.n_states)) else chosen
    return joint.base, chosen[: len(chosen) // joint.n_blocks]


def of_states(values: Any, n_blocks: int) -> Any:
    """Return the states of what was kept: (..., n (1 + P), k) or a `RaggedArray` of such."""
    if values is None or n_blocks == 1:
        return values
    if isinstance(values, RaggedArray):
        return values.mapped(lambda block: block[:, : block.shape[1] // n_blocks])
    return values[..., : values.shape[-2] // n_blocks, :]


def of_inputs(values: Any, sizes: np.ndarray, points: Points | None) -> Any:
    """Return the derivatives by inputs, (..., n, P, k) or a `RaggedArray` of such.

    Parameters
    ----------
    values : ndarray or RaggedArray
        As that of `of_states`.
    sizes : ndarray (P, N)
    points : Points, optional
        Where the runs are in a `RaggedArray`.
    """
    if values is None:
        return None
    n_blocks = 1 + len(sizes)
    if isinstance(values, RaggedArray):
        assert points is not None
        runs = points.runs_of_points() if sizes.shape[1] > 1 else None
        numbers = iter(range(len(points.times)))

        def apart(block: np.ndarray) -> np.ndarray:
            of_points = 0 if runs is None else runs[next(numbers)]
            size = sizes[:, of_points].T.reshape(-1, n_blocks - 1, 1)
            whole = block.reshape(len(block), n_blocks, -1)
            return whole[:, 1:] / size.astype(block.dtype)

        return values.mapped(apart)
    *before, size, k = values.shape
    whole = values.reshape(*before, n_blocks, size // n_blocks, k)[..., 1:, :, :]
    of_runs = sizes.T if before else sizes[:, 0]  # (N, P), or (P,) of one run
    scaled = whole / of_runs[..., None, None].astype(values.dtype)
    return np.swapaxes(scaled, -2, -3)
