"""Lorenz' ring of n states with Tsit5 and step-size control, by hand.

Arrays lie as [state][lane] and every loop runs over all of them at once: what
belongs to a lane (step size, forcing) is repeated for every state, so that the
compiler sees long plain loops. The argument of the right-hand side has two extra
states before it and one behind: the ring's neighbours, without a branch. With one
lane this is the scalar loop, and nothing is repeated.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numba
import numpy as np
from numba import njit, prange

from benchmarks.baselines.numerics import (
    INLINE,
    LOOP,
    PARALLEL,
    first_step,
    library_powers,
    polynomial_powers,
    stack_array,
    step_factor,
    tsit5,
)
from benchmarks.baselines.tuning import Baseline
from benchmarks.specs import Work

WIDTHS = (4, 8, 16)
MAX_STEPS = 100_000
STRETCH = 1.0 + 1e-6
BEFORE, EXTRA = 2, 3  # states added before the ring, and in all


def make(work: Work, kind: str) -> Baseline:
    """Return the scalar loop or the tuned lane loops."""
    if kind == "scalar":
        powers = {"library pow": library_powers, "polynomial pow": polynomial_powers}
        return Baseline(work, {name: _loop(work, 1, p(work.dtype)) for name, p in powers.items()})
    polynomial = polynomial_powers(work.dtype)
    return Baseline(work, {f"{width} lanes": _loop(work, width, polynomial) for width in WIDTHS})


def _arrays(work: Work, width: int) -> SimpleNamespace:
    """Return functions over arrays of all states and lanes."""
    n = len(work.y0)
    size = n * width
    repeats = n if width > 1 else 1

    # Where the value of element j's lane lies in a repeated array.
    @njit(**INLINE)
    def of(j):
        return j if repeats > 1 else 0

    @njit(**INLINE)
    def repeat(values):
        """Copy the first `width` entries to all states."""
        for i in range(1, repeats):
            for lane in range(width):
                values[i * width + lane] = values[lane]

    @njit(**INLINE)
    def sum_states(values):
        """Add the states up, pairwise, into the first `width` entries."""
        left = n
        while left > 1:
            half = left // 2
            offset = (left - half) * width
            for j in range(half * width):
                values[j] += values[j + offset]
            left -= half

    @njit(**INLINE)
    def close(u):
        """Fill the extra states of a ring."""
        for j in range(BEFORE * width):
            u[j] = u[size + j]
        for j in range(width):
            u[size + BEFORE * width + j] = u[BEFORE * width + j]

    @njit(**INLINE)
    def rhs(forcing, u, k):
        close(u)
        for j in range(size):
            ahead = u[j + 3 * width] - u[j]
            k[j] = ahead * u[j + width] - u[j + 2 * width] + forcing[of(j)]

    return SimpleNamespace(of=of, repeat=repeat, sum_states=sum_states, rhs=rhs, size=size)


def _stages(work: Work, width: int, arrays: SimpleNamespace):
    """Return ``stages(y, h, forcing, u, k1, ..., k7)`` and ``squares(...)`` of the error."""
    real = np.dtype(work.dtype).type
    of, rhs, size, shift = arrays.of, arrays.rhs, arrays.size, BEFORE * width
    rtol, atol = real(work.rtol), real(work.atol)
    a = tsit5(work.dtype).a
    e1, e2, e3, e4, e5, e6, e7 = tsit5(work.dtype).e
    a21 = a[1][0]
    a31, a32 = a[2][:2]
    a41, a42, a43 = a[3][:3]
    a51, a52, a53, a54 = a[4][:4]
    a61, a62, a63, a64, a65 = a[5][:5]
    b1, b2, b3, b4, b5, b6 = a[6][:6]

    @njit(**INLINE)
    def stages(y, h, forcing, u, k1, k2, k3, k4, k5, k6, k7):
        for j in range(size):
            u[j + shift] = y[j] + h[of(j)] * (a21 * k1[j])
        rhs(forcing, u, k2)
        for j in range(size):
            u[j + shift] = y[j] + h[of(j)] * (a31 * k1[j] + a32 * k2[j])
        rhs(forcing, u, k3)
        for j in range(size):
            u[j + shift] = y[j] + h[of(j)] * (a41 * k1[j] + a42 * k2[j] + a43 * k3[j])
        rhs(forcing, u, k4)
        for j in range(size):
            slope = a51 * k1[j] + a52 * k2[j] + a53 * k3[j] + a54 * k4[j]
            u[j + shift] = y[j] + h[of(j)] * slope
        rhs(forcing, u, k5)
        for j in range(size):
            slope = a61 * k1[j] + a62 * k2[j] + a63 * k3[j] + a64 * k4[j] + a65 * k5[j]
            u[j + shift] = y[j] + h[of(j)] * slope
        rhs(forcing, u, k6)
        for j in range(size):
            slope = b1 * k1[j] + b2 * k2[j] + b3 * k3[j] + b4 * k4[j] + b5 * k5[j] + b6 * k6[j]
            u[j + shift] = y[j] + h[of(j)] * slope
        rhs(forcing, u, k7)

    @njit(**INLINE)
    def squares(y, h, u, k1, k2, k3, k4, k5, k6, k7, out):
        for j in range(size):
            error = e1 * k1[j] + e2 * k2[j] + e3 * k3[j] + e4 * k4[j]
            error += e5 * k5[j] + e6 * k6[j] + e7 * k7[j]
            scale = atol + rtol * max(abs(y[j]), abs(u[j + shift]))
            ratio = h[of(j)] * error / scale
            out[j] = ratio * ratio

    return stages, squares


def _first(work: Work, width: int, arrays: SimpleNamespace, powers):
    """Return ``first(y, forcing, u, k1, k2, r, s, dt, span)``: the first steps into `dt`."""
    real = np.dtype(work.dtype).type
    of, repeat, sum_states, rhs = arrays.of, arrays.repeat, arrays.sum_states, arrays.rhs
    size, shift = arrays.size, BEFORE * width
    rtol, atol, tiny = real(work.rtol), real(work.atol), real(1e-30)
    inverse_n = real(1.0 / len(work.y0))
    guess, final = first_step(work.dtype, powers)

    @njit(**INLINE)
    def first(y, forcing, u, k1, k2, r, s, dt, span):
        for j in range(size):
            scale = atol + rtol * abs(y[j])
            r[j] = (y[j] / scale) ** 2
            s[j] = (k1[j] / scale) ** 2
        sum_states(r)
        sum_states(s)
        for lane in range(width):
            s[lane] = math.sqrt(s[lane] * inverse_n)
            dt[lane] = guess(math.sqrt(r[lane] * inverse_n), s[lane], span)
        repeat(dt)
        for j in range(size):
            u[j + shift] = y[j] + dt[of(j)] * k1[j]
        rhs(forcing, u, k2)
        for j in range(size):
            r[j] = ((k2[j] - k1[j]) / (atol + rtol * abs(y[j]))) ** 2
        d1 = s
        sum_states(r)
        for lane in range(width):
            d2 = math.sqrt(r[lane] * inverse_n) / max(dt[lane], tiny)
            dt[lane] = final(dt[lane], d1[lane], d2, span)

    return first


def _loop(work: Work, width: int, powers):
    """Groups of `width` runs in lockstep, each lane with a step size of its own."""
    real = np.dtype(work.dtype).type
    n, y0, shift = len(work.y0), work.y0, BEFORE * width
    zero, one, high, stretch = real(0.0), real(1.0), real(10.0), real(STRETCH)
    inverse_n = real(1.0 / n)
    t_end, threads = real(work.t_end), numba.get_num_threads()
    arrays = _arrays(work, width)
    of, repeat, sum_states, rhs, size = (
        arrays.of, arrays.repeat, arrays.sum_states, arrays.rhs, arrays.size
    )  # fmt: skip
    stages, squares = _stages(work, width, arrays)
    first = _first(work, width, arrays, powers)
    factor = step_factor(work.dtype, powers)
    states, lanes = stack_array(work.dtype, n * width), stack_array(work.dtype, width)
    repeated = stack_array(work.dtype, n * width if width > 1 else 1)
    ring = stack_array(work.dtype, (n + EXTRA) * width)

    @njit(**INLINE)
    def decide(h, square, ts, dts, accepted, steps, take):
        active = zero
        for lane in range(width):
            remaining = t_end - ts[lane]
            running = remaining > zero
            square_norm = square[lane] * inverse_n
            ok = square_norm <= one
            ceiling = high if ok & (accepted[lane] > zero) else one
            t_new = t_end if h[lane] >= remaining else ts[lane] + h[lane]
            take[lane] = one if ok & running else zero
            ts[lane] = t_new if ok & running else ts[lane]
            dts[lane] = h[lane] * min(factor(square_norm), ceiling) if running else dts[lane]
            accepted[lane] = one if ok else zero
            counted = one if running else zero
            steps[lane] += counted
            active += counted
        return active

    @njit(**LOOP)
    def integrate(start, parameters, out):
        y, u, k1, k2, k3 = states(), ring(), states(), states(), states()
        k4, k5, k6, k7, ratios = states(), states(), states(), states(), states()
        forcing, h, take, dts = repeated(), repeated(), repeated(), repeated()
        ts, accepted, steps = lanes(), lanes(), lanes()
        for lane in range(width):
            forcing[lane] = parameters[min(start + lane, parameters.size - 1)]
            ts[lane], accepted[lane], steps[lane] = zero, one, zero
        repeat(forcing)
        for i in range(n):
            for lane in range(width):
                y[i * width + lane] = u[i * width + lane + shift] = y0[i]
        rhs(forcing, u, k1)
        first(y, forcing, u, k1, k2, ratios, k3, dts, t_end)
        active, attempts = one, 0
        while active > zero and attempts < MAX_STEPS:
            attempts += 1
            for lane in range(width):
                remaining = t_end - ts[lane]
                h[lane] = remaining if dts[lane] * stretch >= remaining else dts[lane]
            repeat(h)
            stages(y, h, forcing, u, k1, k2, k3, k4, k5, k6, k7)
            squares(y, h, u, k1, k2, k3, k4, k5, k6, k7, ratios)
            sum_states(ratios)
            active = decide(h, ratios, ts, dts, accepted, steps, take)
            repeat(take)
            for j in range(size):
                y[j] = u[j + shift] if take[of(j)] > zero else y[j]
                k1[j] = k7[j] if take[of(j)] > zero else k1[j]
        for lane in range(min(width, parameters.size - start)):
            for i in range(n):
                out[i, start + lane] = y[i * width + lane]
            out[n, start + lane] = steps[lane]

    @njit(**PARALLEL)
    def run(parameters, out):
        groups = (parameters.size + width - 1) // width
        for thread in prange(threads):
            for group in range(thread, groups, threads):
                integrate(group * width, parameters, out)

    return run
