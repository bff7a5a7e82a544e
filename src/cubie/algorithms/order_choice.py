"""How a method of several steps chooses its order and the size of its steps.

After as many equal steps as the differences of one order more are made of, the order is the one
below, that of the step, or the one above, whose error allows the longest step (Shampine & Reichelt,
SIAM J. Sci. Comput. 18 (1997) 1-22, section 2.3). Until then neither changes, unless a step is
rejected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from attrs import field, frozen

from cubie.algorithms.differences import build_last, build_lookup
from cubie.algorithms.implicit import ImplicitSettings
from cubie.backend import absolute, larger, maximum, minimum, select
from cubie.controllers.adaptive import LARGEST_SQUARE, SMALLEST_SQUARE, within
from cubie.factory import BuildContext
from cubie.numerics.error_norm import blocks_in, build_scale, judged_of
from cubie.numerics.limits import LARGEST_STEP, build_step_limit
from cubie.numerics.power import build_exp2, build_log2
from cubie.reals import as_float
from cubie.tableaus import MultistepMethod

# What a lane carries, real numbers: the order of its steps, their signed size (zero before the
# first), how many were equal; of the present attempt: the order and the size, over that of before,
# of the steps that follow, by how many steps it is shorter, and the squared norms of the errors
# that steps of one order less and more would have.
ORDER, SPACING, EQUAL, FOLLOWING, FACTOR, SHIFT, BELOW, ABOVE = range(8)
N_PROGRESS = 8
# A step that is shorter by a larger part than this tells nothing of other orders, whose differences
# are of equal steps.
LANDS_EARLY = 0.01


class Corrections(NamedTuple):
    """Buffers that orders beside that of a step are measured with."""

    differences: Any
    correction: Any  # of this step, (n,)
    previous: Any  # of the step before, (n,)


@frozen
class MultistepSettings(ImplicitSettings):
    """Options of methods of several steps.

    Attributes
    ----------
    safety : float
        The next step aims at an error of safety**(order + 1).
    min_factor, max_factor : float
        Bounds of one change of the step size.
    """

    safety: float = field(default=0.8, converter=as_float, validator=within(0.0, 1.0, or_high=True))
    min_factor: float = field(default=0.2, converter=as_float, validator=within(0.0, 1.0))
    max_factor: float = field(default=10.0, converter=as_float, validator=within(1.0, 1e6))


def build_is_due(context: BuildContext) -> Callable:
    """Return ``is_due(progress) -> (whole, due)``.

    Where a step was not cut short, and where another order may follow it if it is accepted.
    """
    most = context.backend.constant(LANDS_EARLY)

    def is_due(progress):
        whole = absolute(progress[SHIFT]) <= most
        return whole, whole & (progress[EQUAL] >= progress[ORDER])

    return context.backend.device(is_due)


def build_neighbours(
    context: BuildContext, method: MultistepMethod, n: int, per_component: bool
) -> Callable:
    """Return ``neighbours(launch, state, proposed, progress, buffers) -> (below, above)``.

    The squared norms of the errors of one order less and more; `buffers` are `Corrections`. They
    are of what `build_error_norm` looks at: of states and each sensitivity the largest.
    """
    backend = context.backend
    last, scale = build_last(backend, n, method.order), build_scale(backend, n, per_component)
    constants = method.error_constants
    of_below = build_lookup(backend, (0.0, *constants[:-2]))
    of_above = build_lookup(backend, constants[1:])
    n_block = n // blocks_in(per_component)
    n_judged = judged_of(n, per_component) // n_block
    inverse, zero = backend.constant(1.0 / n_block), backend.constant(0.0)

    def neighbours(launch, state, proposed, progress, buffers):
        differences, correction, before = buffers
        order = progress[ORDER]
        below, above = order * zero, order * zero
        for i in range(n):
            weight = scale(launch, i, state[i], proposed[i])
            lower = (last(order, differences, i) + correction[i]) / weight
            higher = (correction[i] - before[i]) / weight
            below, above = below + lower * lower, above + higher * higher
        lower, higher = of_below(order), of_above(order)
        return below * lower * lower * inverse, above * higher * higher * inverse

    def neighbours_of_blocks(launch, state, proposed, progress, buffers):
        differences, correction, before = buffers
        order = progress[ORDER]
        most_below, most_above = order * zero, order * zero
        for block in range(n_judged):
            below, above = order * zero, order * zero
            for k in range(n_block):
                i = block * n_block + k
                weight = scale(launch, i, state[i], proposed[i])
                lower = (last(order, differences, i) + correction[i]) / weight
                higher = (correction[i] - before[i]) / weight
                below, above = below + lower * lower, above + higher * higher
            most_below, most_above = larger(most_below, below), larger(most_above, above)
        lower, higher = of_below(order), of_above(order)
        return most_below * lower * lower * inverse, most_above * higher * higher * inverse

    return backend.device(neighbours if n_block == n else neighbours_of_blocks)


def build_control(
    context: BuildContext,
    method: MultistepMethod,
    settings: MultistepSettings,
    alloc_progress: Callable,
    own_clock: bool,
    retries: Callable | None,
) -> Callable:
    """Return the `control` of `StepFunctions`; with `own_clock` runs have bounds of their own.

    Attempts that `retries` tells to be made again are so with what they began with.
    """
    backend, constant = context.backend, context.backend.constant
    wish = _build_wish(context, settings)
    exp2, is_due = build_exp2(backend), build_is_due(context)
    enter, largest_step = (
        context.phase("control"),
        build_step_limit(backend, LARGEST_STEP, own_clock),
    )
    one, two, never = constant(1.0), constant(2.0), constant(-1e3)
    highest = constant(method.order - 0.5)
    low, high = constant(settings.min_factor), constant(settings.max_factor)
    lowest, zero = constant(1.5), constant(0.0)
    hold = context.backend.device(_build_hold(retries, one))

    def control(memory, launch, norm_squared, dt, accept_step):
        enter(memory)
        progress = alloc_progress(memory, None)
        order, spacing = progress[ORDER], absolute(progress[SPACING])
        accept = norm_squared <= one
        whole, due = is_due(progress)
        due = accept & due
        same = wish(norm_squared, order + one)
        below = select(order > lowest, wish(progress[BELOW], order), never)
        above = select(order < highest, wish(progress[ABOVE], order + two), never)
        falls = due & (below >= same) & (below >= above)
        rises = due & ~falls & (above > same)
        best = select(falls, below, select(rises, above, same))
        factor = minimum(maximum(exp2(best), low), high)
        # Accepted steps stay equal until a change may be thought of. Where all of them are cut
        # short to land that is never: they may shrink.
        kept = select(whole, one, minimum(factor, one))
        factor = select(accept & ~due, kept, factor)
        largest = largest_step(launch)
        size = spacing * factor
        limited = size > largest
        size = select(limited, largest, size)
        factor = select(limited, largest / spacing, factor)
        equal = select(accept & whole, progress[EQUAL] + one, progress[EQUAL])
        size, factor = hold(memory, spacing, size, factor)
        progress[EQUAL] = select(due | (factor != one), order * zero, equal)
        progress[FOLLOWING] = select(falls, order - one, select(rises, order + one, order))
        progress[FACTOR] = factor
        dt[0] = size
        accept_step[0] = select(accept, 1, 0)

    return backend.device(control)


def _build_hold(retries: Callable | None, one: Any) -> Callable:
    """Return ``hold(memory, spacing, size, factor) -> (size, factor)`` of steps that follow."""

    def as_chosen(memory, spacing, size, factor):
        return size, factor

    def held(memory, spacing, size, factor):
        again = retries(memory)  # pyright: ignore[reportOptionalCall]
        return select(again, spacing, size), select(again, one, factor)

    return as_chosen if retries is None else held


def _build_wish(context: BuildContext, settings: MultistepSettings) -> Callable:
    """Return ``wish(norm_squared, k)``: log2 of the factor for an error that is h**k."""
    backend, constant = context.backend, context.backend.constant
    log2, log_safety = build_log2(backend), constant(math.log2(settings.safety))
    smallest, largest, half = constant(SMALLEST_SQUARE), constant(LARGEST_SQUARE), constant(0.5)
    most = constant(60.0)

    def wish(norm_squared, k):
        log_norm = log2(minimum(maximum(norm_squared, smallest), largest))
        return maximum(minimum(log_safety - half * log_norm / k, most), -most)

    return backend.device(wish)
