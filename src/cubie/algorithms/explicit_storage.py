"""Where an explicit step keeps its derivatives, and when sums take their place.

A derivative is needed until the last argument, solution or error estimate that weighs it was
formed. From some stage on what is still to be formed is fewer than the derivatives so far: sums
of these, as far as they go, then take their place, and each goes on with the derivatives that
come. Every sum is formed element by element, so that it may be written where a derivative lies
that nothing else reads.

Times: the argument of stage i is formed at 2 i and evaluated at 2 i + 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property

from attrs import field, frozen

from cubie.algorithms.stage_slots import END, coloured
from cubie.tableaus import ERKTableau

Terms = list[tuple[int, float]]


@frozen(eq=False)
class Row:
    """A sum of derivatives: its weights on them, and when it is formed as a whole.

    `lasts`: it is one at the end of a step, and there until then.
    """

    weights: tuple[float, ...]
    formed: int
    lasts: bool


@frozen
class ExplicitStorage:
    """Slots of n elements, in which derivatives and sums lie one after the other.

    Parameters
    ----------
    tableau : ERKTableau
    gathers : tuple of int
        Stages before which sums are made of all derivatives so far, in their order.
    arguments : bool
        Sums are those of arguments, too, and not of the end of the step alone.
    kept : sequence of rows of weights
        What they weigh is kept to the end.
    """

    tableau: ERKTableau
    gathers: tuple[int, ...] = ()
    arguments: bool = False
    kept: Sequence[Sequence[float]] = ()
    # Of the solution, of error estimates, and of the arguments that are no solution.
    rows: tuple[Row, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        tableau, n, fsal = self.tableau, self.tableau.n_stages, self.tableau.fsal
        # With FSAL the last argument is the solution already.
        solution = Row(tableau.a[-1], 2 * n - 2, True) if fsal else Row(tableau.b, 2 * n, True)
        at = 2 * n if fsal else 2 * n + 1
        of_ends = (solution, *(Row(weights, at, True) for weights in self._error_weights))
        of_arguments = (Row(tableau.a[i], 2 * i, False) for i in range(n - int(fsal)))
        object.__setattr__(self, "rows", (*of_ends, *of_arguments))

    @property
    def _error_weights(self) -> list[tuple[float, ...]]:
        both = (self.tableau.error_weights, self.tableau.error_weights_low)
        return [weights for weights in both if weights is not None]

    @property
    def of_errors(self) -> tuple[Row, ...]:
        """The error estimates."""
        return self.rows[1 : 1 + len(self._error_weights)]

    def argument(self, stage: int) -> Terms:
        """Return (slot, weight) of what the argument of a stage adds to the state, over h."""
        solves = self.tableau.fsal and stage == self.tableau.n_stages - 1
        row = self.rows[0] if solves else self.rows[1 + len(self._error_weights) + stage]
        return self.terms(row, stage)

    def made_at(self, row: Row) -> tuple[int, ...]:
        """Return the stages before which a sum is made of all derivatives so far.

        Not of one alone: its product with a weight would be rounded, and not fused with the next.
        """
        made: tuple[int, ...] = ()
        for stage in self.gathers if row.lasts or self.arguments else ():
            added = row.weights[made[-1] if made else 0 : stage]
            if 2 * stage < row.formed and sum(map(bool, added)) > int(not made):
                made = (*made, stage)
        return made

    def terms(self, row: Row, stage: int | None = None) -> Terms:
        """Return (slot, weight) of what a sum is made of: before a stage, or at the end."""
        upto = self.tableau.n_stages if stage is None else stage
        made = max((made for made in self.made_at(row) if made < upto), default=0)
        before = [(self.slot_of(row), 1.0)] if made else []
        added = ((self.slots[j], row.weights[j]) for j in range(made, upto))
        return [*before, *((slot, weight) for slot, weight in added if weight)]

    def sums_before(self, stage: int) -> list[tuple[int, Terms]]:
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
        outlives = {j for row in self.kept for j, weight in enumerate(row) if weight}
        outlives |= {0, n - 1} if tableau.fsal else set()
        return tuple(
            END if j in outlives else max(self._reads(j), default=2 * j + 2) for j in range(n)
        )

    def _reads(self, j: int) -> Iterator[int]:
        """Yield when the derivative of stage j is taken into sums."""
        for row in self.rows:
            if row.weights[j]:
                yield next((2 * stage for stage in self.made_at(row) if stage > j), row.formed)

    @cached_property
    def _placed(self) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
        """Slots of the derivatives, and of the sums: None for what lies elsewhere."""
        lives = [(2 * j + 1, death) for j, death in enumerate(self._deaths)]
        needed = [self._begins(row) for row in self.rows]
        sums = [
            (row.formed if begin is None else begin, END if row.lasts else row.formed)
            for row, begin in zip(self.rows, needed, strict=True)
        ]
        there = [begin is not None for begin in needed]
        least = coloured([*lives, *(s for s, must in zip(sums, there, strict=True) if must)])
        most = 1 + max(least)
        # What is formed at the end lies among them where that takes no slot more.
        for number in reversed(range(1 + len(self.of_errors))):
            wanted = [must or k == number for k, must in enumerate(there)]
            slots = coloured([*lives, *itertools.compress(sums, wanted)])
            there = wanted if 1 + max(slots) <= most else there
        slots = iter(coloured([*lives, *itertools.compress(sums, there)]))
        of_stages = [next(slots) for _ in lives]
        of_rows = [next(slots) if here else None for here in there]
        return _side_by_side(of_stages, of_rows, len(self.of_errors))

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
        slots = self._placed[1][1 : 1 + len(self.of_errors)]
        return None if None in slots or not slots else slots[0]

    @property
    def n_slots(self) -> int:
        used = [slot for slot in self._placed[1] if slot is not None]
        return 1 + max([*self.slots, *used])

    @property
    def n_terms(self) -> int:
        """How many terms the sums have that are formed before stages are evaluated."""
        stages = range(self.tableau.n_stages)
        sums = (terms for stage in stages for _, terms in self.sums_before(stage))
        return sum(map(len, (*map(self.argument, stages), *sums)))

    @property
    def n_written(self) -> int:
        """How many sums are written before the end of a step."""
        return sum(len(self.made_at(row)) for row in self.rows)


def _side_by_side(
    of_stages: list[int], of_rows: list[int | None], n_errors: int
) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Number slots anew, so that those of two error estimates follow each other."""
    if n_errors < 2:
        return tuple(of_stages), tuple(of_rows)
    n = 1 + max(slot for slot in (*of_stages, *of_rows) if slot is not None)
    behind = [slot for slot in of_rows[1 : 1 + n_errors] if slot is not None]
    order = [slot for slot in range(n) if slot not in behind] + behind
    place = {slot: k for k, slot in enumerate(order)}
    renumbered = [None if slot is None else place[slot] for slot in of_rows]
    return tuple(place[slot] for slot in of_stages), tuple(renumbered)


def explicit_storage(tableau: ERKTableau, kept: Sequence[Sequence[float]] = ()) -> ExplicitStorage:
    """Return the storage of a method's step with the fewest slots; of these with the fewest sums.

    `kept` are rows of weights; what they weigh is kept to the end.
    """
    n, last = tableau.n_stages, tableau.n_stages - 1
    found = [ExplicitStorage(tableau, (), False, kept)]
    # Beside a first derivative that is kept to the end sums of arguments save a slot at most, with
    # fixed steps, and cost what they save (docs/lifetimes.md).
    of_arguments = (False,) if tableau.fsal else (False, True)
    for first in reversed(range(2, n)):
        # Sums go on with every derivative, or as late as may be: where the solution is an
        # argument, error estimates go on there, too.
        late = (first, last) if tableau.fsal and first < last else (first,)
        found += [
            ExplicitStorage(tableau, gathers, arguments, kept)
            for gathers in (late, tuple(range(first, n)))
            for arguments in of_arguments
        ]
    return min(found, key=lambda storage: (storage.n_slots, storage.n_written))
