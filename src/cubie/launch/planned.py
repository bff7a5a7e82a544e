"""What is asked of a kernel, and the plan of its buffers: made, or given and verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from cubie.backend import RegisterLimits
from cubie.buffers import BufferRegistry, Layout
from cubie.errors import InvalidOption, InvalidProblem, UnknownOption
from cubie.factory import LOCATIONS
from cubie_planner import (
    Buffer,
    BufferError,
    Limits,
    Location,
    Plan,
    PlanRejected,
    Problem,
    ProblemError,
    check,
    compose,
)
from cubie_planner.checked import EFFORT
from cubie_planner.declarations.problem import POLICIES
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.launch import registers_for_blocks

DEFAULT_BLOCK_SIZE = 64
REGISTERS = (24, 255)  # of a thread: the fewest the assembler takes, the most there are
MAX_BLOCKS = 32  # resident on a multiprocessor of any device


@frozen
class BatchSolverConfig:
    """Compile-time settings of the batch kernel; memory totals are not among them.

    Attributes
    ----------
    locations : "auto", "local", "shared", "global", mapping of buffer to location, or Plan
    max_shared_bytes : int or None
        Limit per block.
    max_local_bytes : int or None
        Limit of a run, outside shared memory.
    block_size : int
        Runs per block.
    compute_capability : (int, int) or None
        Device that "auto" is chosen for; None where placement costs nothing.
    max_registers : int or None
        Of a thread on a GPU, within `REGISTERS`.
    min_blocks : int or None
        To be resident on a multiprocessor, at most `MAX_BLOCKS`.
    card : str or None
        Which card of that capability, where it is known.
    verify : bool
        Whether the assembler is asked about the plan of "auto".
    effort : int
        Plans that are compiled then, at most, beside the one with everything local.
    any_block_size : bool
        Whether another block size may be chosen then.
    """

    locations: Any = "auto"
    max_shared_bytes: int | None = None
    max_local_bytes: int | None = None
    block_size: int = DEFAULT_BLOCK_SIZE
    compute_capability: tuple[int, int] | None = None
    max_registers: int | None = None
    min_blocks: int | None = None
    card: str | None = None
    verify: bool = False
    effort: int = EFFORT
    any_block_size: bool = False

    @property
    def registers(self) -> RegisterLimits:
        return RegisterLimits(self.max_registers, self.min_blocks)

    @property
    def is_proposed(self) -> bool:
        """Whether a cost model decides on places, for a device."""
        is_auto = isinstance(self.locations, str) and self.locations == "auto"
        return is_auto and self.compute_capability is not None

    @property
    def leaves_places_open(self) -> bool:
        """Whether nobody says where buffers lie, neither a user nor a device's limits."""
        is_auto = isinstance(self.locations, str) and self.locations == "auto"
        return is_auto and self.compute_capability is None and self.max_shared_bytes is None

    @property
    def decides_on_some(self) -> bool:
        """Whether "auto" decides where a buffer lies, if it is not pinned."""
        return isinstance(self.locations, Mapping) or (
            isinstance(self.locations, str) and self.locations == "auto"
        )

    def limits(self, max_local_bytes: int | None = None) -> Limits:
        """Return what the planner is told of the hardware."""
        return Limits(
            max_shared_bytes=self.max_shared_bytes,
            max_local_bytes=max_local_bytes,
            block_size=self.block_size,
            compute_capability=self.compute_capability,
            max_registers=self._registers_planned(),
            card=self.card,
        )

    def _registers_planned(self) -> int | None:
        if self.min_blocks is None or self.compute_capability is None:
            return self.max_registers
        device = Device.for_capability(self.compute_capability)
        most = registers_for_blocks(device, self.block_size, self.min_blocks)
        # Where so many blocks cannot be, the kernel says so.
        return max(1, min(most, self.max_registers or most))


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
