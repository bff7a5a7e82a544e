"""Where a diagonally implicit step keeps derivatives of stages, and when sums take their place.

What is kept while a stage is solved is what later stages, the solution and the error estimate are
made of: the derivatives so far, or, from some stage on, the sums that these are still to be, as
far as they go. Between two stages everything is formed element by element, so that what is written
may lie where something is read for the last time.

Times: what stage i starts from is formed at i, before the stage is solved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property

from attrs import frozen

from cubie.algorithms.stage_slots import END, coloured
from cubie.tableaus import DIRKTableau

Terms = list[tuple[int, float]]


@frozen
class DIRKStorage:
    """Slots of n elements, in which derivatives and sums lie one after the other.

    The derivative of a stage takes the place of its increment, until the next stage begins.

    Parameters
    ----------
    tableau : DIRKTableau
    gathers : int or None
        Stage from which on sums are kept; None for none.
    kept : sequence of rows of weights
        What they weigh is kept to the end.
    """

    tableau: DIRKTableau
    gathers: int | None = None
    kept: Sequence[Sequence[float]] = ()

    @property
    def _last(self) -> int:
        return self.tableau.n_stages - 1

    @cached_property
    def _first(self) -> int:
        """The first stage that is solved."""
        return self.tableau.implicit_stages.index(True)

    @cached_property
    def _rows(self) -> dict[tuple[float, ...], tuple[int, ...]]:
        """Weights on stages before one, of every sum, and when each is read."""
        tableau, found = self.tableau, {}
        for i in range(self._first, tableau.n_stages):
            for row in (tableau.a[i], tableau.predictor[i]):
                weights = tuple(w if j < i else 0.0 for j, w in enumerate(row))
                found.setdefault(weights, []).append(i)
        for row in (tableau.b, tableau.error_weights):
            if row is not None:
                found.setdefault((*row[:-1], 0.0), []).append(END)
        return {row: tuple(times) for row, times in found.items() if any(row)}

    @cached_property
    def _sums(self) -> dict[tuple[float, ...], tuple[int, int]]:
        """When each sum that is kept begins, and when it is read for the last time."""
        found = {}
        if self.gathers is None:
            return found
        for row, times in self._rows.items():
            begins = next(t for t in range(self.gathers, len(row) + 1) if any(row[:t]))
            if begins < times[-1]:
                found[row] = begins, times[-1]
        return found

    @cached_property
    def _deaths(self) -> tuple[int, ...]:
        """When each derivative is read for the last time."""
        tableau, outlives = self.tableau, {self._last}
        if tableau.fsal:
            outlives.add(0)
        outlives |= {j for row in self.kept for j, weight in enumerate(row) if weight}
        return tuple(
            END if j in outlives else max(self._reads(j), default=j + 1)
            for j in range(tableau.n_stages)
        )

    def _reads(self, j: int) -> Iterator[int]:
        """Yield when a derivative is read."""
        for row, times in self._rows.items():
            if row[j]:
                begins = self._sums[row][0] if row in self._sums else END
                yield from (max(j + 1, min(time, begins)) for time in times)
        # One stage alone has no base: derivatives are read until it is solved.
        if self.tableau.implicit_stages.count(True) == 1 and j < self._first:
            yield self._last + 1

    @cached_property
    def _placed(self) -> tuple[tuple[int | None, ...], dict[tuple[float, ...], int], int]:
        """Slots of the derivatives, None for those that nothing reads later; of sums; of all."""
        # Of an explicit stage a derivative is there from the start.
        begins = [j + 1 if implicit else 0 for j, implicit in enumerate(self._implicit)]
        begins[-1] = self._first  # in place of the increments
        lives = list(zip(begins, self._deaths, strict=True))
        there = [begin < end for begin, end in lives]
        of_all = coloured([*itertools.compress(lives, there), *self._sums.values()])
        slots = iter(of_all)
        of_stages = tuple(next(slots) if here else None for here in there)
        return of_stages, dict(zip(self._sums, slots, strict=True)), 1 + max(of_all)

    @property
    def _implicit(self) -> tuple[bool, ...]:
        return self.tableau.implicit_stages

    @property
    def n_slots(self) -> int:
        return self._placed[2]

    @property
    def increment(self) -> int:
        """Slot of the increment of the stage that is solved, then of its derivative."""
        slot = self._placed[0][-1]
        assert slot is not None  # it outlives the step
        return slot

    @property
    def slots(self) -> tuple[int, ...]:
        """Slot of the derivative of each stage, behind the last one."""
        return tuple(self.increment if slot is None else slot for slot in self._placed[0])

    def base(self, stage: int) -> Terms:
        """Return (slot, weight) of what the argument of a stage adds to the state, over h."""
        row = self.tableau.a[stage]
        return self._made_of(tuple(w if j < stage else 0.0 for j, w in enumerate(row)), stage)

    def guess(self, stage: int) -> Terms:
        """Return (slot, weight) of the derivative that a stage is guessed to have."""
        return self._made_of(self.tableau.predictor[stage], stage)

    def written_before(self, stage: int) -> list[tuple[int, Terms]]:
        """Return (slot, its terms) of all that is written before a stage is solved."""
        moved = self._placed[0][stage - 1] if stage > self._first else None
        written = [] if moved is None else [(moved, [(self.increment, 1.0)])]
        for row, (begins, ends) in self._sums.items():
            if begins == stage or (begins < stage < ends and row[stage - 1]):
                written.append((self._placed[1][row], self._made_of(row, stage)))
        return written

    def at_end(self, weights: Sequence[float]) -> Terms:
        """Return (slot, weight) of a sum behind the last stage."""
        before = self._made_of((*weights[:-1], 0.0), self.tableau.n_stages)
        return [*before, *([(self.increment, weights[-1])] if weights[-1] else [])]

    def _made_of(self, row: tuple[float, ...], time: int) -> Terms:
        """Return (slot, weight) of what a sum is made of at a time."""
        begins = self._sums[row][0] if row in self._sums else END
        if begins < time:
            before, first = [(self._placed[1][row], 1.0)], time - 1
        else:
            before, first = [], 0
        of_stages = self._placed[0]
        added = [
            (self.increment if j == time - 1 and self._implicit[j] else of_stages[j], row[j])
            for j in range(first, min(time, self._last))
            if row[j]
        ]
        return [*before, *((slot, weight) for slot, weight in added if slot is not None)]

    @property
    def n_accesses(self) -> int:
        """Elements that are read and written for each state; the same sum is formed once."""
        tableau, n_accesses = self.tableau, 0
        for i in range(self._first, tableau.n_stages):
            written = self.written_before(i)
            formed = {tuple(terms) for terms in (self.base(i), self.guess(i))}
            formed |= {tuple(terms) for _, terms in written}
            n_accesses += len(written) + sum(len(terms) for terms in formed)
        ends = [self.at_end(row) for row in (tableau.b, tableau.error_weights) if row is not None]
        return n_accesses + sum(len(terms) for terms in ends)

    @property
    def rounds_alike(self) -> bool:
        """Whether no sum is rounded after its first product, which may be fused with the next."""
        firsts = [[w for w in row[:t] if w] for row, (t, _) in self._sums.items()]
        return all(len(weights) > 1 or weights == [1.0] for weights in firsts)


def dirk_storage(tableau: DIRKTableau, kept: Sequence[Sequence[float]] = ()) -> DIRKStorage:
    """Return the storage of a method's step with the fewest slots; of these the least used ones.

    `kept` are rows of weights; what they weigh is kept to the end.
    """
    found = [DIRKStorage(tableau, None, kept)]
    if not kept:
        first = tableau.implicit_stages.index(True)
        stages = range(first + 1, tableau.n_stages)
        found += [s for s in (DIRKStorage(tableau, g) for g in stages) if s.rounds_alike]
    return min(found, key=lambda storage: (storage.n_slots, storage.n_accesses))
