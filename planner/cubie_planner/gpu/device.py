"""Launch limits per compute capability, and occupancy arithmetic.

A `Device` says what one multiprocessor (SM) offers and what one block may ask
for. `occupancy` counts the blocks that fit at once; `best_block_size` searches
the block size that keeps the most threads resident.

Figures come from `devices.json`, where each row names its source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources

from attrs import evolve, field, frozen

from cubie_planner.basics import PlannerError, round_up

Capability = tuple[int, int]


class DeviceError(PlannerError, ValueError):
    """A compute capability or a launch shape that cannot be used.

    Attributes
    ----------
    given : object
        What was asked for.
    allowed : tuple
        What would have been accepted.
    """

    def __init__(self, message: str, given: object, allowed: tuple = ()) -> None:
        super().__init__(message)
        self.given = given
        self.allowed = allowed


class Resource(StrEnum):
    """What can stop another block from becoming resident."""

    WARPS = "warps"
    BLOCKS = "blocks"
    REGISTERS = "registers"
    SHARED = "shared"


@frozen(kw_only=True)
class Device:
    """Limits of one compute capability; all sizes in bytes.

    Attributes
    ----------
    capability : tuple of int
        (major, minor).
    shared_per_block_static, shared_per_block_optin : int
        Most shared memory of one block: without any request, and with the
        opt-in for dynamic shared memory.
    shared_per_sm, shared_reserved_per_block, shared_granularity : int
        Shared memory of one SM, what the system takes from it per resident
        block, and the unit it is allocated in.
    registers_per_sm, registers_per_block, registers_per_thread : int
        32-bit registers.
    register_granularity : int
        Registers are allocated to a warp in multiples of this.
    warp_granularity : int
        Sub-partitions of an SM; each holds its own share of the registers.
    unified_cache : int
        L1 cache and shared memory together.
    carveouts : tuple of int
        Sizes the shared part of the unified cache can be set to.
    source : str
        Where the figures are documented.
    note : str
        That the figures are those of another capability, where its own are not listed.
    """

    capability: Capability
    warps_per_sm: int
    blocks_per_sm: int
    shared_per_sm: int
    shared_per_block_optin: int
    shared_reserved_per_block: int
    shared_granularity: int
    unified_cache: int
    carveouts: tuple[int, ...]
    source: str = field(repr=False)
    shared_per_block_static: int
    shared_banks: int
    registers_per_sm: int
    registers_per_block: int
    registers_per_thread: int
    register_granularity: int
    warp_granularity: int
    warp_size: int
    threads_per_block: int
    note: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The architecture as compilers spell it, such as ``sm_90``."""
        return f"sm_{self.capability[0]}{self.capability[1]}"

    @property
    def threads_per_sm(self) -> int:
        """Most threads resident on one SM."""
        return self.warps_per_sm * self.warp_size

    def l1_bytes(self, shared_per_sm: int) -> int:
        """L1 cache left when an SM must hold `shared_per_sm` bytes of shared memory.

        The shared part is the smallest carve-out that is large enough, which is
        what the driver chooses by default.
        """
        for carveout in self.carveouts:
            if carveout >= shared_per_sm:
                return self.unified_cache - carveout
        raise DeviceError(
            f"{shared_per_sm} B of shared memory per multiprocessor exceed the "
            f"{self.shared_per_sm} B of {self.name}; let fewer blocks be resident.",
            shared_per_sm,
            self.carveouts,
        )

    @classmethod
    def for_capability(cls, capability: Capability) -> Device:
        """The device of a compute capability such as ``(9, 0)``.

        One that is not in the table has the figures of the nearest that is, and a `note`: what a
        driver reports is a device, whether or not this package was told of it.

        Raises
        ------
        DeviceError
            If it is no pair of numbers, or older than all that are known.
        """
        try:
            major, minor = (int(part) for part in capability)
        except (TypeError, ValueError):
            raise DeviceError(
                f"compute capability {capability!r} is not a pair (major, minor) such as (9, 0).",
                capability,
                tuple(known_devices()),
            ) from None
        devices = known_devices()
        if (major, minor) in devices:
            return devices[major, minor]
        near = nearest_known((major, minor))
        if (major, minor) < min(devices):
            known = ", ".join(f"{a}.{b}" for a, b in devices)
            raise DeviceError(
                f"compute capability {major}.{minor} is not known; the nearest is "
                f"{near[0]}.{near[1]}. Known: {known}.",
                capability,
                tuple(devices),
            )
        note = (
            f"The limits of compute capability {major}.{minor} are not listed: those of "
            f"{near[0]}.{near[1]} are taken."
        )
        return evolve(devices[near], capability=(major, minor), note=note)

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device named by ``sm_90``, ``compute_90``, ``sm_90a``, ``9.0`` or ``90``.

        Raises
        ------
        DeviceError
            If the text has another form or names a capability of no generation that is near.
        """
        match = re.fullmatch(
            r"(?:(?:sm|compute|cc)_?)?(\d+)(?:\.(\d)|(\d))[af]?", text.strip().lower()
        )
        if match is None:
            raise DeviceError(
                f"{text!r} names no compute capability; write it like 'sm_90', '9.0' or '90'.",
                text,
                tuple(device.name for device in known_devices().values()),
            )
        capability = (int(match[1]), int(match[2] or match[3]))
        newest = max(known_devices())
        if capability[0] > newest[0] + 1:  # people mistype; drivers do not
            told = "compute capability {}.{} is of no generation that is near; the newest is {}.{}."
            raise DeviceError(told.format(*capability, *newest), capability, tuple(known_devices()))
        return cls.for_capability(capability)


def nearest_known(capability: Capability) -> Capability:
    """Return a capability of the table: that one, or the nearest where it is not listed."""
    return min(known_devices(), key=lambda known: _capability_distance(known, capability))


def _capability_distance(known: Capability, wanted: Capability) -> tuple[int, int, int]:
    """Order by generation, then by minor; the older one wins a tie."""
    return abs(known[0] - wanted[0]), abs(known[1] - wanted[1]), known[0] * 100 + known[1]


@cache
def known_devices() -> Mapping[Capability, Device]:
    """All devices of the table, in order of their capability."""
    table = json.loads(resources.files("cubie_planner.gpu").joinpath("devices.json").read_text())
    devices = {}
    for row in table["devices"]:
        capability = (row["capability"][0], row["capability"][1])
        values = {**table["common"], **row}
        values["capability"] = capability
        values["carveouts"] = tuple(row["carveouts"])
        devices[capability] = Device(**values)
    return devices


@frozen(kw_only=True)
class Occupancy:
    """How many blocks of one launch are resident on an SM at once.

    Attributes
    ----------
    blocks_per_sm, warps, threads : int
        Resident blocks, their warps, and their threads.
    fraction : float
        Resident warps over the most the SM can hold.
    limited_by : tuple of Resource
        Everything that stops the next block.
    """

    blocks_per_sm: int
    warps: int
    threads: int
    fraction: float
    limited_by: tuple[Resource, ...]


def allocated_shared_bytes(device: Device, shared_bytes_per_block: int) -> int:
    """What a block takes from the SM's shared memory, reserve and rounding included."""
    asked = shared_bytes_per_block + device.shared_reserved_per_block
    return round_up(asked, device.shared_granularity)


def occupancy(
    device: Device,
    threads_per_block: int,
    registers_per_thread: int,
    shared_bytes_per_block: int = 0,
) -> Occupancy:
    """Blocks that fit on one SM at once.

    The same rules as NVIDIA's occupancy calculator, with the largest carve-out:
    registers go to warps in multiples of `register_granularity` out of the share
    of one sub-partition; shared memory goes to blocks in multiples of
    `shared_granularity`, with the reserve added.

    Parameters
    ----------
    device : Device
    threads_per_block : int
        1 to 1024.
    registers_per_thread : int
        As the assembler reports it; 0 for none.
    shared_bytes_per_block : int
        Static and dynamic shared memory together.

    Returns
    -------
    Occupancy
        With 0 blocks if even one block cannot be launched.

    Raises
    ------
    DeviceError
        If the block size is none that a launch can have, or a figure is negative.
    """
    _check_launch(device, threads_per_block, registers_per_thread, shared_bytes_per_block)
    warps_per_block = -(-threads_per_block // device.warp_size)
    fits = {
        Resource.WARPS: device.warps_per_sm // warps_per_block,
        Resource.BLOCKS: device.blocks_per_sm,
    }
    if registers_per_thread > 0:
        fits[Resource.REGISTERS] = _blocks_by_registers(
            device, warps_per_block, registers_per_thread
        )
    taken = allocated_shared_bytes(device, shared_bytes_per_block)
    if shared_bytes_per_block > device.shared_per_block_optin:
        fits[Resource.SHARED] = 0
    elif taken > 0:
        fits[Resource.SHARED] = device.shared_per_sm // taken
    blocks = min(fits.values())
    warps = blocks * warps_per_block
    return Occupancy(
        blocks_per_sm=blocks,
        warps=warps,
        threads=blocks * threads_per_block,
        fraction=warps / device.warps_per_sm,
        limited_by=tuple(resource for resource, fit in fits.items() if fit == blocks),
    )


def _blocks_by_registers(device: Device, warps_per_block: int, registers: int) -> int:
    if registers > device.registers_per_thread:
        return 0
    per_warp = round_up(registers * device.warp_size, device.register_granularity)
    # The launch check counts a block as spread evenly over all sub-partitions.
    checked_warps = round_up(warps_per_block, device.warp_granularity)
    if per_warp * checked_warps > device.registers_per_block:
        return 0
    per_partition = device.registers_per_sm // device.warp_granularity // per_warp
    return per_partition * device.warp_granularity // warps_per_block


def _check_launch(device: Device, threads: int, registers: int, shared: int) -> None:
    if not 1 <= threads <= device.threads_per_block:
        raise DeviceError(
            f"threads_per_block={threads} is outside 1..{device.threads_per_block}.",
            threads,
            (1, device.threads_per_block),
        )
    for label, value in (("registers_per_thread", registers), ("shared_bytes_per_block", shared)):
        if value < 0:
            raise DeviceError(f"{label}={value} is negative; give 0 or more.", value)


@frozen(kw_only=True)
class BlockChoice:
    """A block size with what it achieves.

    Attributes
    ----------
    threads_per_block, shared_bytes_per_block : int
    occupancy : Occupancy
    """

    threads_per_block: int
    shared_bytes_per_block: int
    occupancy: Occupancy


def best_block_size(
    device: Device,
    registers_per_thread: int,
    shared_bytes: Callable[[int], int] | int = 0,
    *,
    max_shared_bytes: int | None = None,
    candidates: Iterable[int] | None = None,
) -> BlockChoice:
    """The block size that keeps the most threads resident.

    Parameters
    ----------
    device : Device
    registers_per_thread : int
    shared_bytes : callable or int
        Shared bytes of a block as a function of its threads, or one number for
        every block size.
    max_shared_bytes : int, optional
        Limit per block; the opt-in maximum of the device if not given.
    candidates : iterable of int, optional
        Block sizes to try; all multiples of the warp size if not given.

    Returns
    -------
    BlockChoice
        Among equals the smallest block, because it returns its resources soonest
        when its threads finish at different times.

    Raises
    ------
    DeviceError
        If no candidate can be launched; the message says what one warp needs.
    """
    if candidates is None:
        candidates = range(device.warp_size, device.threads_per_block + 1, device.warp_size)
    limit = device.shared_per_block_optin if max_shared_bytes is None else max_shared_bytes
    best: BlockChoice | None = None
    tried = tuple(sorted(candidates))
    for threads in tried:
        shared = shared_bytes(threads) if callable(shared_bytes) else shared_bytes
        if shared > limit:
            continue
        found = occupancy(device, threads, registers_per_thread, shared)
        if found.blocks_per_sm and (best is None or found.threads > best.occupancy.threads):
            best = BlockChoice(
                threads_per_block=threads, shared_bytes_per_block=shared, occupancy=found
            )
    if best is None:
        least = shared_bytes(tried[0]) if tried and callable(shared_bytes) else shared_bytes
        raise DeviceError(
            f"no block size can be launched on {device.name}: the smallest of {len(tried)} "
            f"candidates needs {least} B of shared memory (limit {limit} B) and "
            f"{registers_per_thread} registers per thread (limit "
            f"{device.registers_per_thread}). Use fewer shared bytes or registers per thread.",
            tried,
        )
    return best
