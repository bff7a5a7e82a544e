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

    rank: Any  # per item: its place in the static order, which breaks ties
    weight: Any  # per section: how often it caused a failure
    base: Any  # per item: lowest offset above what is placed; of a placed one, its offset
    low: Any  # per item: proven lower bound of its offset
    last: Any  # per item: highest start
    active: Any  # per item: whether its parent is placed, or it needs none
    placed: Any  # per item: whether it is
    postponed: Any  # per item: whether it stands on something not yet placed
    limit: Any  # per section: highest start of its lowest unplaced item
    crossing: Any  # per cut between sections: unplaced items on both sides
    watch1: Any  # per section: an item that can come next there
    watch2: Any  # per section: another one
    reaching: Any  # per item: one near it that reaches into its place at the base
    carrier: Any  # per item: one near it that may carry it
    segment: Any  # items, those of a frame side by side
    order: Any  # items in the order in which they were placed
    trail_slot: Any  # what was changed: item * 4 + kind
    trail_value: Any  # the value before
    noted: Any  # per slot: where the trail has it
    cursor: Any  # see TRAIL to PARTS
    frame: Any  # frames, FRAME_WORDS each
    part: Any  # parts still to solve, PART_WORDS each


HUGE = 1 << 60
SCALE = 20  # bits of fraction in items per failure

# Outcomes of a search.
SOLVED = 1
REFUTED = 0
OUT_OF_NODES = -1
OUT_OF_TRAIL = -2

# Kinds of slots on the trail: which value of an item was changed.
BASE = 0
LOW = 1
LAST = 2
POSTPONED = 3

# Words of the cursor.
TRAIL = 0  # end of the trail
MARK = 1  # where the trail of the present decision begins
PLACED = 2  # how many items are placed
PARTS = 3  # how many parts are pushed

# Words of a part, with which those of a frame begin: items of `segment`, and sections.
FIRST = 0
END = 1
LEFT = 2
RIGHT = 3
PART_WORDS = 4

# Further words of a frame: its choice, the cursor before it, the parts it left.
CHOICE = 4
FRAME_MARK = 5
FRAME_PLACED = 6
FRAME_PARTS = 7
NEXT_PART = 8
END_PART = 9
FRAME_WORDS = 10

# Rules for the section to work on.
URGENT = 0  # the lowest limit
FEWEST = 1  # the fewest items that can come next
TIGHTEST = 2  # of those, the least room below the limit
WEIGHTED = 3  # the fewest items per failure
