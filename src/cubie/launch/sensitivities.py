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


def joint_start(joint: Joint | None, y0: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the start of all states, (n (1 + P), N), from that of the states, (n, N).

    Sizes of inputs are those that runs see, in their `dtype`.
    """
    if joint is None:
        return y0
    y0 = y0.astype(dtype)
    start = np.zeros((joint.n_blocks, *y0.shape), y0.dtype)
    start[0] = y0
    for block, one in enumerate(joint.inputs, 1):
        if one.is_initial:
            start[block, one.number] = _size(y0[one.number])
    return start.reshape(-1, y0.shape[1])


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
    """

    sizes: np.ndarray
    parameters: np.ndarray | None
    drivers: tuple[tuple[Pieces, ...], ...]

    @classmethod
    def of(
        cls,
        system: System,
        events: EventSystems | None,
        inputs: KernelInputs,
        n_runs: int,
        batch: Batch,
    ) -> RunInputs | None:
        """Return those of a launch; None where nothing is differentiated."""
        joint, timings = system.joint, () if events is None else events.timings
        if joint is None:
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
        return cls(sizes, parameters if timings else None, called)

    def of_event(
        self, k: int, timing: System, joint: Joint, times: np.ndarray, states: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of times and of states of event `k`, (..., P) and (..., n, P).

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
        flat = states.reshape(n_runs * room, -1).T.astype(float)
        assert self.parameters is not None
        given = times.reshape(-1), flat, self.parameters[:, runs].astype(float)
        n, size = joint.base.n_states, self.sizes[:, runs]
        with np.errstate(all="ignore"):  # of what did not happen
            found = evaluator(timing, self.drivers[k])(*given)
        moves, slopes = found[: len(size)], found[len(size) : len(size) + n]
        by_inputs = flat[n:].reshape(len(size), n, -1)
        whole = (by_inputs + moves[:, None] * slopes) / size[:, None]
        unset = np.isnan(given[0])
        moves, whole = np.where(unset, np.nan, moves / size), np.where(unset, np.nan, whole)
        shape = n_runs, room, len(size)
        dtype = states.dtype
        return (
            moves.T.reshape(shape).astype(dtype),
            whole.T.reshape(n_runs, room, n, len(size)).astype(dtype),
        )


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
    if system.joint is None:
        return system, chosen
    n_blocks = system.joint.n_blocks
    return system.joint.base, None if chosen is None else chosen[: len(chosen) // n_blocks]


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
