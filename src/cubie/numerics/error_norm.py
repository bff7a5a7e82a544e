"""The scaled error of a step, as SciPy and Hairer, Norsett & Wanner I, II.4, eq. 4.11 define it.

The error is divided, component by component, by
``atol + rtol * max(abs(y), abs(y_new))``; its norm is the root mean square.
Device functions return the *square* of the norm: the controllers work on its
logarithm.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import (
    Backend,
    absolute,
    is_finite,
    larger,
    load_run,
    maximum,
    quotient,
    shared_function,
)
from cubie.numerics.finiteness import build_witness


def build_error_norm(
    backend: Backend,
    n: int,
    n_estimates: int,
    per_component: bool,
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
    per_component : bool
        Whether the tolerances are n values of rtol and then n of atol, or one each.
    proportional_below : float, optional
        Where a component's tolerance over its size is x times smaller, the square of its error
        is magnified by 2 x - 1. Steps of order two with an error estimate of order two then
        shrink as the root of the tolerance, and errors as the tolerance (tolerance
        proportionality: Soderlind & Wang, J. Comput. Appl. Math. 185 (2006) 244-260).
    """
    scale, add_to_witness = build_scale(backend, n, per_component), build_witness(backend)
    inverse_n = backend.constant(1.0 / n)
    one, twice = backend.constant(1.0), backend.constant(2.0 * (proportional_below or 0.0))
    damping, tiny = backend.constant(0.01), backend.constant(1e-30)

    # One pass: divisions take long, and the processor does the rest meanwhile.

    def square(launch, state, proposed_state, error, i):
        ratio = quotient(error[i], scale(launch, i, state[i], proposed_state[i]))
        return ratio * ratio

    def magnified_square(launch, state, proposed_state, error, i):
        weight = scale(launch, i, state[i], proposed_state[i])
        ratio = quotient(error[i], weight)
        size = larger(absolute(state[i]), absolute(proposed_state[i]))
        return ratio * ratio * maximum(one, twice * quotient(size, weight) - one)

    def one_estimate(launch, state, proposed_state, error):
        witness = proposed_state[0]
        total = square(launch, state, proposed_state, error, 0)
        for i in range(1, n):
            witness = add_to_witness(witness, proposed_state[i])
            total = total + square(launch, state, proposed_state, error, i)
        norm_squared = total * inverse_n
        return norm_squared, is_finite(add_to_witness(witness, norm_squared))

    def squares(launch, state, proposed_state, error, i):
        weight = scale(launch, i, state[i], proposed_state[i])
        ratio, ratio_low = quotient(error[i], weight), quotient(error[n + i], weight)
        return ratio * ratio, ratio_low * ratio_low

    def two_estimates(launch, state, proposed_state, error):
        witness = proposed_state[0]
        total, total_low = squares(launch, state, proposed_state, error, 0)
        for i in range(1, n):
            witness = add_to_witness(witness, proposed_state[i])
            one, low = squares(launch, state, proposed_state, error, i)
            total, total_low = total + one, total_low + low
        norm_squared = total * total * inverse_n / (total + damping * total_low + tiny)
        return norm_squared, is_finite(add_to_witness(witness, norm_squared))

    device = backend.device
    square = device(square if proportional_below is None else magnified_square)
    squares = device(squares)
    return device(one_estimate if n_estimates == 1 else two_estimates)


@shared_function
def build_scale(backend: Backend, n: int, per_component: bool) -> Callable:
    """Return ``scale(launch, i, a, b)``: atol + rtol * max(abs(a), abs(b))."""
    step = 1 if per_component else 0
    first_atol = n if per_component else 1

    def scale(launch, i, a, b):
        inputs, run, n_runs = launch
        tolerances = inputs.tolerances
        rtol = load_run(tolerances, step * i, 0, run, n_runs)
        atol = load_run(tolerances, first_atol + step * i, 0, run, n_runs)
        return atol + rtol * larger(absolute(a), absolute(b))

    return backend.device(scale)
