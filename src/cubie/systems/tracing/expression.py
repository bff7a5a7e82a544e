"""Expressions over one run's time, states and parameters, as the user's code meets them."""

from typing import Any

import numpy as np

from cubie.systems.errors import NeedsInteger, Untraceable
from cubie.systems.tracing.arithmetic import (
    add,
    call,
    compare,
    divide,
    floor_divide,
    mask,
    multiply,
    neg,
    power,
    remainder,
    sub,
)
from cubie.systems.tracing.nodes import (
    Node,
    Nodes,
    describe,
    graph_of,
    integer_leaves,
    is_complex,
    is_mask,
    operand,
)


def _binary(function, name):
    """Return an operator and its reflection; `name` is NumPy's, for what complex numbers do."""

    def forward(self, other):
        other = operand(other)
        if other is NotImplemented:
            return other
        if is_complex(other):
            return _of_complex(name)(self, other)
        return _settled(function(self, other), self, other)

    def backward(self, other):
        other = operand(other)
        if other is NotImplemented:
            return other
        if is_complex(other):
            return _of_complex(name)(other, self)
        return _settled(function(other, self), self, other)

    return forward, backward


def _of_complex(name):
    from cubie.systems.tracing.complex_numbers import function_called

    return function_called(name)


def _settled(result, *operands):
    """Return a truth value that is known by now as NumPy's, unless it is Python's own."""
    from cubie.systems.tracing.exceptions import is_plain

    if type(result) is bool and not all(map(is_plain, operands)):
        return np.bool_(result)
    return result


def _raising(function, name: str, check: str):
    """Return an operator that raises, where that may be caught, as Python's own floats do."""

    def checked(a, b):
        graph = graph_of(a, b)
        if graph is not None and graph.catching():
            from cubie.systems.tracing import exceptions

            getattr(exceptions, check)(a, b)
        return function(a, b)

    return _binary(checked, name)


def _of_conditions(name: str, function, numpy_name: str):
    """Return an operator that means something else where both operands are conditions."""

    forward, backward = _binary(function, numpy_name)

    def conditions_forward(self, other):
        if is_mask(self) and is_mask(other):
            return _settled(_truth(name)(self, other), self, other)
        return forward(self, other)

    def conditions_backward(self, other):
        if is_mask(self) and is_mask(other):
            return _settled(_truth(name)(other, self), self, other)
        return backward(self, other)

    return conditions_forward, conditions_backward


def _truth(name: str):
    from cubie.systems.tracing import truth

    return getattr(truth, name)


def _bits(name: str):
    return _binary(lambda a, b: _truth(name)(a, b), name)


def _comparison(op):
    name = {"==": "equal", "!=": "not_equal"}.get(op, "comparison")
    forward = _binary(lambda a, b: compare(op, a, b), name)[0]

    def compared(self, other) -> Any:
        result = forward(self, other)
        if isinstance(other, np.generic) and isinstance(result, Node):
            self.graph.of_numpy.add(result.serial)
        return result

    return compared


class Expr(Node):
    """A node that behaves as a number (or a truth value) in the user's code."""

    __slots__ = ()

    __add__, __radd__ = _of_conditions("plus", add, "add")
    __sub__, __rsub__ = _binary(sub, "subtract")
    __mul__, __rmul__ = _of_conditions("times", multiply, "multiply")
    __truediv__, __rtruediv__ = _raising(divide, "divide", "raise_as_division")
    __pow__, __rpow__ = _raising(power, "power", "raise_as_power")
    __floordiv__, __rfloordiv__ = _raising(floor_divide, "floor_divide", "raise_as_division")
    __mod__, __rmod__ = _raising(remainder, "remainder", "raise_as_division")
    __and__, __rand__ = _bits("bits_and")
    __or__, __ror__ = _bits("bits_or")
    __xor__, __rxor__ = _bits("bits_xor")
    __lt__, __le__, __gt__, __ge__ = map(_comparison, ("<", "<=", ">", ">="))
    __eq__, __ne__ = map(_comparison, ("==", "!="))
    __hash__ = object.__hash__

    def __neg__(self):
        return neg(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return call("fabs", self)

    def __invert__(self):
        return _truth("complement")(self)

    def __floor__(self):
        return call("floor", self)

    def __ceil__(self):
        return call("ceil", self)

    def conjugate(self):
        """Return itself: states are real."""
        return self

    conj = conjugate

    @property
    def real(self):
        """Itself: states are real."""
        return self

    @property
    def imag(self):
        """Zero: states are real."""
        return 0.0

    def __bool__(self):
        leaves = integer_leaves(self)
        if leaves:
            raise NeedsInteger(leaves)
        return self.graph.decide(mask(self))

    def __index__(self):
        leaves = integer_leaves(self)
        if leaves:
            raise NeedsInteger(leaves)
        raise Untraceable(f"{describe(self)} is used as an index or a count")

    __int__ = __trunc__ = __index__

    def __float__(self):
        raise Untraceable(f"a function that takes plain floats only is applied to {describe(self)}")

    __complex__ = __round__ = __float__

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        from cubie.systems.tracing.arrays import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, options)


class Graph(Nodes):
    """All expressions of one trace; see `Nodes`."""

    make = Expr
