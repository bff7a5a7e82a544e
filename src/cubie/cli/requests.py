"""What the command line asks beyond its input: limits, policy, pins, and the plan before."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, field, frozen
from attrs.converters import optional

from cubie.cli.errors import InputError, meant, one_line
from cubie.cli.objectives import COST
from cubie.launch.planned import REGISTERS
from cubie_planner import Location, Plan, Problem
from cubie_planner.basics import nearest_hint
from cubie_planner.declarations.buffers import Buffer, BufferError
from cubie_planner.declarations.global_memory import offering_global
from cubie_planner.declarations.places import TILE, Place
from cubie_planner.gpu.cards import Target, card_named
from cubie_planner.gpu.cost import CostError
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.launch import registers_for_blocks
from cubie_planner.gpu.objective import recommend_block_size

AUTO = "auto"
DEFAULT_DEVICE = "sm_90"
BLOCK_SIZES = (32, 64, 128, 256, 512)


@frozen
class Pin:
    """``NAME=LOCATION[@OFFSET]``; the location may be a pool of the problem."""

    name: str
    location: str
    offset: int | None

    def __str__(self) -> str:
        at = "" if self.offset is None else f"@{self.offset}"
        return f"{self.name}={self.location}{at}"

    @classmethod
    def parse(cls, text: str) -> Pin:
        """Read a pin, or raise ValueError saying how one is written."""
        name, equals, place = text.partition("=")
        where, at, offset = place.partition("@")
        if not (name and equals and where) or (at and not offset.isdecimal()):
            raise ValueError(
                f"{text!r} is not NAME=LOCATION[@OFFSET], such as state=shared or state=shared@64"
            )
        return cls(name, where, int(offset) if at else None)

    def place_in(self, problem: Problem) -> Place:
        """Return the place that is named: one that every kernel has, or a pool of the problem.

        Raises
        ------
        InputError
            For any other name.
        """
        known = {str(place): place for place in (*Location, TILE, *problem.pools.values())}
        if self.location not in known:
            raise InputError(
                f"--pin {self}: location {self.location!r} is unknown"
                f"{nearest_hint(self.location, known)}; allowed: {', '.join(map(repr, known))}"
            )
        return known[self.location]


@frozen
class Request:
    """Options of the command; None where not given.

    Attributes
    ----------
    block_size : int, "auto" or None
    max_registers, min_blocks : int or None
        Of a thread, and resident on a multiprocessor.
    device : Target or None
        What --arch or --device names.
    objective : str
        Of `cubie.cli.objectives.OBJECTIVES`.
    """

    block_size: int | str | None = None
    max_shared: int | None = None
    max_registers: int | None = None
    min_blocks: int | None = None
    device: Target | None = field(default=None, converter=optional(Target.find))
    locations: str | None = None
    pins: Sequence[Pin] = ()
    previous: Plan | None = None
    objective: str = COST

    def applied_to(self, problem: Problem, model: bool) -> Problem:
        """Return `problem` as the command line wants it; what it leaves open stays.

        A model is planned for a device, and by default under that device's limit.
        """
        limits = problem.limits
        if isinstance(self.block_size, int):
            limits = evolve(limits, block_size=self.block_size)
        if self.device is not None:
            capability, card = self.device.device.capability, self.device.card_name
            limits = evolve(limits, compute_capability=capability, card=card)
        if model and limits.max_shared_bytes is None and limits.compute_capability is not None:
            most = Device.for_capability(limits.compute_capability).shared_per_block_optin
            limits = evolve(limits, max_shared_bytes=most)
        if self.max_shared is not None:
            limits = evolve(limits, max_shared_bytes=self.max_shared)
        places = [self.locations, *(pin.location for pin in self.pins)]
        if model and Location.GLOBAL in places:
            problem = evolve(problem, buffers=offering_global(problem.buffers))
        asked = evolve(
            problem,
            buffers=_pinned(problem, self.pins),
            limits=limits,
            policy=problem.policy if self.locations is None else self.locations,
            previous=problem.previous if self.previous is None else self.previous,
        )
        _require_device_holds(asked)
        if self.objective != COST and asked.names_a_place:
            raise InputError(
                f"--objective {self.objective} chooses among places, and locations "
                f"{asked.policy!r} leave no choice; give --locations auto"
            )
        if self.max_registers is not None:
            asked = evolve(asked, limits=evolve(asked.limits, max_registers=self.max_registers))
        if self.block_size == AUTO:
            asked = _with_best_block_size(asked)
        return asked if self.min_blocks is None else _with_room_for(asked, self.min_blocks)


def _with_room_for(problem: Problem, n_blocks: int) -> Problem:
    """Return the problem with registers limited so that so many blocks are resident."""
    limits = problem.limits
    if limits.compute_capability is None:
        raise InputError("--min-blocks needs a target: give --arch, such as sm_90")
    device, size = Device.for_capability(limits.compute_capability), limits.block_size
    most = registers_for_blocks(device, size, n_blocks)
    if most < REGISTERS[0]:
        raise InputError(
            f"--min-blocks {n_blocks}: on {device.name} no {n_blocks} blocks of {size} threads are "
            "resident at once; give a smaller number, or a smaller --block-size"
        )
    most = most if limits.max_registers is None else min(most, limits.max_registers)
    return evolve(problem, limits=evolve(limits, max_registers=most))


def _require_device_holds(problem: Problem) -> None:
    limits = problem.limits
    if limits.compute_capability is None:
        return
    device = Device.for_capability(limits.compute_capability)
    most = device.shared_per_block_optin
    if limits.max_shared_bytes is not None and limits.max_shared_bytes > most:
        raise InputError(
            f"max_shared is {limits.max_shared_bytes} B, but a block on {device.name} has at most "
            f"{most} B; lower it or choose another --arch"
        )
    if limits.block_size > device.threads_per_block:
        raise InputError(
            f"block_size is {limits.block_size}, but a block on {device.name} has at most "
            f"{device.threads_per_block} threads"
        )


def _with_best_block_size(problem: Problem) -> Problem:
    if problem.limits.compute_capability is None:
        raise InputError("--block-size auto needs a target: give --arch, such as sm_90")
    try:
        size, _ = recommend_block_size(problem, BLOCK_SIZES)
    except CostError:  # no size can hold the pins; planning for the smallest one says why
        size = min(BLOCK_SIZES)
    return evolve(problem, limits=evolve(problem.limits, block_size=size))


def _pinned(problem: Problem, pins: Sequence[Pin]) -> tuple[Buffer, ...]:
    """Return the buffers with pins set; a buffer goes by its whole name or the end of it."""
    chosen: dict[str, Pin] = {}
    for pin in pins:
        name = buffer_named(problem, pin.name)
        if name in chosen:
            raise InputError(f"--pin {pin.name}: is given twice")
        chosen[name] = pin
    return tuple(_pin(problem, buffer, chosen.get(buffer.name)) for buffer in problem.buffers)


def buffer_named(problem: Problem, given: str) -> str:
    """Return the whole name of the buffer that is meant by it or by the end of it."""
    if given in problem.by_name:
        return given
    ends = {name: name.rsplit(".", 1)[-1] for name in problem.by_name}
    found = [name for name, end in ends.items() if end == given]
    if len(found) > 1:
        raise InputError(f"--pin {given}: may be any of {', '.join(found)}; give the whole name")
    if not found:
        hint = meant(given, [*ends.values(), *ends])
        raise InputError(f"--pin {given}: there is no such buffer{hint}")
    return found[0]


def _pin(problem: Problem, buffer: Buffer, pin: Pin | None) -> Buffer:
    if pin is None:
        return buffer
    place = pin.place_in(problem)
    try:
        return evolve(buffer, pin=buffer.resolve(place), offset=pin.offset)
    except BufferError as error:
        raise InputError(f"--pin {pin.name}: {one_line(error)}") from error


def device_of(limit: str) -> Target:
    """Return the device whose limit was asked for, or the one that models are planned for."""
    named = limit.lower().startswith("sm_") or card_named(limit) is not None
    return Target.find(limit if named else DEFAULT_DEVICE)


def note_on_device(problem: Problem) -> str:
    """Return what stands in for a device that is not listed; nothing for others."""
    capability = problem.limits.compute_capability
    return "" if capability is None else Device.for_capability(capability).note
