"""`try` and `except` around arithmetic: where Python raises, the trace follows another path.

Traced code cannot raise. In a function that catches exceptions, an operation that may raise on
plain numbers therefore first asks for its condition, like an `if`: on the one path the exception
is raised for the user's `except` to catch, on the other the operation has a value. A path whose
exception nobody catches gives NaN, which ends the run that takes it.

Only `math` and arithmetic of Python's own floats raise. The states are NumPy's, as SciPy passes
them: 1/y[0] is infinite, 1/float(y[0]) raises.
"""

import dis
import math
import types

import numpy as np

from cubie.systems.errors import Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arithmetic import call, compare, logical_and
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import operand

# What NumPy raises if told to: its functions raise nothing here.
OF_NUMPY = ("FloatingPointError", "RuntimeWarning")
LARGEST_EXP = 709.782712893384
LARGEST_SINH = 710.4758600739439
_MARK = "_raised_in_a_trace"


def catches(code: types.CodeType) -> bool:
    """Tell whether a function holds an `except`, or suppresses exceptions in a `with`."""
    names = [instruction.opname for instruction in dis.get_instructions(code)]
    contexts = names.count("WITH_EXCEPT_START")
    found = names.count("PUSH_EXC_INFO") > contexts
    found = found or (contexts > 0 and "suppress" in (*code.co_names, *code.co_freevars))
    if found and any(name in OF_NUMPY for name in code.co_names):
        raise Untraceable("it catches what NumPy raises under np.errstate or a filter of warnings")
    return found or any(catches(c) for c in code.co_consts if isinstance(c, types.CodeType))


def _size(x):
    return call("fabs", x)


def _infinite(x):
    return compare("==", _size(x), math.inf)


def _beyond(x, limit):
    return logical_and(compare(">", x, limit), compare("<", x, math.inf))


def _pow_raises(a, b):
    finite = logical_and(compare("<", _size(a), math.inf), compare("<", _size(b), math.inf))
    broken = compare("!=", b, call("floor", b))
    yield logical_and(finite, logical_and(compare("<", a, 0.0), broken)), ValueError
    yield logical_and(finite, logical_and(compare("==", a, 0.0), compare("<", b, 0.0))), ValueError
    yield logical_and(finite, _infinite(ex.power(a, b))), OverflowError


def _log_raises(x, *base):
    yield compare("<=", x, 0.0), ValueError
    for b in base:
        yield compare("<=", b, 0.0), ValueError
        yield compare("==", b, 1.0), ZeroDivisionError


def _fmod_raises(a, b):
    yield logical_and(_infinite(a), compare("==", b, b)), ValueError
    yield logical_and(compare("==", b, 0.0), compare("==", a, a)), ValueError


def _whole_raises(x):
    yield compare("!=", x, x), ValueError
    yield _infinite(x), OverflowError


def _domain(outside, error: type[Exception] = ValueError):
    def conditions(x):
        yield outside(x), error

    return conditions


_RAISES = {
    "sqrt": _domain(lambda x: compare("<", x, 0.0)),
    "log": _log_raises,
    "log2": _log_raises,
    "log10": _log_raises,
    "log1p": _domain(lambda x: compare("<=", x, -1.0)),
    "asin": _domain(lambda x: compare(">", _size(x), 1.0)),
    "acos": _domain(lambda x: compare(">", _size(x), 1.0)),
    "acosh": _domain(lambda x: compare("<", x, 1.0)),
    "atanh": _domain(lambda x: compare(">=", _size(x), 1.0)),
    "sin": _domain(_infinite),
    "cos": _domain(_infinite),
    "tan": _domain(_infinite),
    "exp": _domain(lambda x: _beyond(x, LARGEST_EXP), OverflowError),
    "expm1": _domain(lambda x: _beyond(x, LARGEST_EXP), OverflowError),
    "exp2": _domain(
        lambda x: logical_and(compare(">=", x, 1024.0), compare("<", x, math.inf)), OverflowError
    ),
    "sinh": _domain(lambda x: _beyond(_size(x), LARGEST_SINH), OverflowError),
    "cosh": _domain(lambda x: _beyond(_size(x), LARGEST_SINH), OverflowError),
    "fmod": _fmod_raises,
    "pow": _pow_raises,
    "floor": _whole_raises,
    "ceil": _whole_raises,
    "trunc": _whole_raises,
}


def _watched(operands):
    """Return the graph of an operation in a function that catches exceptions, else None."""
    graph = next((a.graph for a in operands if type(a) is Expr), None)
    return graph if graph is not None and graph.catching() else None


def _raise(error: type[Exception], text: str):
    exception = error(text)
    setattr(exception, _MARK, True)
    raise exception


def raise_as_math(name: str, operands) -> None:
    """Raise on the paths on which ``math.<name>`` of these plain numbers would."""
    if _watched(operands) is None or name not in _RAISES:
        return
    numbers = [ex.number(operand(a)) for a in operands]
    for mask, error in _RAISES[name](*numbers):
        if mask:
            _raise(error, "math range error" if error is OverflowError else "math domain error")


def raise_as_division(a, b) -> None:
    """Raise on the paths on which Python's own floats would be divided by zero."""
    if _watched((a, b)) is None or not (is_plain(a) and is_plain(b)):
        return
    if compare("==", b, 0.0):
        _raise(ZeroDivisionError, "float division by zero")


def raise_as_power(a, b) -> None:
    """Raise on the paths on which a power of Python's own floats would."""
    if _watched((a, b)) is None or not (is_plain(a) and is_plain(b)):
        return
    if logical_and(compare("==", a, 0.0), compare("<", b, 0.0)):
        _raise(ZeroDivisionError, "0.0 cannot be raised to a negative power")
    if next(mask for mask, error in _pow_raises(a, b) if error is OverflowError):
        _raise(OverflowError, "Numerical result out of range")


def mark_plain(value):
    """Return the value, known from now on to be one of Python's own floats."""
    if type(value) is Expr:
        value.graph.plain.add(value.serial)
        value.graph.of_numpy.discard(value.serial)
    return value


def mark_either(value, operands):
    """Return one of several operands, of Python's kind in some runs and of NumPy's in others."""
    if type(value) is Expr and len({kind_of(operand) for operand in operands}) > 1:
        value.graph.either.add(value.serial)
    return value


def is_plain(value) -> bool:
    """Tell whether a value is one of Python's own in every run, made of nothing but those."""
    return kind_of(value) == "Python"


def kind_of(value) -> str:
    """Tell whose a value is, by what it is made of: "Python", "NumPy", or "either" by the run."""
    if isinstance(value, np.generic):
        return "NumPy"
    kind, stack, seen = "Python", [value], set()
    while stack:
        node = stack.pop()
        if type(node) is not Expr or node.serial in seen:
            continue
        if node.serial in node.graph.of_numpy:
            return "NumPy"
        if node.serial in node.graph.either:
            kind = "either"
            continue
        if node.serial in node.graph.plain:
            continue
        if node.op in ("t", "y", "p"):
            return "NumPy"
        seen.add(node.serial)
        stack.extend(node.operands)
    return kind


def is_foreseen(error: BaseException | None) -> bool:
    """Tell whether an exception that left the user's function goes back to one raised here."""
    while error is not None:
        if getattr(error, _MARK, False):
            return True
        error = error.__cause__ or error.__context__
    return False
