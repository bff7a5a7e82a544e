"""Where something fits among what lies there already: all first fits ask here."""

from __future__ import annotations

from cubie_planner.basics import round_up


def lowest(
    clashes: list[tuple[int, int]], unit: int, least: int = 0, wanted: int = -1, snug: bool = False
) -> int | None:
    """Return a multiple of `unit`, at least `least`, strictly inside no interval of `clashes`.

    `wanted` >= 0 is the only place allowed. `snug` asks for the tightest gap instead of
    the lowest one.
    """
    if wanted >= 0:
        free = all(not lo < wanted < hi for lo, hi in clashes)
        return wanted if free and wanted % unit == 0 else None
    clashes.sort()
    spot = round_up(least, unit)
    tightest: int | None = None
    waste = 0
    for lo, hi in clashes:
        if spot <= lo:
            if not snug:
                return spot
            if tightest is None or lo - spot < waste:
                tightest, waste = spot, lo - spot
        if hi > spot:
            spot = round_up(hi, unit)
    return spot if tightest is None else tightest
