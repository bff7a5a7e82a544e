"""What a placement costs: SM cycles per run and step.

The chain of the model, each link a small function below:

1. *Registers.* Local arrays become registers while they fit. The demand grows
   with the words alive at once; what exceeds the budget is spilled, and far above
   it the compiler stops unrolling and whole arrays fall into the stack frame.
2. *Residency.* Registers, shared bytes and block size give the resident warps;
   shared memory also takes its carve-out away from the L1 cache.
3. *Caches.* The stack frames of all resident threads compete for L1, then for the
   SM's share of L2, then go to device memory.
4. *Cycles.* An access costs its share of the busiest unit on its way, plus its
   latency divided by the accesses that are in flight beside it.

Cost is linear in the accesses once residency is fixed; `objective` uses that. What
lives in registers adds nothing, so that a kernel that fits in registers is never
told to use shared memory.

Constants are data, see `cost_constants`; `CostModel.load` replaces them by a file
measured on a card, `cubie_planner.gpu.calibrate` makes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path

from attrs import asdict, evolve, frozen

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place, Pool, Scope
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.access import Residency, shared_access_cost, stack_access_cost
from cubie_planner.gpu.cost_constants import Constants as Constants
from cubie_planner.gpu.cost_constants import CostError as CostError
from cubie_planner.gpu.cost_constants import builtin_constants
from cubie_planner.gpu.device import Device, allocated_shared_bytes
from cubie_planner.gpu.footprint import (
    WORD_BYTES,
    accesses,
    live_words,
    own_bytes,
    shared_load,
)
from cubie_planner.gpu.launch import Cost, Launch, RegisterUse, register_limit
from cubie_planner.reading import parse_json, read_text


@frozen(kw_only=True)
class CostModel:
    """Predicts costs on one card.

    Attributes
    ----------
    constants : Constants
    card : str
        The card the constants belong to.
    provenance : str
        Where they come from.
    """

    constants: Constants
    card: str = "unnamed"
    provenance: str = ""

    @classmethod
    def for_capability(cls, capability: tuple[int, int], card: str | None = None) -> CostModel:
        """The built-in model of a compute capability, or of a card that has it."""
        Device.for_capability(capability)
        constants, card, source = builtin_constants(capability, card)
        return cls(constants=constants, card=card, provenance=f"built in; {source}")

    @classmethod
    def load(cls, path: str | Path) -> CostModel:
        """Read a model saved by `save`.

        Raises
        ------
        CostError
            If the file is no JSON object with `card`, `provenance` and `constants`,
            or a constant is missing, unknown or not positive.
        """
        try:
            data = parse_json(read_text(path))
        except (ValueError, RecursionError) as error:
            raise CostError(f"{path} is not JSON: {error}.") from error
        if not isinstance(data, dict) or not isinstance(data.get("constants"), dict):
            raise CostError(f"{path} has no object `constants`; write it with CostModel.save.")
        unknown = sorted(set(data) - {"constants", "card", "provenance"})
        if unknown:
            raise CostError(f"{path} has an unknown field {unknown[0]!r}.")
        for name in ("card", "provenance"):
            if not isinstance(data.get(name, ""), str):
                raise CostError(f"{path}: {name} must be text, got {data[name]!r}.")
        return cls(
            constants=Constants.from_dict(data["constants"]),
            card=data.get("card", "unnamed"),
            provenance=data.get("provenance", ""),
        )

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        text = json.dumps(asdict(self), indent=1) + "\n"
        Path(path).write_text(text, encoding="utf-8", newline="\n")

    def registers(
        self, device: Device, block_size: int, live_words: int, most: int | None = None
    ) -> RegisterUse:
        """What the compiler makes of local arrays of which `live_words` live at once.

        `block_size` threads must fit into the registers of a block, which bounds the
        registers of one of them, as `most` does.
        """
        c = self.constants
        demand = c.registers_base + c.registers_per_word * live_words
        limit = register_limit(device, block_size)
        limit = limit if most is None else min(limit, most)
        missing = max(0.0, demand - limit)
        in_frame = demand > c.frame_demand
        used = limit if missing or in_frame else math.ceil(demand)
        return RegisterUse(
            used=min(used, limit),
            spilled_words=math.ceil(missing),
            stack_share=1.0 if in_frame else missing / demand,
            in_frame=in_frame,
        )

    def registers_of(
        self,
        device: Device,
        problem: Problem,
        dynamic: Collection[str] = (),
        block_size: int | None = None,
    ) -> RegisterUse:
        """Register use of a kernel with all these buffers, wherever they lie."""
        own = (b for b in problem.buffers if b.scope is Scope.THREAD)
        promotable = [b for b in own if b.name not in dynamic]
        size = problem.limits.block_size if block_size is None else block_size
        most = problem.limits.max_registers
        return self.registers(device, size, live_words(promotable), most)

    def residency(
        self, device: Device, runs: int, warps: int, stack_bytes: int, shared_per_sm: int
    ) -> Residency:
        """Costs of accesses with `runs` threads in `warps` warps resident per SM."""
        c = self.constants
        l1_miss = _miss(device.l1_bytes(shared_per_sm), runs * stack_bytes)
        l2_miss = _miss(c.l2_bytes, runs * stack_bytes)
        wavefront = c.l1_cycles + l1_miss * (c.l2_cycles + l2_miss * c.dram_cycles)
        latency = (1 - l1_miss) * c.l1_latency + l1_miss * (
            (1 - l2_miss) * c.l2_latency + l2_miss * c.dram_latency
        )
        runs_per_warp = runs / warps
        hidden = c.overlap * warps
        return Residency(
            compute=c.issue_cycles * max(1.0, c.busy_warps / warps) / runs_per_warp,
            shared_wavefront=c.shared_cycles / runs_per_warp,
            shared_latency=c.shared_latency / hidden / runs_per_warp,
            stack_wavefront=wavefront / runs_per_warp,
            stack_latency=latency / hidden / runs_per_warp,
            l1_miss=l1_miss,
            l2_miss=l2_miss,
        )

    def predict(
        self,
        problem: Problem,
        locations: Mapping[str, Place],
        *,
        shared_bytes_per_run: int | None = None,
        block_size: int | None = None,
        dynamic: Collection[str] = (),
    ) -> Cost:
        """Cost of a placement.

        Parameters
        ----------
        problem : Problem
            With a compute capability in its limits.
        locations : mapping
            Place of every buffer.
        shared_bytes_per_run : int, optional
            As packed; if not given, the bytes alive at once, which no packing beats.
        block_size : int, optional
            Instead of that of the limits.
        dynamic : collection of str
            Buffers indexed with values the compiler does not know; these never
            become registers.

        Returns
        -------
        Cost
            With an infinite total if a block of this size cannot be launched.

        Raises
        ------
        CostError
            If the limits of the problem name no compute capability.
        DeviceError
            If that is not known, or no block has that size.
        """
        if problem.limits.compute_capability is None:
            raise CostError("a cost needs a target: set Limits(compute_capability=(major, minor)).")
        device = Device.for_capability(problem.limits.compute_capability)
        limits = problem.limits
        if block_size is not None:
            limits = evolve(limits, block_size=block_size)
        shared = [b for b in problem.buffers if locations[b.name] is Location.SHARED]
        pooled = {name: place for name, place in locations.items() if isinstance(place, Pool)}
        tiles = [b for b in problem.buffers if locations[b.name] == TILE]
        local = [
            b
            for b in problem.buffers
            if locations[b.name] is not Location.SHARED and b.name not in pooled
        ]
        # Global memory is reached through the same caches, and never becomes registers.
        outside = {name for name, place in locations.items() if place is Location.GLOBAL}
        dynamic = outside.union(dynamic)
        use, stack_bytes = self._local_memory(device, limits.block_size, problem, local, dynamic)
        launch = Launch.of(
            device, limits, shared, shared_bytes_per_run, use, stack_bytes, shared_load(tiles)
        )
        if not launch.is_possible:
            return launch.cost()
        rate, conflict = self._rate(launch), launch.conflict
        return launch.cost(
            rate,
            compute=rate.compute * sum(accesses(b) for b in problem.buffers),
            shared=sum(shared_access_cost(b, rate, conflict) for b in shared)
            + sum(
                pool.cost * shared_access_cost(problem.by_name[name], rate, 1)
                for name, pool in pooled.items()
            ),
            stack=sum(
                stack_access_cost(b, rate) * (1.0 if b.name in dynamic else use.stack_share)
                for b in local
            ),
        )

    def _rate(self, launch: Launch) -> Residency:
        """Costs of accesses while as many blocks of a launch are resident as can be."""
        found = launch.resident
        taken = found.blocks_per_sm * allocated_shared_bytes(launch.device, launch.block_bytes)
        return self.residency(
            launch.device,
            found.threads,
            found.warps,
            launch.stack_bytes,
            taken if launch.block_bytes else 0,
        )

    def _local_memory(
        self,
        device: Device,
        block_size: int,
        problem: Problem,
        local: list[Buffer],
        dynamic: Collection[str],
    ) -> tuple[RegisterUse, int]:
        """Registers and stack frame of a thread whose `local` buffers are not shared.

        What the compiler keeps in registers is decided by the loops of the whole
        kernel: moving some arrays to shared memory relieves the stack of their
        part, and does not bring the others back into registers (measured: rows
        `moved_measurements` of the data).
        """
        own = (b for b in problem.buffers if b.scope is Scope.THREAD)
        promotable = [b for b in own if b.name not in dynamic]
        use = self.registers_of(device, problem, dynamic, block_size)
        everything = sum(own_bytes(b) for b in promotable)
        kept = sum(own_bytes(b) for b in local if b.name not in dynamic)
        if use.in_frame:
            frame = self.constants.frame_factor * everything
        else:
            frame = self.constants.spill_bytes_per_word * use.spilled_words
        frame *= kept / everything if everything else 0.0
        frame += sum(own_bytes(b) for b in local if b.name in dynamic)
        return use, round_up(math.ceil(frame), WORD_BYTES)


def _miss(cache_bytes: float, working_set: float) -> float:
    """Fraction of random accesses to a working set that miss a cache."""
    return 0.0 if working_set <= cache_bytes else 1.0 - cache_bytes / working_set
