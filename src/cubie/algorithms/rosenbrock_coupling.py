"""What couples a stage of a Rosenbrock step to those before it."""

from __future__ import annotations

from collections.abc import Callable

from cubie.algorithms.rosenbrock_storage import RosenbrockStorage
from cubie.algorithms.stage_slots import offsets
from cubie.backend import Backend


def build_coupling(
    backend: Backend, storage: RosenbrockStorage, n: int, no_mass: bool, add_mass: Callable, i: int
) -> Callable:
    """Return ``couple(h, store, base, stage_rhs)``: adds ``M sum(C[i][j] u[j]) / h`` of stage `i`.

    Between the argument and the solution of the stage its own place in the store is free.
    """
    at, one = storage.slots[i] * n, backend.constant(1.0)
    terms = offsets(storage.coupling(i), n)

    def uncoupled(h, store, base, stage_rhs):
        pass

    if not terms:
        return backend.device(uncoupled)
    total = backend.weighted_sum(terms)

    def couple(h, store, base, stage_rhs):
        # Until the stage is solved, its own place in the store is free.
        for k in range(n):
            store[at + k] = total(store, k)
        add_mass(one / h, store, at, stage_rhs, 0)

    def couple_made(h, store, base, stage_rhs):
        add_mass(one / h, store, at, stage_rhs, 0)

    def couple_in_place(h, store, base, stage_rhs):
        # In one pass the compiler mixes both sums: 20 % more time for three states.
        for k in range(n):
            stage_rhs[k] = h * stage_rhs[k] + total(store, k)
        inverse = one / h
        for k in range(n):
            stage_rhs[k] = inverse * stage_rhs[k]

    def couple_directly(h, store, base, stage_rhs):
        inverse = one / h
        for k in range(n):
            stage_rhs[k] = stage_rhs[k] + inverse * total(store, k)

    def couple_apart(h, store, base, stage_rhs):
        for k in range(n):
            base[k] = total(store, k)
        add_mass(one / h, base, 0, stage_rhs, 0)

    is_last = i == storage.tableau.n_stages - 1
    if no_mass and is_last:
        return backend.device(couple_in_place)
    if terms == [(at, 1.0)]:
        return backend.device(couple_made)
    # The right-hand side of one stage may lie where its solution goes.
    if i != storage.in_place:
        return backend.device(couple)
    return backend.device(couple_directly if no_mass else couple_apart)
