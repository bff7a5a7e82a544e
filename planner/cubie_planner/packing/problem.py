"""What is asked of the packing, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from cubie_planner.basics import PlannerError, Status
from cubie_planner.packing.items import Items, Spans

MAX_ITEMS = 1_000_000
MAX_TOTAL = 2**50


class PackingError(PlannerError, ValueError):
    """A packing problem was described with values that cannot mean anything.

    Attributes
    ----------
    item : int or None
        Index of the item concerned.
    """

    def __init__(self, message: str, item: int | None = None):
        where = "" if item is None else f"item {item}: "
        super().__init__(where + message)
        self.item = item


def _integers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(value) if hasattr(value, "__index__") else value for value in values)


def _spans(lifetimes: Iterable) -> tuple[Spans | None, ...]:
    return tuple(
        None if spans is None else tuple((int(start), int(end)) for start, end in spans)
        for spans in lifetimes
    )


@frozen
class PackingProblem:
    """Items to be packed.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, 0 or more. An item of no bytes may be anywhere, its offset means nothing.
    alignments : sequence of int
        Powers of two; offsets must be multiples.
    lifetimes : sequence of (sequence of (start, end)) or None
        Half-open intervals, sorted and disjoint; None for always alive.
    fixed_offsets : sequence of int, optional
        Pinned offset, or -1 for free.
    parents : sequence of int, optional
        Index of the item inside whose bytes an item must lie, or -1. An item and its
        ancestors may be alive together; all other pairs must not overlap while they are.
    parent_offsets : sequence of int, optional
        Fixed distance from the start of the parent, or -1 for anywhere inside.

    Raises
    ------
    PackingError
    """

    sizes: Sequence[int] = field(converter=_integers)
    alignments: Sequence[int] = field(converter=_integers)
    lifetimes: Sequence[Spans | None] = field(converter=_spans)
    fixed_offsets: Sequence[int] = field(default=(), converter=_integers)
    parents: Sequence[int] = field(default=(), converter=_integers)
    parent_offsets: Sequence[int] = field(default=(), converter=_integers)

    def __attrs_post_init__(self) -> None:
        count = len(self.sizes)
        if count > MAX_ITEMS:
            raise PackingError(f"{count} items were given; at most {MAX_ITEMS} are supported")
        for name in ("fixed_offsets", "parents", "parent_offsets"):
            if not getattr(self, name):
                object.__setattr__(self, name, (-1,) * count)
        for name in ("alignments", "lifetimes", "fixed_offsets", "parents", "parent_offsets"):
            if len(getattr(self, name)) != count:
                raise PackingError(
                    f"{name} has {len(getattr(self, name))} entries for {count} sizes"
                )
        for item in range(count):
            self._check_numbers(item)
            self._check_lifetime(item)
        if sum(self.sizes) + sum(self.alignments) + max(self.fixed_offsets, default=0) > MAX_TOTAL:
            raise PackingError(f"sizes, alignments and offsets add up to more than {MAX_TOTAL}")
        _check_ancestry(self.parents)

    def _check_numbers(self, item: int) -> None:
        size, alignment = self.sizes[item], self.alignments[item]
        if not isinstance(size, int) or size < 0:
            raise PackingError(f"size must be an integer >= 0, got {size!r}", item)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise PackingError(f"alignment must be a power of two, got {alignment!r}", item)
        for name in ("fixed_offsets", "parent_offsets"):
            value = getattr(self, name)[item]
            if not isinstance(value, int) or value < -1:
                raise PackingError(f"{name} must be >= 0, or -1 for free, got {value!r}", item)
        parent = self.parents[item]
        if not isinstance(parent, int) or not -1 <= parent < len(self.sizes):
            raise PackingError(
                f"parent must be an index below {len(self.sizes)} or -1, got {parent!r}", item
            )
        if self.parent_offsets[item] >= 0 and parent < 0:
            raise PackingError("an offset inside the parent was given, but no parent", item)

    def _check_lifetime(self, item: int) -> None:
        spans = self.lifetimes[item]
        if spans is None:
            return
        previous = None
        for span in spans:
            if span[0] >= span[1]:
                raise PackingError(f"interval {span} is not (start, end) with start < end", item)
            if previous is not None and span[0] < previous:
                raise PackingError(f"intervals must be sorted and disjoint, got {spans}", item)
            previous = span[1]
        if not spans:
            raise PackingError("a lifetime needs an interval; give None for always alive", item)

    def items(self) -> Items:
        """Return the items with every lifetime spelled out; empty ones ask for nothing."""
        given = [spans for spans in self.lifetimes if spans is not None]
        start = min((spans[0][0] for spans in given), default=0)
        end = max((spans[-1][1] for spans in given), default=1)
        return Items(
            list(self.sizes),
            list(self.alignments),
            [((start, end),) if spans is None else spans for spans in self.lifetimes],
            self._if_any_bytes(self.fixed_offsets),
            self._if_any_bytes(self.parents),
            self._if_any_bytes(self.parent_offsets),
        )

    def _if_any_bytes(self, values: Sequence[int]) -> list[int]:
        return [value if size else -1 for value, size in zip(values, self.sizes, strict=True)]


def _check_ancestry(parents: Sequence[int]) -> None:
    """Refuse items that are their own ancestors."""
    clear = [parent < 0 for parent in parents]
    for item in range(len(parents)):
        path = []
        while not clear[item]:
            clear[item] = True
            path.append(item)
            item = parents[item]
        if item in path:
            raise PackingError("is its own ancestor", item)


@frozen
class PackingResult:
    """What is known about a packing problem.

    Attributes
    ----------
    offsets : tuple of int or None
        One per item; None if no packing (within the capacity) is known.
    height : int or None
        Highest end; None without offsets.
    lower_bound : int
        No packing is lower; proven.
    status : Status
        OPTIMAL: `height` equals `lower_bound`. FEASIBLE: a packing, maybe not the lowest.
        INFEASIBLE: proven that there is none (within the capacity). UNKNOWN: the node
        limit was reached without a packing.
    nodes : int
        Items tried by the exact search.
    engine : str
        What found the packing: "greedy", "first fit" (of very many items), "search", or "" if
        there is none.
    """

    offsets: tuple[int, ...] | None
    height: int | None
    lower_bound: int
    status: Status
    nodes: int = 0
    engine: str = ""

    @property
    def gap(self) -> float | None:
        """Distance of the height from the bound, relative to the height."""
        if self.height is None:
            return None
        return (self.height - self.lower_bound) / self.height if self.height else 0.0
