"""Lorenz with Tsit5 and step-size control, by hand."""

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
    SMALL_BATCH,
    first_step,
    library_powers,
    polynomial_powers,
    stack_array,
    step_factor,
    tsit5,
)
from benchmarks.baselines.tuning import Baseline
from benchmarks.specs import Work

WIDTHS = (4, 8, 16, 32, 64)
MAX_STEPS = 100_000
STRETCH = 1.0 + 1e-6  # how much farther than planned a step may reach to end the run


def make(work: Work, kind: str) -> Baseline:
    """Return the tuned scalar loop or lane loops."""
    variants = {}
    for parallel in (True, False) if work.n_runs <= SMALL_BATCH else (True,):
        where = "" if parallel else ", one thread"
        if kind == "scalar":
            powers = {"library pow": library_powers, "polynomial pow": polynomial_powers}
            for name, make_powers in powers.items():
                variants[name + where] = _scalar(work, make_powers(work.dtype), parallel)
        else:
            for width in WIDTHS:
                variants[f"{width} lanes{where}"] = _lanes(work, width, parallel)
    return Baseline(work, variants)


def _pieces(work: Work, powers) -> SimpleNamespace:
    """Return the numbers and inlined functions both loops are made of."""
    real = np.dtype(work.dtype).type
    sigma, beta, third = real(10.0), real(8.0 / 3.0), real(1.0 / 3.0)
    rtol, atol, tiny = real(work.rtol), real(work.atol), real(1e-30)
    a = tsit5(work.dtype).a
    e1, e2, e3, e4, e5, e6, e7 = tsit5(work.dtype).e
    a21 = a[1][0]
    a31, a32 = a[2][:2]
    a41, a42, a43 = a[3][:3]
    a51, a52, a53, a54 = a[4][:4]
    a61, a62, a63, a64, a65 = a[5][:5]
    b1, b2, b3, b4, b5, b6 = a[6][:6]
    guess, final = first_step(work.dtype, powers)

    @njit(**INLINE)
    def rhs(x, y, z, rho):
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    @njit(**INLINE)
    def stage2(x, h, k1):
        return x + h * (a21 * k1)

    @njit(**INLINE)
    def stage3(x, h, k1, k2):
        return x + h * (a31 * k1 + a32 * k2)

    @njit(**INLINE)
    def stage4(x, h, k1, k2, k3):
        return x + h * (a41 * k1 + a42 * k2 + a43 * k3)

    @njit(**INLINE)
    def stage5(x, h, k1, k2, k3, k4):
        return x + h * (a51 * k1 + a52 * k2 + a53 * k3 + a54 * k4)

    @njit(**INLINE)
    def stage6(x, h, k1, k2, k3, k4, k5):
        return x + h * (a61 * k1 + a62 * k2 + a63 * k3 + a64 * k4 + a65 * k5)

    @njit(**INLINE)
    def solution(x, h, k1, k2, k3, k4, k5, k6):
        return x + h * (b1 * k1 + b2 * k2 + b3 * k3 + b4 * k4 + b5 * k5 + b6 * k6)

    @njit(**INLINE)
    def square(x, new, h, k1, k2, k3, k4, k5, k6, k7):
        error = h * (e1 * k1 + e2 * k2 + e3 * k3 + e4 * k4 + e5 * k5 + e6 * k6 + e7 * k7)
        ratio = error / (atol + rtol * max(abs(x), abs(new)))
        return ratio * ratio

    @njit(**INLINE)
    def attempt(x, y, z, p1, q1, r1, h, rho):
        p2, q2, r2 = rhs(stage2(x, h, p1), stage2(y, h, q1), stage2(z, h, r1), rho)
        p3, q3, r3 = rhs(stage3(x, h, p1, p2), stage3(y, h, q1, q2), stage3(z, h, r1, r2), rho)
        p4, q4, r4 = rhs(
            stage4(x, h, p1, p2, p3), stage4(y, h, q1, q2, q3), stage4(z, h, r1, r2, r3), rho
        )
        p5, q5, r5 = rhs(
            stage5(x, h, p1, p2, p3, p4),
            stage5(y, h, q1, q2, q3, q4),
            stage5(z, h, r1, r2, r3, r4),
            rho,
        )
        p6, q6, r6 = rhs(
            stage6(x, h, p1, p2, p3, p4, p5),
            stage6(y, h, q1, q2, q3, q4, q5),
            stage6(z, h, r1, r2, r3, r4, r5),
            rho,
        )
        u = solution(x, h, p1, p2, p3, p4, p5, p6)
        v = solution(y, h, q1, q2, q3, q4, q5, q6)
        w = solution(z, h, r1, r2, r3, r4, r5, r6)
        p7, q7, r7 = rhs(u, v, w, rho)
        total = square(x, u, h, p1, p2, p3, p4, p5, p6, p7)
        total += square(y, v, h, q1, q2, q3, q4, q5, q6, q7)
        total += square(z, w, h, r1, r2, r3, r4, r5, r6, r7)
        return u, v, w, p7, q7, r7, total * third

    @njit(**INLINE)
    def first(x, y, z, p, q, r, rho, span):
        wx, wy, wz = atol + rtol * abs(x), atol + rtol * abs(y), atol + rtol * abs(z)
        d0 = math.sqrt(((x / wx) ** 2 + (y / wy) ** 2 + (z / wz) ** 2) * third)
        d1 = math.sqrt(((p / wx) ** 2 + (q / wy) ** 2 + (r / wz) ** 2) * third)
        h0 = guess(d0, d1, span)
        u, v, w = rhs(x + h0 * p, y + h0 * q, z + h0 * r, rho)
        d2 = math.sqrt((((u - p) / wx) ** 2 + ((v - q) / wy) ** 2 + ((w - r) / wz) ** 2) * third)
        return final(h0, d1, d2 / max(h0, tiny), span)

    return SimpleNamespace(
        rhs=rhs, attempt=attempt, first=first, factor=step_factor(work.dtype, powers)
    )


def _scalar(work: Work, powers, parallel: bool):
    """One run after the other; neighbours in the sweep go to different threads."""
    real = np.dtype(work.dtype).type
    pieces = _pieces(work, powers)
    rhs, attempt, first, factor = pieces.rhs, pieces.attempt, pieces.first, pieces.factor
    zero, one, high, stretch = real(0.0), real(1.0), real(10.0), real(STRETCH)
    x0, y0, z0 = work.y0
    t_end, threads = real(work.t_end), numba.get_num_threads() if parallel else 1

    @njit(**LOOP)
    def integrate(rho):
        x, y, z, t = x0, y0, z0, zero
        p, q, r = rhs(x, y, z, rho)
        dt = first(x, y, z, p, q, r, rho, t_end)
        accepted, steps = True, 0
        while t < t_end and steps < MAX_STEPS:
            remaining = t_end - t
            last = dt * stretch >= remaining
            h = remaining if last else dt
            u, v, w, p7, q7, r7, square = attempt(x, y, z, p, q, r, h, rho)
            ok = square <= one
            ceiling = high if ok and accepted else one
            dt = h * min(factor(square), ceiling)
            if ok:
                t = t_end if last else t + h
                x, y, z, p, q, r = u, v, w, p7, q7, r7
            accepted = ok
            steps += 1
        return x, y, z, steps

    @njit(**(PARALLEL if parallel else LOOP))
    def run(parameters, out):
        for thread in prange(threads):
            for i in range(thread, parameters.size, threads):
                out[0, i], out[1, i], out[2, i], out[3, i] = integrate(parameters[i])

    return run


def _lanes(work: Work, width: int, parallel: bool):
    """Groups of runs in lockstep: every line of the inner loop is for all lanes of a group."""
    real = np.dtype(work.dtype).type
    pieces = _pieces(work, polynomial_powers(work.dtype))
    rhs, attempt, first, factor = pieces.rhs, pieces.attempt, pieces.first, pieces.factor
    zero, one, high, stretch = real(0.0), real(1.0), real(10.0), real(STRETCH)
    x0, y0, z0 = work.y0
    t_end, threads = real(work.t_end), numba.get_num_threads() if parallel else 1
    array = stack_array(work.dtype, width)

    @njit(**LOOP)
    def integrate(start, parameters, out):
        xs, ys, zs, ps, qs, rs = array(), array(), array(), array(), array(), array()
        ts, dts, accepted, rhos, steps = array(), array(), array(), array(), array()
        for lane in range(width):
            rho = parameters[min(start + lane, parameters.size - 1)]
            p, q, r = rhs(x0, y0, z0, rho)
            xs[lane], ys[lane], zs[lane], ps[lane], qs[lane], rs[lane] = x0, y0, z0, p, q, r
            dts[lane] = first(x0, y0, z0, p, q, r, rho, t_end)
            ts[lane], accepted[lane], rhos[lane], steps[lane] = zero, one, rho, zero
        active, attempts = one, 0
        while active > zero and attempts < MAX_STEPS:
            attempts += 1
            active = zero
            for lane in range(width):
                x, y, z, t, dt = xs[lane], ys[lane], zs[lane], ts[lane], dts[lane]
                p, q, r = ps[lane], qs[lane], rs[lane]
                remaining = t_end - t
                running = remaining > zero
                last = dt * stretch >= remaining
                h = remaining if last else dt
                u, v, w, p7, q7, r7, square = attempt(x, y, z, p, q, r, h, rhos[lane])
                ok = square <= one
                ceiling = high if ok & (accepted[lane] > zero) else one
                take = ok & running
                t_new = t_end if last else t + h
                xs[lane] = u if take else x
                ys[lane] = v if take else y
                zs[lane] = w if take else z
                ps[lane] = p7 if take else p
                qs[lane] = q7 if take else q
                rs[lane] = r7 if take else r
                ts[lane] = t_new if take else t
                dts[lane] = h * min(factor(square), ceiling) if running else dt
                accepted[lane] = one if ok else zero
                counted = one if running else zero
                steps[lane] += counted
                active += counted
        for lane in range(min(width, parameters.size - start)):
            i = start + lane
            out[0, i], out[1, i], out[2, i] = xs[lane], ys[lane], zs[lane]
            out[3, i] = steps[lane]

    @njit(**(PARALLEL if parallel else LOOP))
    def run(parameters, out):
        groups = (parameters.size + width - 1) // width
        for thread in prange(threads):
            for group in range(thread, groups, threads):
                integrate(group * width, parameters, out)

    return run
