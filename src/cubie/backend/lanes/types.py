"""Numba types of what component code computes with: lanes, masks, buffers.

=====================  =======================  =====================
type                   width 1 (scalar, CUDA)   width B (SIMD groups)
=====================  =======================  =====================
`Lanes(dtype, width)`  ``T``                    ``<B x T>``
`Mask(width, dtype)`   ``i1``                   ``<B x i1>``
`Buf(dtype, n, ...)`   ``T *``                  ``<B x T> *``
`LaneOf(dtype, ...)`   ``T *``                  ``T *``
`Base(addrspace)`      ``i8 *``                 ``i8 *``
`Flat(dtype)`          ``T *``                  ``T *``
=====================  =======================  =====================

A buffer is one bare pointer; its length, dtype and address space are part of
the type, so that nothing is clamped, wrapped or checked at run time. It lies as
[element][lane]. The types are used at width 1 as well: `if mask` on data that
differs between runs fails to compile at every width, for every target.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typeconv import Conversion

# One LLVM address space number means the same on both compiled targets' side:
# the CPU only ever uses GENERIC.
GENERIC = 0
GLOBAL = 1
SHARED = 3

_LLVM_SCALARS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
}

MAX_ALIGNMENT = 64  # bytes: one cache line, and the widest vector register


def lane_type(dtype: types.Type, width: int) -> ir.Type:
    """Return the LLVM type of `width` lanes of `dtype`: a scalar at width 1."""
    scalar = _LLVM_SCALARS[dtype]
    return scalar if width == 1 else ir.VectorType(scalar, width)


def lane_alignment(dtype: types.Type, width: int) -> int:
    """Return the alignment in bytes that every element of a buffer has."""
    return min(MAX_ALIGNMENT, width * dtype.bitwidth // 8)


class Lanes(types.Type):
    """One value for each run of a group."""

    def __init__(self, dtype: types.Type, width: int):
        self.dtype = dtype
        self.width = width
        super().__init__(name=f"Lanes({dtype}, {width})")

    @property
    def is_float(self) -> bool:
        return isinstance(self.dtype, types.Float)

    def can_convert_from(self, typingctx, other):
        if isinstance(other, types.Integer):
            return Conversion.safe
        if isinstance(other, types.Float) and self.is_float:
            return Conversion.safe
        if isinstance(other, Lanes) and other.width == self.width:
            if self.is_float and not other.is_float:
                return Conversion.safe
            if self.is_float == other.is_float and self.dtype.bitwidth > other.dtype.bitwidth:
                return Conversion.promote
        return None

    def unify(self, typingctx, other):
        """Merge with another type met in the same variable: lanes absorb plain numbers."""
        if isinstance(other, Lanes) and other.width == self.width:
            return wider(self, other)
        if isinstance(other, types.Integer):
            return self
        if isinstance(other, types.Float) and self.is_float:
            return self
        return None


class Mask(types.Type):
    """One truth value for each run of a group.

    `dtype` is the floating dtype of what was compared, or None: it decides the
    type of ``select(mask, 1.0, 0.0)``, whose operands carry no dtype of a run.
    """

    def __init__(self, width: int, dtype: types.Type | None = None):
        self.width = width
        self.dtype = dtype
        super().__init__(name=f"Mask({width}, {dtype})")

    def can_convert_from(self, typingctx, other):
        if isinstance(other, types.Boolean):
            return Conversion.safe
        if isinstance(other, Mask) and other.width == self.width:
            return Conversion.promote
        return None

    def unify(self, typingctx, other):
        if isinstance(other, types.Boolean):
            return self
        if isinstance(other, Mask) and other.width == self.width:
            return Mask(self.width, self.dtype or other.dtype)
        return None


class Buf(types.Type):
    """A small array of one run (or one group of runs): `n` elements of `dtype`.

    It may be a part of a larger group's array: `width` of every `stride` lanes.
    """

    def __init__(
        self,
        dtype: types.Type,
        n: int,
        width: int,
        addrspace: int = GENERIC,
        stride: int | None = None,
    ):
        self.dtype = dtype
        self.n = n
        self.width = width
        self.addrspace = addrspace
        self.stride = width if stride is None else stride
        super().__init__(name=f"Buf({dtype}, {n}, {width} of {self.stride}, {addrspace=})")

    @property
    def element(self) -> Lanes:
        return Lanes(self.dtype, self.width)


class LaneOf(types.Type):
    """What one lane has of a buffer; an element is the same in each of `width` values.

    The buffer's elements are `stride` lanes apart.
    """

    def __init__(self, dtype: types.Type, width: int, stride: int):
        self.dtype = dtype
        self.width = width
        self.stride = stride
        super().__init__(name=f"LaneOf({dtype}, {width}, {stride=})")

    @property
    def element(self) -> Lanes:
        return Lanes(self.dtype, self.width)


class Base(types.Type):
    """Start of a run's bytes in one memory space: what allocators offset from."""

    def __init__(self, addrspace: int = GENERIC):
        self.addrspace = addrspace
        super().__init__(name=f"Base(addrspace={addrspace})")


class Flat(types.Type):
    """An array of the whole batch: a bare pointer, owned and kept alive by the caller."""

    def __init__(self, dtype: types.Type):
        self.dtype = dtype
        super().__init__(name=f"Flat({dtype})")


def wider(a: Lanes, b: Lanes) -> Lanes:
    """Return the lanes type that holds both: float before int, then the wider one."""
    return max(a, b, key=lambda lanes: (lanes.is_float, lanes.dtype.bitwidth))


class LanesModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, lane_type(fe_type.dtype, fe_type.width))


class MaskModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        bit = ir.IntType(1)
        super().__init__(
            dmm, fe_type, bit if fe_type.width == 1 else ir.VectorType(bit, fe_type.width)
        )


class BufModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = lane_type(fe_type.dtype, fe_type.width)
        super().__init__(dmm, fe_type, ir.PointerType(element, fe_type.addrspace))


class BaseModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.PointerType(ir.IntType(8), fe_type.addrspace))


class FlatModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.PointerType(lane_type(fe_type.dtype, 1)))


MODELS = {
    Lanes: LanesModel,
    Mask: MaskModel,
    Buf: BufModel,
    LaneOf: FlatModel,
    Base: BaseModel,
    Flat: FlatModel,
}
