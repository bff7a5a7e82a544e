"""Pieces of the hand-written loops: stack arrays, powers, step-size control."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from cubie.numerics.power import EXP_COEFFICIENTS, LOG_COEFFICIENTS
from cubie.tableaus import get_tableau

# The flags of the generated code: everything but "no NaN, no infinity".
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
INLINE = {"fastmath": FASTMATH, "error_model": "numpy", "forceinline": True}
LOOP = {"fastmath": FASTMATH, "error_model": "numpy"}
PARALLEL = {**LOOP, "parallel": True}

# At most so many runs are also tried in one thread: waking others costs more than
# small batches do.
SMALL_BATCH = 1000

CACHE_LINE = 64  # bytes


@functools.cache
def stack_array(dtype: str, n: int):
    """Return an intrinsic ``array()``: a pointer to `n` numbers in the caller's frame."""
    element = numba.from_dtype(np.dtype(dtype))

    @intrinsic
    def array(typingctx):
        def lower(context, builder, signature, args):
            number = context.get_value_type(element)
            memory = cgutils.alloca_once(builder, ir.ArrayType(number, n))
            memory.align = CACHE_LINE
            return builder.bitcast(memory, number.as_pointer())

        return types.CPointer(element)(), lower

    return array


def bit_casts(dtype: str):
    """Return (to_bits, from_bits) between a float and the integer of its size."""
    real = numba.from_dtype(np.dtype(dtype))
    integer = types.int64 if real is types.float64 else types.int32

    @intrinsic
    def to_bits(typingctx, x):
        def lower(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(integer))

        return integer(real), lower

    @intrinsic
    def from_bits(typingctx, bits):
        def lower(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(real))

        return real(integer), lower

    return to_bits, from_bits


@functools.cache
def tsit5(dtype: str) -> SimpleNamespace:
    """Return the coefficients of Tsit5 as numbers of `dtype`: rows of a, b, error weights."""
    real = np.dtype(dtype).type
    tableau = get_tableau("tsit5")
    return SimpleNamespace(
        a=[tuple(real(v) for v in row) for row in tableau.a],
        e=tuple(real(v) for v in tableau.error_weights),
    )


@functools.cache
def polynomial_powers(dtype: str):
    """Return (log2, exp2) that the compiler can vectorise: those of the generated code."""
    real = np.dtype(dtype).type
    double = np.dtype(dtype) == np.float64
    whole = np.int64 if double else np.int32
    mantissa, exponent, offset = (52, 0x7FF, 1023) if double else (23, 0xFF, 127)
    shift, mask, bias = whole(mantissa), whole(exponent), whole(offset)
    fraction, one_bits = whole((1 << mantissa) - 1), whole(offset << mantissa)
    # Adding this number moves a small whole number into the low mantissa bits.
    magic = real(1.5 * 2.0**mantissa)
    magic_bits = magic.view(whole)
    c0, c1, c2, c3, c4, c5, c6, c7 = (real(value) for value in LOG_COEFFICIENTS)
    x0, x1, x2, x3, x4, x5 = (real(value) for value in EXP_COEFFICIENTS)
    to_bits, from_bits = bit_casts(dtype)

    # Without fast-math flags: reassociation would cancel the two steps.
    @njit(error_model="numpy", forceinline=True)
    def to_float(i):
        return from_bits(i + magic_bits) - magic

    @njit(error_model="numpy", forceinline=True)
    def to_whole(x):
        return to_bits(x + magic) - magic_bits

    @njit(**INLINE)
    def log2(x):
        bits = to_bits(x)
        m = from_bits((bits & fraction) | one_bits)
        e = to_float(((bits >> shift) & mask) - bias)
        q = m * m
        high = (c4 + c5 * m) + q * (c6 + c7 * m)
        return ((e + c0) + c1 * m) + q * ((c2 + c3 * m) + q * high)

    @njit(**INLINE)
    def exp2(x):
        k = np.floor(x)
        f = x - k
        q = f * f
        series = (x0 + x1 * f) + q * ((x2 + x3 * f) + q * (x4 + x5 * f))
        return from_bits((to_whole(k) + bias) << shift) * series

    return log2, exp2


def library_powers(dtype: str):
    """Return (log2, exp2) of the C library: what a scalar loop would use."""

    @njit(**INLINE)
    def log2(x):
        return math.log2(x)

    @njit(**INLINE)
    def exp2(x):
        return math.exp2(x)

    return log2, exp2


def step_factor(dtype: str, powers):
    """Return ``factor(square)``: 0.9 * norm**(-1/5), at least 0.2, from the squared norm."""
    real = np.dtype(dtype).type
    log2, exp2 = powers
    log_safety, gain, low = real(math.log2(0.9)), real(-0.1), real(0.2)
    smallest, largest = real(1e-20), real(1e20)

    @njit(**INLINE)
    def factor(square):
        return max(exp2(log_safety + gain * log2(min(max(square, smallest), largest))), low)

    return factor


def first_step(dtype: str, powers):
    """Return ``first(d0, d1, d2_of, ...)`` parts of Hairer's algorithm (I, II.4, 4.14).

    ``guess(d0, d1, span)`` gives the size of the probing Euler step, and
    ``final(h0, d1, d2, span)`` the first step size.
    """
    real = np.dtype(dtype).type
    log2, exp2 = powers
    small, first_guess, hundredth = real(1e-5), real(1e-6), real(0.01)
    hundred, thousandth, fifth = real(100.0), real(1e-3), real(0.2)
    negligible = real(1e-15)

    @njit(**INLINE)
    def guess(d0, d1, span):
        usable = (d0 >= small) & (d1 >= small)
        return min(hundredth * d0 / max(d1, small) if usable else first_guess, span)

    @njit(**INLINE)
    def final(h0, d1, d2, span):
        steepest = max(d1, d2)
        power = exp2(fifth * log2(hundredth / max(steepest, negligible)))
        flat = max(first_guess, h0 * thousandth)
        return min(min(hundred * h0, power if steepest > negligible else flat), span)

    return guess, final
