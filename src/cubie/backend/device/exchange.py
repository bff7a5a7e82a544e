"""Arrays in a device's memory, as other libraries give and take them.

Two protocols: the CUDA array interface, version 3
(https://nvidia.github.io/numba-cuda/user/cuda_array_interface.html), and DLPack
(https://dmlc.github.io/dlpack/latest/python_spec.html).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend.device import dlpack
from cubie.backend.device.driver import Address, Driver
from cubie.backend.device.transfers import Segment, fetch

INTERFACE, VERSION = "__cuda_array_interface__", 3
# Streams that have numbers of their own there: the two default ones.
LEGACY_STREAM = 1


@frozen(eq=False)
class DeviceArray:
    """An array in the memory of a device; others take it without a copy.

    It has `__cuda_array_interface__` and `__dlpack__`: ``cupy.asarray(result.y)``,
    ``torch.as_tensor(result.y)``, ``jax.dlpack.from_dlpack(result.y)``. What wrote it is over.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    _driver: Driver
    _address: Address
    shape: tuple[int, ...]
    dtype: np.dtype
    _strides: tuple[int, ...]  # bytes
    _owner: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._address, False),
            "strides": self._strides,
            "version": VERSION,
            "stream": None,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._driver.facts.number

    def __dlpack__(self, *, stream: Any = None, **wanted: Any) -> Any:
        if wanted.get("copy"):
            raise BufferError("A result on a device is handed on as it is; copy what comes of it.")
        device = wanted.get("dl_device")
        if device is not None and tuple(device) != self.__dlpack_device__():
            raise BufferError("A result on a device goes to no other one; see `to_host`.")
        strides = tuple(stride // self.dtype.itemsize for stride in self._strides)
        described = dlpack.Described(
            self._address, self.shape, strides, self.dtype, self.__dlpack_device__()
        )
        return dlpack.export(described, self)

    def component(self, number: int) -> DeviceArray:
        """Return the numbers of one component, of all runs and points."""
        *_, step, _ = self._strides
        address = self._address + number * step
        shape = (*self.shape[:-2], self.shape[-1])
        strides = (*self._strides[:-2], self._strides[-1])
        return DeviceArray(self._driver, address, shape, self.dtype, strides, self._owner)

    def point(self, number: int) -> DeviceArray:
        """Return the numbers at one point; at the last one, -1, a next solve may begin.

        Raises
        ------
        IndexError
            For one that there is not.
        """
        *shape, n_points = self.shape
        if not -n_points <= number < n_points:
            raise IndexError(f"There is no point {number}: there are {n_points}.")
        *strides, step = self._strides
        address = self._address + number % n_points * step
        of_one = tuple(shape), self.dtype, tuple(strides)
        return DeviceArray(self._driver, address, *of_one, self._owner)

    def to_host(self) -> np.ndarray:
        """Return the numbers as a NumPy array."""
        driver = self._driver
        extent = sum((n - 1) * s for n, s in zip(self.shape, self._strides, strict=True))
        memory = np.empty(extent + self.dtype.itemsize if self.nbytes else 0, np.uint8)
        with driver.entered():
            fetch(driver, self._address, [Segment(0, memory)])
        view = np.ndarray(self.shape, self.dtype, memory, 0, self._strides)
        return np.ascontiguousarray(view)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            "This array lies on a device: `to_host()` makes a NumPy array of it, and libraries "
            "for devices take it as it is (`cupy.asarray`, `torch.as_tensor`)."
        )

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, {self.dtype.name}, {self._driver.facts.name})"


@frozen
class ArrayOnDevice:
    """An array on a device that somebody else owns.

    Attributes
    ----------
    address : Address
    shape : tuple of int
    strides : tuple of int
        Bytes.
    dtype : dtype
    number : int or None
        Of the device; None where the owner does not tell.
    owner : object
    stream : int or None
        Work on the array may still go on there.
    """

    address: Address
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype
    number: int | None
    owner: Any
    stream: int | None = None


def is_on_device(value: Any) -> bool:
    """Tell whether something is an array in a device's memory."""
    if isinstance(value, (np.ndarray, np.generic, float, int, str, list, tuple, dict)):
        return False
    if hasattr(value, INTERFACE):
        return True
    tells = getattr(value, "__dlpack_device__", None)
    return callable(tells) and hasattr(value, "__dlpack__") and tells()[0] in dlpack.ON_DEVICE


def read(value: Any) -> ArrayOnDevice:
    """Return where an array on a device lies.

    Raises
    ------
    ValueError
        For one that has a mask, or is of another form.
    """
    described: Any = getattr(value, INTERFACE, None)
    if described is None:
        return _of_dlpack(value)
    if described.get("mask") is not None:
        raise ValueError("it has a mask, and numbers are needed for all runs")
    shape, dtype = tuple(described["shape"]), np.dtype(described["typestr"])
    strides = described.get("strides") or _contiguous(shape, dtype.itemsize)
    address, _ = described["data"]
    stream = described.get("stream")
    return ArrayOnDevice(int(address or 0), shape, tuple(strides), dtype, None, value, stream)


def _of_dlpack(value: Any) -> ArrayOnDevice:
    capsule = value.__dlpack__(stream=LEGACY_STREAM)
    found = dlpack.describe(capsule)
    itemsize = found.dtype.itemsize
    strides = tuple(stride * itemsize for stride in found.strides)
    _, number = found.device
    owner = (value, capsule)  # the capsule, not taken over, gives the array back when it goes
    shape, dtype = found.shape, found.dtype
    return ArrayOnDevice(found.address, shape, strides, dtype, number, owner, LEGACY_STREAM)


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))
