"""The type of matrices with padded rows, in kernels that numba-cuda compiles.

numba finds an element of an array with gaps by arithmetic on an integer address. The compiler
does not see then which memory that is: loads and stores take the generic way, with more
registers. Here elements and rows are found from the pointer itself. Slices are numba's own.
"""

# numba-cuda makes these names at import time; its annotations deny that they exist.
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false

import operator

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.cudaimpl import registry
from numba.cuda.datamodel.models import ArrayModel
from numba.cuda.extending import register_model
from numba.cuda.np import arrayobj

BYTE = ir.IntType(8)


class PaddedArray(types.Array):
    """An array with gaps, and a view of one, whose elements are found from its pointer."""

    def copy(self, dtype=None, ndim=None, layout=None, readonly=None):
        """Return the type of a view."""
        return PaddedArray(
            self.dtype if dtype is None else dtype,
            self.ndim if ndim is None else ndim,
            self.layout if layout is None else layout,
            readonly=not self.mutable if readonly is None else readonly,
            aligned=self.aligned,
        )


register_model(PaddedArray)(ArrayModel)


def _by_integers(index_type) -> bool:
    held = index_type.types if isinstance(index_type, types.BaseTuple) else (index_type,)
    return all(isinstance(one, types.Integer) for one in held)


def _address(context, builder, array, index_type, index) -> tuple[ir.Value, int]:
    """Return the address of an element, or of what follows some indices, and how many these are."""
    kinds, values = (index_type,), (index,)
    if isinstance(index_type, types.BaseTuple):
        kinds, values = index_type.types, cgutils.unpack_tuple(builder, index)
    lengths = cgutils.unpack_tuple(builder, array.shape)
    steps = cgutils.unpack_tuple(builder, array.strides)
    offset = context.get_constant(types.intp, 0)
    for kind, value, length, step in zip(kinds, values, lengths, steps, strict=False):
        place = arrayobj.fix_integer_index(context, builder, kind, value, length)
        offset = builder.add(offset, builder.mul(place, step))
    first = builder.bitcast(array.data, BYTE.as_pointer())
    return builder.bitcast(builder.gep(first, [offset]), array.data.type), len(kinds)


@registry.lower(operator.getitem, PaddedArray, types.Integer)
@registry.lower(operator.getitem, PaddedArray, types.BaseTuple)
def read(context, builder, signature, args):
    """Read an element, or return a row."""
    kind, index_type = signature.args
    if not _by_integers(index_type) or context.enable_boundscheck:
        is_tuple = isinstance(index_type, types.BaseTuple)
        way = arrayobj.getitem_array_tuple if is_tuple else arrayobj.getitem_arraynd_intp
        return way(context, builder, signature, args)
    array = arrayobj.make_array(kind)(context, builder, args[0])
    address, n_indices = _address(context, builder, array, index_type, args[1])
    if n_indices == kind.ndim:
        return arrayobj.load_item(context, builder, kind, address)
    left = [
        cgutils.unpack_tuple(builder, held)[n_indices:] for held in (array.shape, array.strides)
    ]
    view = arrayobj.make_view(context, builder, kind, array, signature.return_type, address, *left)
    return view._getvalue()


@registry.lower(operator.setitem, PaddedArray, types.Integer, types.Any)
@registry.lower(operator.setitem, PaddedArray, types.BaseTuple, types.Any)
def write(context, builder, signature, args):
    """Write an element."""
    kind, index_type, value_type = signature.args
    n_indices = len(index_type) if isinstance(index_type, types.BaseTuple) else 1
    if n_indices < kind.ndim or not _by_integers(index_type) or context.enable_boundscheck:
        return arrayobj.setitem_array(context, builder, signature, args)
    array = arrayobj.make_array(kind)(context, builder, args[0])
    address, _ = _address(context, builder, array, index_type, args[1])
    value = context.cast(builder, args[2], value_type, kind.dtype)
    arrayobj.store_item(context, builder, kind, value, address)
    return context.get_dummy_value()
