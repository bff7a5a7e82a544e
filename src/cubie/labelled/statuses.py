"""How runs ended, by names and colours: of the attributes that say what codes mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cubie.labelled.words import NOT_DONE
from cubie.status import RunStatus

# Of a run that went well, of one that an event ended, and of one that nobody computed yet.
GOOD = {int(RunStatus.SUCCESS): "#cfe3cf", int(RunStatus.EVENT): "#9ec5e0", NOT_DONE: "#f2f2f2"}
# The same failure has the same colour on all maps: these in turn, from -1 down.
BAD = (
    "#d62728", "#ff7f0e", "#7b3294", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#1f4e9c",
    "#000000", "#7f7f7f", "#2ca02c", "#b8860b", "#5f9ea0",
)  # fmt: skip


def names_of(about: Mapping[str, Any]) -> dict[int, str]:
    """Return what codes mean, as the attributes of a status say."""
    values, meanings = about.get("flag_values"), about.get("flag_meanings")
    if values is None or meanings is None:
        return {int(status): status.name for status in RunStatus} | {NOT_DONE: "NOT_DONE"}
    return {int(v): name for v, name in zip(values, str(meanings).split(), strict=True)}


def colour_of(code: int) -> str:
    """Return the colour of a code."""
    return GOOD.get(code) or BAD[(-code - 1) % len(BAD)]
