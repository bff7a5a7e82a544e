"""Arrays of expressions: NumPy's own object arrays, with its functions sent to the tracer.

A `TracedArray` is an `ndarray` of dtype object, so slicing, reshaping, broadcasting and most of
NumPy work unchanged; ufuncs and the few functions that would look at values are replaced.
"""

import functools
import operator
from typing import Any

import numpy as np

from cubie.systems.errors import Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Complex, describe, is_complex, is_mask, operand
from cubie.systems.tracing.operations import FUNCTIONS

IDENTITY = {"add": 0.0, "multiply": 1.0, "logical_and": True, "logical_or": False}


class Unset:
    """What `np.empty` holds until it is assigned."""

    def __repr__(self):
        return "<never assigned>"


UNSET = Unset()


class TracedArray(np.ndarray):
    """An object array whose entries are expressions or plain numbers."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, func, types, args, kwargs):
        # Imported late: numpy_functions builds on this module.
        from cubie.systems.tracing.numpy_functions import REPLACED

        replacement = REPLACED.get(func)
        if replacement is not None:
            return replacement(*args, **kwargs)
        if func.__module__ in ("numpy.linalg", "numpy.fft") and func.__name__ != "norm":
            options = {name: _settled(value, func) for name, value in kwargs.items()}
            return func(*_settled(args, func), **options)
        if func.__module__ == "numpy.linalg":
            # Norms of vectors are those of the sizes of their entries.
            args = tuple(_sizes(a) if isinstance(a, TracedArray) else a for a in args)
        return adopt(super().__array_function__(func, types, args, kwargs))

    def each_entry(self, function):
        """Return the array of what a function gives for each entry."""
        return elementwise(function, self)

    def __setitem__(self, key, value):
        if isinstance(key, Expr) or (isinstance(key, TracedArray) and has_masks(key)):
            chosen = elementwise(ex.select, key, _masked_value(value), self)
            super().__setitem__(Ellipsis, chosen)
        else:
            super().__setitem__(key, self._of_its_kind(value))

    def _of_its_kind(self, value):
        """Return what is assigned as truth values where all entries are, else as numbers."""
        # All entries are of one kind.
        kind = ex.mask if self.size and is_mask(self.flat[0]) else ex.number
        if isinstance(value, np.ndarray):
            entries = value.ravel().tolist()
            if any(kind is ex.mask or is_mask(entry) for entry in entries):
                return elementwise(kind, value)
            return value
        return kind(value) if kind is ex.mask or is_mask(value) else value

    def __getitem__(self, key):
        if isinstance(key, TracedArray) and has_masks(key):
            raise Untraceable(
                "an array indexed by a condition has a size that depends on the states; "
                "use np.where"
            )
        return super().__getitem__(key)

    def __bool__(self):
        return bool(self.item())

    def astype(self, dtype, *args, **kwargs):
        """Return a copy: entries are numbers of what type ever is asked for."""
        kind = np.dtype(dtype).kind
        if kind not in "fcO":
            raise Untraceable(f"an array of expressions is cast to {np.dtype(dtype)}")
        if kind == "f" and has_complex(self):
            raise Untraceable("complex expressions are cast to real ones; take their .real")
        return as_numbers(self.copy())

    @property
    def real(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The real part of each entry."""
        return of_entries("real_part", self)

    @property
    def imag(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The imaginary part of each entry."""
        return of_entries("imaginary_part", self)

    def conj(self) -> Any:
        """Return the conjugate of each entry."""
        return np.conjugate(self)

    conjugate = conj


def traced(array):
    """Return the array as a TracedArray of dtype object."""
    return _of_one_kind(np.asarray(array, dtype=object)).view(TracedArray)


def adopt(result):
    """Turn what a NumPy function returned into traced arrays where it is an object array."""
    if isinstance(result, np.ndarray) and result.dtype == object:
        return _of_one_kind(result).view(TracedArray) if result.ndim else result.item()
    if type(result) is list:
        return [adopt(entry) for entry in result]
    if type(result) is tuple:
        return tuple(adopt(entry) for entry in result)
    return result


def has_complex(array):
    """Whether some of the entries are complex numbers."""
    return any(map(is_complex, array.ravel().tolist()))


def of_entries(name, array):
    """Return what a function of `complex_numbers` gives for each entry of an array, or a number."""
    from cubie.systems.tracing import complex_numbers

    function = getattr(complex_numbers, name)
    if not isinstance(array, np.ndarray):
        return _settled_constant(function(array))
    results = [function(entry) for entry in array.ravel().tolist()]
    made = np.empty(len(results), dtype=object)
    made[:] = results
    return traced(made.reshape(array.shape))


def as_numbers(array):
    """Return the array with its truth values as ones and zeros, in place."""
    flat = array.reshape(-1)
    for i, entry in enumerate(flat.tolist()):
        if is_mask(entry):
            np.ndarray.__setitem__(flat, i, ex.number(entry))
    return flat.reshape(array.shape)


def _of_one_kind(array) -> Any:
    """Return an array that holds truth values or numbers, as NumPy's do: not both."""
    masks = list(map(is_mask, array.ravel().tolist()))
    if not any(masks):
        return array
    return _made_by_numpy(array) if all(masks) else as_numbers(array.copy())


def has_masks(array):
    """Whether the entries are truth values, at least one of them traced."""
    entries = array.ravel().tolist()
    return any(type(e) is Expr for e in entries) and all(is_mask(e) for e in entries)


def _sizes(array):
    return np.abs(array) if has_complex(array) else as_numbers(array.copy())


def _masked_value(value):
    if np.ndim(value) != 0:
        raise Untraceable("an array is assigned where a condition holds; use np.where")
    return value


def _settled(value, func) -> Any:
    """Return arguments with all-constant traced arrays as float arrays."""
    if isinstance(value, TracedArray):
        entries = value.ravel().tolist()
        if any(isinstance(entry, (Expr, Complex)) for entry in entries):
            raise Untraceable(f"{func.__module__}.{func.__name__} is applied to expressions")
        dtype = complex if has_complex(value) else float
        return np.array(entries, dtype=dtype).reshape(value.shape)
    if type(value) in (list, tuple):
        return type(value)(_settled(entry, func) for entry in value)
    return value


def _entry(value):
    known = operand(value)
    if known is NotImplemented:
        if value is UNSET:
            raise Untraceable("an entry of np.empty is used before it is assigned")
        raise Untraceable(f"{type(value).__name__} {value!r} is used as a number")
    return known


def _on_entries(function):
    def apply(*entries):
        entries = list(map(_entry, entries))
        if any(map(is_complex, entries)):
            from cubie.systems.tracing.complex_numbers import of_complex

            return of_complex(function)(*entries)
        return function(*entries)

    return apply


def elementwise(function, *arrays):
    """Apply a function of expressions to all entries, with NumPy's broadcasting."""
    operation = np.frompyfunc(_on_entries(function), len(arrays), 1)
    result = adopt(operation(*(np.asarray(a, dtype=object) for a in arrays)))
    return result if isinstance(result, np.ndarray) else _settled_constant(result)


def apply_ufunc(ufunc, method, inputs, options):
    """Answer `ufunc.method(*inputs, **options)` for inputs that hold expressions."""
    out = options.pop("out", None)
    if ufunc.__name__ in ("matmul", "vecdot", "matvec", "vecmat"):
        result = _matrix_product(ufunc, inputs)
    else:
        function = FUNCTIONS.get(ufunc.__name__)
        if function is None:
            raise Untraceable(f"the function {ufunc.__name__} is applied to {_traced_in(inputs)}")
        if method == "__call__":
            if options.pop("where", True) is not True:
                raise Untraceable(f"{ufunc.__name__}(..., where=...) is used; use np.where")
            result = _made_by_numpy(elementwise(function, *inputs))
        else:
            result = _made_by_numpy(_reduction(ufunc.__name__, function, method, inputs, options))
    if out is None:
        return result
    target = out[0]
    if not isinstance(target, TracedArray):
        raise Untraceable("an expression is written into an array that is not made in fun")
    target[...] = result
    return target


def _matrix_product(function, inputs):
    # Imported late: products are of expressions, which answer NumPy's functions by these here.
    from cubie.systems.tracing.products import matrix_product

    # Of other products of a matrix and a vector shapes say the same.
    whole = matrix_product(*inputs) if function in (np.matmul, np.dot) else None
    if whole is None:
        whole = function(*(np.asarray(a, dtype=object) for a in inputs))
    return adopt(whole)


def dot(a, b):
    """np.dot."""
    arrays = [np.asarray(one, dtype=object) for one in (a, b)]
    if all(map(_are_masks, arrays)) and any(map(has_masks, arrays)):
        return _dot_of_masks(*arrays)
    return _matrix_product(np.dot, (a, b))


def _are_masks(array):
    return all(map(is_mask, array.ravel().tolist()))


def _dot_of_masks(a, b):
    """Return whether both hold somewhere: NumPy adds no truth values of a product up."""
    if not a.ndim or not b.ndim:
        return adopt(np.asarray(np.multiply(a, b), dtype=object))
    b = np.moveaxis(b, -2 if b.ndim > 1 else 0, 0)
    made = np.empty(a.shape[:-1] + b.shape[1:], dtype=object)
    for i in np.ndindex(a.shape[:-1]):
        for j in np.ndindex(b.shape[1:]):
            both = [x & y for x, y in zip(a[i], b[(slice(None), *j)], strict=True)]
            made[i + j] = functools.reduce(operator.or_, both)
    return adopt(made)


def _made_by_numpy(result):
    """Return what a function of NumPy's gave, and note that it is no value of Python's own."""
    if not isinstance(result, np.ndarray):
        return _of_numpy(result)
    for i, entry in enumerate(result.ravel().tolist()):
        if _of_numpy(entry) is not entry:
            place = np.unravel_index(i, result.shape)
            np.ndarray.__setitem__(result, place, _settled_constant(entry))
    return result


def _of_numpy(entry):
    if type(entry) is Expr:
        entry.graph.of_numpy.add(entry.serial)
    return _settled_constant(entry)


def _settled_constant(value):
    """Return a number or truth value that is known by now as one of NumPy's."""
    if type(value) is float:
        return np.float64(value)
    if type(value) is complex:
        return np.complex128(value)
    return np.bool_(value) if type(value) is bool else value


def _traced_in(inputs):
    entry = next((a for a in inputs if isinstance(a, Expr)), None)
    return describe(entry) if entry is not None else "an array of expressions"


def _reduction(name, function, method, inputs, options):
    # NumPy counts the conditions that it sums up.
    counts = name == "add" and method != "outer"
    operation = np.frompyfunc(_on_entries(ex.add if counts else function), 2, 1)
    array = np.asarray(inputs[0], dtype=object)
    axis = options.pop("axis", 0)
    if options.pop("where", True) is not True or method not in ("reduce", "accumulate", "outer"):
        raise Untraceable(f"numpy.{name}.{method} with these options")
    if method == "outer":
        return adopt(operation.outer(array, np.asarray(inputs[1], dtype=object)))
    if method == "accumulate":
        return adopt(operation.accumulate(array, axis=axis))
    keep = options.pop("keepdims", False)
    initial = options.pop("initial", None)
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis)
    result = array
    for one in sorted((a % array.ndim for a in axes), reverse=True):
        if result.shape[one] == 0:
            result = np.full(np.delete(result.shape, one), IDENTITY[name], dtype=object)
        else:
            result = np.asarray(operation.reduce(result, axis=one), dtype=object)
        if keep:
            result = np.expand_dims(result, one)
    if initial is not None and initial is not np._NoValue:
        result = operation(result, initial)
    return adopt(np.asarray(result, dtype=object))
