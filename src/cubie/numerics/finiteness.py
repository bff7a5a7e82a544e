"""Whether all components of a state are finite, at one operation per component."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import Backend, is_finite, shared_function


@shared_function
def build_witness(backend: Backend) -> Callable:
    """Return ``add(witness, value)``, for sums that are finite exactly where all values are.

    A witness starts as one of the values. To each further one what went before is added so
    much smaller that finite values cannot make it overflow, as a sum of large ones would; and
    no rules of arithmetic, which fast-math lets the compiler use, turn it into such a sum.
    """
    small = backend.constant(np.finfo(backend.dtype).eps ** 2)

    def add(witness, value):
        return value + small * witness

    return backend.device(add)


def build_all_finite(backend: Backend, n: int) -> Callable:
    """Return ``all_finite(state)``: in which lanes all `n` components are finite."""
    add = build_witness(backend)

    def all_finite(state):
        witness = state[0]
        for i in range(1, n):
            witness = add(witness, state[i])
        return is_finite(witness)

    return backend.device(all_finite)
