"""Placements worth compiling, the most promising first.

Beside what the cost model would choose: as much as fits in shared memory without a block less
being resident than registers allow, which costs nothing but cache; a half of that, which is best
more rarely; and slices for which fewer blocks are resident. Where most of the time goes to the
stack, and all of it fits into shared memory of one block, that is worth its few warps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from attrs import evolve

from cubie_planner.declarations.places import Location, Place
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device, occupancy
from cubie_planner.gpu.objective import objective
from cubie_planner.gpu.shared_candidates import candidates, homes, view_groups

Proposal = tuple[str, Mapping[str, Place] | Problem]


def proposals(
    problem: Problem, model: CostModel, registers: int, waits_for_stack: bool = False
) -> Iterator[Proposal]:
    """Yield names and places of every buffer, or the problem whose plan finds them.

    Parameters
    ----------
    problem : Problem
        With a compute capability in its limits.
    model : CostModel
    registers : int
        Of the kernel with everything local.
    waits_for_stack : bool
        Whether that kernel spends most of its time on accesses to the stack.
    """
    capability = problem.limits.compute_capability
    assert capability is not None, "proposals are for a device"
    device = Device.for_capability(capability)
    size = problem.limits.block_size
    most = occupancy(device, size, registers).blocks_per_sm
    modelled: Proposal = ("the model's plan", problem)
    filled = _filled(problem, device, most)
    yield from itertools.islice(filled, 1)
    if waits_for_stack:
        limits = evolve(problem.limits, max_shared_bytes=_block_limit(problem, device))
        yield "everything shared", evolve(problem, policy="shared", limits=limits)
    if any(place is Location.SHARED for place in objective(problem, model).recommended.values()):
        yield modelled
    yield from filled
    for blocks in range(most - 1, 0, -1):
        yield from _filled(problem, device, blocks)


def _block_limit(problem: Problem, device: Device) -> int:
    given = problem.limits.max_shared_bytes
    most = device.shared_per_block_optin
    return most if given is None else min(given, most)


def _filled(problem: Problem, device: Device, blocks: int) -> Iterator[Proposal]:
    """Yield what fits while so many blocks are resident, and a half of it."""
    unit = device.shared_granularity
    share = device.shared_per_sm // blocks // unit * unit - device.shared_reserved_per_block
    limit = min(share, _block_limit(problem, device))
    resident = f"{blocks} blocks resident" if blocks > 1 else "1 block resident"
    for part, name in ((1, "as much shared as keeps"), (2, "half of what keeps")):
        limits = evolve(problem.limits, max_shared_bytes=max(0, limit // part))
        groups = view_groups(problem)
        sized = evolve(problem, limits=limits)
        largest = next(candidates(sized, device, groups, problem.by_name), None)
        if largest is not None:
            yield f"{name} {resident}", homes(groups, largest[0])
