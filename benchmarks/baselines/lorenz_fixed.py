"""Lorenz with the classical Runge-Kutta method and fixed steps, by hand."""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import njit, prange

from benchmarks.baselines.numerics import INLINE, LOOP, PARALLEL, stack_array
from benchmarks.baselines.tuning import Baseline
from benchmarks.specs import Work

WIDTHS = (8, 16, 32, 64)


def make(work: Work, kind: str) -> Baseline:
    """Return the scalar loop or the tuned lane loops."""
    if kind == "scalar":
        return Baseline(work, {"one run at a time": _scalar(work)})
    return Baseline(work, {f"{width} lanes": _lanes(work, width) for width in WIDTHS})


def _step(work: Work):
    real = np.dtype(work.dtype).type
    sigma, beta = real(10.0), real(8.0 / 3.0)
    h, half, sixth, two = (
        real(v) for v in (work.step_size, work.step_size / 2, work.step_size / 6, 2.0)
    )

    @njit(**INLINE)
    def rhs(x, y, z, rho):
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    @njit(**INLINE)
    def step(x, y, z, rho):
        p1, q1, r1 = rhs(x, y, z, rho)
        p2, q2, r2 = rhs(x + half * p1, y + half * q1, z + half * r1, rho)
        p3, q3, r3 = rhs(x + half * p2, y + half * q2, z + half * r2, rho)
        p4, q4, r4 = rhs(x + h * p3, y + h * q3, z + h * r3, rho)
        return (
            x + sixth * (p1 + two * (p2 + p3) + p4),
            y + sixth * (q1 + two * (q2 + q3) + q4),
            z + sixth * (r1 + two * (r2 + r3) + r4),
        )

    return step


def _scalar(work: Work):
    step, n_steps, threads = _step(work), work.fixed_steps, numba.get_num_threads()
    x0, y0, z0 = work.y0

    @njit(**LOOP)
    def integrate(rho):
        x, y, z = x0, y0, z0
        for _ in range(n_steps):
            x, y, z = step(x, y, z, rho)
        return x, y, z

    @njit(**PARALLEL)
    def run(parameters, out):
        for thread in prange(threads):
            for i in range(thread, parameters.size, threads):
                out[0, i], out[1, i], out[2, i] = integrate(parameters[i])
                out[3, i] = n_steps

    return run


def _lanes(work: Work, lanes_at_most: int):
    # Told the number of lanes, the compiler unrolls the inner loop instead of
    # vectorising it: it is an argument, and known as an upper bound only.
    step, n_steps, threads = _step(work), work.fixed_steps, numba.get_num_threads()
    x0, y0, z0 = work.y0
    array = stack_array(work.dtype, lanes_at_most)

    @njit(**LOOP)
    def integrate(width, start, parameters, out):
        xs, ys, zs, rhos = array(), array(), array(), array()
        for lane in range(width):
            rhos[lane] = parameters[min(start + lane, parameters.size - 1)]
            xs[lane], ys[lane], zs[lane] = x0, y0, z0
        for _ in range(n_steps):
            for lane in range(width):
                x, y, z = step(xs[lane], ys[lane], zs[lane], rhos[lane])
                xs[lane], ys[lane], zs[lane] = x, y, z
        for lane in range(min(width, parameters.size - start)):
            i = start + lane
            out[0, i], out[1, i], out[2, i] = xs[lane], ys[lane], zs[lane]
            out[3, i] = n_steps

    @njit(**PARALLEL)
    def run(width, parameters, out):
        groups = (parameters.size + width - 1) // width
        for thread in prange(threads):
            for group in range(thread, groups, threads):
                integrate(width, group * width, parameters, out)

    return functools.partial(run, lanes_at_most)
