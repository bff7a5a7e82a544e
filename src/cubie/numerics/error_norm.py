"""The scaled error of a step, as SciPy and Hairer, Norsett & Wanner I, II.4, eq. 4.11 define it.

The error is divided, component by component, by
``atol + rtol * max(abs(y), abs(y_new))``; its norm is the root mean square.
Device functions return the *square* of the norm: the controllers work on its
logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import KEEP, IntFlag

from cubie.backend import (
    Backend,
    absolute,
    is_finite,
    larger,
    larger_size,
    load_run,
    maximum,
    minimum,
    quotient,
    select,
    shared_function,
    square_root,
)
from cubie.numerics.finiteness import build_witness


class Tolerances(IntFlag, boundary=KEEP):
    """What tolerances are of; that they are one each for all states is no flag, as `False`.

    With `PER_RUN` each run has its own. Of complex states, whose parts lie side by side, the size
    that a tolerance is relative to is the modulus, and the norm is a mean over the complex states:
    as SciPy has it. Where states are followed by sensitivities, above the flags stands of how many
    inputs; with `OF_STATES` errors of the states alone are judged.
    """

    SHARED = 0
    PER_COMPONENT = 1
    OF_PAIRS = 2
    PER_RUN = 4
    OF_STATES = 8

    @classmethod
    def of(
        cls,
        per_component: bool,
        pairs: bool,
        per_run: bool = False,
        n_inputs: int = 0,
        of_states: bool = False,
    ) -> Tolerances:
        """Return the flags."""
        found = cls.PER_COMPONENT if per_component else cls.SHARED
        found |= cls.OF_PAIRS if pairs else cls.SHARED
        found |= cls.PER_RUN if per_run else cls.SHARED
        found |= cls.OF_STATES if of_states else cls.SHARED
        return found | cls(n_inputs << _ABOVE)


_ABOVE = 4  # bits of flags


def blocks_in(per_component: Tolerances | bool) -> int:
    """Return how often there are as many states as the user has: themselves, sensitivities."""
    return 1 + (int(per_component) >> _ABOVE)


def judged_of(n: int, per_component: Tolerances | bool) -> int:
    """Return the errors of how many of `n` numbers steps are held to."""
    return n // blocks_in(per_component) if per_component & Tolerances.OF_STATES else n


def states_in(n: int, per_component: Tolerances | bool) -> int:
    """Return over how many states a norm of `n` numbers is a mean.

    With sensitivities over as many as without: the more there are, the stricter it is.
    """
    n //= blocks_in(per_component)
    return n // 2 if per_component & Tolerances.OF_PAIRS else n


def build_error_norm(
    backend: Backend,
    n: int,
    n_estimates: int,
    per_component: Tolerances | bool,
    proportional_below: float | None = None,
) -> Callable:
    """Return ``norm(launch, state, proposed_state, error)``.

    It gives the squared norm, and whether that and the proposed state are finite.

    Parameters
    ----------
    backend : Backend
    n : int
        Number of states.
    n_estimates : {1, 2}
        With two, the first is damped by the second as in DOP853 (Hairer, Norsett &
        Wanner I, II.10): e5**4 / (e5**2 + 0.01 * e3**2).
    per_component : Tolerances or bool
        Whether the tolerances are n values of rtol and then n of atol, or one each, and whether
        states are pairs.
    proportional_below : float, optional
        Where a component's tolerance over its size is x times smaller, the square of its error
        is magnified by 2 x - 1. Steps of order two with an error estimate of order two then
        shrink as the root of the tolerance, and errors as the tolerance (tolerance
        proportionality: Soderlind & Wang, J. Comput. Appl. Math. 185 (2006) 244-260).
    """
    scale, add_to_witness = _build_scale_of_both(backend, n, per_component), build_witness(backend)
    size_of = build_size(backend, per_component)
    inverse_n = backend.constant(1.0 / states_in(n, per_component))
    # Of states and each sensitivity apart, the largest: it does not depend on what else there is.
    n_block = n // blocks_in(per_component)
    n_judged = judged_of(n, per_component) // n_block
    one, twice = backend.constant(1.0), backend.constant(2.0 * (proportional_below or 0.0))
    damping, tiny = backend.constant(0.01), backend.constant(1e-30)

    # One pass: divisions take long, and the processor does the rest meanwhile.

    def square(launch, state, proposed_state, error, i):
        ratio = quotient(error[i], scale(launch, i, size_of(state, i), size_of(proposed_state, i)))
        return ratio * ratio

    def magnified_square(launch, state, proposed_state, error, i):
        weight = scale(launch, i, size_of(state, i), size_of(proposed_state, i))
        ratio = quotient(error[i], weight)
        size = larger_size(size_of(state, i), size_of(proposed_state, i))
        return ratio * ratio * maximum(one, twice * quotient(size, weight) - one)

    def one_estimate(launch, state, proposed_state, error):
        witness = proposed_state[0]
        total = square(launch, state, proposed_state, error, 0)
        for i in range(1, n_block):
            witness = add_to_witness(witness, proposed_state[i])
            total = total + square(launch, state, proposed_state, error, i)
        norm_squared = total * inverse_n
        return norm_squared, is_finite(add_to_witness(witness, norm_squared))

    def one_estimate_of_blocks(launch, state, proposed_state, error):
        norm_squared, finite = one_estimate(launch, state, proposed_state, error)
        witness = proposed_state[n_block]
        for block in range(1, n_judged):
            first = block * n_block
            total = square(launch, state, proposed_state, error, first)
            for i in range(first + 1, first + n_block):
                total = total + square(launch, state, proposed_state, error, i)
            norm_squared = larger(norm_squared, total * inverse_n)
        for i in range(n_block + 1, n):
            witness = add_to_witness(witness, proposed_state[i])
        return norm_squared, finite & is_finite(add_to_witness(witness, norm_squared))

    def squares(launch, state, proposed_state, error, i):
        weight = scale(launch, i, size_of(state, i), size_of(proposed_state, i))
        ratio, ratio_low = quotient(error[i], weight), quotient(error[n + i], weight)
        return ratio * ratio, ratio_low * ratio_low

    def two_estimates(launch, state, proposed_state, error):
        witness = proposed_state[0]
        total, total_low = squares(launch, state, proposed_state, error, 0)
        for i in range(1, n_block):
            witness = add_to_witness(witness, proposed_state[i])
            one, low = squares(launch, state, proposed_state, error, i)
            total, total_low = total + one, total_low + low
        norm_squared = total * total * inverse_n / (total + damping * total_low + tiny)
        return norm_squared, is_finite(add_to_witness(witness, norm_squared))

    def two_estimates_of_blocks(launch, state, proposed_state, error):
        norm_squared, finite = two_estimates(launch, state, proposed_state, error)
        witness = proposed_state[n_block]
        for block in range(1, n_judged):
            first = block * n_block
            total, total_low = squares(launch, state, proposed_state, error, first)
            for i in range(first + 1, first + n_block):
                one, low = squares(launch, state, proposed_state, error, i)
                total, total_low = total + one, total_low + low
            of_block = total * total * inverse_n / (total + damping * total_low + tiny)
            norm_squared = larger(norm_squared, of_block)
        for i in range(n_block + 1, n):
            witness = add_to_witness(witness, proposed_state[i])
        return norm_squared, finite & is_finite(add_to_witness(witness, norm_squared))

    device = backend.device
    square = device(square if proportional_below is None else magnified_square)
    squares = device(squares)
    one_estimate, two_estimates = device(one_estimate), device(two_estimates)
    if n_block == n:
        return one_estimate if n_estimates == 1 else two_estimates
    return device(one_estimate_of_blocks if n_estimates == 1 else two_estimates_of_blocks)


@shared_function
def build_scale(backend: Backend, n: int, per_component: Tolerances | bool) -> Callable:
    """Return ``scale(launch, i, a, b)``: atol + rtol * max(abs(a), abs(b))."""
    tolerances_of = backend.device(build_tolerances(per_component))

    def scale(launch, i, a, b):
        rtol, atol = tolerances_of(launch, i)
        return atol + rtol * larger(absolute(a), absolute(b))

    return backend.device(scale)


def _build_scale_of_both(backend: Backend, n: int, per_component: Tolerances | bool) -> Callable:
    """Return `scale` for the states before and after a step.

    Of the state before, Newton's method takes the size, too. Where the step ends it is taken again:
    kept, it would be in a register of its own for every component.
    """
    tolerances_of = backend.device(build_tolerances(per_component))

    def scale(launch, i, a, b):
        rtol, atol = tolerances_of(launch, i)
        return atol + rtol * larger_size(a, b)

    return backend.device(scale)


def build_tolerances(per_component: Tolerances | bool) -> Callable:
    """Return ``tolerances_of(launch, i)``: rtol and atol of component i."""
    step = 2 if per_component & Tolerances.PER_COMPONENT else 0

    def tolerances_of(launch, i):
        inputs, run, n_runs = launch
        rtol = load_run(inputs.tolerances, step * i, 0, run, n_runs)
        return rtol, load_run(inputs.tolerances, step * i + 1, 0, run, n_runs)

    def tolerances_of_run(launch, i):
        inputs, run, n_runs = launch
        rtol = load_run(inputs.tolerances, step * i * n_runs, 1, run, n_runs)
        return rtol, load_run(inputs.tolerances, (step * i + 1) * n_runs, 1, run, n_runs)

    return tolerances_of_run if per_component & Tolerances.PER_RUN else tolerances_of


def build_size(backend: Backend, per_component: Tolerances | bool) -> Callable:
    """Return ``size(values, i)``: what a tolerance of number i is relative to, but for its sign.

    It is the number itself, and of a pair the modulus.
    """

    def itself(values, i):
        return values[i]

    def of_pair(values, i):
        return modulus(values[i], values[i ^ 1])

    if not per_component & Tolerances.OF_PAIRS:
        return backend.device(itself)
    modulus = build_modulus(backend)
    return backend.device(of_pair)


def build_modulus(backend: Backend) -> Callable:
    """Return ``modulus(a, b)``: the length of (a, b), whose squares need not be numbers."""
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def modulus(a, b):
        longer = maximum(absolute(a), absolute(b))
        ratio = minimum(absolute(a), absolute(b)) / select(longer > zero, longer, one)
        return longer * square_root(one + ratio * ratio)

    return backend.device(modulus)
