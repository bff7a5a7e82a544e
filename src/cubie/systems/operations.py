"""The functions of one number that can be traced, under the names of NumPy, math and SciPy.

What the backends know is few: exp, log, log1p, expm1, sqrt, pow, fabs, sin, cos, tan, asin, acos,
atan, atan2, sinh, cosh, tanh, erf, erfc, gamma, lgamma, floor, ceil, minimum, maximum, select.
Everything else is put
together from these here.
"""

import math
from functools import partial, reduce

from cubie.systems import expression as ex
from cubie.systems.expression import add, call, compare, div, mul, neg, select, sub

POINTWISE = ("exp", "log", "log1p", "expm1", "sqrt", "pow", "fabs", "floor", "ceil")
CIRCULAR = ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")
HYPERBOLIC = ("sinh", "cosh", "tanh")
SPECIAL = ("erf", "erfc", "gamma", "lgamma")
FROM_BACKEND = ("maximum", "minimum", "select")
PRIMITIVES = frozenset((*POINTWISE, *CIRCULAR, *HYPERBOLIC, *SPECIAL, *FROM_BACKEND))


def sign(x):
    """-1, 0 or 1."""
    return select(compare(">", x, 0.0), 1.0, select(compare("<", x, 0.0), -1.0, 0.0))


def heaviside(x, at_zero):
    """0 below zero, 1 above, `at_zero` at zero."""
    return select(compare(">", x, 0.0), 1.0, select(compare("<", x, 0.0), 0.0, at_zero))


def copysign(x, y):
    """|x| with the sign of y (a negative zero counts as positive)."""
    size = call("fabs", x)
    return select(compare("<", y, 0.0), neg(size), size)


def clip(x, lowest=None, highest=None):
    """x held between the bounds; None is no bound."""
    if lowest is not None:
        x = call("maximum", x, lowest)
    return x if highest is None else call("minimum", x, highest)


def trunc(x):
    """Round towards zero."""
    return select(compare("<", x, 0.0), call("ceil", x), call("floor", x))


def fmod(a, b):
    """Remainder with the sign of `a`, as in C."""
    return sub(a, mul(trunc(div(a, b)), b))


def cbrt(x):
    """Real cube root."""
    return copysign(call("pow", call("fabs", x), 1.0 / 3.0), x)


def asinh(x):
    """Inverse hyperbolic sine without cancellation near zero."""
    size = call("fabs", x)
    square = mul(size, size)
    root = add(1.0, call("sqrt", add(square, 1.0)))
    return copysign(call("log1p", add(size, div(square, root))), x)


def acosh(x):
    """Inverse hyperbolic cosine."""
    return call("log", add(x, call("sqrt", sub(mul(x, x), 1.0))))


def atanh(x):
    """Inverse hyperbolic tangent."""
    return mul(0.5, call("log1p", div(mul(2.0, x), sub(1.0, x))))


# Bernoulli numbers over their index, B_2k / 2k: Abramowitz & Stegun 6.3.18.
_DIGAMMA_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_DIGAMMA_SHIFT = 8  # from where on the series is exact to rounding


def digamma(x):
    """Derivative of the logarithm of the gamma function: by recurrence, then by its series.

    Abramowitz & Stegun 6.3.5, 6.3.7 (reflection, left of 1/2), 6.3.18.
    """
    is_left = compare("<", x, 0.5)
    right = select(is_left, sub(1.0, x), x)
    steps = reduce(add, [div(1.0, add(right, float(k))) for k in range(_DIGAMMA_SHIFT)])
    far = add(right, float(_DIGAMMA_SHIFT))
    square = div(1.0, mul(far, far))
    series = reduce(lambda total, c: mul(add(total, c), square), reversed(_DIGAMMA_SERIES), 0.0)
    value = sub(sub(sub(call("log", far), div(0.5, far)), series), steps)
    # What is chosen is finite wherever the value is: the branch not taken adds nothing.
    angle = mul(math.pi, select(is_left, x, 0.25))
    return sub(value, select(is_left, div(math.pi, call("tan", angle)), 0.0))


def betaln(a, b):
    """Logarithm of |B(a, b)|."""
    return sub(add(call("lgamma", a), call("lgamma", b)), call("lgamma", add(a, b)))


def ndtr(x):
    """The standard normal distribution, exact in both tails."""
    return mul(0.5, call("erfc", mul(-math.sqrt(0.5), x)))


def expit(x):
    """The logistic function 1 / (1 + exp(-x))."""
    return div(1.0, add(1.0, call("exp", neg(x))))


def hypot(*coordinates):
    """Length of a vector."""
    return call("sqrt", reduce(add, [mul(x, x) for x in coordinates]))


def logaddexp(a, b):
    """log(exp(a) + exp(b)) without overflow."""
    distance = neg(call("fabs", sub(a, b)))
    return add(call("maximum", a, b), call("log1p", call("exp", distance)))


def isfinite(x):
    """Neither inf nor nan."""
    return compare("<", call("fabs", x), math.inf)


def log(x, base=math.e):
    """Logarithm, natural unless a base is given."""
    natural = call("log", x)
    return natural if base == math.e else div(natural, call("log", base))


def least(*values):
    """The smallest of the values."""
    return reduce(partial(call, "minimum"), values)


def greatest(*values):
    """The largest of the values."""
    return reduce(partial(call, "maximum"), values)


def logical_xor(a, b):
    """Mask that holds where exactly one does."""
    return select(ex.mask(a), ex.logical_not(b), ex.mask(b))


FUNCTIONS = {
    "add": add,
    "subtract": sub,
    "multiply": mul,
    "divide": div,
    "true_divide": div,
    "floor_divide": ex.floor_divide,
    "remainder": ex.remainder,
    "mod": ex.remainder,
    "fmod": fmod,
    "power": ex.power,
    "float_power": ex.power,
    "pow": ex.power,
    "negative": neg,
    "positive": lambda x: x,
    "conjugate": lambda x: x,
    "conj": lambda x: x,
    "real": lambda x: x,
    "absolute": partial(call, "fabs"),
    "abs": partial(call, "fabs"),
    "square": lambda x: mul(x, x),
    "reciprocal": lambda x: div(1.0, x),
    "cbrt": cbrt,
    "exp2": lambda x: call("exp", mul(math.log(2.0), x)),
    "log": log,
    "log2": lambda x: mul(1.0 / math.log(2.0), call("log", x)),
    "log10": lambda x: mul(1.0 / math.log(10.0), call("log", x)),
    "logaddexp": logaddexp,
    "expit": expit,
    "gammaln": partial(call, "lgamma"),
    "digamma": digamma,
    "psi": digamma,
    "betaln": betaln,
    "ndtr": ndtr,
    "hypot": hypot,
    "sign": sign,
    "heaviside": heaviside,
    "copysign": copysign,
    "clip": clip,
    "trunc": trunc,
    "fix": trunc,
    "deg2rad": partial(mul, math.pi / 180.0),
    "radians": partial(mul, math.pi / 180.0),
    "rad2deg": partial(mul, 180.0 / math.pi),
    "degrees": partial(mul, 180.0 / math.pi),
    "fmin": partial(call, "minimum"),
    "fmax": partial(call, "maximum"),
    "less": partial(compare, "<"),
    "less_equal": partial(compare, "<="),
    "greater": partial(compare, ">"),
    "greater_equal": partial(compare, ">="),
    "equal": partial(compare, "=="),
    "not_equal": partial(compare, "!="),
    "logical_and": ex.logical_and,
    "logical_or": ex.logical_or,
    "logical_not": ex.logical_not,
    "logical_xor": logical_xor,
    "bitwise_and": ex.logical_and,
    "bitwise_or": ex.logical_or,
    "bitwise_xor": logical_xor,
    "invert": ex.logical_not,
    "isnan": lambda x: compare("!=", x, x),
    "isinf": lambda x: compare("==", call("fabs", x), math.inf),
    "isfinite": isfinite,
    **{name: partial(call, name) for name in PRIMITIVES - {"log", "pow", "select"}},
}
for _inverse, _function in {"asinh": asinh, "acosh": acosh, "atanh": atanh}.items():
    FUNCTIONS[_inverse] = FUNCTIONS["arc" + _inverse[1:]] = _function
for _inverse in ("asin", "acos", "atan", "atan2"):
    FUNCTIONS["arc" + _inverse[1:]] = FUNCTIONS[_inverse]
