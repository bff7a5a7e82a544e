"""The scaled error of a step, as SciPy and Hairer, Norsett & Wanner I, II.4, eq. 4.11 define it.

The error is divided, component by component, by
``atol + rtol * max(abs(y), abs(y_new))``; its norm is the root mean square.
Device functions return the *square* of the norm: the controllers work on its
logarithm.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, absolute, load_run, maximum, shared_function


def build_error_norm(
    backend: Backend, n: int, n_estimates: int, per_component: bool, device: bool = True
) -> Callable:
    """Return ``norm_squared(tolerances, run, n_runs, state, proposed_state, error)``.

    Parameters
    ----------
    backend : Backend
    n : int
        Number of states.
    n_estimates : {1, 2}
        With two, the first is damped by the second as in DOP853 (Hairer, Norsett &
        Wanner I, II.10): e5**4 / (e5**2 + 0.01 * e3**2).
    per_component : bool
        Whether `tolerances` holds n values of rtol and then n of atol, or one each.
    """
    scale = build_scale(backend, n, per_component)
    inverse_n = backend.constant(1.0 / n)
    damping, tiny = backend.constant(0.01), backend.constant(1e-30)
    zero = backend.constant(0.0)

    def one_estimate(tolerances, run, n_runs, state, proposed_state, error):
        total = state[0] * zero
        for i in range(n):
            ratio = error[i] / scale(tolerances, run, n_runs, i, state[i], proposed_state[i])
            total = total + ratio * ratio
        return total * inverse_n

    def two_estimates(tolerances, run, n_runs, state, proposed_state, error):
        total = state[0] * zero
        total_low = state[0] * zero
        for i in range(n):
            weight = scale(tolerances, run, n_runs, i, state[i], proposed_state[i])
            ratio = error[i] / weight
            ratio_low = error[n + i] / weight
            total = total + ratio * ratio
            total_low = total_low + ratio_low * ratio_low
        return total * total * inverse_n / (total + damping * total_low + tiny)

    return backend.device(one_estimate if n_estimates == 1 else two_estimates)


@shared_function
def build_scale(backend: Backend, n: int, per_component: bool) -> Callable:
    """Return ``scale(tolerances, run, n_runs, i, a, b)``: atol + rtol * max(abs(a), abs(b))."""
    step = 1 if per_component else 0
    first_atol = n if per_component else 1

    def scale(tolerances, run, n_runs, i, a, b):
        rtol = load_run(tolerances, step * i, 0, run, n_runs)
        atol = load_run(tolerances, first_atol + step * i, 0, run, n_runs)
        return atol + rtol * maximum(absolute(a), absolute(b))

    return backend.device(scale)
