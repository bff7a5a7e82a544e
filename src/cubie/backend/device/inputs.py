"""Inputs as a kernel on a device takes them: copied there, or used where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cubie.backend.arrays import KernelInputs
from cubie.backend.device.driver import Address, Argument
from cubie.backend.device.transfers import Segment
from cubie.backend.portions import InputsLayout


class OnDevice(NamedTuple):
    """Numbers that lie in a device's memory: one for each run, so far apart.

    Attributes
    ----------
    address : Address
        Of the first run's.
    run_stride : int
        Elements between the numbers of one run and the next.
    dtype : dtype
    owner : object
        What keeps the memory.
    """

    address: Address
    run_stride: int
    dtype: np.dtype
    owner: Any

    def from_run(self, first: int) -> OnDevice:
        """Return those of the runs from one on."""
        at = self.address + first * self.run_stride * self.dtype.itemsize
        return self._replace(address=at)


class StatesOnDevice(NamedTuple):
    """Initial states that are not the host's; `KernelInputs.state_stride` tells how they lie."""

    of_runs: OnDevice
    size: int

    @property
    def host_bytes(self) -> int:
        return 0


class ParametersOnDevice(NamedTuple):
    """Parameters of which some are not the host's.

    A kernel finds a parameter by its offset from the first one, in elements; memory of a device
    is one space, so that an offset may lead to any other array there.

    Attributes
    ----------
    host : ndarray
        As `KernelInputs.parameters`; what stands there of the others is not read.
    on_device : mapping of int to OnDevice
        By the number of the parameter.
    """

    host: np.ndarray
    on_device: Mapping[int, OnDevice]

    @property
    def host_bytes(self) -> int:
        return self.host.nbytes


def segments_of(inputs: KernelInputs, placed: InputsLayout, block: Address) -> list[Segment]:
    """Return what is copied into the block of inputs that begins at an address."""
    offsets, parameters = inputs.parameter_offsets, inputs.parameters
    if isinstance(parameters, ParametersOnDevice):
        begin = block + placed.offsets.parameters
        inputs = inputs._replace(
            parameters=parameters.host, parameter_offsets=_reaching(parameters, offsets, begin)
        )
    return [
        Segment(at, array)
        for at, array in zip(placed.offsets, inputs, strict=True)
        if isinstance(array, np.ndarray)
    ]


def _reaching(parameters: ParametersOnDevice, offsets: np.ndarray, begin: Address) -> np.ndarray:
    """Return offsets from a block's parameters that lead to those elsewhere on the device."""
    offsets = offsets.copy()
    for number, there in parameters.on_device.items():
        offsets[number] = (there.address - begin) // there.dtype.itemsize
    return offsets


def arguments_of(inputs: KernelInputs, placed: InputsLayout, block: Address) -> list[Argument]:
    """Return the arrays of inputs as a kernel takes them."""
    arguments = []
    for at, array in zip(placed.offsets, inputs, strict=True):
        if isinstance(array, StatesOnDevice):
            states = array.of_runs
            arguments.append(Argument(states.address, array.size, states.dtype))
            continue
        host = array.host if isinstance(array, ParametersOnDevice) else array
        arguments.append(Argument(block + at, host.size, host.dtype))
    return arguments
