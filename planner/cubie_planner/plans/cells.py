"""A plan's table as text: one row per buffer, for CSV and for what people look at."""

from __future__ import annotations

from cubie_planner.plans.answer import Answer, Placement

COLUMNS = (
    *("buffer", "elements", "dtype", "bytes", "location", "offset", "lifetime"),
    *("alias", "pin", "why"),
)


def rows(plan: Answer) -> list[tuple[str, ...]]:
    """Return the table's cells, one row per buffer in declared order."""
    return [row(plan, placement) for placement in plan.placements.values()]


def row(plan: Answer, placement: Placement) -> tuple[str, ...]:
    """Return the cells of one buffer, in the order of `COLUMNS`."""
    spans, inside = placement.lifetime, placement.parent
    return (
        placement.name,
        str(placement.n_elements),
        placement.dtype.name,
        str(placement.size_bytes),
        str(placement.location),
        "" if placement.offset is None else str(placement.offset),
        "always" if spans is None else " ".join(f"{start}-{end}" for start, end in spans),
        "" if inside is None else f"{inside} +{placement.parent_offset}",
        _pin(plan, placement),
        placement.reason,
    )


def _pin(plan: Answer, placement: Placement) -> str:
    if placement.pin is None:
        return ""
    offset = plan.problem.by_name[placement.name].offset
    return str(placement.pin) if offset is None else f"{placement.pin}@{offset}"
