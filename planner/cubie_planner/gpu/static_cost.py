"""What an assembled kernel costs: SM cycles per run and round, from what it executes.

The counterpart of `cost` for kernels that were compiled. There instructions and accesses are
estimated from the declarations; here they are counted in the machine code, and registers and
stack are what the assembler reports. What an access costs, by residency and caches, is the same:

1. *Issue.* The instructions of a warp take the schedulers, and those of each class their unit
   (double precision on consumer cards has 2 lanes), whichever is longer; longer still while too
   few warps are resident to hide latencies.
2. *Stack.* Accesses to local memory go to L1 as far as the frames of all resident threads fit
   beside what shared memory takes of it, then to the SM's share of L2, then to memory.
   So do those to addresses that may be of any memory, as functions get them that were not made
   part of the kernel: what is not known is taken for the slowest that it may be.
3. *Shared memory.* One wavefront per word of an access, or as many as there are bank conflicts.

The code itself is taken to come from the instruction caches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib import resources

from attrs import field, frozen

from cubie_planner.assembler.classes import Kind, bytes_moved, kind_of
from cubie_planner.assembler.executed import Executed
from cubie_planner.gpu.access import Residency, bank_conflict
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device, allocated_shared_bytes, occupancy
from cubie_planner.gpu.footprint import WORD_BYTES


@frozen(kw_only=True)
class Assembled:
    """What the assembler made of a kernel under one plan.

    Attributes
    ----------
    registers, stack_bytes : int
        Of a thread.
    spill_bytes : int
        Stores and loads of spilled registers in the code.
    count : callable
        ``count() -> Executed``: one round of the kernel's work. Asked only where it matters:
        it may need another compilation, and a disassembler.
    """

    registers: int
    stack_bytes: int
    spill_bytes: int
    count: Callable[[], Executed] = field(repr=False)

    @cached_property
    def executed(self) -> Executed:
        """What one round executes, counted once."""
        return self.count()


@frozen(kw_only=True)
class StaticCost:
    """SM cycles per run and round; infinite where a block cannot be launched.

    Attributes
    ----------
    issue, stack, shared : float
        Parts of the total.
    block_size : int
    resident_runs, resident_warps : int
        Per SM.
    local_accesses, shared_accesses, instructions, arithmetic : float
        Of a run and round. Where compilers unrolled several rounds into one, its share of them.
        Arithmetic is floating-point additions, products and functions.
    """

    issue: float
    stack: float
    shared: float
    block_size: int
    resident_runs: int
    resident_warps: int
    local_accesses: float
    shared_accesses: float
    instructions: float
    arithmetic: float

    @property
    def total(self) -> float:
        return self.issue + self.stack + self.shared


def static_cost(
    device: Device,
    model: CostModel,
    assembled: Assembled,
    block_size: int,
    stride: int,
    start: int = 0,
) -> StaticCost | None:
    """Return what a kernel costs in blocks of a size; None where they cannot be launched.

    Parameters
    ----------
    device : Device
    model : CostModel
        For the costs of accesses and the caches.
    assembled : Assembled
    block_size : int
    stride : int
        Bytes of shared memory between the slices of consecutive runs.
    start : int
        Bytes of a block's tiles, below the slices.
    """
    block_bytes = start + stride * block_size
    found = occupancy(device, block_size, assembled.registers, block_bytes)
    if found.blocks_per_sm == 0:
        return None
    taken = found.blocks_per_sm * allocated_shared_bytes(device, block_bytes) if block_bytes else 0
    rate = model.residency(device, found.threads, found.warps, assembled.stack_bytes, taken)
    counted = _counted(assembled.executed)
    conflict = bank_conflict(device, stride, min(block_size, device.warp_size)) if stride else 1
    return StaticCost(
        issue=_issue_cycles(device, model, counted.kinds, found.warps)
        * found.warps
        / found.threads,
        stack=_stack_cycles(counted, rate),
        shared=_shared_cycles(counted, rate, conflict),
        block_size=block_size,
        resident_runs=found.threads,
        resident_warps=found.warps,
        local_accesses=sum(counted.local.values()),
        shared_accesses=sum(counted.shared.values()),
        instructions=sum(counted.kinds.values()),
        arithmetic=counted.arithmetic,
    )


@frozen
class _Counted:
    """Executed instructions by class, and accesses to memory by the words that they move."""

    kinds: Mapping[Kind, float]
    local: Mapping[int, float]
    shared: Mapping[int, float]
    arithmetic: float


def _counted(executed: Executed) -> _Counted:
    local: dict[int, float] = {}
    shared: dict[int, float] = {}
    words = {Kind.LOCAL: local, Kind.GENERIC: local, Kind.SHARED: shared}
    for instruction, times in executed.instructions.items():
        found = words.get(kind_of(instruction))
        if found is not None:
            size = max(1, bytes_moved(instruction) // WORD_BYTES)
            found[size] = found.get(size, 0) + times
    return _Counted(executed.kinds, local, shared, executed.arithmetic)


def _issue_cycles(
    device: Device, model: CostModel, kinds: Mapping[Kind, float], warps: int
) -> float:
    """Return the cycles for which the instructions of a warp keep an SM busy."""
    rates, issued = throughput(device.capability)
    cycles = sum(kinds.values()) / issued
    for kind, count in kinds.items():
        if kind in rates:
            cycles = max(cycles, count * device.warp_size / rates[kind])
    return cycles * max(1.0, model.constants.busy_warps / warps)


def _stack_cycles(counted: _Counted, rate: Residency) -> float:
    return sum(
        times * (rate.stack_wavefront * words + rate.stack_latency)
        for words, times in counted.local.items()
    )


def _shared_cycles(counted: _Counted, rate: Residency, conflict: int) -> float:
    return sum(
        times * (rate.shared_wavefront * max(words, conflict) + rate.shared_latency)
        for words, times in counted.shared.items()
    )


@cache
def throughput(capability: tuple[int, int]) -> tuple[dict[Kind, float], int]:
    """Return the results per cycle and SM of each class, and the warps issued per cycle."""
    table = json.loads(resources.files("cubie_planner.gpu").joinpath("throughput.json").read_text())
    own = table["capabilities"].get(f"{capability[0]}.{capability[1]}", {})
    rates = {Kind(name): rate for name, rate in {**table["common"], **own}.items()}
    return rates, table["issue_per_cycle"]
