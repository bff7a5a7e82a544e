"""The functions of one number that can be traced, under the names of NumPy, math and SciPy.

What the backends know is few: `PRIMITIVES`. Everything else is put together from these here, and
gives what NumPy gives for infinities and NaN too. The backend's `minimum` and `maximum` are a
comparison and a choice, which give the second where one is NaN: what Python, `np.minimum` and
`np.fmin` do with a NaN differs, and is written in terms of them.
"""

import math
import sys
from functools import partial, reduce

from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing import truth
from cubie.systems.tracing.arithmetic import add, call, compare, div, divide, mul, neg, select, sub
from cubie.systems.tracing.expression import Expr

POINTWISE = ("exp", "log", "log1p", "expm1", "sqrt", "pow", "fabs", "floor", "ceil")
BINARY = ("fmod", "copysign")
LOGARITHMS = ("log2", "log10")
CIRCULAR = ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")
HYPERBOLIC = ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")
SPECIAL = ("erf", "erfc", "gamma", "lgamma")
FROM_BACKEND = ("maximum", "minimum", "select")
PRIMITIVES = frozenset(
    (*POINTWISE, *BINARY, *LOGARITHMS, *CIRCULAR, *HYPERBOLIC, *SPECIAL, *FROM_BACKEND)
)


def is_nan(x):
    """Mask that holds where x is not a number."""
    return compare("!=", x, x)


def propagating(name, a, b):
    """np.minimum and np.maximum: NaN where one of the two is."""
    a, b = ex.number(a), ex.number(b)
    if type(b) is float:
        a, b = b, a
    if type(a) is Expr:
        return select(is_nan(a), a, call(name, a, b))
    return math.nan if math.isnan(a) else call(name, a, b)


def ignoring(name, a, b):
    """np.fmin and np.fmax: the other one where one of the two is NaN."""
    a, b = ex.number(a), ex.number(b)
    if type(a) is float:
        a, b = b, a
    if type(b) is Expr:
        return select(is_nan(b), a, call(name, a, b))
    return a if math.isnan(b) else call(name, a, b)


def sign(x):
    """-1, 0 or 1; NaN of NaN."""
    steps = select(compare(">", x, 0.0), 1.0, select(compare("<", x, 0.0), -1.0, 0.0))
    return select(is_nan(x), x, steps)


def heaviside(x, at_zero):
    """0 below zero, 1 above, `at_zero` at zero."""
    steps = select(compare(">", x, 0.0), 1.0, select(compare("<", x, 0.0), 0.0, at_zero))
    return select(is_nan(x), x, steps)


def clip(x, lowest=None, highest=None):
    """x held between the bounds; None is no bound."""
    if lowest is not None:
        x = propagating("maximum", x, lowest)
    return x if highest is None else propagating("minimum", x, highest)


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """x with NaN and infinities replaced; None is the largest number of double precision."""
    largest = sys.float_info.max
    positive = largest if posinf is None else posinf
    negative = -largest if neginf is None else neginf
    finite = select(compare("==", x, -math.inf), negative, x)
    return select(is_nan(x), nan, select(compare("==", x, math.inf), positive, finite))


def trunc(x):
    """Round towards zero."""
    return select(compare("<", x, 0.0), call("ceil", x), call("floor", x))


def cbrt(x):
    """Real cube root."""
    return call("copysign", call("pow", call("fabs", x), 1.0 / 3.0), x)


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


def gammaln(x):
    """SciPy's logarithm of the gamma function: at -inf it is -inf, where C's is inf."""
    return select(compare("==", x, -math.inf), x, call("lgamma", x))


def betaln(a, b):
    """Logarithm of |B(a, b)|."""
    return sub(add(call("lgamma", a), call("lgamma", b)), call("lgamma", add(a, b)))


def ndtr(x):
    """The standard normal distribution, exact in both tails."""
    return mul(0.5, call("erfc", mul(-math.sqrt(0.5), x)))


def expit(x):
    """The logistic function 1 / (1 + exp(-x))."""
    return div(1.0, add(1.0, call("exp", neg(x))))


# (lengths above, below, the power of two whose multiples have squares in range), the last first;
# single precision has no lengths of the first two.
_LENGTHS = (
    (2.0**500, math.inf, 2.0**-600),
    (0.0, 2.0**-500, 2.0**600),
    (2.0**60, 2.0**500, 2.0**-70),
    (2.0**-500, 2.0**-40, 2.0**100),
)


def hypot(*coordinates):
    """Length of a vector; infinite where a coordinate is, whatever the others are."""
    sizes = [call("fabs", x) for x in coordinates]
    largest = reduce(partial(call, "maximum"), sizes)
    scale = back = 1.0
    for above, below, power in _LENGTHS:
        within = ex.logical_and(compare(">", largest, above), compare("<", largest, below))
        scale, back = select(within, power, scale), select(within, 1.0 / power, back)
    scaled = [mul(x, scale) for x in coordinates]
    length = mul(call("sqrt", reduce(add, [mul(x, x) for x in scaled])), back)
    infinite = reduce(ex.logical_or, [compare("==", size, math.inf) for size in sizes])
    return select(infinite, math.inf, length)


def logaddexp(a, b):
    """log(exp(a) + exp(b)) without overflow."""
    distance = neg(call("fabs", sub(a, b)))
    apart = add(call("maximum", a, b), call("log1p", call("exp", distance)))
    # The difference of equal infinities is NaN.
    return select(compare("==", a, b), add(a, math.log(2.0)), apart)


def isfinite(x):
    """Neither inf nor nan."""
    return compare("<", call("fabs", x), math.inf)


def log(x, base=math.e):
    """Logarithm, natural unless a base is given."""
    natural = call("log", x)
    return natural if base == math.e else div(natural, call("log", base))


def least(*values):
    """Python's min: the first of the smallest, and what no later one is smaller than (NaN)."""
    return reduce(lambda best, value: call("minimum", value, best), values)


def greatest(*values):
    """Python's max: the first of the largest, and what no later one is larger than (NaN)."""
    return reduce(lambda best, value: call("maximum", value, best), values)


def logical_xor(a, b):
    """Mask that holds where exactly one does."""
    return select(ex.mask(a), ex.logical_not(b), ex.mask(b))


FUNCTIONS = {
    "add": truth.added,
    "subtract": sub,
    "multiply": truth.multiplied,
    "divide": divide,
    "true_divide": divide,
    "floor_divide": ex.floor_divide,
    "remainder": ex.remainder,
    "mod": ex.remainder,
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
    "logaddexp": logaddexp,
    "expit": expit,
    "gammaln": gammaln,
    "digamma": digamma,
    "psi": digamma,
    "betaln": betaln,
    "ndtr": ndtr,
    "hypot": hypot,
    "sign": sign,
    "heaviside": heaviside,
    "signbit": lambda x: compare("<", call("copysign", 1.0, x), 0.0),
    "clip": clip,
    "trunc": trunc,
    "fix": trunc,
    "deg2rad": partial(mul, math.pi / 180.0),
    "radians": partial(mul, math.pi / 180.0),
    "rad2deg": partial(mul, 180.0 / math.pi),
    "degrees": partial(mul, 180.0 / math.pi),
    "fmin": partial(ignoring, "minimum"),
    "fmax": partial(ignoring, "maximum"),
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
    "bitwise_and": truth.bits_and,
    "bitwise_or": truth.bits_or,
    "bitwise_xor": truth.bits_xor,
    "invert": truth.inverted,
    "isnan": is_nan,
    "isinf": lambda x: compare("==", call("fabs", x), math.inf),
    "isfinite": isfinite,
    **{name: partial(call, name) for name in PRIMITIVES - {"log", "pow", "select"}},
    "minimum": partial(propagating, "minimum"),
    "maximum": partial(propagating, "maximum"),
}
for _inverse in ("asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh"):
    FUNCTIONS["arc" + _inverse[1:]] = FUNCTIONS[_inverse]
