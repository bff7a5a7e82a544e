"""Logarithm and power of two good enough to steer a step size, the same on every target.

A library's ``pow`` differs between targets and between vector widths in the
last bits, and is not vectorised everywhere. Step-size control needs neither its
accuracy nor its cost: these are short polynomials over the bit pattern, with the
same operations at every width, so that results do not depend on the group.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cubie.backend.base import Backend
from cubie.backend.primitives import exponent_of, floor, power_of_two, select, significand_of

# log2(m) = (2 / ln 2) (s + s**3/3 + ...), s = (m - 1)/(m + 1), |s| <= 0.1716:
# the first term left out is below 2e-12.
_LOG_TERMS = 7
# 2**f = sum (f ln 2)**k / k!, |f| <= 1/2: the first term left out is below 2e-12.
_EXP_TERMS = 10


def build_log2(backend: Backend) -> Callable:
    """Return ``log2(x)`` for positive normal x; absolute error below 1e-10 in double."""
    terms = tuple(backend.constant(2.0 / math.log(2.0) / (2 * k + 1)) for k in range(_LOG_TERMS))
    c0, c1, c2, c3, c4, c5, c6 = terms
    one, half, sqrt2 = (backend.constant(v) for v in (1.0, 0.5, math.sqrt(2.0)))

    def log2(x):
        m = significand_of(x)
        e = exponent_of(x)
        large = m > sqrt2
        m = select(large, m * half, m)
        e = select(large, e + one, e)
        s = (m - one) / (m + one)
        q = s * s
        series = c0 + q * (c1 + q * (c2 + q * (c3 + q * (c4 + q * (c5 + q * c6)))))
        return e + s * series

    return backend.device(log2)


def build_exp2(backend: Backend) -> Callable:
    """Return ``exp2(x)`` for abs(x) <= 100; relative error below 1e-11 in double."""
    terms = tuple(
        backend.constant(math.log(2.0) ** k / math.factorial(k)) for k in range(_EXP_TERMS)
    )
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 = terms
    half = backend.constant(0.5)

    def exp2(x):
        k = floor(x + half)
        f = x - k
        low = c0 + f * (c1 + f * (c2 + f * (c3 + f * c4)))
        high = c5 + f * (c6 + f * (c7 + f * (c8 + f * c9)))
        f2 = f * f
        return power_of_two(k) * (low + f2 * f2 * f * high)

    return backend.device(exp2)
