"""Moves of the exact packing search: place an item, raise a bound, and take both back.

Whatever a decision changes is noted on a trail first, so that taking it back costs as much
as making it, however large the problem is.
"""

from __future__ import annotations

from cubie_planner.packing.search.state import BASE, LAST, LOW, MARK, PLACED, POSTPONED, TRAIL


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
