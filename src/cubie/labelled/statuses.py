"""How runs ended, by names and colours: of the attributes that say what codes mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cubie.labelled.words import COUNTED, NOT_DONE, STATUS, T_REACHED
from cubie.status import RunStatus

# Of a run that went well, of one that an event ended, and of one that nobody computed yet.
GOOD = {int(RunStatus.SUCCESS): "#cfe3cf", int(RunStatus.EVENT): "#9ec5e0", NOT_DONE: "#f2f2f2"}
# The same failure has the same colour on all maps: these in turn, from -1 down.
BAD = (
    "#d62728", "#ff7f0e", "#7b3294", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#1f4e9c",
    "#000000", "#7f7f7f", "#2ca02c", "#b8860b", "#5f9ea0",
)  # fmt: skip


# What is true of runs that failed, too.
OF_FAILED = frozenset((*COUNTED, STATUS, T_REACHED))


def is_of_failed(what: str) -> bool:
    """Tell whether a quantity says something of runs that failed: how they ended, their work."""
    return what in OF_FAILED or what.partition(" of ")[2] in OF_FAILED


def told_of(codes: np.ndarray, failed_too: bool, together: str = "") -> str:
    """Return what a picture says of runs that it leaves out; nothing where it leaves out none.

    Parameters
    ----------
    codes : ndarray of int
    failed_too : bool
        Whether it shows those that failed.
    together : str
        What is drawn of all runs that are left: "quantiles", "medians".
    """
    n, not_done = codes.size, int(np.count_nonzero(codes == NOT_DONE))
    failed = 0 if failed_too else int(np.count_nonzero(codes < 0)) - not_done
    if not failed and not not_done:
        return ""
    if together:
        others = f" ({not_done:,} not done)" if not_done and failed else ""
        what = "did not fail" if failed else "are done"
        return f"{together} of the {n - failed - not_done:,} of {n:,} runs that {what}{others}"
    if not failed:
        return f"{not_done:,} of {n:,} runs not done"
    others = f"; {not_done:,} not done" if not_done else ""
    return f"{failed:,} of {n:,} runs failed, left out{others}"


def told_of_one(code: int, about: Mapping[str, Any]) -> str:
    """Return what a picture of one run says of its end; nothing where that went well."""
    if code == NOT_DONE:
        return "the run is not done"
    return f"the run failed: {names_of(about).get(code, code)}" if code < 0 else ""


def names_of(about: Mapping[str, Any]) -> dict[int, str]:
    """Return what codes mean, as the attributes of a status say."""
    values, meanings = about.get("flag_values"), about.get("flag_meanings")
    if values is None or meanings is None:
        return {int(status): status.name for status in RunStatus} | {NOT_DONE: "NOT_DONE"}
    return {int(v): name for v, name in zip(values, str(meanings).split(), strict=True)}


def colour_of(code: int) -> str:
    """Return the colour of a code."""
    return GOOD.get(code) or BAD[(-code - 1) % len(BAD)]
