"""How directions at the states of a run grow, for its Lyapunov exponents.

Directions s follow s' = J(t, y) s beside the states. Now and then they are made orthogonal, each
to those before it, and as long as they were at the start; the logarithms of the factors add up to
what they grew (Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15 (1980) 9-30, 21-30). What an
algorithm carries from step to step is linear in directions: it is changed alike, and the method
goes on as if the directions had been these all along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import (
    Backend,
    absolute,
    any_lane,
    as_real,
    exponent_of,
    in_turn,
    maximum,
    minimum,
    rounded_sum,
    select,
    significand_of,
    square_root,
    store_run,
)
from cubie.factory import BuildContext
from cubie.numerics.error_norm import Tolerances, build_scale
from cubie.numerics.limits import WINDOW_FIRST, WINDOW_LAST, build_of_span
from cubie.numerics.power import build_log2
from cubie.run.breaks import build_breaks
from cubie.run.summaries.cubic import build_scale as build_fit
from cubie.run.summaries.lyapunov import (
    AT_PART,
    DURATIONS_SQUARED,
    EXPONENT,
    FIRST,
    INEXACT,
    LENGTH,
    N_PARTS,
    PART_START,
    PARTS,
    PER_DIRECTION,
    PRODUCTS,
    SIGNIFICAND,
    SINCE,
    SQUARES,
    UNTIL,
    VANISHED,
)

# Between two times that directions are made orthogonal are at most as many steps: twice as many as
# the time before where no factor was below the second of these, one where one was below the first.
MOST_STEPS = 64
CLOSE, APART = 0.25, 0.7


@frozen
class ExponentFunctions:
    """Device functions of the exponents of a run.

    Attributes
    ----------
    begin : callable
        ``begin(memory, launch, fresh, lane)``: runs start in the lanes of a mask.
    renormalise : callable
        ``renormalise(memory, launch, final, before, progress, lane)``, behind an attempt in the
        lanes `before`.
    finish : callable
        ``finish(memory, launch, outputs, done)``: writes what is kept of runs that are done.
    """

    begin: Callable
    renormalise: Callable
    finish: Callable


def register_exponents(loop: Any) -> None:
    """Register the buffers of a loop's exponents."""
    loop.register_buffer("exponent_sums", loop.exponents.n_slots, persistent=True)
    # When directions were made orthogonal last, in steps, and after how many more they will be.
    loop.register_buffer("exponent_steps", 2, dtype=np.int32, persistent=True)


def build_exponents(loop: Any, context: BuildContext) -> ExponentFunctions:
    """Return the functions of a loop's exponents; those of none do nothing."""
    device = context.backend.device
    if loop.exponents is None:
        return ExponentFunctions(*map(device, (_no_begin, _no_renormalise, _no_finish)))
    return ExponentFunctions(
        device(_build_begin(loop, context)),
        device(_build_renormalise(loop, context)),
        device(_build_finish(loop, context)),
    )


def _no_begin(memory, launch, fresh, lane):
    pass


def _no_renormalise(memory, launch, final, before, progress, lane):
    pass


def _no_finish(memory, launch, outputs, done):
    pass


def _build_begin(loop: Any, context: BuildContext) -> Callable:
    backend, n = context.backend, loop.system.n_states // loop.system.n_blocks
    alloc_sums, alloc_steps = _allocators(context)
    zero, one, never = (backend.constant(value) for value in (0.0, 1.0, -1.0))
    norm, n_slots, k = _build_norm(backend, n), loop.exponents.n_slots, _n_directions(loop)
    window_first = build_of_span(backend, WINDOW_FIRST, loop.system.own_clock)
    first, per, since, length, significand = FIRST, PER_DIRECTION, SINCE, LENGTH, SIGNIFICAND
    windowed = loop.tracking.windowed

    def begin(memory, launch, fresh, lane):
        sums, steps = alloc_sums(memory, None), alloc_steps(memory, None)
        for i in range(n_slots):
            sums[i] = select(fresh, zero, sums[i])
        for j in range(k):
            at = first + per * j + significand
            sums[at] = select(fresh, one, sums[at])
        sums[length] = select(fresh, norm(lane.state, n), sums[length])
        if windowed:
            later = fresh & (window_first(launch) > zero)
            sums[since] = select(later, never, sums[since])
        steps[0] = select(fresh, 0, steps[0])
        steps[1] = select(fresh, 1, steps[1])

    return begin


def _allocators(context: BuildContext) -> tuple[Callable, Callable]:
    return context.allocator("exponent_sums"), context.allocator("exponent_steps")


def _n_directions(loop: Any) -> int:
    return (loop.exponents.n_slots - FIRST) // PER_DIRECTION


def _build_norm(backend: Backend, n: int) -> Callable:
    """Return ``norm(values, at)``: the length of n numbers, whose squares need not be numbers."""
    fit, zero = build_fit(backend), backend.constant(0.0)

    def norm(values, at):
        largest = zero * values[at]
        for i in range(n):
            largest = maximum(largest, absolute(values[at + i]))
        scale = fit(largest)
        total = zero * largest
        for i in range(n):
            part = scale.down * values[at + i]
            total = total + part * part
        return scale.up * square_root(total)

    return backend.device(norm)


def _build_renormalise(loop: Any, context: BuildContext) -> Callable:
    backend, windowed = context.backend, loop.tracking.windowed
    alloc_sums, alloc_steps = _allocators(context)
    orthogonalise = _build_orthogonalise(loop, context)
    close_part, clock = _build_close_part(loop, context), loop.clock(backend)
    next_stop, now, number = clock.stop, clock.now, build_breaks(loop, context).number
    own, zero = loop.system.own_clock, backend.constant(0.0)
    window_first = build_of_span(backend, WINDOW_FIRST, own)
    window_last = build_of_span(backend, WINDOW_LAST, own)
    enter, since, until, part_start = context.phase("renormalise"), SINCE, UNTIL, PART_START

    def renormalise(memory, launch, final, before, progress, lane):
        enter(memory)
        sums, steps = alloc_sums(memory, None), alloc_steps(memory, None)
        passed, over = lane.counters[0] - steps[0], before & ~progress.active
        due = before & (passed > 0) & ((passed >= steps[1]) | over)
        stop = next_stop(launch, final, number(progress.saved, lane))
        elapsed = now(stop, progress.elapsed, lane.dt, lane.counters)
        first, last = zero * elapsed, final.elapsed
        if windowed:
            first, last = window_first(launch), minimum(window_last(launch), last)
            due = due | (before & (passed > 0) & (sums[since] < zero) & (elapsed >= first))
        if any_lane(due):
            counts = due & (sums[since] >= zero) & (sums[until] < last)
            orthogonalise(memory, launch, due, counts, passed, lane)
            sums[until] = select(counts, elapsed, sums[until])
            close_part(sums, counts, over, last - first)
            begins = due & (sums[since] < zero) & (elapsed >= first)
            for i in (since, until, part_start):
                sums[i] = select(begins, elapsed, sums[i])
            steps[0] = select(due, lane.counters[0], steps[0])

    return renormalise


def _build_close_part(loop: Any, context: BuildContext) -> Callable:
    """Return ``close(sums, counts, over, duration)``: parts of the time that is counted end.

    The last of a run counts where it has half the duration of others.
    """
    backend, k = context.backend, _n_directions(loop)
    zero, one, half = (backend.constant(value) for value in (0.0, 1.0, 0.5))
    share, log2 = backend.constant(1.0 / N_PARTS), build_log2(backend)
    until, part_start, parts, squared = UNTIL, PART_START, PARTS, DURATIONS_SQUARED
    first, per, significand, exponent = FIRST, PER_DIRECTION, SIGNIFICAND, EXPONENT
    at_part, squares, products = AT_PART, SQUARES, PRODUCTS

    def close_part(sums, counts, over, duration):
        took, usual = sums[until] - sums[part_start], share * duration
        closes = counts & (took >= select(over, half, one) * usual) & (took > zero)
        if any_lane(closes):
            for j in range(k):
                at = first + per * j
                growth = sums[at + exponent] + log2(sums[at + significand])
                more = growth - sums[at + at_part]
                sums[at + at_part] = select(closes, growth, sums[at + at_part])
                sums[at + squares] = sums[at + squares] + select(closes, more * more, zero)
                sums[at + products] = sums[at + products] + select(closes, more * took, zero)
            sums[squared] = sums[squared] + select(closes, took * took, zero)
            sums[parts] = sums[parts] + select(closes, one, zero)
            sums[part_start] = select(closes, sums[until], sums[part_start])

    return backend.device(close_part)


def _build_orthogonalise(loop: Any, context: BuildContext) -> Callable:
    """Return ``orthogonalise(memory, launch, due, counts, passed, lane)``.

    By Gram and Schmidt, in the lanes of the mask `due`; what directions grew since, in `passed`
    steps, counts in those of `counts`.
    """
    backend, n = context.backend, loop.system.n_states // loop.system.n_blocks
    k, alloc_sums, alloc_steps = _n_directions(loop), *_allocators(context)
    norm, dot, combine, stretch = _build_norm(backend, n), *_build_changes(loop, context)
    account, scale = _build_account(loop, backend), _build_tolerance(loop, backend)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    close, apart, most = backend.constant(CLOSE), backend.constant(APART), MOST_STEPS
    tiny, length = backend.constant(float(np.finfo(backend.dtype).tiny)), LENGTH
    unknown = backend.constant(VANISHED)

    def orthogonalise(memory, launch, due, counts, passed, lane):
        sums, steps, state = alloc_sums(memory, None), alloc_steps(memory, None), lane.state
        size = sums[length]
        per_size = one / size
        smallest = one + zero * size
        for j in range(1, k + 1):
            before = norm(state, j * n)
            for i in range(1, j):
                share = per_size * (per_size * dot(state, i * n, j * n))
                combine(memory, lane, j * n, i * n, select(due, share, zero))
            left = norm(state, j * n)
            factor = per_size * left
            there = factor > tiny
            inverse = one / select(there, factor, one)
            stretch(memory, lane, j * n, select(due & there, inverse, one))
            inexact = scale(launch, before, size) / select(there, left, size)
            inexact = select(there, inexact, unknown)
            account(sums, j - 1, counts, select(there, factor, tiny), passed, inexact)
            smallest = minimum(smallest, factor)
        twice = minimum(2 * steps[1], most)
        usual = select(smallest > apart, twice, steps[1])
        steps[1] = select(due, select(smallest < close, 1, usual), steps[1])

    return backend.device(orthogonalise)


def _build_tolerance(loop: Any, backend: Backend) -> Callable:
    """Return ``tolerance(launch, a, b)``: what errors of a step may have, of numbers of that size.

    Of states of their own tolerances the largest. Nothing is known of steps that nobody judges.
    """
    n, per_component = loop.system.n_states // loop.system.n_blocks, loop.per_component
    scale, zero = build_scale(backend, n, per_component), backend.constant(0.0)
    of_each = bool(int(per_component) & Tolerances.PER_COMPONENT)

    def unknown(launch, a, b):
        return zero * a

    def of_all(launch, a, b):
        return scale(launch, 0, a, b)

    def largest(launch, a, b):
        found = scale(launch, 0, a, b)
        for i in range(1, n):
            found = maximum(found, scale(launch, i, a, b))
        return found

    if not loop.controller.adaptive:
        return backend.device(unknown)
    return backend.device(largest if of_each else of_all)


def _build_account(loop: Any, backend: Backend) -> Callable:
    """Return ``account(sums, j, counts, factor, passed, inexact)``: direction j grew by a factor.

    Of a product of factors the significand and the exponent are kept, which are exact but for one
    rounding each: no logarithm is taken on the way.
    """
    zero = backend.constant(0.0)
    first, per, significand, exponent = FIRST, PER_DIRECTION, SIGNIFICAND, EXPONENT
    inexact_at = INEXACT

    def account(sums, j, counts, factor, passed, inexact):
        at = first + per * j
        product = sums[at + significand] * significand_of(factor)
        # Not regrouped: `exponent_of` may be a subtraction that would be taken apart.
        more = rounded_sum(exponent_of(factor), exponent_of(product))
        sums[at + significand] = select(counts, significand_of(product), sums[at + significand])
        sums[at + exponent] = rounded_sum(sums[at + exponent], select(counts, more, zero))
        off = as_real(passed, inexact) * inexact
        sums[at + inexact_at] = sums[at + inexact_at] + select(counts, off, zero)

    return backend.device(account)


def _build_changes(loop: Any, context: BuildContext) -> tuple[Callable, Callable, Callable]:
    """Return what directions are changed by.

    ``dot(state, i, j)`` of two of them, by their places. ``combine(memory, lane, j, i, share)``
    subtracts a share of one from another, ``stretch(memory, lane, j, factor)`` makes one longer: of
    the state, and of all that the algorithm carries.
    """
    backend, size = context.backend, loop.system.n_states
    n, zero = size // loop.system.n_blocks, context.backend.constant(0.0)
    carried = loop.algorithm.carried_vectors(context.within("algorithm"))
    combines = [_combine_state(n), *(_combine_carried(one, m, n, size) for one, m in carried)]
    stretches = [_stretch_state(n), *(_stretch_carried(one, m, n, size) for one, m in carried)]

    def dot(state, i, j):
        total = zero * state[i]
        for at in range(n):
            total = total + state[i + at] * state[j + at]
        return total

    combine = in_turn(backend, map(backend.device, combines), 5)
    stretch = in_turn(backend, map(backend.device, stretches), 4)
    return backend.device(dot), combine, stretch


def _combine_state(n: int) -> Callable:
    def combine(memory, lane, j, i, share):
        state = lane.state
        for at in range(n):
            state[j + at] = state[j + at] - share * state[i + at]

    return combine


def _combine_carried(allocate: Callable, n_vectors: int, n: int, size: int) -> Callable:
    def combine(memory, lane, j, i, share):
        vectors = allocate(memory, None)
        for one in range(n_vectors):
            for at in range(one * size, one * size + n):
                vectors[at + j] = vectors[at + j] - share * vectors[at + i]

    return combine


def _stretch_state(n: int) -> Callable:
    def stretch(memory, lane, j, factor):
        state = lane.state
        for at in range(n):
            state[j + at] = factor * state[j + at]

    return stretch


def _stretch_carried(allocate: Callable, n_vectors: int, n: int, size: int) -> Callable:
    def stretch(memory, lane, j, factor):
        vectors = allocate(memory, None)
        for one in range(n_vectors):
            for at in range(one * size + j, one * size + j + n):
                vectors[at] = factor * vectors[at]

    return stretch


def _build_finish(loop: Any, context: BuildContext) -> Callable:
    allocate, n_slots = context.allocator("exponent_sums"), loop.exponents.n_slots
    first = loop.tracking.n_slots - n_slots

    def finish(memory, launch, outputs, done):
        sums = allocate(memory, None)
        for i in range(n_slots):
            store_run(outputs.summaries, (first + i) * launch.n_runs, launch.run, done, sums[i])

    return finish
