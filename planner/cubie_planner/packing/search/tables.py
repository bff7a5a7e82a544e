"""The tables of the search, made of items and sections: see `state.Tables`."""

from __future__ import annotations

from collections.abc import Sequence

from cubie_planner.packing.items import Items
from cubie_planner.packing.search.state import Tables
from cubie_planner.packing.sections import Sections


def tables(items: Items, sections: Sections) -> Tables:
    """Build the tables of the search as lists."""
    count = len(items)
    children = items.children()
    present: list[list[int]] = [[] for _ in range(count)]
    for index, together in enumerate(sections.members):
        for item in together:
            present[item].append(index)
    hulls = _hulls(items, present)
    runs = [_runs(indices) for indices in present]
    plain = [items.pins[i] < 0 and items.parents[i] < 0 and not children[i] for i in range(count)]
    twin, next_twin = _twins(items, plain)
    run_ptr, flat_runs = _ragged(runs)
    child_ptr, child = _ragged(children)
    near_ptr, near = _ragged([sorted(others) for others in sections.near])
    section_ptr, section_item = _ragged(sections.members)
    rigid = [items.pins[i] >= 0 or items.subs[i] >= 0 for i in range(count)]
    return Tables(
        size=list(items.sizes),
        mask=[alignment - 1 for alignment in items.alignments],
        free=[int(not rigid[i] and not children[i]) for i in range(count)],
        slides=[int(not rigid[i] and bool(children[i])) for i in range(count)],
        parent=list(items.parents),
        sub=list(items.subs),
        reach=[items.reach(i) if items.parents[i] >= 0 else 0 for i in range(count)],
        child_ptr=child_ptr,
        child=child,
        near_ptr=near_ptr,
        near=near,
        run_ptr=run_ptr,
        run_lo=[lo for lo, _ in flat_runs],
        run_hi=[hi for _, hi in flat_runs],
        hull_lo=[lo for lo, _ in hulls],
        hull_hi=[hi for _, hi in hulls],
        section_ptr=section_ptr,
        section_item=section_item,
        twin=twin,
        next_twin=next_twin,
        special=[i for i in range(count) if items.pins[i] >= 0 or items.parents[i] >= 0],
    )


def _hulls(items: Items, present: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the range of sections of every item, shared by all items of a family."""
    root = list(range(len(items)))
    for item in root:
        while items.parents[root[item]] >= 0:
            root[item] = items.parents[root[item]]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for item, indices in enumerate(present):
        if indices:
            key = root[item]
            first[key] = min(first.get(key, indices[0]), indices[0])
            last[key] = max(last.get(key, 0), indices[-1] + 1)
    return [(first[key], last[key]) for key in root]


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending indices as half-open ranges."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _ragged(rows: Sequence[Sequence]) -> tuple[list[int], list]:
    pointers = [0]
    flat: list = []
    for row in rows:
        flat.extend(row)
        pointers.append(len(flat))
    return pointers, flat


def _twins(items: Items, plain: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Link items that nothing distinguishes: previous and next of the same kind, or -1."""
    twin = [-1] * len(items)
    next_twin = [-1] * len(items)
    seen: dict[tuple, int] = {}
    for item in range(len(items)):
        if not plain[item]:
            continue
        kind = (items.sizes[item], items.alignments[item], items.spans[item])
        twin[item] = seen.get(kind, -1)
        if twin[item] >= 0:
            next_twin[twin[item]] = item
        seen[kind] = item
    return twin, next_twin
