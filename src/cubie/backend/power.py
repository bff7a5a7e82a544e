"""Logarithm and power of two good enough to steer a step size, the same on every target.

A library's ``pow`` differs between targets and between vector widths in the
last bits, is not vectorised everywhere, and costs as much as a step of a small
system. Step-size control needs a few digits of a factor between 0.2 and 10:
these are short polynomials over the bit pattern, with the same operations at
every width, so that results do not depend on the group.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cubie.backend.base import Backend
from cubie.backend.primitives import exponent_of, floor, power_of_two, select, significand_of
from cubie.backend.sharing import shared_function

# log2(m) = (2 / ln 2) (s + s**3/3 + ...), s = (m - 1)/(m + 1), abs(s) <= 0.1716:
# the first term left out is below 4.1e-8.
_LOG_TERMS = 4
# 2**f = sum (f ln 2)**k / k!, abs(f) <= 1/2: the first term left out is below 1.2e-7.
_EXP_TERMS = 7


@shared_function
def build_log2(backend: Backend) -> Callable:
    """Return ``log2(x)`` for positive normal x, with an absolute error below 1e-7 (float64)."""
    terms = (2.0 / math.log(2.0) / (2 * k + 1) for k in range(_LOG_TERMS))
    c0, c1, c2, c3 = (backend.constant(term) for term in terms)
    one, half, sqrt2 = (backend.constant(v) for v in (1.0, 0.5, math.sqrt(2.0)))

    def log2(x):
        m = significand_of(x)
        e = exponent_of(x)
        large = m > sqrt2
        m = select(large, m * half, m)
        e = select(large, e + one, e)
        s = (m - one) / (m + one)
        q = s * s
        return e + s * (c0 + q * (c1 + q * (c2 + q * c3)))

    return backend.device(log2)


@shared_function
def build_exp2(backend: Backend) -> Callable:
    """Return ``exp2(x)`` for abs(x) <= 100, with a relative error below 2e-7 (float64)."""
    terms = (math.log(2.0) ** k / math.factorial(k) for k in range(_EXP_TERMS))
    c0, c1, c2, c3, c4, c5, c6 = (backend.constant(term) for term in terms)
    half = backend.constant(0.5)

    def exp2(x):
        k = floor(x + half)
        f = x - k
        q = f * f
        even = c0 + q * (c2 + q * (c4 + q * c6))
        odd = c1 + q * (c3 + q * c5)
        return power_of_two(k) * (even + f * odd)

    return backend.device(exp2)
