"""Where an explicit step keeps its derivatives, and when sums take their place.

A derivative is needed until the last argument, solution or error estimate that weighs it was
formed. Before one of the last arguments the sums at the end of the step can be formed as far as
they go: they are fewer than the derivatives that they are made of. Every sum is formed element by
element, so that it may be written where a derivative lies that nothing else reads.

Times: the argument of stage i is formed at 2 i and evaluated at 2 i + 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

from attrs import field, frozen

from cubie.algorithms.stage_slots import END, coloured
from cubie.tableaus import ERKTableau


@frozen
class Row:
    """A sum at the end of a step: its weights on derivatives of stages, and when it is formed."""

    weights: tuple[float, ...]
    formed: int


@frozen
class ExplicitStorage:
    """Slots of n elements, in which derivatives and sums lie one after the other.

    Parameters
    ----------
    tableau : ERKTableau
    gathers : int or None
        Stage before which the sums are formed as far as they go; None for none.
    kept : sequence of rows of weights
        What they weigh is kept to the end.
    """

    tableau: ERKTableau
    gathers: int | None = None
    kept: Sequence[Sequence[float]] = ()
    rows: tuple[Row, ...] = field(init=False)  # of the solution, then of error estimates

    def __attrs_post_init__(self) -> None:
        tableau, n = self.tableau, self.tableau.n_stages
        errors = [w for w in (tableau.error_weights, tableau.error_weights_low) if w is not None]
        # With FSAL the last argument is the solution already.
        solution = Row(tableau.a[-1], 2 * n - 2) if tableau.fsal else Row(tableau.b, 2 * n)
        at = 2 * n if tableau.fsal else 2 * n + 1
        object.__setattr__(self, "rows", (solution, *(Row(weights, at) for weights in errors)))

    def made_at(self, row: Row) -> tuple[int, ...]:
        """Return the stages before which a sum is made of all derivatives so far."""
        first, last = self.gathers, self.tableau.n_stages - 1
        if first is None or row.formed <= 2 * first or not any(row.weights[:first]):
            return ()
        # Where the solution is an argument, error estimates go on there.
        goes_on = self.tableau.fsal and first < last and row.formed > 2 * last
        return (first, last) if goes_on else (first,)

    def terms(self, row: Row, stage: int | None = None) -> list[tuple[int, float]]:
        """Return (slot, weight) of what a sum is made of: before a stage, or at the end."""
        upto = self.tableau.n_stages if stage is None else stage
        made = max((made for made in self.made_at(row) if made < upto), default=0)
        before = [(self.slot_of(row), 1.0)] if made else []
        added = ((self.slots[j], row.weights[j]) for j in range(made, upto))
        return [*before, *((slot, weight) for slot, weight in added if weight)]

    def sums_before(self, stage: int) -> list[tuple[int, list[tuple[int, float]]]]:
        """Return (slot, its terms) of every sum that is made before a stage is evaluated."""
        made = (row for row in self.rows if stage in self.made_at(row))
        return [(self.slot_of(row), self.terms(row, stage)) for row in made]

    def slot_of(self, row: Row) -> int:
        """Return the slot of a sum that has one."""
        slot = self._placed[1][self.rows.index(row)]
        assert slot is not None  # what is gathered has one
        return slot

    @cached_property
    def _deaths(self) -> tuple[int, ...]:
        """When each derivative is read for the last time."""
        tableau, n = self.tableau, self.tableau.n_stages
        found = []
        arguments = range(n - int(tableau.fsal))
        for j in range(n):
            if any(row[j] for row in self.kept) or (tableau.fsal and j in (0, n - 1)):
                found.append(END)
                continue
            reads = [2 * i for i in arguments if tableau.a[i][j]]
            reads += [self._read_by(row, j) for row in self.rows if row.weights[j]]
            found.append(max(reads, default=2 * j + 2))
        return tuple(found)

    def _read_by(self, row: Row, j: int) -> int:
        """Return when a sum takes the derivative of stage j."""
        return next((2 * stage for stage in self.made_at(row) if stage > j), row.formed)

    @cached_property
    def _placed(self) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
        """Slots of the derivatives, and of the sums: None for what lies elsewhere."""
        lives = [(2 * j + 1, death) for j, death in enumerate(self._deaths)]
        needed = [self._begins(row) for row in self.rows]
        sums = [
            (row.formed if begin is None else begin, END)
            for row, begin in zip(self.rows, needed, strict=True)
        ]
        there = [begin is not None for begin in needed]
        least = coloured([*lives, *(s for s, must in zip(sums, there, strict=True) if must)])
        most = 1 + max(least)
        # What is formed at the end lies among them where that takes no slot more.
        for number in reversed(range(len(sums))):
            wanted = [must or k == number for k, must in enumerate(there)]
            slots = coloured([*lives, *itertools.compress(sums, wanted)])
            there = wanted if 1 + max(slots) <= most else there
        slots = iter(coloured([*lives, *itertools.compress(sums, there)]))
        of_stages = [next(slots) for _ in lives]
        of_rows = [next(slots) if here else None for here in there]
        return _side_by_side(of_stages, of_rows)

    def _begins(self, row: Row) -> int | None:
        """Return when a sum that is gathered begins; None for others."""
        return next((2 * stage for stage in self.made_at(row)), None)

    @property
    def slots(self) -> tuple[int, ...]:
        """Slot of the derivative of each stage."""
        return self._placed[0]

    @property
    def solution(self) -> int | None:
        """Slot of the solution, and of the sum that it is made of."""
        return self._placed[1][0]

    @property
    def errors(self) -> int | None:
        """Slot of the first error estimate, where all lie one behind the other; or None."""
        slots = self._placed[1][1:]
        return None if None in slots or not slots else slots[0]

    @property
    def n_slots(self) -> int:
        used = [slot for slot in self._placed[1] if slot is not None]
        return 1 + max([*self.slots, *used])


def _side_by_side(
    of_stages: list[int], of_rows: list[int | None]
) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Number slots anew, so that those of two error estimates follow each other."""
    errors = of_rows[1:]
    if len(errors) < 2:
        return tuple(of_stages), tuple(of_rows)
    n = 1 + max(slot for slot in (*of_stages, *of_rows) if slot is not None)
    behind = [slot for slot in errors if slot is not None]
    order = [slot for slot in range(n) if slot not in behind] + behind
    place = {slot: k for k, slot in enumerate(order)}
    renumbered = [None if slot is None else place[slot] for slot in of_rows]
    return tuple(place[slot] for slot in of_stages), tuple(renumbered)


def explicit_storage(tableau: ERKTableau, kept: Sequence[Sequence[float]] = ()) -> ExplicitStorage:
    """Return the storage of a method's step with the fewest slots; the simplest of these.

    `kept` are rows of weights; what they weigh is kept to the end.
    """
    last = tableau.n_stages - 1
    # Of other methods sums save a slot at most.
    choices = (None, last, last - 1) if tableau.fsal else (None,)
    usable = [choice for choice in choices if choice is None or choice > 0]
    found = [ExplicitStorage(tableau, choice, kept) for choice in usable]
    return min(found, key=lambda storage: storage.n_slots)
