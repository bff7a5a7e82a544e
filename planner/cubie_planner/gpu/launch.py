"""What a placement takes of a device: registers, stack, shared bytes and resident blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from attrs import frozen

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.limits import Limits
from cubie_planner.gpu.access import Residency, bank_conflict
from cubie_planner.gpu.device import Device, Occupancy, occupancy
from cubie_planner.gpu.footprint import WORD_BYTES, shared_load

REGISTER_STEP = 8


@frozen(kw_only=True)
class RegisterUse:
    """What the compiler makes of the local arrays of a thread.

    Attributes
    ----------
    used : int
        Registers per thread.
    spilled_words : int
        Registers that are missing.
    stack_share : float
        Fraction of the accesses to local arrays that go to the stack.
    in_frame : bool
        Whether whole arrays lie in the stack frame.
    """

    used: int
    spilled_words: int
    stack_share: float
    in_frame: bool


@frozen(kw_only=True)
class Cost:
    """What one placement is predicted to cost.

    Attributes
    ----------
    total : float
        SM cycles per run and step; infinite if a block cannot be launched.
    compute, shared, stack : float
        Parts of the total: arithmetic, accesses to shared memory, to the stack.
    registers : int
        Registers per thread.
    stack_bytes, spilled_words : int
        Stack frame per thread, and register values missing in it.
    shared_bytes_per_run, shared_bytes_per_block : int
    resident_runs, resident_warps : int
        Per SM.
    residency : Residency or None
        Costs per access at this residency; None if nothing is resident.
    run_stride_bytes : int
        Between the slices of consecutive runs.
    """

    total: float
    compute: float
    shared: float
    stack: float
    registers: int
    stack_bytes: int
    spilled_words: int
    shared_bytes_per_run: int
    shared_bytes_per_block: int
    resident_runs: int
    resident_warps: int
    residency: Residency | None
    run_stride_bytes: int = 0


@frozen
class Launch:
    """What a placement takes of a device, before any cycles are counted.

    Attributes
    ----------
    device : Device
    limits : Limits
    shared_bytes_per_run : int
    alignment : int
        Widest of what is shared.
    use : RegisterUse
    stack_bytes : int
        Stack frame per thread.
    tile_bytes : int
        Shared memory that a block has besides, for all its threads together.
    """

    device: Device
    limits: Limits
    shared_bytes_per_run: int
    alignment: int
    use: RegisterUse
    stack_bytes: int
    tile_bytes: int = 0

    @classmethod
    def of(
        cls,
        device: Device,
        limits: Limits,
        shared: Sequence[Buffer],
        shared_bytes_per_run: int | None,
        use: RegisterUse,
        stack_bytes: int,
        tile_bytes: int = 0,
    ) -> Launch:
        """Return the launch with these buffers shared; None: the bytes alive at once are."""
        size = shared_load(shared) if shared_bytes_per_run is None else shared_bytes_per_run
        alignment = max((b.alignment for b in shared if b.size_bytes), default=WORD_BYTES)
        return cls(device, limits, size, alignment, use, stack_bytes, tile_bytes)

    @property
    def stride(self) -> int:
        """Bytes between the slices of consecutive runs."""
        return self.limits.stride(self.shared_bytes_per_run, self.alignment)

    @property
    def block_bytes(self) -> int:
        """Shared bytes of a block."""
        return self.limits.block_bytes(self.shared_bytes_per_run, self.alignment, self.tile_bytes)

    @cached_property
    def resident(self) -> Occupancy:
        """Blocks that are resident at once."""
        return occupancy(self.device, self.limits.block_size, self.use.used, self.block_bytes)

    @property
    def conflict(self) -> int:
        """Wavefronts of a warp whose lanes read the same word of their own slices."""
        lanes = min(self.limits.block_size, self.device.warp_size)
        return bank_conflict(self.device, self.stride, lanes)

    @property
    def is_possible(self) -> bool:
        """Whether a block fits on the device and under the limit."""
        most = self.limits.max_shared_bytes
        return self.resident.blocks_per_sm > 0 and (most is None or self.block_bytes <= most)

    def cost(
        self,
        rate: Residency | None = None,
        *,
        compute: float = math.inf,
        shared: float = 0.0,
        stack: float = 0.0,
    ) -> Cost:
        """Return the cost with these cycles; infinite without any."""
        return Cost(
            total=compute + shared + stack,
            compute=compute,
            shared=shared,
            stack=stack,
            registers=self.use.used,
            stack_bytes=self.stack_bytes,
            spilled_words=self.use.spilled_words,
            shared_bytes_per_run=self.shared_bytes_per_run,
            shared_bytes_per_block=self.block_bytes,
            resident_runs=self.resident.threads,
            resident_warps=self.resident.warps,
            residency=rate,
            run_stride_bytes=self.stride,
        )


def register_limit(device: Device, block_size: int) -> int:
    """Most registers a thread may use so that a block of this size can be launched."""
    warps = round_up(-(-block_size // device.warp_size), device.warp_granularity)
    fits = device.registers_per_block // (warps * device.warp_size)
    return min(device.registers_per_thread, fits // REGISTER_STEP * REGISTER_STEP)


def registers_for_blocks(device: Device, block_size: int, n_blocks: int) -> int:
    """Most registers a thread may use so that so many blocks are resident; 0 where none is."""
    most = register_limit(device, block_size)
    steps = range(most // REGISTER_STEP * REGISTER_STEP, 0, -REGISTER_STEP)
    fitting = (
        registers
        for registers in (most, *steps)
        if occupancy(device, block_size, registers).blocks_per_sm >= n_blocks
    )
    return next(fitting, 0)
