"""The tables and the state of the exact packing search, as flat sequences of integers.

Lists serve the interpreter and arrays the compiler. Names: `base` is the lowest offset
given the placed items (of a placed item: its offset), `low` a proven lower bound, `last` the
highest start, `limit` of a section the highest offset at which its lowest unplaced item may
start.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Tables(NamedTuple):
    """What does not change during a search; ragged tables are (pointer, content) pairs.

    `mask` is alignment - 1. `free` items may slide down alone: not pinned, no children.
    `slides` marks parents whose children stick out of their lifetime, which may hold the
    parent up: any aligned offset is possible. `sub` is the fixed offset inside the parent
    or -1, `reach` the highest one. `twin`/`next_twin` link identical items. `hull` is the
    range of sections of an item with all its relatives.
    """

    size: Any
    mask: Any
    free: Any
    slides: Any
    parent: Any
    sub: Any
    reach: Any
    child_ptr: Any
    child: Any
    near_ptr: Any
    near: Any
    run_ptr: Any
    run_lo: Any
    run_hi: Any
    hull_lo: Any
    hull_hi: Any
    section_ptr: Any
    section_item: Any
    twin: Any
    next_twin: Any
    special: Any


class State(NamedTuple):
    """What changes; `active` items have their parent placed (or need none)."""

    rank: Any
    weight: Any
    base: Any
    low: Any
    last: Any
    active: Any
    placed: Any
    postponed: Any
    limit: Any
    crossing: Any
    watch1: Any
    watch2: Any
    reaching: Any
    carrier: Any
    segment: Any
    order: Any
    trail_slot: Any
    trail_value: Any
    noted: Any
    cursor: Any
    frame: Any
    part: Any


SOLVED, REFUTED, OUT_OF_NODES, OUT_OF_TRAIL = 1, 0, -1, -2
BASE, LOW, LAST, POSTPONED = 0, 1, 2, 3
TRAIL, MARK, PLACED, PARTS = 0, 1, 2, 3
FRAME_WORDS, PART_WORDS = 10, 4
FIRST, END, LEFT, RIGHT, CHOICE, FRAME_MARK, FRAME_PLACED, FRAME_PARTS, NEXT_PART, END_PART = range(
    10
)
URGENT, FEWEST, TIGHTEST, WEIGHTED = 0, 1, 2, 3
HUGE = 1 << 60
SCALE = 20  # bits of fraction in items per failure
