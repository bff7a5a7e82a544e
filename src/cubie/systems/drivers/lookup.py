"""The device function that looks an argument up in a driver's samples."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import (
    Backend,
    as_index,
    floor,
    gather,
    maximum,
    minimum,
    rounded_difference,
    select,
)
from cubie.systems.drivers import tables


def build_lookup(
    backend: Backend, number: int, structure: tuple[int, bool, bool], order: int
) -> Callable:
    """Return ``look_up(launch, x) -> value`` of a driver, or its derivative of an order.

    Parameters
    ----------
    number : int
        Of the driver in the launch's arrays.
    structure : (int, bool, bool)
        See `Pieces.structure`.
    order : int
    """
    n_coefficients, periodic, _ = structure
    at = number * tables.N_FIELDS
    wrap = backend.device(_build_wrap(at) if periodic else _as_given)
    find = backend.device(_build_find(backend, at))
    evaluate = backend.device(_build_evaluate(backend, at, n_coefficients, order))

    def look_up(launch, x):
        inputs, run, n_runs = launch
        within = wrap(inputs, x)
        piece = find(inputs, within)
        return evaluate(inputs, minimum(run, n_runs - 1), within, piece)

    # Several calls in one right-hand side share one copy.
    return backend.device(look_up, inline=False)


def _as_given(inputs, x):
    return x


def _build_wrap(at: int) -> Callable:
    """Return an argument moved into the first period."""
    first = at + tables.ENDS
    start, correction = tables.START, tables.START_CORRECTION
    period, per_period = tables.PERIOD, tables.PER_PERIOD

    def wrap(inputs, x):
        ends, samples = inputs.driver_layout[first], inputs.driver_samples
        since = rounded_difference(x, samples[ends + start]) - samples[ends + correction]
        periods = floor(since * samples[ends + per_period])
        return x - periods * samples[ends + period]

    return wrap


def _build_find(backend: Backend, at: int) -> Callable:
    """Return the number of the piece that holds an argument: of knots that are not above it."""
    ends_at, knots_at, guide_at = at + tables.ENDS, at + tables.KNOTS, at + tables.GUIDE
    first_step, n_knots_at = at + tables.FIRST_STEP, at + tables.N_KNOTS
    begin, per_bucket, last_bucket = tables.FROM, tables.PER_BUCKET, tables.LAST_BUCKET
    zero = backend.constant(0.0)

    def find(inputs, x):
        layout, samples = inputs.driver_layout, inputs.driver_samples
        ends, knots, guide = layout[ends_at], layout[knots_at], layout[guide_at]
        n_knots = layout[n_knots_at]
        place = floor((x - samples[ends + begin]) * samples[ends + per_bucket])
        # NaN compares with nothing, and becomes the first bucket.
        place = minimum(maximum(place, zero), samples[ends + last_bucket])
        bucket = as_index(place)
        piece = gather(layout, bucket * 2 + guide)
        last = gather(layout, bucket * 2 + (guide + 1))
        step = layout[first_step]
        while step > 0:
            trial = piece + step
            knot = gather(samples, minimum(trial, n_knots) + (knots - 1))
            piece = select((trial <= last) & (x >= knot), trial, piece)
            step = step // 2
        return piece

    return find


def _build_evaluate(backend: Backend, at: int, n: int, order: int) -> Callable:
    """Return the polynomial of a piece, or a derivative of it, at an argument."""
    origins_at, corrections_at = at + tables.ORIGINS, at + tables.CORRECTIONS
    coefficients_at, columns_at = at + tables.COEFFICIENTS, at + tables.COLUMNS
    stride_at = at + tables.STRIDE
    factors = []
    for power in range(n - 1, order - 1, -1):
        factor = 1
        for k in range(power - order + 1, power + 1):
            factor *= k
        factors.append((power, backend.constant(factor)))
    zero = backend.constant(0.0)

    def locate(inputs, run, piece):
        layout = inputs.driver_layout
        columns, stride = layout[columns_at], layout[stride_at]
        return piece * (columns * n) + (run * stride + layout[coefficients_at])

    def distance(inputs, x, piece):
        layout, samples = inputs.driver_layout, inputs.driver_samples
        near = rounded_difference(x, gather(samples, piece + layout[origins_at]))
        return rounded_difference(near, gather(samples, piece + layout[corrections_at]))

    def nothing(inputs, where, s):
        return s * zero

    locate, distance = backend.device(locate), backend.device(distance)
    total = backend.device(nothing)
    for i, (power, factor) in enumerate(factors):
        total = backend.device(_build_term(total if i else None, columns_at, power, factor))

    def evaluate(inputs, run, x, piece):
        return total(inputs, locate(inputs, run, piece), distance(inputs, x, piece))

    return evaluate


def _build_term(higher: Callable | None, columns_at: int, power: int, factor) -> Callable:
    """Return ``total(inputs, where, s)``: the terms of higher powers times s, and one more."""

    def begin(inputs, where, s):
        columns = inputs.driver_layout[columns_at]
        return factor * gather(inputs.driver_samples, where + power * columns)

    if higher is None:
        return begin

    def add(inputs, where, s):
        columns = inputs.driver_layout[columns_at]
        coefficient = gather(inputs.driver_samples, where + power * columns)
        return higher(inputs, where, s) * s + factor * coefficient

    return add
