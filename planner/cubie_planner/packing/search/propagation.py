"""Propagation of the exact packing search: what the decisions so far imply.

If only one item can come next in a section, all others there are above it; a postponed item
is above the lowest end of what may carry it; a pin or a parent bounds from both sides.
"""

from __future__ import annotations

from cubie_planner.packing.search.moves import lift
from cubie_planner.packing.search.state import HUGE


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
