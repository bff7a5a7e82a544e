"""From settings to a plan of an integrator's buffers: made, or given and verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from cubie.buffers import BufferRegistry, Layout
from cubie.errors import InvalidOption, InvalidProblem, UnknownOption
from cubie.factory import LOCATIONS
from cubie_planner import (
    Buffer,
    BufferError,
    Location,
    Plan,
    PlanRejected,
    Problem,
    ProblemError,
    check,
    compose,
)
from cubie_planner.declarations.problem import POLICIES

if TYPE_CHECKING:
    from cubie.launch.kernel import BatchSolverConfig


def plan_layout(
    registry: BufferRegistry, config: BatchSolverConfig, max_local_bytes: int | None = None
) -> Layout:
    """Plan a tree of buffers, or verify that a given plan is one for it.

    Within so many bytes of local memory, where they are given: the rest is in global memory.
    """
    if not isinstance(config.locations, Plan):
        limits = config.limits(max_local_bytes)
        return registry.lay_out(_by_qualified_name(registry, config.locations), limits)
    given = config.locations
    timeline = compose(registry.tree())
    try:
        check(_asked_of(timeline.buffers, given), given)
    except (PlanRejected, ProblemError, BufferError) as error:
        raise InvalidProblem(
            "locations",
            f"is a plan that does not fit this solver: {error}. Plan again, or solve with the "
            "system, method, dtype and pins that it was made for.",
        ) from error
    return Layout(given, timeline)


def _asked_of(buffers: Sequence[Buffer], given: Plan) -> Problem:
    """Return the problem of `buffers` with what the plan was asked beyond them.

    That is its limits and policy, the plan it was to stay close to, and the pins of
    buffers that have none here: they choose among the valid plans, and change none.
    """
    asked = given.problem
    pinned = []
    for buffer in buffers:
        there = asked.by_name.get(buffer.name)
        if there is not None and Location.GLOBAL in there.locations:
            buffer = evolve(buffer, locations=buffer.locations | {Location.GLOBAL})
        if there is not None and buffer.pin in (None, there.pin):
            buffer = evolve(buffer, pin=there.pin, offset=there.offset)
        pinned.append(buffer)
    return Problem(pinned, asked.limits, asked.policy, asked.previous)


def _by_qualified_name(registry: BufferRegistry, locations: Any) -> Any:
    """Let a mapping name buffers as options do (`state`) or as plans do (`loop.state`)."""
    if not isinstance(locations, Mapping):
        if not isinstance(locations, str) or locations not in POLICIES:
            is_word = isinstance(locations, str)
            advice = "" if is_word else "Or give a mapping of buffers to locations, or a Plan."
            raise InvalidOption("locations", locations, POLICIES, advice)
        return locations

    qualified = [buffer.name for buffer in compose(registry.tree()).buffers]
    by_name = {name.rsplit(".", 1)[1]: name for name in qualified} | {q: q for q in qualified}
    for name in locations:
        if name not in by_name:
            raise UnknownOption(name, by_name)
    for name, location in locations.items():
        if location not in LOCATIONS:
            raise InvalidOption(f"locations[{name!r}]", location, LOCATIONS)
    return {by_name[name]: location for name, location in locations.items()}
