"""Random formulas of everything that can be traced, and values to try them on.

A formula is the text of an expression of ``t``, ``y`` (two states) and the parameters ``p`` and
``q``; `tests.cubie.spread` says what it gives.
"""

from __future__ import annotations

import math
import random

import numpy as np
from hypothesis import strategies as st

LEAVES = (
    *("t", "y[0]", "y[0]", "y[1]", "y[1]", "p", "q", "p"),
    *("0.0", "1.0", "-1.5", "2", "0.25", "-0.7", "1e8", "1e-30", "3"),
    *("np.pi", "math.inf", "math.nan"),
)
ONE = (
    *("-({a})", "abs({a})", "+({a})", "({a}) ** 2", "({a}) ** 3", "({a}) ** -1", "({a}) ** -2"),
    *("({a}) ** 0.5", "abs({a}) ** 1.5", "abs({a}) ** 0.3", "2.0 ** ({a})", "float({a})"),
    *("math.sqrt({a})", "math.exp({a})", "math.log({a})", "math.sin({a})", "math.fabs({a})"),
    *("math.tanh({a})", "math.atan({a})", "math.log2({a})", "math.log10({a})", "math.asinh({a})"),
    *("np.sqrt({a})", "np.exp({a})", "np.log({a})", "np.cos({a})", "np.tan({a})", "np.cbrt({a})"),
    *("np.log2({a})", "np.log10({a})", "np.log1p({a})", "np.expm1({a})", "np.exp2({a})"),
    *("np.arcsin({a})", "np.arccos({a})", "np.arctan({a})", "np.sinh({a})", "np.cosh({a})"),
    *("np.tanh({a})", "np.arcsinh({a})", "np.arccosh({a})", "np.arctanh({a})"),
    *("np.sign({a})", "np.heaviside({a}, 0.5)", "np.floor({a})", "np.ceil({a})", "np.trunc({a})"),
    *("np.fix({a})", "np.square({a})", "np.reciprocal(1.0 * ({a}))", "np.absolute({a})"),
    *("np.nan_to_num({a})", "np.nan_to_num({a}, nan=2.0, posinf=3.0, neginf=-4.0)"),
    *("np.deg2rad({a})", "np.degrees({a})", "np.sinc({a})", "np.clip({a}, -1.0, 2.0)"),
    *("np.clip({a}, None, 0.5)", "np.interp({a}, [-1.0, 0.0, 2.0], [1.0, -1.0, 3.0])"),
    *("({a}) % 0.7", "({a}) % -0.7", "({a}) // 0.3", "({a}) // -0.3", "({a}) % 1"),
    *("0 * ({a})", "0.0 / ({a})", "1 / ({a})", "max({a}, 0.0)", "max(0.0, {a})"),
    *("min({a}, 1.0)", "min(1.0, {a})", "np.maximum({a}, 0.0)", "np.minimum(1.0, {a})"),
    *("np.fmax({a}, 0.0)", "np.fmin(1.0, {a})", "math.floor({a})", "np.positive({a})"),
    *("math.asin({a})", "math.acos({a})", "math.acosh({a})", "math.atanh({a})", "math.cos({a})"),
    *("math.tan({a})", "math.sinh({a})", "math.cosh({a})", "math.expm1({a})", "math.log1p({a})"),
    *("math.cbrt({a})", "math.exp2({a})", "math.ceil({a})", "math.trunc({a})", "np.sin({a})"),
    *("math.degrees({a})", "math.radians({a})", "np.radians({a})", "np.rad2deg({a})"),
    *("math.erf({a})", "math.erfc({a})", "math.gamma({a})", "math.lgamma({a})", "np.fabs({a})"),
    *("special.expit({a})", "special.ndtr({a})", "special.erf({a})", "special.gammaln({a})"),
    *("special.digamma(abs({a}) + 0.25)", "special.betaln(1.0 + np.tanh({a}) ** 2, 2.5)"),
    *("np.negative({a})", "np.float64({a})", "np.signbit({a}) * 2.0", "math.log({a}, 2.0)"),
    *("({a}) ** 2.5", "({a}) ** -0.5", "({a}) ** 5", "np.e ** ({a})", "np.float_power({a}, 2.0)"),
    *("np.conjugate({a})", "np.real({a})", "np.clip({a}, 0.5, None)", "np.heaviside({a}, 0.0)"),
    "np.interp({a}, [-1.0, 0.0, 2.0], [1.0, -1.0, 3.0], left=5.0, right=-5.0)",
)
TWO = (
    *("({a}) + ({b})", "({a}) - ({b})", "({a}) * ({b})", "({a}) / ({b})") * 3,
    *("({a}) % ({b})", "({a}) // ({b})", "np.fmod({a}, {b})", "math.fmod({a}, {b})"),
    *("np.remainder({a}, {b})", "np.floor_divide({a}, {b})", "abs({a}) ** ({b})"),
    *("np.power({a}, 1.0 * ({b}))", "math.pow({a}, {b})", "np.arctan2({a}, {b})"),
    *("np.copysign({a}, {b})", "math.copysign({a}, {b})", "np.logaddexp({a}, {b})"),
    *("min({a}, {b})", "max({a}, {b})", "np.minimum({a}, {b})", "np.maximum({a}, {b})"),
    *("np.fmin({a}, {b})", "np.fmax({a}, {b})", "np.clip({a}, {b}, 1.0)", "max({a}, {b}, 0.0)"),
    *("math.atan2({a}, {b})", "np.add({a}, {b})", "np.subtract({a}, {b})", "np.mod({a}, {b})"),
    *("np.multiply({a}, {b})", "np.divide({a}, {b})", "np.float_power({a}, {b})"),
    *("math.prod([{a}, {b}])", "sum([{a}, {b}])", "np.sum([{a}, {b}])", "np.prod([{a}, {b}])"),
    *("np.mean([{a}, {b}])", "np.max([{a}, {b}])", "np.min([{a}, {b}])", "math.fsum([{a}, {b}])"),
    *("np.dot([{a}, 2.0], [{b}, {a}])", "np.linalg.norm([{a}, {b}])", "(({a}) and ({b}))"),
    *("np.hypot({a}, {b})", "math.hypot({a}, {b})", "(({a}) or ({b}))"),
    *("np.where({a} > 0, {a}, {b})", "(({a}) < ({b})) * ({a})", "({b}) * (({a}) >= 0)"),
)
CONDITIONS = (
    *("({a}) < ({b})", "({a}) <= ({b})", "({a}) > ({b})", "({a}) >= ({b})", "({a}) == ({b})"),
    *("({a}) != ({b})", "np.isnan({a})", "np.isfinite({a})", "np.isinf({a})"),
    *("~np.isnan({a})", "(({a}) < ({b})) & (({b}) > 0)", "(({a}) < 0) | (({b}) >= 1)"),
    *("np.logical_and(({a}) > 0, ({b}) > 0)", "np.logical_not(({a}) > ({b}))"),
    *("(({a}) > 0) ^ (({b}) > 0)", "np.greater({a}, {b})", "np.not_equal({a}, {b})"),
    *("np.less({a}, {b})", "np.less_equal({a}, {b})", "np.greater_equal({a}, {b})"),
    *("np.equal({a}, {b})", "({a}) < ({b}) <= 2.0", "np.logical_or(({a}) > 0, ({b}) > 0)"),
    *("np.logical_xor(({a}) > 0, ({b}) > 0)", "np.bitwise_and(({a}) > 0, ({b}) < 1)"),
    *("np.bitwise_or(({a}) > 0, ({b}) < 1)", "np.bitwise_xor(({a}) > 0, ({b}) < 1)"),
    *("np.invert(np.less({a}, {b}))", "~(({a}) >= ({b}))", "np.logical_and({a}, {b})"),
    *("(({a}) > 0 and ({b}) > 0)", "(({a}) > 0 or ({b}) > 0)", "(not ({a}) > ({b}))"),
    *("np.any([({a}) > 0, ({b}) > 0])", "np.all([({a}) > 0, ({b}) > 0])", "np.signbit({a})"),
    *("math.isnan({a})", "math.isfinite({a})", "math.isinf({a})", "(({a}) > 0) & True"),
    *("(({a}) > 0) + (({b}) > 0)", "(({a}) > 0) * (({b}) > 0)", "(({a}) > 0) | ({b} == 0)"),
)
CHOICES = (
    *("np.where({c}, {a}, {b})", "(({a}) if ({c}) else ({b}))", "({c}) * ({a})"),
    *("np.select([{c}], [{a}], {b})", "({a}) * ({c}) + ({b}) * (1 - ({c}))"),
    *("np.where({c}, np.nan, {a})", "(({a}) if not ({c}) else ({b}))"),
    *("({c}) + ({a})", "np.select([{c}, ({b}) > 1], [{a}, {b}], 0.5)", "float({c}) * ({a})"),
    *("np.count_nonzero([{c}, ({a}) > 0]) * ({b})", "sum([{c}, ({a}) > 0]) * ({b})"),
    *("(({c}) + (({a}) > 0)) * ({b})", "(({c}) * (({a}) > 0)) + ({b})", "1.0 * ({c})"),
    *("np.sum([{c}, ({a}) > 0]) * ({b})", "(min({a}, {b}) if ({c}) else max({a}, {b}))"),
    # NumPy's functions of a condition are of half precision: no formula is a condition.
    *("(({c}) * 1.0 and ({a}))", "(({c}) * 1.0 or ({a}))", "(({c}) | (({a}) > 0)) * ({b})"),
    *("(float({c}) + float(({a}) > 0)) * ({b})", "(~(({c}) > 0)) * ({a})", "abs({c}) * ({b})"),
)
# Values of (t, y0, y1, p, q): states of a run that goes on are finite, parameters may not be.
FINITE = (0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 7.0, 0.5, 1e-30, -1e30, 77.0, 1e8, 1e-300, 1e300)
ANYTHING = (*FINITE, math.inf, -math.inf, math.nan)


@st.composite
def formulas(draw, depth=3):
    """A formula as text."""
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind == 0:
        return draw(st.sampled_from(LEAVES))
    a = draw(formulas(depth=depth - 1))
    if kind <= 4:
        return draw(st.sampled_from(ONE)).format(a=a)
    b = draw(formulas(depth=depth - 1))
    if kind <= 7:
        return draw(st.sampled_from(TWO)).format(a=a, b=b)
    left, right = (draw(formulas(depth=max(0, depth - 2))) for _ in "lr")
    condition = draw(st.sampled_from(CONDITIONS)).format(a=left, b=right)
    return draw(st.sampled_from(CHOICES)).format(c=condition, a=a, b=b)


def points(count: int, seed: int) -> np.ndarray:
    """Return values of (t, y0, y1, p, q) as columns, all finite ones fit for single precision."""
    random_ = random.Random(seed)
    columns = []
    for _ in range(count):
        finite = [random_.choice((*FINITE, random_.gauss(0, 3))) for _ in range(3)]
        rest = [random_.choice((*ANYTHING, random_.gauss(0, 3))) for _ in range(2)]
        columns.append([0.75, *finite[1:], *rest])
    return np.array(columns).T
