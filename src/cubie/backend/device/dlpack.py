"""DLPack capsules: read, and made. The structures are those of dlpack.h, version 0.8."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

CUDA, CUDA_MANAGED = 2, 13
ON_DEVICE = (CUDA, CUDA_MANAGED)
NAME = b"dltensor"
_KINDS = {0: "i", 1: "u", 2: "f"}


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _DType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class Described(NamedTuple):
    """An array as DLPack describes it; strides in elements."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype
    device: tuple[int, int]


def _python() -> ctypes.PyDLL:
    return ctypes.PyDLL("python", handle=ctypes.pythonapi._handle)


def _capsules():
    """Return Python's functions on capsules, not those that others set up in `pythonapi`."""
    api = _python()
    get, is_valid, new = api.PyCapsule_GetPointer, api.PyCapsule_IsValid, api.PyCapsule_New
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    is_valid.restype, is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
    new.restype = ctypes.py_object
    new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return get, is_valid, new


def describe(capsule: Any) -> Described:
    """Return what a capsule holds; it stays the owner.

    Raises
    ------
    ValueError
        For another thing, or numbers of a kind that NumPy has not.
    """
    get, is_valid, _ = _capsules()
    if not is_valid(capsule, NAME):
        raise ValueError("it gives no DLPack capsule that is to be used for the first time")
    tensor = _Managed.from_address(get(capsule, NAME)).tensor
    kind, ndim = _KINDS.get(tensor.dtype.code), tensor.ndim
    if kind is None or tensor.dtype.lanes != 1:
        raise ValueError("its numbers are of a kind that NumPy has not")
    shape = tuple(tensor.shape[i] for i in range(ndim))
    if tensor.strides:
        strides = tuple(tensor.strides[i] for i in range(ndim))
    else:
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(ndim))
    dtype = np.dtype(f"{kind}{tensor.dtype.bits // 8}")
    address = (tensor.data or 0) + tensor.byte_offset
    return Described(address, shape, strides, dtype, (tensor.device.kind, tensor.device.number))


# What capsules that were handed out refer to, by address, until their users have done with it.
_handed_out: dict[int, Any] = {}


@_Deleter
def _done_with(address: int) -> None:
    _handed_out.pop(address, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _forgotten(capsule: int) -> None:
    """Give back what nobody took: whoever takes a capsule's content renames it."""
    api = _python()
    valid, get = api.PyCapsule_IsValid, api.PyCapsule_GetPointer
    valid.argtypes = get.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    get.restype = ctypes.c_void_p
    if valid(capsule, NAME):
        _done_with(get(capsule, NAME))


def export(described: Described, owner: Any) -> Any:
    """Return a capsule of an array that `owner` keeps."""
    _, _, new = _capsules()
    ndim = len(described.shape)
    shape = (ctypes.c_int64 * ndim)(*described.shape)
    strides = (ctypes.c_int64 * ndim)(*described.strides)
    code = {kind: code for code, kind in _KINDS.items()}[described.dtype.kind]
    tensor = _Tensor(
        described.address,
        _Device(*described.device),
        ndim,
        _DType(code, described.dtype.itemsize * 8, 1),
        ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)),
        ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)),
        0,
    )
    managed = _Managed(tensor, None, _done_with)
    address = ctypes.addressof(managed)
    _handed_out[address] = (managed, shape, strides, owner)
    return new(address, NAME, ctypes.cast(_forgotten, ctypes.c_void_p))
