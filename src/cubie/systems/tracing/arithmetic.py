"""Arithmetic on expressions: folded where operands are constants, never reordered.

Operands keep the order and the association of the user's code, so the generated code rounds as
the original does.
"""

import math
from typing import TypeGuard

import numpy as np

from cubie.backend import SPECIAL
from cubie.systems.tracing.nodes import (
    COMPARISONS,
    MASK_OPERATORS,
    Node,
    Value,
    graph_of,
    is_finite,
    is_mask,
)

LARGEST_EXPANDED_POWER = 32


def number(value) -> Value:
    """Return a mask as 1.0 or 0.0, a number unchanged."""
    if isinstance(value, Node):
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
        return value if isinstance(value, Node) else bool(value)
    return compare("!=", value, 0.0)


def _is_negation(value) -> TypeGuard[Node]:
    return isinstance(value, Node) and value.op == "neg"


def add(a, b) -> Value:
    """a + b."""
    a, b = number(a), number(b)
    graph = graph_of(a, b)
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
    graph = graph_of(a, b)
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
        if is_mask(factor) and not is_mask(other) and not is_finite(other):
            dropped = other.graph.node("*", other, 0.0) if isinstance(other, Node) else math.nan
            return select(factor, other, dropped)
    if is_mask(a) or is_mask(b):
        return mul(a, b)
    a, b = number(a), number(b)
    for factor, other in ((a, b), (b, a)):
        if type(factor) is float and factor == 0.0 and isinstance(other, Node) and not other.finite:
            return other.graph.node("*", a, b)
    return mul(a, b)


def mul(a, b) -> Value:
    """a * b where both are finite: a mask keeps or drops the other, a zero factor gives zero."""
    for condition, other in ((a, b), (b, a)):
        if is_mask(condition):
            other = number(other)
            # False * -1.5 is -0.0.
            return select(condition, other, other * 0.0 if type(other) is float else 0.0)
    graph = graph_of(a, b)
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
    if type(a) is float and a == 0.0 and isinstance(b, Node):
        return b.graph.node("/", a, b)
    return div(a, b)


def div(a, b) -> Value:
    """a / b where b is not zero: zero over anything is zero."""
    a, b = number(a), number(b)
    graph = graph_of(a, b)
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
    graph = graph_of(a, b)
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
    graph = graph_of(*operands)
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
