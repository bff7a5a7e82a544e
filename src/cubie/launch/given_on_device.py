"""Initial states and arguments that users give as arrays on a device: used where they lie.

For all that looks at shapes a stand-in takes their place: an array of the same shape in which every
run has the same number, which takes no memory. A launch is then told where the numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import (
    ArrayOnDevice,
    KernelInputs,
    OnDevice,
    ParametersOnDevice,
    StatesOnDevice,
    is_on_device,
    read_on_device,
)
from cubie.errors import InvalidProblem
from cubie.systems import Batch, placed_leaves

ANY_NUMBER = 1.0


@frozen(eq=False)
class GivenOnDevice:
    """What of the inputs of a solve lies on a device.

    Attributes
    ----------
    y0 : ArrayOnDevice or None
    args : mapping of int to ArrayOnDevice
        By the identity of their stand-ins, which `stand_ins` keep alive.
    stand_ins : tuple of ndarray
    """

    y0: ArrayOnDevice | None
    args: Mapping[int, ArrayOnDevice]
    stand_ins: tuple[np.ndarray, ...]

    def into(self, inputs: KernelInputs, batch: Batch, args: Any) -> KernelInputs:
        """Return inputs that refer to what lies on the device.

        Raises
        ------
        InvalidProblem
            Where its numbers are of another dtype than the runs', or it does not sweep.
        """
        dtype = inputs.time_span.dtype
        if self.y0 is not None:
            inputs = _with_states(inputs, self.y0, dtype)
        found: dict[int, OnDevice] = {}
        used: set[int] = set()
        for label, value, start, swept in placed_leaves(args, batch.n_runs):
            given = self.args.get(id(value))
            if given is None:
                continue
            _require(label, given, dtype)
            if not swept:
                raise InvalidProblem(
                    label,
                    f"has shape {given.shape} and lies on a device, and there are "
                    f"{batch.n_runs or 1} runs: only what has a number for each run is taken from "
                    "there. Give what serves all runs as an array of the host, or a list.",
                )
            used.add(id(value))
            found |= dict(_columns(given, start, dtype))
        if len(used) < len(self.args):
            raise InvalidProblem(
                "args",
                "hold arrays that lie on a device and are not used as they are here: equations "
                "that take them by name, or functions that need their numbers. Give arrays of the "
                "host.",
            )
        if not found:
            return inputs
        return _with_parameters(inputs, found)

    @property
    def streams(self) -> list[tuple[int | None, int | None]]:
        """On which device, and which of its streams, work on the arrays may still go on."""
        every = [*self.args.values(), *([] if self.y0 is None else [self.y0])]
        return [(given.number, given.stream) for given in every]


def split_given(y0: Any, args: Any) -> tuple[Any, Any, GivenOnDevice | None]:
    """Return `y0` and `args` with stand-ins for what lies on a device, and that; None if nothing.

    Raises
    ------
    InvalidProblem
        For an array on a device that cannot be used.
    """
    found: dict[int, ArrayOnDevice] = {}
    stand_ins: list[np.ndarray] = []

    def replaced(value: Any, label: str) -> Any:
        if type(value) in (tuple, list):
            entries = [replaced(entry, f"{label}[{i}]") for i, entry in enumerate(value)]
            same = all(new is old for new, old in zip(entries, value, strict=True))
            return value if same else type(value)(entries)
        if type(value) is dict:
            entries = {key: replaced(entry, f"{label}[{key!r}]") for key, entry in value.items()}
            return value if all(entries[key] is value[key] for key in value) else entries
        if not is_on_device(value):
            return value
        try:
            given = read_on_device(value)
        except (ValueError, TypeError, BufferError) as error:
            raise InvalidProblem(label, f"lies on a device and cannot be used: {error}.") from error
        if given.dtype.kind != "f":
            raise InvalidProblem(
                label, f"lies on a device and holds {given.dtype.name}: give floats there."
            )
        stand_in = np.broadcast_to(given.dtype.type(ANY_NUMBER), given.shape)
        stand_ins.append(stand_in)
        found[id(stand_in)] = given
        return stand_in

    start = replaced(y0, "y0") if type(y0) is not list else y0
    of_states = None if start is y0 else found.pop(id(start))
    if of_states is not None and len(of_states.shape) != 2:
        raise InvalidProblem(
            "y0",
            f"has shape {of_states.shape} and lies on a device: there it must be (n_runs, "
            "n_states). Give the start of all runs as a list.",
        )
    args = replaced(args, "args")
    if of_states is None and not found:
        return y0, args, None
    return start, args, GivenOnDevice(of_states, found, tuple(stand_ins))


def _with_states(inputs: KernelInputs, given: ArrayOnDevice, dtype: np.dtype) -> KernelInputs:
    _require("y0", given, dtype)
    n_runs, n_states = given.shape
    of_runs, of_components = (stride // dtype.itemsize for stride in given.strides)
    there = OnDevice(given.address, of_runs, dtype, given.owner)
    return inputs._replace(
        initial_state=StatesOnDevice(there, n_runs * n_states),
        state_stride=np.array([of_runs, of_components]),
    )


def _with_parameters(inputs: KernelInputs, found: Mapping[int, OnDevice]) -> KernelInputs:
    """Return inputs some of whose parameters lie on the device; of the host's only the others."""
    strides, offsets = inputs.parameter_strides.copy(), inputs.parameter_offsets
    host, n_parameters = inputs.parameters, len(offsets) - 1
    if strides[-1]:  # the host's are those of each run: no stand-ins for others among them
        columns = (len(host) - 1) // n_parameters
        kept = [number for number in range(n_parameters) if number not in found]
        rows = host[:-1].reshape(n_parameters, columns)[kept]
        host = np.append(rows.reshape(-1), host[-1:])
        offsets = np.zeros_like(offsets)
        offsets[kept] = np.arange(len(kept)) * columns
    for number, there in found.items():
        strides[number] = there.run_stride
    return inputs._replace(
        parameters=ParametersOnDevice(host, found),
        parameter_strides=strides,
        parameter_offsets=offsets,
    )


def _columns(given: ArrayOnDevice, start: int, dtype: np.dtype) -> list[tuple[int, OnDevice]]:
    """Return the number of each parameter in an array, and where it lies."""
    of_runs, *inner = given.strides
    shape: Sequence[int] = given.shape[1:]
    columns = []
    for number, index in enumerate(np.ndindex(*shape)):
        at = given.address + sum(i * stride for i, stride in zip(index, inner, strict=True))
        there = OnDevice(at, of_runs // dtype.itemsize, dtype, given.owner)
        columns.append((start + number, there))
    return columns


def _require(label: str, given: ArrayOnDevice, dtype: np.dtype) -> None:
    if given.dtype != dtype:
        raise InvalidProblem(
            label,
            f"lies on a device and holds {given.dtype.name}, and runs are {dtype.name}: what lies "
            f"there is used as it is. Give {dtype.name}, or dtype={given.dtype.name!r}.",
        )
    if any(stride % dtype.itemsize for stride in given.strides) or given.address % dtype.itemsize:
        raise InvalidProblem(
            label, "lies on a device and is not aligned to its numbers; give a copy of it."
        )
