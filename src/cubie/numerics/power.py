"""Logarithm and power of two good enough to steer a step size.

A library's ``pow`` differs between targets and between vector widths in the
last bits, is not vectorised everywhere, and costs as much as a step of a small
system. Step-size control needs a few digits of a factor between 0.2 and 10:
these are short polynomials over the bit pattern, with the same operations at
every width, so that results do not depend on the group: nor on the target, without fast-math. With
it a GPU takes its own instructions. They are summed in
pairs (Estrin's scheme): all that follows in a step waits for them.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import (
    Backend,
    exponent_of,
    floor,
    power_of_two,
    rounded_sum,
    shared_function,
    significand_of,
)

# The best polynomials of their degree (by Remez' exchange): log2(m) for 1 <= m <= 2, with an
# absolute error of 2.8e-7, and 2**f for 0 <= f <= 1, with a relative error of 7.5e-8.
LOG_COEFFICIENTS = (
    -3.245537961297497,
    7.133970114238675,
    -7.494130931464164,
    5.781440009517508,
    -2.985021724728336,
    0.9780951076551696,
    -0.18393970155376058,
    0.015125364921519427,
)
EXP_COEFFICIENTS = (
    0.9999999250635878,
    0.6931530732026261,
    0.24015361702112634,
    0.0558263181162335,
    0.008989340023581907,
    0.001877576700019989,
)


@shared_function
def build_log2(backend: Backend) -> Callable:
    """Return ``log2(x)`` for positive normal x.

    The absolute error is below 3e-7 in float64; in float32 that of rounding, or of a GPU's
    instruction, is larger, up to 2e-5 where the logarithm is some sixty.
    """
    hardware = backend.hardware_log2()
    if hardware is not None:
        return hardware
    c0, c1, c2, c3, c4, c5, c6, c7 = (backend.constant(value) for value in LOG_COEFFICIENTS)

    def log2(x):
        m = significand_of(x)
        e = exponent_of(x)
        q = m * m
        high = (c4 + c5 * m) + q * (c6 + c7 * m)
        # Not regrouped: `exponent_of` may be a subtraction that would be taken apart.
        return (rounded_sum(e, c0) + c1 * m) + q * ((c2 + c3 * m) + q * high)

    return backend.device(log2)


@shared_function
def build_exp2(backend: Backend) -> Callable:
    """Return ``exp2(x)`` for abs(x) <= 100.

    The relative error is below 1e-7 in float64 (3e-7 by a GPU's instruction), and 1e-6 in float32.
    """
    hardware = backend.hardware_exp2()
    if hardware is not None:
        return hardware
    c0, c1, c2, c3, c4, c5 = (backend.constant(value) for value in EXP_COEFFICIENTS)

    def exp2(x):
        k = floor(x)
        f = x - k
        q = f * f
        return power_of_two(k) * ((c0 + c1 * f) + q * ((c2 + c3 * f) + q * (c4 + c5 * f)))

    return backend.device(exp2)
