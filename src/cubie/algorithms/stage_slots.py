"""What methods share that keep derivatives of stages in slots of `stage_rhs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cubie.backend import Backend, select
from cubie.tableaus import DIRKTableau, ERKTableau

END = 1_000_000  # "used after the last stage", later than any stage


def stage_slots(
    tableau: ERKTableau | DIRKTableau,
    guesses: Sequence[Sequence[float]] = (),
    kept: Sequence[Sequence[float]] = (),
) -> tuple[int, ...]:
    """Give every stage derivative a slot, reusing those that nothing reads any more.

    Linear scan over stages: a derivative is needed up to the last stage whose
    argument uses it, or to the end of the step when the solution or an error
    estimate does. With FSAL the first and the last one outlive the step. `guesses` are
    further rows of weights on the derivatives of earlier stages. What rows of `kept` weigh is kept
    to the end.
    """
    n = tableau.n_stages
    tables = (tableau.a, guesses) if guesses else (tableau.a,)
    readers = [[i for i in range(n) for table in tables if table[i][j]] for j in range(n)]
    last_use = [max(users, default=j) for j, users in enumerate(readers)]
    for j in range(n):
        low = tableau.error_weights_low if isinstance(tableau, ERKTableau) else None
        at_end = (tableau.b, tableau.error_weights, low)
        # Of an explicit method the last stage's argument is the solution already.
        skip_b = tableau.fsal and isinstance(tableau, ERKTableau)
        inside = any(row[j] for row in kept)
        used = inside or any(
            w is not None and w[j] and not (skip_b and w is tableau.b) for w in at_end
        )
        if used or (tableau.fsal and j in (0, n - 1)):
            last_use[j] = END
    slots: list[int] = []
    for i in range(n):
        # Stage i overwrites a slot only after its own argument was formed.
        busy = {slots[j] for j in range(i) if last_use[j] > i}
        slots.append(next(s for s in range(n) if s not in busy))
    return tuple(slots)


def slot_terms(
    slots: Sequence[int], n_states: int, weights: Sequence[float]
) -> list[tuple[int, float]]:
    """Return (offset in `stage_rhs`, weight) of every derivative that takes part."""
    pairs = zip(slots, weights, strict=True)
    return [(slot * n_states, weight) for slot, weight in pairs if weight != 0.0]


def offsets(terms: Sequence[tuple[int, float]], n_states: int) -> list[tuple[int, float]]:
    """Return terms by their offsets, of terms by their slots."""
    return [(slot * n_states, weight) for slot, weight in terms]


def gathering_slots(
    tableau: DIRKTableau, slots: Sequence[int], rows: Sequence[Sequence[float]]
) -> tuple[int, ...]:
    """Return a slot for the sum of each of `rows` over the stages before the last one.

    While the last stage is solved the sums are then kept in place of the derivatives that they are
    made of. There are no such slots where that would be more, or where a row has no such sum.
    """
    last = tableau.n_stages - 1
    wanted = (slots[-1], slots[0]) if tableau.fsal else (slots[-1],)
    read = {slots[j] for row in rows for j in range(last) if row[j]}
    free = sorted(read.difference(wanted))
    sums = all(any(row[:last]) for row in rows)
    return tuple(free[: len(rows)]) if sums and len(free) >= len(rows) else ()


def build_gather(
    backend: Backend, n_states: int, sums: Sequence[tuple[int, list[tuple[int, float]]]]
) -> Callable:
    """Return ``gather(stage_rhs)``, which writes each of at most two sums at its offset.

    `sums` are (offset, terms of a weighted sum); the offsets may be among those of the terms.
    """
    totals = [(offset, backend.weighted_sum(terms)) for offset, terms in sums]

    def nothing(stage_rhs):
        pass

    if not totals:
        return backend.device(nothing)
    (first, one), (second, other) = totals[0], totals[-1]

    def gather_one(stage_rhs):
        for k in range(n_states):
            stage_rhs[first + k] = one(stage_rhs, k)

    def gather_both(stage_rhs):
        for k in range(n_states):
            found, also = one(stage_rhs, k), other(stage_rhs, k)
            stage_rhs[first + k] = found
            stage_rhs[second + k] = also

    return backend.device(gather_one if len(totals) == 1 else gather_both)


def build_sums(backend: Backend, sums: Sequence[tuple[int, list[tuple[int, float]]]]) -> Callable:
    """Return ``gather(stage_rhs, i)``, which writes element i of every sum.

    `sums` are (offset, terms of a weighted sum); the offsets may be among those of the terms: what
    is written was all read before.
    """

    def nothing(stage_rhs, i):
        pass

    gather = backend.device(nothing)
    for offset, terms in reversed(sums):
        gather = backend.device(_and_then(offset, backend.weighted_sum(terms), gather))
    return gather


def _and_then(offset: int, total: Callable, others: Callable) -> Callable:
    def gather(stage_rhs, i):
        found = total(stage_rhs, i)
        others(stage_rhs, i)
        stage_rhs[offset + i] = found

    return gather


def build_start(
    enter: Callable,
    rhs: Callable,
    n_states: int,
    scratch: int,
    alloc_rhs: Callable,
    alloc_cache: Callable | None,
) -> Callable:
    """Build the `start` of a method: the derivative at the start of a run, if it is kept.

    Parameters
    ----------
    enter : callable
        Marks the phase of the start.
    rhs : callable
        Device function of the right-hand side.
    n_states : int
    scratch : int
        Offset in `stage_rhs` at which the derivative may be written first.
    alloc_rhs : callable
        Allocator of the slots.
    alloc_cache : callable or None
        Allocator of what a method whose first stage is the last of the step before (FSAL)
        keeps; None for other methods.
    """
    if alloc_cache is None:

        def nothing_to_start(memory, fresh, t, state, parameters):
            enter(memory)

        return nothing_to_start

    def start(memory, fresh, t, state, parameters):
        enter(memory)
        stage_rhs = alloc_rhs(memory, None)
        cache = alloc_cache(memory, None)
        # The cache may lie on the first slot, so the last one is written first.
        rhs(t, state, parameters, stage_rhs, scratch)
        for i in range(n_states):
            cache[i] = select(fresh, stage_rhs[scratch + i], cache[i])

    return start
