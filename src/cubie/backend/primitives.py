"""What component code may use besides plain arithmetic, with its meaning on one run.

Component code is written once, for "a run" whose scalars may be one number or a
vector with one *lane* per run. Whatever differs between runs is data: these
functions replace the `if`, `and`, `while x < y` and early returns that cannot
exist when lanes of one vector disagree. Executed by the Python interpreter
(targets ``python`` and ``simulator``) the definitions below *are* the
semantics; the compiled targets give the same names typed implementations
(:mod:`cubie.backend.lanes.operations`).
"""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "absolute",
    "all_lanes",
    "any_lane",
    "as_index",
    "as_real",
    "exponent_of",
    "floor",
    "gather",
    "is_finite",
    "larger",
    "larger_size",
    "load_run",
    "maximum",
    "minimum",
    "power_of_two",
    "quotient",
    "rounded_difference",
    "rounded_sum",
    "select",
    "significand_of",
    "smaller",
    "square_root",
    "store_run",
]


def select(mask, if_true, if_false):
    """Return `if_true` in the lanes where `mask` holds, `if_false` elsewhere."""
    return if_true if mask else if_false


def any_lane(mask):
    """Tell, as a plain bool fit for ``while``, whether `mask` holds in any lane."""
    return bool(mask)


def all_lanes(mask):
    """Tell, as a plain bool fit for ``while``, whether `mask` holds in every lane."""
    return bool(mask)


def minimum(a, b):
    """Return the smaller of two values lane by lane; `b` where they do not compare (NaN)."""
    return a if a < b else b


def maximum(a, b):
    """Return the larger of two values lane by lane; `b` where they do not compare (NaN)."""
    return a if a > b else b


def smaller(a, b):
    """Return the smaller of two values lane by lane.

    Where one of them is NaN a target gives either: for values that are none, or where a NaN is
    found by other means. Otherwise `minimum`.
    """
    return a if a < b else b


def larger(a, b):
    """Return the larger of two values lane by lane; of NaN it gives either, as `smaller`."""
    return a if a > b else b


def larger_size(a, b):
    """Return the larger of two absolute values lane by lane; with NaN either, as `larger`."""
    return larger(abs(a), abs(b))


def quotient(a, b):
    """Return ``a / b`` for divisors whose reciprocals are normal numbers.

    Under fast-math a target may take the reciprocal of `b` to a few units in the last place, and
    multiply: of a divisor above 2**126 in float32 (2**1022 in float64), finite or not, it then
    makes zero or NaN, and of one that is zero or subnormal infinity or NaN.
    """
    return a / b


def absolute(a):
    """Return the absolute value lane by lane."""
    return abs(a)


def square_root(a):
    """Return the square root lane by lane; NaN for negative values, never an error."""
    return np.sqrt(a)


def floor(a):
    """Return the largest whole number not above `a`, as a floating value."""
    return np.floor(a)


def is_finite(a):
    """Tell lane by lane whether a value is neither infinite nor NaN.

    Decided on the bit pattern, so that it stays true under fast-math.
    """
    return np.bool_(np.isfinite(a))


def exponent_of(a):
    """Return floor(log2(a)) as a floating value, for normal a > 0."""
    return type(a)(math.frexp(a)[1] - 1)


def significand_of(a):
    """Return a / 2**floor(log2(a)), in [1, 2), for normal a > 0."""
    return type(a)(math.frexp(a)[0] * 2.0)


def power_of_two(k):
    """Return 2**k for a whole floating `k` within the exponent range of normal numbers."""
    return type(k)(math.ldexp(1.0, int(k)))


def rounded_sum(a, b):
    """Return ``a + b`` rounded once, as written: fast-math does not regroup it with others."""
    return a + b


def rounded_difference(a, b):
    """Return ``a - b`` rounded once, as written: fast-math does not regroup it with others."""
    return a - b


def as_real(k, like):
    """Return the number `k` as a floating value of the type of `like`, rounded where it must be.

    `k` is whole, or a floating value that may have another precision; where it is too large for
    that of `like` the value is infinite.
    """
    return type(like)(k)


def as_index(a):
    """Return a whole floating value, of the range of an array's indices, as int64 lanes."""
    return int(a)


def load_run(array, offset, stride, run, n_runs):
    """Read ``array[offset + stride * run]`` for the run of each lane.

    Lanes beyond the batch repeat its last run, so that they compute something
    harmless. `stride` is 1 for a value per run, 0 for one shared by all runs.
    """
    return array[offset + stride * min(run, n_runs - 1)]


def store_run(array, offset, run, mask, value):
    """Write `value` to ``array[offset + run]`` in the lanes where `mask` holds."""
    if mask:
        array[offset + run] = value


def gather(array, index):
    """Read ``array[index]`` where `index` may differ from lane to lane."""
    return array[index]
