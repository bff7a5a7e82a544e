"""What methods share that keep derivatives of stages in slots of `stage_rhs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cubie.backend import Backend, select

END = 1_000_000  # later than any stage


def coloured(lives: Sequence[tuple[int, int]]) -> list[int]:
    """Give half-open ranges of time the fewest slots in which no two meet."""
    slots = [0] * len(lives)
    ends: list[int] = []
    for number in sorted(range(len(lives)), key=lambda k: (lives[k][0], k)):
        begin, end = lives[number]
        free = next((s for s, e in enumerate(ends) if e <= begin), len(ends))
        ends[free:] = [end, *ends[free + 1 :]]
        slots[number] = free
    return slots


def slot_terms(
    slots: Sequence[int], n_states: int, weights: Sequence[float]
) -> list[tuple[int, float]]:
    """Return (offset in `stage_rhs`, weight) of every derivative that takes part."""
    pairs = zip(slots, weights, strict=True)
    return [(slot * n_states, weight) for slot, weight in pairs if weight != 0.0]


def offsets(terms: Sequence[tuple[int, float]], n_states: int) -> list[tuple[int, float]]:
    """Return terms by their offsets, of terms by their slots."""
    return [(slot * n_states, weight) for slot, weight in terms]


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
