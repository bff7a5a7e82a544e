"""What dimensions, variables and attributes of results are called.

As conventions of climate and forecast data (CF) have it: `long_name` says what a variable is,
`flag_values` and `flag_meanings` what the codes of one mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from cubie.status import RunStatus

RUN, COMPONENT, TIME, POINT = "run", "component", "time", "point"
EVENT, OCCURRENCE, STATE = "event", "occurrence", "state"
STATES, STATUS, T_REACHED = "y", "status", "t_reached"
INPUT, DERIVATIVES = "input", "dy"  # what solutions are differentiated by, and their derivatives
N_EVENTS, T_EVENTS, Y_EVENTS = "n_events", "t_events", "y_events"
DT_EVENTS, DY_EVENTS = "dt_events", "dy_events"
NOT_DONE = -128  # the status of runs that nobody computed yet

COUNTED: Mapping[str, str] = MappingProxyType({
    "n_steps": "accepted steps",
    "n_rejected": "rejected steps",
    "nfev": "evaluations of the right-hand side",
    "njev": "evaluations of its Jacobian",
    "nlu": "LU factorizations",
    "n_newton": "iterations of Newton's method",
    "n_linear": "iterations of the linear solver",
    "n_stiff": "steps by the implicit method",
})  # fmt: skip
"""Work of runs, and what it is."""

LONG_NAMES: Mapping[str, str] = MappingProxyType({
    **COUNTED,
    T_REACHED: "time that the run got to",
    N_EVENTS: "how often an event happened",
    T_EVENTS: "times of events",
    Y_EVENTS: "states at events",
    DERIVATIVES: "derivative of the state by the input",
    DT_EVENTS: "derivative of the time of the event by the input",
    DY_EVENTS: "derivative of the state at the event by the input",
})  # fmt: skip

# What of the work a kernel counts, where that is not what it is called by.
_OF_KERNEL = MappingProxyType({"n_newton": "newton", "n_linear": "linear", "n_stiff": "stiff"})


def counted_of(counters: tuple[str, ...], implicit: bool) -> tuple[str, ...]:
    """Return what of the work is kept, of runs of which a kernel counts these."""
    return tuple(
        name
        for name in COUNTED
        if _OF_KERNEL.get(name, counters[0]) in counters
        and (implicit or name not in ("njev", "nlu"))
    )


def about(name: str) -> dict[str, str]:
    """Return the attributes of a variable."""
    return {"long_name": LONG_NAMES[name]}


DRAWN = {"comment": "drawn for each run by itself"}  # the attribute that tells such variables


def about_coordinate(name: str, initial: bool = False) -> dict[str, str]:
    """Return the attributes of a coordinate; an initial value has the name of its state."""
    told = {COMPONENT: "name of the state", STATE: "name of the state", INPUT: "name of the input"}
    return {"long_name": f"initial {name}" if initial else told.get(name, name)}


def about_states(final: bool) -> dict[str, str]:
    """Return the attributes of the states."""
    return {"long_name": "state at the end of the run" if final else "state"}


def about_status(not_done: bool) -> dict[str, Any]:
    """Return the attributes of the status; of some runs nobody may have computed it yet."""
    codes = {status.name: int(status) for status in RunStatus}
    codes |= {"NOT_DONE": NOT_DONE} if not_done else {}
    codes = dict(sorted(codes.items(), key=lambda item: item[1]))
    return {
        "long_name": "how the run ended; negative codes are failures",
        "flag_values": list(codes.values()),
        "flag_meanings": " ".join(codes),
    }


def parts_of(value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each array of a summary, with its name where there are several."""
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None) or tuple(map(str, range(len(value))))
        for name, part in zip(names, value, strict=True):
            yield name, np.asarray(part)
    else:
        yield "", np.asarray(value)


def of_summary(label: str, quantity: str, part: str) -> tuple[str, str]:
    """Return what a summary, or a part of it, is called, and what its own dimensions begin with."""
    told = f"{label} of {quantity}"
    return (f"{told}: {part}" if part else told), told


def of_derivative(name: str) -> tuple[str, dict[str, str]]:
    """Return what the derivative of a variable by the input is called, and its attributes."""
    return f"d({name})", {"long_name": f"derivative of {name} by the input"}


def own_dimensions(told: str, n: int) -> tuple[str, ...]:
    """Return the dimensions of a summary beyond the run's."""
    return (f"{told}, nth",) if n == 1 else tuple(f"{told}, axis {i}" for i in range(n))
