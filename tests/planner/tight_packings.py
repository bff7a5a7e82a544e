"""Packing problems without slack: a full rectangle of time and bytes, cut into pieces.

Every byte of the capacity is used at every point of time, so that only a packing without a
gap will do. Cuts go right through (guillotine) or turn round a centre (a pinwheel, which no
cut goes through); unless asked for, ends do not fall together, as in real programs.
"""

import random

from cubie_planner.packing import PackingProblem

TIME, BYTES = 10_000, 1 << 20

Piece = tuple[int, int, int, int]
"""Start, end, lowest byte, byte after the highest."""


def tight_packing(seed: int) -> PackingProblem:
    """Return 150 to 500 items that fill `BYTES` without a gap, in a shuffled order."""
    chance = random.Random(seed)
    count = chance.randint(150, 500)
    pinwheels = (0.0, 0.15, 0.4)[seed % 3]
    unit = (1, 512, 4096)[seed // 3 % 3]
    pieces = cut(chance, count, pinwheels, unit)
    chance.shuffle(pieces)
    return PackingProblem(
        [high - low for _, _, low, high in pieces],
        [1] * len(pieces),
        [[(start, end)] for start, end, _, _ in pieces],
    )


def cut(chance: random.Random, count: int, pinwheels: float, unit: int) -> list[Piece]:
    """Cut the rectangle until there are `count` pieces, of sizes that are multiples of `unit`."""
    pieces: list[Piece] = [(0, TIME, 0, BYTES)]
    while len(pieces) < count:
        # Large pieces first, mostly: real buffers differ by two or three decades, not by six.
        some = [chance.randrange(len(pieces)) for _ in range(4)]
        index = max(some, key=lambda i: _area(pieces[i]))
        parts = _pinwheel(chance, pieces[index], unit) if chance.random() < pinwheels else None
        parts = parts or _halves(chance, pieces[index], unit)
        if parts is not None:
            pieces[index : index + 1] = parts
    return pieces


def _area(piece: Piece) -> int:
    return (piece[1] - piece[0]) * (piece[3] - piece[2])


def _halves(chance: random.Random, piece: Piece, unit: int) -> list[Piece] | None:
    start, end, low, high = piece
    wide = (end - start) / TIME > (high - low) / BYTES
    if (chance.random() < 0.8) == wide:
        at = _between(chance, start, end, 1)
        return None if at is None else [(start, at, low, high), (at, end, low, high)]
    at = _between(chance, low, high, unit)
    return None if at is None else [(start, end, low, at), (start, end, at, high)]


def _pinwheel(chance: random.Random, piece: Piece, unit: int) -> list[Piece] | None:
    start, end, low, high = piece
    times = sorted(_between(chance, start, end, 1) or 0 for _ in range(2))
    sizes = sorted(_between(chance, low, high, unit) or 0 for _ in range(2))
    (a, b), (c, d) = times, sizes
    if not (start < a < b < end and low < c < d < high):
        return None
    return [
        (start, b, low, c),
        (b, end, low, d),
        (a, end, d, high),
        (start, a, c, high),
        (a, b, c, d),
    ]


def _between(chance: random.Random, first: int, last: int, unit: int) -> int | None:
    """Return a multiple of `unit` strictly between two, nearer to the middle than to them."""
    steps = (last - first) // unit
    if steps < 2:
        return None
    share = 0.5 + 0.35 * (chance.random() + chance.random() - 1)
    return first + unit * min(max(int(steps * share), 1), steps - 1)
