"""Jacobians and factors that are kept from step to step, while Newton's method converges with them.

Every lane decides for itself, by numbers that it carries. A new Jacobian is evaluated at the start
of a run; where the equations of a step were not solved with an old one, and the step is attempted
again as it was before a smaller one is tried (Hairer & Wanner II, IV.8; CVODE: Hindmarsh et al.,
ACM TOMS 31 (2005) 363-396, section 2.1); after so many steps; and where iterations beyond those
that the new one took have come to cost as much as another one does. Factors are kept while the
shift is near theirs: changes are then scaled for the difference, as CVODE's are.

What is evaluated where only some lanes ask is taken by those alone, and the others factorise what
they have again: no lane sees what its neighbours do, nor counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cubie.backend import absolute, any_lane, as_real, maximum, minimum, select
from cubie.factory import BuildContext

if TYPE_CHECKING:
    from cubie.solvers.newton_parts import NewtonParts

# What a lane carries, real numbers (flags are 0 or 1): the shift that its factors are of; whether
# they are regular; whether the next step needs a new Jacobian; whether that of the present one is
# of its start, no step having been accepted since; how many steps it was used for; whether factors
# were made in this step; how much of a change is left as error; the fewest iterations of a step
# with this Jacobian, and those of all steps beyond it; whether the step is to be attempted again;
# whether something else was written over the factors; what changes are multiplied by.
(
    SHIFT, REGULAR, ASKS, CURRENT, AGE, MADE, ETA, FEWEST, BEYOND, RETRY, LOST, RELAX
) = range(12)  # fmt: skip
N_KEPT = 12
# Shifts, over that of the factors, that these are good for differ from one by less.
SHIFT_CHANGE = 0.2
# A Jacobian is used for so many steps (CVODE's bound).
MOST_STEPS = 50.0
# A Jacobian is not asked for to save fewer iterations than this.
LEAST_WORTH = 2.0


def register_buffers(newton: NewtonParts) -> None:
    """Register what a lane carries."""
    newton.register_buffer(
        "kept_matrix", N_KEPT, persistent=True, enabled=newton.keeps, access_weight=2.0
    )


def build_begin(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the `begin` of `NewtonFunctions`."""
    alloc, lost = context.allocator("kept_matrix"), LOST
    zero, one = context.backend.constant(0.0), context.backend.constant(1.0)

    def begin(memory, fresh):
        kept = alloc(memory, None)
        for k in range(N_KEPT):
            kept[k] = select(fresh, zero, kept[k])
        kept[ASKS] = select(fresh, one, kept[ASKS])
        kept[SHIFT] = select(fresh, one, kept[SHIFT])
        # States were made consistent with matrices of other shifts, in all lanes.
        kept[lost] = select(fresh, one, one)

    def nothing(memory, fresh):
        pass

    return context.backend.device(begin if newton.keeps else nothing)


def build_renewing(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``prepare(memory, launch, matrix, h)``: build what is asked for."""
    renew = newton.child_functions(context, "linear_solver").renew
    alloc, enter = context.allocator("kept_matrix"), context.phase("prepare")
    constant = context.backend.constant
    zero, one, two = constant(0.0), constant(1.0), constant(2.0)
    most = constant(SHIFT_CHANGE)

    def prepare(memory, launch, matrix, h):
        enter(memory)
        kept, shift = alloc(memory, None), matrix.shift
        # Lanes between two runs take steps of no size, and ask for nothing.
        live = h != zero
        anew = live & (kept[ASKS] != zero)
        far = absolute(shift - kept[SHIFT]) > most * absolute(kept[SHIFT])
        made = anew | (live & far)
        kept[SHIFT] = select(made, shift, kept[SHIFT])
        if any_lane(made | (kept[LOST] != zero)):
            regular = renew(memory, launch, matrix, anew, kept[SHIFT])
            kept[REGULAR] = select(regular, one, zero)
        kept[LOST] = h * zero
        kept[MADE] = select(made, one, zero)
        kept[CURRENT] = select(anew, one, kept[CURRENT])
        kept[AGE] = select(anew, zero, kept[AGE] + one)
        factor = two * kept[SHIFT] / (kept[SHIFT] + shift)
        kept[RELAX] = select(live, factor, one)
        # That part is left of a change for another shift, or as much too much is taken: where the
        # equations are linear no rate of steps before would tell.
        kept[ETA] = select(made, one, maximum(kept[ETA], absolute(kept[RELAX] - one)))
        return kept[REGULAR] != zero

    return prepare


def build_first_eta(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the `first_eta` of `NewtonFunctions`."""
    alloc, one = context.allocator("kept_matrix"), context.backend.constant(1.0)

    def kept_eta(memory, h):
        return alloc(memory, None)[ETA]

    def none_known(memory, h):
        return h * 0.0 + one

    return context.backend.device(kept_eta if newton.keeps else none_known)


def build_relax(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``relax(memory, matrix, delta)``: scale a change for the shift of the factors.

    Where J is nothing it would have to be multiplied by the quotient of shifts, and not at all
    where J is all there is; this is as far from either.
    """
    alloc, size = context.allocator("kept_matrix"), newton.blocks.n_unknowns

    def relax(memory, matrix, delta):
        factor = alloc(memory, None)[RELAX]
        for i in range(size):
            delta[i] = factor * delta[i]

    def nothing(memory, matrix, delta):
        pass

    return context.backend.device(relax if newton.keeps else nothing)


def build_rescale(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``rescale(memory, matrix, x)``: what was filtered had been multiplied by the shift."""
    alloc, n = context.allocator("kept_matrix"), newton.n_states

    def rescale(memory, matrix, x):
        factor = alloc(memory, None)[SHIFT] / matrix.shift
        for i in range(n):
            x[i] = factor * x[i]

    def nothing(memory, matrix, x):
        pass

    return context.backend.device(rescale if newton.keeps else nothing)


def build_settle(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the `settle` of `NewtonFunctions`."""
    alloc, constant = context.allocator("kept_matrix"), context.backend.constant
    zero, one, most = constant(0.0), constant(1.0), constant(MOST_STEPS)
    worth = constant(max(LEAST_WORTH, newton.renewal_worth) if newton.keeps else LEAST_WORTH)
    stays = newton.keeps and newton.linear_solver.jacobian.is_constant
    wears_out = context.backend.device(_build_wears_out(worth, most, stays))

    def settle(memory, h, solved, eta, iterations, counters):
        kept = alloc(memory, None)
        live, made = h != zero, kept[MADE] != zero
        current = kept[CURRENT] != zero
        anew = made & (kept[AGE] == zero)
        taken = as_real(iterations, h)
        fewest = select(anew, taken, minimum(kept[FEWEST], taken))
        beyond = select(anew, zero, kept[BEYOND] + (taken - fewest))
        asks = select(solved, wears_out(beyond, kept[AGE]), ~current)
        kept[FEWEST] = select(solved, fewest, kept[FEWEST])
        kept[BEYOND] = select(solved, beyond, kept[BEYOND])
        kept[ETA] = select(solved, eta, one)
        kept[RETRY] = select(live & ~solved & ~current, one, zero)
        kept[ASKS] = select(asks, one, zero)
        counters[2] = select(anew, 1, 0)
        counters[3] = select(made, 1, 0)

    def nothing(memory, h, solved, eta, iterations, counters):
        pass

    return context.backend.device(settle if newton.keeps else nothing)


def _build_wears_out(worth, most, stays: bool) -> Callable:
    """Return ``wears_out(beyond, age) -> mask``: where another Jacobian is worth what it takes."""

    def wears_out(beyond, age):
        return (beyond >= worth) | (age >= most)

    def never(beyond, age):
        return age < age

    return never if stays else wears_out


def build_commit(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the `commit` of `NewtonFunctions`."""
    alloc = context.allocator("kept_matrix")
    zero, one = context.backend.constant(0.0), context.backend.constant(1.0)

    def commit(memory, accept):
        kept = alloc(memory, None)
        # What the error of a step was filtered with may be why it was too large (as in RADAU5).
        old = ~accept & (kept[CURRENT] == zero)
        kept[ASKS] = select(old, one, kept[ASKS])
        kept[CURRENT] = select(accept, zero, kept[CURRENT])

    def nothing(memory, accept):
        pass

    # One that is the same all along a run is never an old one.
    changes = newton.keeps and not newton.linear_solver.jacobian.is_constant
    return context.backend.device(commit if changes else nothing)


def build_retries(newton: NewtonParts, context: BuildContext) -> Callable | None:
    """Return the `retries` of `NewtonFunctions`."""
    alloc, zero = context.allocator("kept_matrix"), context.backend.constant(0.0)

    def retries(memory):
        return alloc(memory, None)[RETRY] != zero

    return context.backend.device(retries) if newton.keeps else None


def build_again(newton: NewtonParts, context: BuildContext, look: Callable) -> Callable:
    """Return a second `look` that keeps what others need, at equations with a new Jacobian.

    Lanes where it was an old one take another step. Factors that were written over are made again.
    """
    renew = context.backend.one_copy(_build_refill(newton, context))
    alloc, zero = context.allocator("kept_matrix"), context.backend.constant(0.0)

    def again(memory, launch, matrix, stage, solved, iterations, linear):
        old = alloc(memory, None)[CURRENT] == zero
        looks = ~solved & ~old & (stage.h != zero)
        found, iterations, linear = look(
            memory, launch, matrix, stage, solved | old, iterations, linear
        )
        if any_lane(looks):
            renew(memory, launch, matrix)
        return found & (solved | looks), iterations, linear

    return context.backend.device(again)


def _build_refill(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``refill(memory, launch, matrix)``: make the factors of all lanes again."""
    renew = newton.child_functions(context, "linear_solver").renew
    alloc, enter = context.allocator("kept_matrix"), context.phase("look")

    def refill(memory, launch, matrix):
        enter(memory)
        shift = alloc(memory, None)[SHIFT]
        renew(memory, launch, matrix, shift != shift, shift)

    return refill
