"""Random problems with every feature, reproducible from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import evolve

from cubie_planner import Alias, Buffer, Limits, Location, Pool, Problem
from cubie_planner.declarations.places import TILE

ALL = (Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT)
PLACES = (ALL, ALL, ALL, ("shared", "local"), ("shared", "local_persistent"), ("shared",))


def tiny_problem(seed: int, n: int) -> Problem:
    """A problem of a few bytes, small enough for brute force, often impossible."""
    rng = random.Random(seed)
    buffers = [
        _buffer(rng, index, ("u1", "u1", "u2", "u4"), (1, 1, 2, 3), points=4) for index in range(n)
    ]
    return _problem(rng, buffers, shares=(0.2, 0.4, 0.7, 1.0))


def with_global_memory(problem: Problem, seed: int) -> Problem:
    """The same problem where some buffers may be in global memory, and some must."""
    rng = random.Random(seed)
    size = rng.choice([b.itemsize for b in problem.buffers if b.size_bytes] or [0])
    outside = {
        b.name
        for b in problem.buffers
        if b.itemsize == size and b.size_bytes and rng.random() < 0.8
    }
    buffers = [
        evolve(b, locations=b.locations | {Location.GLOBAL}) if b.name in outside else b
        for b in problem.buffers
    ]
    free = [b.name for b in buffers if b.name in outside and b.pin is None]
    pinned = rng.sample(free, min(len(free), rng.choice((0, 1, 1, 2))))
    buffers = [evolve(b, pin=Location.GLOBAL) if b.name in pinned else b for b in buffers]
    policy = "global" if rng.random() < 0.25 and outside else problem.policy
    return evolve(problem, buffers=buffers, policy=policy)


def with_pools(problem: Problem, seed: int) -> Problem:
    """The same problem where some buffers belong to the block, and both kinds may be in pools.

    What is tied by aliases belongs to one of them together.
    """
    rng = random.Random(seed)
    room = sum(b.size_bytes for b in problem.buffers)
    capacities = (None, room // 4, room // 2, room)
    scratch = Pool("scratch", rng.choice(capacities), "block", rng.choice((0, 1, 2.5)))
    near = Pool("near", rng.choice(capacities), "thread", rng.choice((0, 0.5, 3)))
    families: dict[str, bool] = {}
    buffers = []
    for buffer in problem.buffers:
        known = [families[a.parent] for a in buffer.aliases]
        of_block = known[0] if known else rng.random() < 0.5
        families[buffer.name] = of_block
        aliases = [a for a in buffer.aliases if families[a.parent] == of_block]
        options: dict = {"aliases": aliases, "pin": None, "offset": None}
        if of_block:
            places = rng.choice(((TILE,), (TILE, scratch), (TILE, scratch), (scratch,)))
        else:
            places = rng.choice((buffer.locations, (*buffer.locations, near), ("shared", near)))
        options["locations"] = places
        if buffer.pin is not None and rng.random() < 0.7:
            options["pin"] = rng.choice(sorted(places))
            if options["pin"] is not Location.LOCAL:
                options["offset"] = buffer.offset
        buffers.append(evolve(buffer, **options))
    policy = problem.policy if isinstance(problem.policy, str) else "auto"
    return evolve(problem, buffers=buffers, policy=policy)


def clashing_problem(seed: int, n: int) -> Problem:
    """A problem whose pins, views and limit often cannot hold together."""
    rng = random.Random(seed)
    counts = (1, 2, 3, 4, 6, 8, 12, 16, 30)
    buffers = [_buffer(rng, index, ("f4", "f8", "u1"), counts, points=n) for index in range(n)]
    return _problem(rng, buffers, shares=(0.1, 0.2, 0.4, 0.7))


def kernel_problem(seed: int, n: int) -> Problem:
    """A problem like those of kernels: every feature, and usually possible.

    A view fits its parent and goes where that goes; at most one buffer has a pinned offset.
    """
    rng = random.Random(seed)
    counts = (1, 2, 3, 4, 6, 8, 12, 16, 30)
    dtypes = ("f4", "f4", "f8", "i4", "u1")
    buffers: list[Buffer] = []
    offset_pins = 0
    for index in range(n):
        buffer = _buffer(rng, index, dtypes, counts, points=n)
        if buffer.alias_required:
            host = buffers[int(buffer.aliases[0].parent[1:])]
            size = rng.randrange(1, host.n_elements + 1) if host.n_elements else 0
            buffer = evolve(
                buffer,
                n_elements=size,
                dtype=host.dtype,
                alignment=None,
                aliases=(Alias(host.name),),
                pin=None,
                offset=None,
                locations=ALL,
                enabled=host.enabled,
            )
        elif buffer.offset is not None:
            offset_pins += 1
            buffer = evolve(buffer, offset=buffer.offset if offset_pins == 1 else None)
        buffers.append(buffer)
    return _problem(rng, buffers, shares=(0.5, 0.8, 1.2))


def _problem(rng: random.Random, buffers: Sequence[Buffer], shares: Sequence[float]) -> Problem:
    block_size = rng.choice((1, 1, 4, 32))
    limit = None
    if rng.random() < 0.5:
        limit = int(rng.choice(shares) * block_size * sum(b.size_bytes for b in buffers))
    policy = rng.choice(("auto", "local", "shared", "shared", "mapping"))
    if policy == "mapping":
        free = [b for b in buffers if b.pin is None and not b.alias_required]
        named = rng.sample(free, min(2, len(free)))
        policy = {b.name: rng.choice(sorted(b.locations)) for b in named}
    return Problem(buffers, Limits(limit, block_size, None, rng.random() < 0.7), policy)


def _buffer(rng: random.Random, index: int, dtypes, counts, points: int) -> Buffer:
    options: dict = {"locations": rng.choice(PLACES)}
    if rng.random() < 0.9:
        options["lifetime"] = _lifetime(rng, points)
    else:
        options["persistent"] = rng.random() < 0.5
    if rng.random() < 0.15:
        options["pin"] = Location.parse(rng.choice(options["locations"]))
        if options["pin"] is not Location.LOCAL and rng.random() < 0.3:
            options["offset"] = 8 * rng.randrange(3)
    if rng.random() < 0.1:
        options["alignment"] = 8
    if index and rng.random() < 0.35:
        parents = rng.sample(range(index), min(index, rng.choice((1, 1, 2, 3))))
        options["aliases"] = [Alias(f"b{p}", rng.choice((None, None, 0, 4))) for p in parents]
        options["alias_required"] = rng.random() < 0.15
        # By a generator of its own, so that all else is what it was.
        if not options["alias_required"] and random.Random(str(options)).random() < 0.2:
            apart = [evolve(alias, across_frames=True) for alias in options["aliases"]]
            options["aliases"] = apart
    options["enabled"] = rng.random() < 0.95
    return Buffer(f"b{index}", rng.choice(counts), rng.choice(dtypes), **options)


def _lifetime(rng: random.Random, points: int) -> tuple[tuple[int, int], ...]:
    pieces = 2 if rng.random() < 0.35 and points >= 4 else 1
    cuts = sorted(rng.sample(range(points + 1), 2 * pieces))
    return tuple((cuts[i], cuts[i + 1]) for i in range(0, 2 * pieces, 2))
