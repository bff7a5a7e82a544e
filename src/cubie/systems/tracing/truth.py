"""Conditions in arithmetic and as bits: Python's own truth values and NumPy's differ.

To NumPy the sum of two conditions is "or", their product "and" and `~` "not". To Python a truth
value is an int: sums count, and ``~True`` is -2. The states are NumPy's, and so is a condition
with one of them; a condition on nothing but Python's own floats is Python's. Anything else is a
number, whose bits an expression does not have.
"""

import operator

from cubie.systems.errors import NeedsInteger, Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arithmetic import logical_and, logical_not, logical_or, number
from cubie.systems.tracing.exceptions import kind_of
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import integer_leaves, is_mask


def _both_conditions(a, b):
    return is_mask(a) and is_mask(b)


def added(a, b):
    """a + b as NumPy's functions have it."""
    return logical_or(a, b) if _both_conditions(a, b) else ex.add(a, b)


def multiplied(a, b):
    """a * b as NumPy's functions have it."""
    return logical_and(a, b) if _both_conditions(a, b) else ex.multiply(a, b)


def plus(a, b):
    """a + b of two conditions, by operator."""
    return ex.add(a, b) if _are_python_s(a, b) else logical_or(a, b)


def times(a, b):
    """a * b of two conditions, by operator."""
    return ex.multiply(a, b) if _are_python_s(a, b) else logical_and(a, b)


def bits_and(a, b):
    """a & b."""
    return logical_and(a, b) if _both_conditions(a, b) else _with_whole(operator.and_, a, b)


def bits_or(a, b):
    """a | b."""
    return logical_or(a, b) if _both_conditions(a, b) else _with_whole(operator.or_, a, b)


def bits_xor(a, b):
    """a ^ b."""
    if _both_conditions(a, b):
        return ex.select(a, logical_not(b), b)
    return _with_whole(operator.xor, a, b)


def inverted(a):
    """~a as NumPy's functions have it."""
    if not is_mask(a):
        _refuse(a)
    return logical_not(a)


def complement(a):
    """~a, by operator: an int where the condition is Python's own."""
    return ex.sub(-1.0, number(a)) if is_mask(a) and _are_python_s(a) else inverted(a)


def _are_python_s(*conditions) -> bool:
    """Tell whether conditions count as Python's do; refuse where that depends on the run."""
    kinds = {kind_of(condition) for condition in conditions}
    if "NumPy" not in kinds and "either" in kinds:
        raise Untraceable(
            "a condition on `min` or `max` of Python's and NumPy's numbers is added, multiplied "
            "or inverted by `~`: what that gives depends on which of them is chosen"
        )
    return kinds == {"Python"}


def _with_whole(operation, a, b):
    """Return the bits of a condition and a whole constant."""
    for condition, other in ((a, b), (b, a)):
        if is_mask(condition) and type(other) is float and other.is_integer():
            held, failed = (float(operation(int(one), int(other))) for one in (True, False))
            return ex.select(condition, held, failed)
    return _refuse(a, b)


def _refuse(*operands):
    for a in operands:
        if type(a) is Expr and not is_mask(a):
            # The bits of an int in args are those of a constant.
            leaves = integer_leaves(a)
            if leaves:
                raise NeedsInteger(leaves)
    raise Untraceable("`&`, `|`, `^` and `~` are applied to numbers that are no conditions")
