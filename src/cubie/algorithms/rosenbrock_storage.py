"""Where a Rosenbrock step keeps its increments, and when sums take their place.

The last stages of a stiffly accurate method begin where the one before came to: their arguments
are one sum that goes on, and so is the solution. From some stage on that sum, and what couples
each later stage to the increments so far, are fewer than these increments. They are formed
element by element where the increments lie, which nothing reads any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from attrs import frozen

from cubie.tableaus import RosenbrockTableau

Terms = list[tuple[int, float]]


@frozen
class RosenbrockStorage:
    """Slots of n elements, in which increments and sums lie one after the other.

    Parameters
    ----------
    tableau : RosenbrockTableau
    gathers : int or None
        Stage before which the sums are formed; None for none.
    """

    tableau: RosenbrockTableau
    gathers: int | None = None

    @property
    def in_place(self) -> int:
        """Stage that is solved in place: its slot is where the right-hand side of all may lie."""
        return (self.tableau.n_stages if self.gathers is None else self.gathers) - 1

    @cached_property
    def _of_sums(self) -> tuple[int, ...]:
        """Slots of the sum that goes on, and of what couples each stage from `gathers` on."""
        if self.gathers is None:
            return ()
        n = 1 + self.tableau.n_stages - self.gathers
        return tuple(slot for slot in range(n + 1) if slot != self.in_place)[:n]

    @property
    def n_slots(self) -> int:
        return 1 + max(self.in_place, *self._of_sums, 0)

    @property
    def slots(self) -> tuple[int, ...]:
        """Slot of the increment of each stage: of later ones that of what coupled them."""
        first = self.tableau.n_stages if self.gathers is None else self.gathers
        return (*range(first), *self._of_sums[1:])

    @property
    def solution(self) -> int | None:
        """Slot of the sum that goes on until it is the solution; None where there is none."""
        return self._of_sums[0] if self._of_sums else None

    @property
    def error(self) -> int | None:
        """Slot in which the error estimate may be formed; None where it has to lie elsewhere."""
        return None if self.slots[-1] == self.solution else self.slots[-1]

    def argument(self, stage: int) -> Terms:
        """Return (slot, weight) of what the argument of a stage adds to the state."""
        return self._sum(self.tableau.a[stage], self.solution, stage)

    def coupling(self, stage: int) -> Terms:
        """Return (slot, weight) of what couples a stage to those before it."""
        if self.gathers is None or stage < self.gathers:
            return self._sum(self.tableau.C[stage], None, stage)
        return [(self.slots[stage], 1.0)]

    def result(self) -> Terms:
        """Return (slot, weight) of what the solution adds to the state."""
        return self._sum(self.tableau.b, self.solution, self.tableau.n_stages)

    def sums_before(self, stage: int) -> list[tuple[int, Terms]]:
        """Return (slot, its terms) of every sum that is formed with the argument of a stage."""
        if self.gathers is None or stage < self.gathers:
            return []
        rows = (self.tableau.a[stage], *self.tableau.C[stage:])
        places = (self._of_sums[0], *self.slots[stage:])
        pairs = zip(places, rows, strict=True)
        sums = [(slot, self._sum(row, slot, stage)) for slot, row in pairs]
        # Where the stage before adds nothing a sum stays what it is.
        return [(slot, terms) for slot, terms in sums if terms != [(slot, 1.0)]]

    def _sum(self, row: Sequence[float], slot: int | None, stage: int) -> Terms:
        """Return (slot, weight) of a sum over the stages before one, which may lie in a slot."""
        if slot is None or self.gathers is None or stage <= self.gathers:
            return self.terms(row[:stage])
        last = stage - 1
        return [(slot, 1.0)] + ([(self.slots[last], row[last])] if row[last] else [])

    def terms(self, row: Sequence[float]) -> Terms:
        """Return (slot, weight) of increments that are still there."""
        return [(slot, weight) for slot, weight in zip(self.slots, row, strict=False) if weight]


def rosenbrock_storage(tableau: RosenbrockTableau, keeps_stages: bool) -> RosenbrockStorage:
    """Return the storage of a method's step with the fewest slots; `keeps_stages`: one for each."""
    found = [RosenbrockStorage(tableau)]
    if not keeps_stages:
        stages = range(2, tableau.n_stages)
        found += [RosenbrockStorage(tableau, g) for g in stages if _goes_on(tableau, g)]
    return min(found, key=lambda storage: storage.n_slots)


def _goes_on(tableau: RosenbrockTableau, gathers: int) -> bool:
    """Tell whether all that is read from a stage on is sums, of which one goes on."""
    errors = tableau.error_weights or ()
    later = range(gathers, tableau.n_stages)
    same = all(tableau.a[i][:i] == tableau.b[:i] for i in later)
    coupled = all(any(tableau.C[i][:gathers]) for i in later)
    return same and coupled and not any(errors[:gathers])
