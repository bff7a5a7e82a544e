"""What a packing must satisfy, and the lowest height by trying everything: no shared code."""

import bisect
import random

from cubie_planner.packing import PackingProblem


def spans_of(problem):
    """Return the lifetimes with None spelled out as always."""
    given = [spans for spans in problem.lifetimes if spans is not None]
    always = ((min(s[0][0] for s in given), max(s[-1][1] for s in given)),) if given else ((0, 1),)
    return [always if spans is None else spans for spans in problem.lifetimes]


def ancestors(parents, item):
    """Return all items that `item` lies inside of."""
    found = set()
    while parents[item] >= 0:
        item = parents[item]
        found.add(item)
    return found


def rivals(problem):
    """Return, per item, the items it must not overlap."""
    spans = spans_of(problem)
    above = [ancestors(problem.parents, i) for i in range(len(spans))]

    def clash(i, j):
        related = i == j or i in above[j] or j in above[i]
        empty = problem.sizes[i] == 0 or problem.sizes[j] == 0
        together = any(s < f and t < e for s, e in spans[i] for t, f in spans[j])
        return together and not related and not empty

    return [[j for j in range(len(spans)) if clash(i, j)] for i in range(len(spans))]


def fault(problem, offsets, capacity=None):
    """Return what is wrong with a packing, or None."""
    against = rivals(problem)
    for i, size in enumerate(problem.sizes):
        start = offsets[i]
        if size == 0:
            continue
        if start < 0 or start % problem.alignments[i]:
            return f"alignment of {i}"
        if capacity is not None and start + size > capacity:
            return f"capacity at {i}"
        if problem.fixed_offsets[i] not in (-1, start):
            return f"pin of {i}"
        parent = problem.parents[i]
        if parent >= 0:
            inside = start - offsets[parent]
            if not 0 <= inside <= problem.sizes[parent] - size:
                return f"{i} outside its parent"
            if problem.parent_offsets[i] not in (-1, inside):
                return f"distance of {i}"
        for j in against[i]:
            if start < offsets[j] + problem.sizes[j] and offsets[j] < start + size:
                return f"{i} overlaps {j}"
    return None


def first_overlap(problem, offsets):
    """Return two items that overlap, or None, by a sweep over time: for single intervals."""
    events = []
    for item, ((start, end),) in enumerate(problem.lifetimes):
        events += [(start, 1, item), (end, 0, item)]
    live = []
    for _, starts, item in sorted(events):
        mine = (offsets[item], item)
        spot = bisect.bisect_left(live, mine)
        if not starts:
            del live[spot]
            continue
        for _, other in live[max(spot - 1, 0) : spot + 1]:
            first, second = sorted((item, other), key=lambda i: offsets[i])
            if offsets[second] < offsets[first] + problem.sizes[first]:
                return item, other
        live.insert(spot, mine)
    return None


def lowest_height(problem, top):
    """Return the lowest height up to `top` by trying every offset, or None."""
    against = rivals(problem)
    sizes, pins, parents = problem.sizes, problem.fixed_offsets, problem.parents
    order = [i for i in range(len(sizes)) if sizes[i] > 0]
    order.sort(key=lambda i: len(ancestors(parents, i)))
    offsets = {}
    best = [top + 1]

    def candidates(i):
        if parents[i] >= 0:
            if parents[i] not in offsets:
                return ()
            base, room = offsets[parents[i]], sizes[parents[i]] - sizes[i]
            sub = problem.parent_offsets[i]
            inside = range(base, base + room + 1)
            if sub >= 0:
                inside = [base + sub] if sub <= room else ()
        else:
            inside = range(best[0] - sizes[i])
        return [o for o in inside if o % problem.alignments[i] == 0 and pins[i] in (-1, o)]

    def extend(k, height):
        if height >= best[0]:
            return
        if k == len(order):
            best[0] = height
            return
        i = order[k]
        for o in candidates(i):
            if all(
                j not in offsets or offsets[j] >= o + sizes[i] or o >= offsets[j] + sizes[j]
                for j in against[i]
            ):
                offsets[i] = o
                extend(k + 1, max(height, o + sizes[i]))
                del offsets[i]

    extend(0, 0)
    return best[0] if best[0] <= top else None


def random_problem(seed, most):
    """Return up to `most` small items with gaps, alignments, pins and nesting."""
    chance = random.Random(seed)
    count = chance.randint(1, most)
    sizes = [chance.randint(int(chance.random() > 0.1), 6) for _ in range(count)]
    alignments = [chance.choice([1, 1, 2, 4]) for _ in range(count)]
    lifetimes = []
    for _ in range(count):
        points = sorted(chance.sample(range(8), chance.choice([2, 2, 2, 4])))
        lifetimes.append(
            None if chance.random() < 0.08 else list(zip(points[::2], points[1::2], strict=True))
        )
    parents, subs = [-1] * count, [-1] * count
    for i in range(1, count):
        if chance.random() < 0.35:
            parents[i] = chance.randrange(i)
            room = sizes[parents[i]] - sizes[i]
            if room < 0 and chance.random() < 0.8:
                sizes[i], room = sizes[parents[i]], 0
            if chance.random() < 0.4 and room >= 0:
                subs[i] = chance.randint(0, room)
    pins = [a * chance.randint(0, 4) if chance.random() < 0.12 else -1 for a in alignments]
    return PackingProblem(sizes, alignments, lifetimes, pins, parents, subs)


def random_kernel(seed, count, nested=False, pinned=False, gaps=True):
    """Return `count` items like the buffers of a kernel, mostly short-lived."""
    chance = random.Random(seed * 1000 + count)
    sizes = [chance.choice([4, 8]) * chance.randint(1, 40) for _ in range(count)]
    alignments = [8 if s % 8 == 0 and chance.random() < 0.7 else 4 for s in sizes]
    end = 2 * count
    lifetimes = []
    for _ in range(count):
        start = chance.randrange(end - 4)
        spans = [(start, min(end, start + chance.randint(1, end // 5)))]
        if gaps and chance.random() < 0.3 and spans[0][1] + 3 < end:
            start = chance.randrange(spans[0][1] + 1, end - 1)
            spans.append((start, min(end, start + chance.randint(1, end // 6))))
        lifetimes.append(spans)
    parents, subs, pins = [-1] * count, [-1] * count, [-1] * count
    for i in range(1, count):
        p = chance.randrange(i)
        if nested and chance.random() < 0.2 and sizes[p] >= sizes[i] and parents[p] < 0:
            parents[i] = p
            if chance.random() < 0.3:
                subs[i] = chance.randrange((sizes[p] - sizes[i]) // 8 + 1) * 8
    for i in range(count):
        if pinned and chance.random() < 0.05 and parents[i] < 0:
            pins[i] = 8 * chance.randint(0, 60)
    return PackingProblem(sizes, alignments, lifetimes, pins, parents, subs)


def tiling(seed, count, width, height):
    """Return a problem whose lowest height is `height`: a rectangle cut into pieces."""
    chance = random.Random(seed)
    pieces = [(0, width, 0, height)]
    while len(pieces) < count:
        s, e, lo, hi = pieces.pop(chance.randrange(len(pieces)))
        if chance.random() < 0.5 and e - s > 1:
            cut = chance.randrange(s + 1, e)
            pieces += [(s, cut, lo, hi), (cut, e, lo, hi)]
        elif hi - lo > 1:
            cut = chance.randrange(lo + 1, hi)
            pieces += [(s, e, lo, cut), (s, e, cut, hi)]
        else:
            pieces.append((s, e, lo, hi))
    chance.shuffle(pieces)
    return PackingProblem(
        [hi - lo for _, _, lo, hi in pieces],
        [1] * count,
        [[(s, e)] for s, e, _, _ in pieces],
    )
