"""Complex numbers in code that is traced: pairs of real expressions.

A factor that is real, or imaginary, multiplies as such: zero parts of constants vanish, where NumPy
multiplies by zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cubie.systems.errors import Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arithmetic import add, call, div, mul, neg, select, sub
from cubie.systems.tracing.nodes import Complex, Node, Value, operand
from cubie.systems.tracing.operations import FUNCTIONS, hypot, is_nan, isfinite

LARGEST_EXPANDED_POWER = 32
BEYOND_ONE = 40.0  # from where on a hyperbolic tangent is one to rounding, with room


def parts(value: Value) -> tuple[Value, Value]:
    """Return the real and the imaginary part of a number."""
    if isinstance(value, Complex):
        return value.re, value.im
    if type(value) is complex:
        return value.real, value.imag
    return ex.number(value), 0.0


def joined(re: Value, im: Value) -> Value:
    """Return the number with these parts: a plain one where both are."""
    re, im = ex.number(re), ex.number(im)
    if isinstance(re, Node) or isinstance(im, Node):
        return ComplexExpr(re, im)
    return complex(re, im)


def _added(a: Value, b: Value) -> Value:
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    return joined(add(a_re, b_re), add(a_im, b_im))


def _subtracted(a: Value, b: Value) -> Value:
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    return joined(sub(a_re, b_re), sub(a_im, b_im))


def _multiplied(a: Value, b: Value) -> Value:
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    re = sub(mul(a_re, b_re), mul(a_im, b_im))
    return joined(re, add(mul(a_re, b_im), mul(a_im, b_re)))


def _divided(a: Value, b: Value) -> Value:
    """a / b by the larger part of b, so that no square overflows (Smith, CACM 5 (1962) 435)."""
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    if type(b_im) is float and b_im == 0.0:
        return joined(ex.divide(a_re, b_re), ex.divide(a_im, b_re))
    real_is_larger = ex.compare(">=", call("fabs", b_re), call("fabs", b_im))
    larger, smaller = select(real_is_larger, b_re, b_im), select(real_is_larger, b_im, b_re)
    p, q = select(real_is_larger, a_re, a_im), select(real_is_larger, a_im, a_re)
    ratio = ex.divide(smaller, larger)
    denominator = add(larger, mul(smaller, ratio))
    im = ex.divide(sub(q, mul(p, ratio)), denominator)
    re = ex.divide(add(p, mul(q, ratio)), denominator)
    return joined(re, select(real_is_larger, im, neg(im)))


def _power(a: Value, b: Value) -> Value:
    b_re, b_im = parts(b)
    is_real = type(b_re) is float and type(b_im) is float and b_im == 0.0
    if is_real and b_re.is_integer() and abs(b_re) <= LARGEST_EXPANDED_POWER:
        whole = _whole_power(a, int(abs(b_re)))
        return whole if b_re >= 0.0 else _divided(1.0, whole)
    a_re, a_im = parts(a)
    is_zero = ex.logical_and(ex.compare("==", a_re, 0.0), ex.compare("==", a_im, 0.0))
    re, im = parts(_exp(_multiplied(b, _log(joined(select(is_zero, 1.0, a_re), a_im)))))
    nothing = select(ex.compare(">", b_re, 0.0), 0.0, math.nan)
    return joined(select(is_zero, nothing, re), select(is_zero, nothing, im))


def _whole_power(a: Value, exponent: int) -> Value:
    if exponent == 0:
        return 1.0
    if exponent == 1:
        return a
    half = _whole_power(a, exponent // 2)
    square = _multiplied(half, half)
    return _multiplied(square, a) if exponent % 2 else square


def absolute(a: Value) -> Value:
    """Return the modulus."""
    return hypot(*parts(a))


def angle(a: Value) -> Value:
    """Return the argument, between -pi and pi."""
    re, im = parts(a)
    return call("atan2", im, re)


def conjugate(a: Value) -> Value:
    """Return the conjugate."""
    re, im = parts(a)
    return joined(re, neg(im))


def _exp(a: Value) -> Value:
    re, im = parts(a)
    size = call("exp", re)
    return joined(mul(size, call("cos", im)), mul(size, call("sin", im)))


def _log(a: Value) -> Value:
    return joined(call("log", absolute(a)), angle(a))


def _sqrt(a: Value) -> Value:
    """The root with a real part that is not negative, without cancellation."""
    re, im = parts(a)
    root = call("sqrt", mul(0.5, add(call("fabs", re), absolute(a))))
    other = div(call("fabs", im), select(ex.compare("==", root, 0.0), 1.0, mul(2.0, root)))
    to_the_right = ex.compare(">=", re, 0.0)
    size = select(to_the_right, other, root)
    return joined(select(to_the_right, root, other), call("copysign", size, im))


def _turned(a: Value, function: Callable) -> Value:
    """Return -i f(i a): what hyperbolic functions make of circular ones."""
    re, im = parts(a)
    re, im = parts(function(joined(neg(im), re)))
    return joined(im, neg(re))


def _sinh(a: Value) -> Value:
    re, im = parts(a)
    cos, sin = call("cos", im), call("sin", im)
    return joined(mul(call("sinh", re), cos), mul(call("cosh", re), sin))


def _cosh(a: Value) -> Value:
    re, im = parts(a)
    cos, sin = call("cos", im), call("sin", im)
    return joined(mul(call("cosh", re), cos), mul(call("sinh", re), sin))


def _tanh(a: Value) -> Value:
    """Kahan's form (Branch cuts for complex elementary functions, 1987, p. 204)."""
    re, im = parts(a)
    bounded = call("minimum", call("maximum", re, -BEYOND_ONE), BEYOND_ONE)
    t, s = call("tan", im), call("sinh", bounded)
    beta = add(1.0, mul(t, t))
    rho = call("sqrt", add(1.0, mul(s, s)))
    denominator = add(1.0, mul(mul(beta, s), s))
    return joined(div(mul(mul(beta, rho), s), denominator), div(t, denominator))


def _cos(a: Value) -> Value:
    re, im = parts(a)
    return _cosh(joined(neg(im), re))


def _is_equal(a: Value, b: Value) -> Value:
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    return ex.logical_and(ex.compare("==", a_re, b_re), ex.compare("==", a_im, b_im))


def is_other_than_zero(a: Value) -> Value:
    """Return a mask that holds where a number is not zero."""
    return ex.logical_not(_is_equal(a, 0.0))


def _selected(condition: Value, a: Value, b: Value) -> Value:
    if isinstance(condition, Complex) or type(condition) is complex:
        condition = is_other_than_zero(condition)
    (a_re, a_im), (b_re, b_im) = parts(a), parts(b)
    return joined(select(condition, a_re, b_re), select(condition, a_im, b_im))


COMPLEX: dict[str, Callable] = {
    "add": _added,
    "subtract": _subtracted,
    "multiply": _multiplied,
    "divide": _divided,
    "true_divide": _divided,
    "power": _power,
    "pow": _power,
    "float_power": _power,
    "negative": lambda a: joined(*map(neg, parts(a))),
    "positive": lambda a: a,
    "conjugate": conjugate,
    "conj": conjugate,
    "absolute": absolute,
    "abs": absolute,
    "square": lambda a: _multiplied(a, a),
    "reciprocal": lambda a: _divided(1.0, a),
    "exp": _exp,
    "log": _log,
    "log10": lambda a: _multiplied(_log(a), 1.0 / math.log(10.0)),
    "log2": lambda a: _multiplied(_log(a), 1.0 / math.log(2.0)),
    "exp2": lambda a: _exp(_multiplied(a, math.log(2.0))),
    "sqrt": _sqrt,
    "sin": lambda a: _turned(a, _sinh),
    "cos": _cos,
    "tan": lambda a: _turned(a, _tanh),
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _tanh,
    "equal": _is_equal,
    "not_equal": lambda a, b: ex.logical_not(_is_equal(a, b)),
    "isnan": lambda a: ex.logical_or(*map(is_nan, parts(a))),
    "isfinite": lambda a: ex.logical_and(*map(isfinite, parts(a))),
    "select": _selected,
}

# Of the functions of real numbers: what takes their place where an operand is complex.
_OF_REAL_ONES: dict[Any, str] = {FUNCTIONS[name]: name for name in COMPLEX if name in FUNCTIONS}
_OF_REAL_ONES |= {
    ex.add: "add",
    ex.sub: "subtract",
    ex.multiply: "multiply",
    ex.mul: "multiply",
    ex.divide: "divide",
    ex.power: "power",
    ex.select: "select",
}


def of_complex(function: Callable) -> Callable:
    """Return what a function of real numbers is for complex ones.

    Raises
    ------
    Untraceable
        Where it is not known.
    """
    told = next((n for n, known in FUNCTIONS.items() if known is function), "")
    return function_called(_OF_REAL_ONES.get(function, told))


def function_called(name: str) -> Callable:
    """Return the function of complex numbers that NumPy has under a name.

    Raises
    ------
    Untraceable
        Where it is not known.
    """
    function = COMPLEX.get(name)
    if function is None:
        what = f"`{name}`" if name else "a function of real numbers"
        raise Untraceable(f"{what} is applied to complex numbers")
    return function


def _operator(name: str) -> tuple[Callable, Callable]:
    function = COMPLEX[name]

    def forward(self, other):
        other = operand(other)
        return other if other is NotImplemented else function(self, other)

    def backward(self, other):
        other = operand(other)
        return other if other is NotImplemented else function(other, self)

    return forward, backward


class ComplexExpr(Complex):
    """A complex number whose parts are expressions, as the user's code meets it."""

    __slots__ = ()

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __truediv__, __rtruediv__ = _operator("divide")
    __pow__, __rpow__ = _operator("power")
    __eq__ = _operator("equal")[0]
    __ne__ = _operator("not_equal")[0]
    __hash__ = object.__hash__

    def __neg__(self):
        return COMPLEX["negative"](self)

    def __pos__(self):
        return self

    def __abs__(self):
        return absolute(self)

    def conjugate(self):
        """Return the conjugate."""
        return conjugate(self)

    conj = conjugate

    @property
    def real(self):
        """The real part."""
        return self.re

    @property
    def imag(self):
        """The imaginary part."""
        return self.im

    def __bool__(self):
        return bool(is_other_than_zero(self))

    def __complex__(self):
        raise Untraceable("a function that takes plain numbers only is applied to a complex state")

    def __float__(self):
        raise TypeError("a complex number is used as a real one")

    __int__ = __index__ = __float__

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        from cubie.systems.tracing.arrays import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, options)


def real_part(a: Value) -> Value:
    """Return the real part of a number, traced or plain."""
    return parts(_checked(a))[0]


def imaginary_part(a: Value) -> Value:
    """Return the imaginary part of a number, traced or plain."""
    return parts(_checked(a))[1]


def _checked(a: Value) -> Value:
    found = operand(a)
    if found is NotImplemented:
        raise Untraceable(f"{type(a).__name__} {a!r:.60} is used as a number")
    return found
