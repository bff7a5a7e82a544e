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

Everything is a flat sequence of integers, so that lists serve the interpreter and arrays
the compiler. Names: `base` is the lowest offset given the placed items (of a placed item:
its offset), `low` a proven lower bound, `last` the highest start, `limit` of a section the
highest offset at which its lowest unplaced item may start.
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


def note(st, slot, value):
    """Remember the value of a slot (item * 4 + kind), once per decision."""
    trail = st.cursor[TRAIL]
    z = st.noted[slot]
    if z >= st.cursor[MARK] and z < trail and st.trail_slot[z] == slot:
        return
    st.noted[slot] = trail
    st.trail_slot[trail] = slot
    st.trail_value[trail] = value
    st.cursor[TRAIL] = trail + 1


def lift(t, st, k, bound):
    """Raise the lower bound of an item; return whether it can still be placed."""
    mask = t.mask[k]
    bound = (bound + mask) & ~mask
    if bound > st.low[k]:
        note(st, 4 * k + LOW, st.low[k])
        st.low[k] = bound
    return st.low[k] <= st.last[k]


def release(t, st, c, start):
    """Let a child be placed: its parent starts at `start`; return whether it still can."""
    st.active[c] = 1
    mask = t.mask[c]
    if t.sub[c] >= 0:
        bound = start + t.sub[c]
        if bound & mask or bound < st.base[c]:
            return False
    else:
        bound = (start + mask) & ~mask
    if bound > st.base[c]:
        note(st, 4 * c + BASE, st.base[c])
        st.base[c] = bound
    if start + t.reach[c] < st.last[c]:
        note(st, 4 * c + LAST, st.last[c])
        st.last[c] = start + t.reach[c]
    return st.base[c] <= st.last[c] and lift(t, st, c, st.base[c])


def place(t, st, j, start):
    """Put an item at `start`, below every unplaced item near it; return whether that holds."""
    base, placed = st.base, st.placed
    placed[j] = 1
    if base[j] != start:
        note(st, 4 * j + BASE, base[j])
        base[j] = start
    size = t.size[j]
    top = start + size
    fits = True
    for a in range(t.near_ptr[j], t.near_ptr[j + 1]):
        k = t.near[a]
        if placed[k] == 0 and base[k] < top:
            mask = t.mask[k]
            note(st, 4 * k + BASE, base[k])
            base[k] = (top + mask) & ~mask
            if st.postponed[k]:
                note(st, 4 * k + POSTPONED, 1)
                st.postponed[k] = 0
            if not lift(t, st, k, top):
                fits = False
                break
    if fits:
        for a in range(t.child_ptr[j], t.child_ptr[j + 1]):
            if not release(t, st, t.child[a], start):
                fits = False
    for r in range(t.run_ptr[j], t.run_ptr[j + 1]):
        for s in range(t.run_lo[r], t.run_hi[r]):
            st.limit[s] += size
    for c in range(t.hull_lo[j], t.hull_hi[j] - 1):
        st.crossing[c] -= 1
    st.order[st.cursor[PLACED]] = j
    st.cursor[PLACED] += 1
    return fits


def rewind(t, st, trail_mark, placed_mark):
    """Undo everything since the marks."""
    trail = st.cursor[TRAIL]
    while trail > trail_mark:
        trail -= 1
        slot = st.trail_slot[trail]
        i = slot >> 2
        kind = slot & 3
        if kind == BASE:
            st.base[i] = st.trail_value[trail]
        elif kind == LOW:
            st.low[i] = st.trail_value[trail]
        elif kind == LAST:
            st.last[i] = st.trail_value[trail]
        else:
            st.postponed[i] = st.trail_value[trail]
    st.cursor[TRAIL] = trail_mark
    st.cursor[MARK] = trail_mark
    count = st.cursor[PLACED]
    while count > placed_mark:
        count -= 1
        j = st.order[count]
        st.placed[j] = 0
        for r in range(t.run_ptr[j], t.run_ptr[j + 1]):
            for s in range(t.run_lo[r], t.run_hi[r]):
                st.limit[s] -= t.size[j]
        for c in range(t.hull_lo[j], t.hull_hi[j] - 1):
            st.crossing[c] += 1
        for a in range(t.child_ptr[j], t.child_ptr[j + 1]):
            st.active[t.child[a]] = 0
    st.cursor[PLACED] = placed_mark


def placeable(t, st, i):
    """Return whether an unplaced item may be tried at its lower bound."""
    return st.active[i] and (t.free[i] == 0 or (st.postponed[i] == 0 and st.low[i] == st.base[i]))


def carry(t, st, i):
    """Bound an item that is not at its base by what may carry it; return whether it can be.

    If nothing unplaced can reach into its place at the base, it could slide down there,
    and then the same packing is found without postponing it. One item that reaches in and
    one that ends below are watched: while both do, there is nothing to bound.
    """
    low, placed = st.low, st.placed
    top = st.base[i] + t.size[i]
    k = st.reaching[i]
    reaching = placed[k] == 0 and low[k] < top
    k = st.carrier[i]
    if reaching and placed[k] == 0 and low[k] + t.size[k] <= low[i]:
        return low[i] <= st.last[i]
    end = HUGE
    for a in range(t.near_ptr[i], t.near_ptr[i + 1]):
        k = t.near[a]
        if placed[k] == 0:
            if low[k] < top and not reaching:
                reaching = True
                st.reaching[i] = k
            if low[k] + t.size[k] < end:
                end = low[k] + t.size[k]
                st.carrier[i] = k
                if reaching and end <= low[i]:
                    break
    return reaching and lift(t, st, i, end)


def confine(t, st, x):
    """Propagate from an item with a window (pin or child): -1 failed, 1 raised, 0 not."""
    raised = 0
    if st.placed[x]:
        return raised
    p = t.parent[x]
    if p >= 0 and st.placed[p] == 0:
        least = st.low[p]
        if t.sub[x] > 0:
            least += t.sub[x]
        if least > st.low[x]:
            raised = 1
            if not lift(t, st, x, least):
                return -1
        if st.low[x] - t.reach[x] > st.low[p]:
            raised = 1
            if not lift(t, st, p, st.low[x] - t.reach[x]):
                return -1
    top = st.low[x] + t.size[x]
    for a in range(t.near_ptr[x], t.near_ptr[x + 1]):
        k = t.near[a]
        if st.placed[k] == 0 and st.low[k] < top and st.low[k] + t.size[k] > st.last[x]:
            raised = 1
            if not lift(t, st, k, top):
                return -1
    return raised


def settle(t, st, s):
    """Check one section: -1 no item can come next, 1 bounds were raised, 0 nothing new.

    Two watched items that can come next show that there is nothing to do.
    """
    low, placed = st.low, st.placed
    v = st.limit[s]
    u = st.watch1[s]
    w = st.watch2[s]
    if placed[u] == 0 and low[u] <= v and placed[w] == 0 and low[w] <= v and u != w:
        return 0
    u = -1
    w = -1
    unplaced = 0
    for a in range(t.section_ptr[s], t.section_ptr[s + 1]):
        i = t.section_item[a]
        if placed[i]:
            continue
        unplaced += 1
        if low[i] <= v:
            if u < 0:
                u = i
            else:
                w = i
                break
    if unplaced == 0:
        return 0
    if u < 0:
        st.weight[s] += 1
        return -1
    st.watch1[s] = u
    st.watch2[s] = u
    if w >= 0:
        st.watch2[s] = w
        return 0
    raised = 0
    top = low[u] + t.size[u]
    for a in range(t.near_ptr[u], t.near_ptr[u + 1]):
        k = t.near[a]
        if placed[k] == 0 and low[k] < top and low[k] + t.size[k] > v:
            raised = 1
            if not lift(t, st, k, top):
                st.weight[s] += 1
                return -1
    return raised


def propagate(t, st, first, end, left, right):
    """Raise lower bounds until nothing changes; return False if a contradiction shows.

    What carries postponed items is looked at once per round only: two of them may carry
    each other in turns, ever higher.
    """
    changed = True
    while changed:
        changed = False
        for p in range(first, end):
            i = st.segment[p]
            if not placeable(t, st, i) and st.active[i] and not carry(t, st, i):
                return False
        for p in range(len(t.special)):
            outcome = confine(t, st, t.special[p])
            if outcome < 0:
                return False
            if outcome:
                changed = True
        for s in range(left, right):
            outcome = settle(t, st, s)
            if outcome < 0:
                return False
            if outcome:
                changed = True
    return True


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


def search(t, st, node_limit, rule):
    """Look for a packing within the limits of the sections; return (outcome, nodes).

    Depth first over frames: a frame is a set of items that share sections and its current
    choice; the parts into which the choice splits the rest must all be solved.
    """
    n_items = len(t.size)
    n_sections = len(st.limit)
    frame, part, cursor = st.frame, st.part, st.cursor
    trail_room = len(st.trail_slot) - 4 * n_items
    nodes = 0
    split(t, st, 0, n_items, 0, n_sections)
    frame[NEXT_PART] = 0
    frame[END_PART] = cursor[PARTS]
    f = 0
    u = -1
    descending = True
    while True:
        if descending:
            part_index = frame[f + NEXT_PART]
            if part_index == frame[f + END_PART]:
                if f == 0:
                    return SOLVED, nodes
                f -= FRAME_WORDS
                continue
            frame[f + NEXT_PART] += 1
            f += FRAME_WORDS
            for word in range(PART_WORDS):
                frame[f + word] = part[part_index * PART_WORDS + word]
        first = frame[f + FIRST]
        left = frame[f + LEFT]
        right = frame[f + RIGHT]
        alive = propagate(t, st, first, frame[f + END], left, right)
        descending = False
        if alive:
            if nodes == node_limit:
                return OUT_OF_NODES, nodes
            if cursor[TRAIL] > trail_room:
                return OUT_OF_TRAIL, nodes
            nodes += 1
            u = choose(t, st, first, frame[f + END], left, right, rule)
            alive = u >= 0
        if alive:
            start = st.low[u]
            frame[f + CHOICE] = u
            frame[f + FRAME_MARK] = cursor[TRAIL]
            frame[f + FRAME_PLACED] = cursor[PLACED]
            frame[f + FRAME_PARTS] = cursor[PARTS]
            cursor[MARK] = cursor[TRAIL]
            descending = place(t, st, u, start)
            if descending:
                p = first
                while st.segment[p] != u:
                    p += 1
                st.segment[p] = st.segment[first]
                st.segment[first] = u
                frame[f + NEXT_PART] = cursor[PARTS]
                split(t, st, first + 1, frame[f + END], left, right)
                frame[f + END_PART] = cursor[PARTS]
                continue
        else:
            f -= FRAME_WORDS
        # The choice of the frame failed: take it back, and try the frame without it.
        alive = False
        while f > 0 and not alive:
            rewind(t, st, frame[f + FRAME_MARK], frame[f + FRAME_PLACED])
            cursor[PARTS] = frame[f + FRAME_PARTS]
            alive = refute(t, st, frame[f + CHOICE])
            if not alive:
                f -= FRAME_WORDS
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
)
