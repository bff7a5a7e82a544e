"""Expressions over one run's time, states and parameters: a graph in which equal nodes are one.

Every operation asks its graph for the node `(operator, operands)`; asking twice gives the same
node, so common subexpressions are shared as they are written, at the cost of one dictionary
look-up. Constants are plain floats and are folded at once. Operands keep the order and the
association of the user's code, so the generated code rounds as the original does.
"""

import math
import operator
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from cubie.backend import SPECIAL
from cubie.systems.errors import NeedsInteger, Untraceable

# Expr, float or bool: an operation on two constants is a constant.
Value: TypeAlias = Any

COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
MASK_OPERATORS = frozenset(COMPARISONS) | {"&", "|", "~"}
COMMUTATIVE = frozenset("+*&|") | {"==", "!="}
LARGEST_EXPANDED_POWER = 32
# Of finite numbers these give finite ones, however large.
BOUNDED = MASK_OPERATORS | {"neg", "fabs", "sin", "cos", "tanh", "atan", "select", "copysign"}


class Graph:
    """All nodes of one trace, and who decides when Python asks for a truth value.

    Attributes
    ----------
    nodes : dict
        Key of a node -> the node. Insertion order is a topological order.
    integers : dict
        Serial number of a parameter given as an int -> the leaf of args it came from.
    decide : callable
        Answers `bool(mask)`; the path explorer sets it.
    catching : callable
        Tells whether the code under trace catches exceptions.
    either : set of int
        Serial numbers of what is Python's in some runs and NumPy's in others: `max` of both.
    plain : set of int
        Serial numbers of nodes that are Python's own floats, which raise where NumPy's do not.
    of_numpy : set of int
        Serial numbers of nodes that a function of NumPy's returned.
    """

    def __init__(self, decide=None, catching=lambda: False):
        self.nodes = {}
        self.integers = {}
        self.decide = decide or _refuse_truth_value
        self.catching = catching
        self.plain = set()
        self.either = set()
        self.of_numpy = set()

    def node(self, op, *operands):
        """Return the one node of this operator and these operands."""
        key = (op, *(a.serial if type(a) is Expr else _constant_key(a) for a in operands))
        if op in COMMUTATIVE and str(key[2]) < str(key[1]):
            key = (op, key[2], key[1])
        found = self.nodes.get(key)
        if found is None:
            found = Expr(self, op, operands, len(self.nodes))
            self.nodes[key] = found
        return found

    def leaf(self, kind, index=0):
        """Return the node of `t`, of state `index` or of parameter `index`."""
        key = ("leaf " + kind, index)
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = Expr(self, kind, (index,), len(self.nodes))
        return found


def _refuse_truth_value(mask):
    raise Untraceable("the truth value of an expression of the states is needed")


def _constant_key(value):
    # A string never equals a serial number, and tells 0.0 from -0.0.
    return value.hex() if type(value) is float else value


def operand(value) -> Value:
    """Return `value` as Expr, float or bool, or NotImplemented for what is no number."""
    kind = type(value)
    if kind is Expr or kind is float or kind is bool:
        return value
    if isinstance(value, np.ndarray):
        return operand(value.item()) if value.ndim == 0 else NotImplemented
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (complex, np.complexfloating)):
        raise Untraceable("complex numbers cannot be integrated; split real and imaginary parts")
    try:
        return float(value)
    except (TypeError, ValueError):
        return NotImplemented


def is_mask(value):
    """Whether `value` is true or false, and not a number."""
    if type(value) is Expr:
        return value.op in MASK_OPERATORS
    return type(value) is bool or type(value) is np.bool_


def number(value) -> Value:
    """Return a mask as 1.0 or 0.0, a number unchanged."""
    if type(value) is Expr:
        return _mask_as_number(value) if value.op in MASK_OPERATORS else value
    return float(value)


def _mask_as_number(value):
    result = select(value, 1.0, 0.0)
    if value.serial in value.graph.of_numpy:
        value.graph.of_numpy.add(result.serial)
    return result


def mask(value) -> Value:
    """Return a number as `value != 0`, a mask unchanged, NumPy's as Python's."""
    if is_mask(value):
        return value if type(value) is Expr else bool(value)
    return compare("!=", value, 0.0)


def _graph(*operands):
    for a in operands:
        if type(a) is Expr:
            return a.graph
    return None


def _is_finite(value):
    return value.finite if type(value) is Expr else math.isfinite(value)


def _is_negation(value) -> TypeGuard["Expr"]:
    return type(value) is Expr and value.op == "neg"


def add(a, b) -> Value:
    """a + b."""
    a, b = number(a), number(b)
    graph = _graph(a, b)
    if graph is None:
        return a + b
    if type(b) is float and b == 0.0:
        return a
    if type(a) is float and a == 0.0:
        return b
    if _is_negation(b):
        return graph.node("-", a, b.operands[0])
    if _is_negation(a):
        return graph.node("-", b, a.operands[0])
    return graph.node("+", a, b)


def sub(a, b) -> Value:
    """a - b."""
    a, b = number(a), number(b)
    graph = _graph(a, b)
    if graph is None:
        return a - b
    if type(b) is float and b == 0.0:
        return a
    if type(a) is float and a == 0.0:
        return neg(b)
    if _is_negation(b):
        return graph.node("+", a, b.operands[0])
    return graph.node("-", a, b)


def neg(a) -> Value:
    """-a."""
    a = number(a)
    if type(a) is float:
        return -a
    if a.op == "neg":
        return a.operands[0]
    return a.graph.node("neg", a)


def multiply(a, b) -> Value:
    """a * b as NumPy has it: zero times a number that is not finite is NaN."""
    for factor, other in ((a, b), (b, a)):
        if is_mask(factor) and not is_mask(other) and not _is_finite(other):
            dropped = other.graph.node("*", other, 0.0) if type(other) is Expr else math.nan
            return select(factor, other, dropped)
    if is_mask(a) or is_mask(b):
        return mul(a, b)
    a, b = number(a), number(b)
    for factor, other in ((a, b), (b, a)):
        if type(factor) is float and factor == 0.0 and type(other) is Expr and not other.finite:
            return other.graph.node("*", a, b)
    return mul(a, b)


def mul(a, b) -> Value:
    """a * b where both are finite: a mask keeps or drops the other, a zero factor gives zero."""
    for condition, other in ((a, b), (b, a)):
        if is_mask(condition):
            other = number(other)
            # False * -1.5 is -0.0.
            return select(condition, other, other * 0.0 if type(other) is float else 0.0)
    graph = _graph(a, b)
    if graph is None:
        return a * b
    for constant, other in ((a, b), (b, a)):
        if type(constant) is float:
            if constant == 0.0:
                return 0.0
            if constant == 1.0:
                return other
            if constant == -1.0:
                return neg(other)
    if _is_negation(a):
        return neg(mul(a.operands[0], b))
    if _is_negation(b):
        return neg(mul(a, b.operands[0]))
    return graph.node("*", a, b)


def divide(a, b) -> Value:
    """a / b as NumPy has it: zero over zero is NaN."""
    a, b = number(a), number(b)
    if type(a) is float and a == 0.0 and type(b) is Expr:
        return b.graph.node("/", a, b)
    return div(a, b)


def div(a, b) -> Value:
    """a / b where b is not zero: zero over anything is zero."""
    a, b = number(a), number(b)
    graph = _graph(a, b)
    if graph is None:
        with np.errstate(all="ignore"):
            return float(np.float64(a) / np.float64(b))
    if type(a) is float and a == 0.0:
        return 0.0
    if type(b) is float and b == 1.0:
        return a
    if type(b) is float and b == -1.0:
        return neg(a)
    if _is_negation(a):
        return neg(div(a.operands[0], b))
    return graph.node("/", a, b)


def power(a, b) -> Value:
    """a ** b: small whole and half exponents become products and square roots."""
    a, b = number(a), number(b)
    if type(b) is not float or type(a) is float:
        if type(a) is float and a == math.e:
            return call("exp", b)
        return call("pow", a, b)
    if b < 0.0 and -b <= LARGEST_EXPANDED_POWER and (2.0 * b).is_integer():
        return div(1.0, power(a, -b))
    if b.is_integer() and b <= LARGEST_EXPANDED_POWER:
        return _whole_power(a, int(b))
    if (2.0 * b).is_integer() and 0.0 < b <= LARGEST_EXPANDED_POWER:
        return mul(_whole_power(a, int(b)), call("sqrt", a))
    return call("pow", a, b)


def _whole_power(a, exponent) -> Value:
    """Return a**exponent by squaring: squares are shared with other powers of `a`."""
    if exponent == 0:
        return 1.0
    if exponent == 1:
        return a
    half = _whole_power(a, exponent // 2)
    square = mul(half, half)
    return mul(square, a) if exponent % 2 else square


def compare(op, a, b) -> Value:
    """`a op b` as a mask."""
    a, b = number(a), number(b)
    graph = _graph(a, b)
    if graph is None:
        return COMPARISONS[op](a, b)
    return graph.node(op, a, b)


def logical_and(a, b) -> Value:
    """Mask that holds where both do."""
    a, b = mask(a), mask(b)
    for constant, other in ((a, b), (b, a)):
        if type(constant) is bool:
            return other if constant else False
    return a if a is b else a.graph.node("&", a, b)


def logical_or(a, b) -> Value:
    """Mask that holds where one does."""
    a, b = mask(a), mask(b)
    for constant, other in ((a, b), (b, a)):
        if type(constant) is bool:
            return True if constant else other
    return a if a is b else a.graph.node("|", a, b)


def logical_not(a) -> Value:
    """Mask that holds where `a` does not."""
    a = mask(a)
    if type(a) is bool:
        return not a
    return a.operands[0] if a.op == "~" else a.graph.node("~", a)


def select(condition, a, b) -> Value:
    """`a` where the condition holds, else `b`; masks stay masks."""
    condition = mask(condition)
    if type(condition) is bool:
        return a if condition else b
    if is_mask(a) and is_mask(b):
        return logical_or(logical_and(condition, a), logical_and(logical_not(condition), b))
    a, b = number(a), number(b)
    if a is b or (type(a) is float and type(b) is float and a == b):
        return a
    if condition.op == "~":
        condition, a, b = condition.operands[0], b, a
    return condition.graph.node("select", condition, a, b)


def call(name, *operands) -> Value:
    """Apply a function that the generated code knows by this name."""
    operands = [number(a) for a in operands]
    graph = _graph(*operands)
    if graph is None:
        return _fold(name, operands)
    if name in ("minimum", "maximum"):
        first, second = operands
        # No number compares with NaN, and where two do not, it is the second.
        if type(second) is float and math.isnan(second):
            return second
        if type(first) is float and math.isnan(first):
            return second
    return graph.node(name, *operands)


NUMPY_NAMES: dict[str, str] = {
    "pow": "power",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
}


def _fold(name: str, operands):
    # NumPy, unlike math, gives inf and nan where the compiled code does.
    if name in ("minimum", "maximum"):
        a, b = operands
        return a if (a < b if name == "minimum" else a > b) else b
    with np.errstate(all="ignore"):
        function = getattr(np, NUMPY_NAMES.get(name) or name, None)
        if function is None:
            return SPECIAL[name](*operands)
        return float(function(*map(np.float64, operands)))


def _binary(function):
    def forward(self, other):
        other = operand(other)
        if other is NotImplemented:
            return other
        return _settled(function(self, other), self, other)

    def backward(self, other):
        other = operand(other)
        if other is NotImplemented:
            return other
        return _settled(function(other, self), self, other)

    return forward, backward


def _settled(result, *operands):
    """Return a truth value that is known by now as NumPy's, unless it is Python's own."""
    from cubie.systems.tracing.exceptions import is_plain

    if type(result) is bool and not all(map(is_plain, operands)):
        return np.bool_(result)
    return result


def _raising(function, check: str):
    """Return an operator that raises, where that may be caught, as Python's own floats do."""

    def checked(a, b):
        graph = _graph(a, b)
        if graph is not None and graph.catching():
            from cubie.systems.tracing import exceptions

            getattr(exceptions, check)(a, b)
        return function(a, b)

    return _binary(checked)


def _of_conditions(name: str, function):
    """Return an operator that means something else where both operands are conditions."""

    forward, backward = _binary(function)

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
    return _binary(lambda a, b: _truth(name)(a, b))


def _comparison(op):
    forward = _binary(lambda a, b: compare(op, a, b))[0]

    def compared(self, other) -> Any:
        result = forward(self, other)
        if isinstance(other, np.generic) and type(result) is Expr:
            self.graph.of_numpy.add(result.serial)
        return result

    return compared


def remainder(a, b) -> Value:
    """a % b with the sign of `b`, as in Python and NumPy: exact, and within its range."""
    a, b = number(a), number(b)
    rest = call("fmod", a, b)
    size = call("fabs", rest)
    above = select(compare("<", rest, 0.0), add(rest, b), size)
    below = select(compare(">", rest, 0.0), add(rest, b), neg(size))
    return select(compare("<", b, 0.0), below, above)


def floor_divide(a, b) -> Value:
    """a // b: the whole number that goes with the remainder, as in Python and NumPy."""
    a, b = number(a), number(b)
    rest = call("fmod", a, b)
    down = select(compare("<", b, 0.0), compare(">", rest, 0.0), compare("<", rest, 0.0))
    quotient = div(sub(a, rest), b)
    quotient = select(down, sub(quotient, 1.0), quotient)
    # A whole number, but for the rounding of the division.
    whole = call("floor", quotient)
    whole = select(compare(">", sub(quotient, whole), 0.5), add(whole, 1.0), whole)
    zero = mul(call("copysign", 0.0, a), call("copysign", 1.0, b))
    whole = select(compare("==", quotient, 0.0), zero, whole)
    return select(compare("==", b, 0.0), divide(a, b), whole)


class Expr:
    """One node: behaves as a number (or a truth value) in the user's code.

    Attributes
    ----------
    finite : bool
        Whether it surely is a finite number in a run that has not failed.
    """

    __slots__ = ("finite", "graph", "op", "operands", "serial")

    def __init__(self, graph, op, operands, serial):
        self.graph = graph
        self.op = op
        self.operands = operands
        self.serial = serial
        self.finite = op in ("t", "y") or (op in BOUNDED and all(map(_is_finite, operands)))

    __add__, __radd__ = _of_conditions("plus", add)
    __sub__, __rsub__ = _binary(sub)
    __mul__, __rmul__ = _of_conditions("times", multiply)
    __truediv__, __rtruediv__ = _raising(divide, "raise_as_division")
    __pow__, __rpow__ = _raising(power, "raise_as_power")
    __floordiv__, __rfloordiv__ = _raising(floor_divide, "raise_as_division")
    __mod__, __rmod__ = _raising(remainder, "raise_as_division")
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

    def __repr__(self):
        return f"<{describe(self)}>"


def integer_leaves(expr):
    """Return the leaves of args under `expr` if all of them were given as ints, else nothing."""
    found, stack, seen = set(), [expr], set()
    while stack:
        node = stack.pop()
        if type(node) is not Expr or node.serial in seen:
            continue
        seen.add(node.serial)
        if node.op in ("t", "y", "p"):
            known = node.graph.integers.get(node.serial)
            if known is None:
                return frozenset()
            found.add(known)
        else:
            stack.extend(node.operands)
    return frozenset(found)


def describe(expr):
    """Name an expression in an error message."""
    if expr.op == "t":
        return "the time"
    if expr.op == "y":
        return f"state {expr.operands[0]}"
    if expr.op == "p":
        return f"parameter {expr.operands[0]}"
    return "an expression of the states, the time or the parameters"
