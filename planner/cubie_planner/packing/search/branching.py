"""The exact packing search: one source, run by the interpreter or compiled by numba.

After M. D. Moffitt, "MiniMalloc: a lightweight memory allocator for hardware-accelerated
machine learning", ASPLOS 2023, doi 10.1145/3623278.3624752: cut time into *sections* (sets
of items that must not overlap), track what each section still has to hold, and visit only
*canonical* packings, in which nothing could slide down: every free item stands on the
bottom or on another item. Three things differ from the paper:

- A node decides one item: it lies at its lowest offset given what is placed (its *base*),
  or it is *postponed*, which means that it will stand on something not yet placed. No order
  by offset is needed, so the search may stay where the trouble is.
- The section to work on is the one with the fewest items that can come next there
  (fail first), weighted by how often sections caused failures.
- Bounds are propagated: if only one item can come next in a section, all others there are
  above it; a postponed item is above the lowest end of what may carry it.

`state` tells what the search works on, `moves` places and takes back,
`propagation` propagates; here is what chooses, branches and splits.
"""

from __future__ import annotations

from cubie_planner.packing.search.moves import lift, note, place, release, rewind
from cubie_planner.packing.search.propagation import carry, confine, placeable, propagate, settle
from cubie_planner.packing.search.state import (
    CHOICE,
    END,
    END_PART,
    FIRST,
    FRAME_MARK,
    FRAME_PARTS,
    FRAME_PLACED,
    FRAME_WORDS,
    HUGE,
    LEFT,
    MARK,
    NEXT_PART,
    OUT_OF_NODES,
    OUT_OF_TRAIL,
    PART_WORDS,
    PARTS,
    PLACED,
    POSTPONED,
    REFUTED,
    RIGHT,
    SCALE,
    SOLVED,
    TIGHTEST,
    TRAIL,
    URGENT,
    WEIGHTED,
)


def focus(t, st, left, right, rule):
    """Return the lowest item of the section to work on, chosen by the rule."""
    low, placed, rank = st.low, st.placed, st.rank
    best = -1
    best_key = HUGE >> SCALE if rule != URGENT else HUGE
    best_tie = HUGE
    for s in range(left, right):
        v = st.limit[s]
        count = 0
        floor = HUGE
        item = -1
        weight = st.weight[s] if rule == WEIGHTED else 1
        most = best_key * weight
        for a in range(t.section_ptr[s], t.section_ptr[s + 1]):
            i = t.section_item[a]
            if placed[i] == 0 and low[i] <= v:
                count += 1
                if rule != URGENT and (count << SCALE) > most:
                    break
                if low[i] < floor or (low[i] == floor and rank[i] < rank[item]):
                    floor = low[i]
                    item = i
        if item < 0:
            continue
        key = (count << SCALE) // weight
        tie = floor
        if rule == URGENT:
            key = v
        elif rule == TIGHTEST:
            tie = v - floor
        if (
            key < best_key
            or (key == best_key and tie < best_tie)
            or (key == best_key and tie == best_tie and rank[item] < rank[best])
        ):
            best_key = key
            best_tie = tie
            best = item
    return best


def choose(t, st, first, end, left, right, rule):
    """Return an item to place or to postpone, or -1 if there is none.

    Nothing unplaced near it can come to lie below it.
    """
    low, placed, rank = st.low, st.placed, st.rank
    below = focus(t, st, left, right, rule)
    if below < 0:
        below = st.segment[first]
    u = below
    while below >= 0:
        u = below
        while st.active[u] == 0:
            u = t.parent[u]
        below = -1
        for a in range(t.near_ptr[u], t.near_ptr[u + 1]):
            k = t.near[a]
            if (
                placed[k] == 0
                and low[k] + t.size[k] <= low[u]
                and (
                    below < 0
                    or low[k] < low[below]
                    or (low[k] == low[below] and rank[k] < rank[below])
                )
            ):
                below = k
    if not placeable(t, st, u):
        # Whatever could still be below the lowest that can be placed would hang in the air.
        u = -1
        for p in range(first, end):
            i = st.segment[p]
            if placeable(t, st, i) and (
                u < 0 or low[i] < low[u] or (low[i] == low[u] and rank[i] < rank[u])
            ):
                u = i
    while u >= 0 and t.twin[u] >= 0 and placed[t.twin[u]] == 0 and low[t.twin[u]] == low[u]:
        u = t.twin[u]
    return u


def refute(t, st, u):
    """Record that an item does not lie where it was tried; return False if it must."""
    if t.slides[u]:
        return lift(t, st, u, st.low[u] + 1)
    if t.free[u] == 0:
        return False
    # What holds for an item holds for its identical twins, which come after it.
    while u >= 0:
        if st.placed[u] == 0:
            note(st, 4 * u + POSTPONED, st.postponed[u])
            st.postponed[u] = 1
        u = t.next_twin[u]
    return True


def split(t, st, first, end, left, right):
    """Push the parts of a segment of items that share no section any more."""
    for c in range(left, right):
        if first == end:
            return
        if c < right - 1 and st.crossing[c] > 0:
            continue
        q = first
        for p in range(first, end):
            i = st.segment[p]
            if t.hull_lo[i] <= c:
                st.segment[p] = st.segment[q]
                st.segment[q] = i
                q += 1
        if q > first:
            z = st.cursor[PARTS] * PART_WORDS
            st.part[z + FIRST] = first
            st.part[z + END] = q
            st.part[z + LEFT] = left
            st.part[z + RIGHT] = c + 1
            st.cursor[PARTS] += 1
            first = q
        left = c + 1


def push(st, f):
    """Open the next part into which the choice of a frame split the rest; return its frame."""
    frame = st.frame
    part = frame[f + NEXT_PART] * PART_WORDS
    frame[f + NEXT_PART] += 1
    f += FRAME_WORDS
    for word in range(PART_WORDS):
        frame[f + word] = st.part[part + word]
    return f


def decide(t, st, f, u):
    """Place an item at its lower bound, as the choice of a frame; return whether it can be.

    Where it can, what is left of the frame is split.
    """
    frame, cursor = st.frame, st.cursor
    frame[f + CHOICE] = u
    frame[f + FRAME_MARK] = cursor[TRAIL]
    frame[f + FRAME_PLACED] = cursor[PLACED]
    frame[f + FRAME_PARTS] = cursor[PARTS]
    cursor[MARK] = cursor[TRAIL]
    if not place(t, st, u, st.low[u]):
        return False
    first = frame[f + FIRST]
    p = first
    while st.segment[p] != u:
        p += 1
    st.segment[p] = st.segment[first]
    st.segment[first] = u
    frame[f + NEXT_PART] = cursor[PARTS]
    split(t, st, first + 1, frame[f + END], frame[f + LEFT], frame[f + RIGHT])
    frame[f + END_PART] = cursor[PARTS]
    return True


def fail(t, st, f):
    """Take failed choices back, and return the frame that goes on without its own; 0 for none."""
    frame, cursor = st.frame, st.cursor
    while f > 0:
        rewind(t, st, frame[f + FRAME_MARK], frame[f + FRAME_PLACED])
        cursor[PARTS] = frame[f + FRAME_PARTS]
        if refute(t, st, frame[f + CHOICE]):
            break
        f -= FRAME_WORDS
    return f


def search(t, st, node_limit, rule):
    """Look for a packing within the limits of the sections; return (outcome, nodes).

    Depth first over frames: a frame is a set of items that share sections and its current
    choice; the parts into which the choice splits the rest must all be solved.
    """
    n_items = len(t.size)
    frame, cursor = st.frame, st.cursor
    trail_room = len(st.trail_slot) - 4 * n_items
    nodes = 0
    split(t, st, 0, n_items, 0, len(st.limit))
    frame[NEXT_PART] = 0
    frame[END_PART] = cursor[PARTS]
    f = 0
    descending = True
    while True:
        if descending:
            if frame[f + NEXT_PART] == frame[f + END_PART]:
                if f == 0:
                    return SOLVED, nodes
                f -= FRAME_WORDS
                continue
            f = push(st, f)
        first, end = frame[f + FIRST], frame[f + END]
        left, right = frame[f + LEFT], frame[f + RIGHT]
        descending = False
        u = -1
        if propagate(t, st, first, end, left, right):
            if nodes == node_limit:
                return OUT_OF_NODES, nodes
            if cursor[TRAIL] > trail_room:
                return OUT_OF_TRAIL, nodes
            nodes += 1
            u = choose(t, st, first, end, left, right, rule)
        if u >= 0:
            descending = decide(t, st, f, u)
        else:
            f -= FRAME_WORDS
        if not descending:
            f = fail(t, st, f)
            if f == 0:
                return REFUTED, nodes


HELPERS = (
    note,
    lift,
    release,
    place,
    rewind,
    placeable,
    carry,
    confine,
    settle,
    propagate,
    focus,
    choose,
    refute,
    split,
    push,
    decide,
    fail,
)
"""Everything that `search` calls, in whatever module."""
