"""Questions to a plan: what does the compiler say, and what if the limits were others?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve
from rich.table import Table

from cubie.cli.errors import InputError, one_line
from cubie.cli.inputs import Source
from cubie.cli.views import table
from cubie.kernel import BatchSolverConfig, BatchSolverKernel
from cubie_planner import Limits, Plan, PlanInfeasible, PlanUnknown, Problem
from cubie_planner import plan as make_plan
from cubie_planner.cost import CostModel
from cubie_planner.device import Device, occupancy

BLOCK_SIZES = (32, 64, 128, 256, 512)
KIB = 1024
LIMITS = tuple(kib * KIB for kib in (48, 99, 163, 227))
NO_PLAN = "no plan"

VERIFIED = (
    *("placement", "shared/run", "shared/block", "local", "registers", "modelled"),
    *("stack", "modelled", "spill stores", "spill loads", "blocks/SM"),
)
ASKED = ("block size", "limit", "shared/run", "shared/block", "private/run", "cost", "blocks/SM")


def verify(source: Source, plan: Plan) -> Table:
    """Compile a model all local, all shared and as planned; show what the assembler says.

    Raises
    ------
    InputError
        Where the CUDA toolkit is not installed, naming what brings it.
    """
    capability = plan.limits.compute_capability
    assert source.kernel is not None, "a problem has nothing to compile"
    assert capability is not None, "models are planned for a device"
    device = Device.for_capability(capability)
    rows: list[tuple] = []
    figures: dict[object, tuple] = {}  # by layout: equal plans are one kernel, compiled once
    for name, found in _placements(plan):
        layout = None if found is None else _layout(found)
        if layout not in figures:
            figures[layout] = _verified(source, found, device)
        rows.append((name, *figures[layout]))
    title = f"compiled for {device.name}, blocks of {plan.limits.block_size}, bytes"
    return table(title, VERIFIED, rows, VERIFIED[1:])


def _placements(plan: Plan) -> Iterator[tuple[str, Plan | None]]:
    """Yield all-local, all-shared (as far as pins allow) and the plan; None where none exists."""
    for policy in ("local", "shared"):
        yield f"all {policy}", _try(evolve(plan.problem, policy=policy, previous=None))
    yield "this plan", plan


def _try(problem: Problem) -> Plan | None:
    try:
        return make_plan(problem)
    except (PlanInfeasible, PlanUnknown):
        return None


def _layout(plan: Plan) -> tuple:
    """Return everything of a plan that a kernel is built from."""
    return tuple(
        (p.name, p.location, p.offset, p.parent, p.parent_offset) for p in plan.placements.values()
    )


def _verified(source: Source, plan: Plan | None, device: Device) -> tuple:
    if plan is None:
        return (NO_PLAN, *[""] * (len(VERIFIED) - 2))
    model = source.kernel
    assert model is not None
    size = plan.limits.block_size
    config = BatchSolverConfig(plan, block_size=size)
    kernel = BatchSolverKernel(model.integrator, config, model.backend)
    try:
        found = kernel.resources(device.capability)
    except (ImportError, RuntimeError) as error:
        raise InputError(f"--verify: {one_line(error)}") from error
    modelled = _modelled(plan)
    shared = found.shared_bytes_per_block
    return (
        plan.shared_bytes_per_run,
        shared,
        plan.local_bytes + plan.persistent_bytes,
        found.registers,
        modelled.registers,
        found.stack_bytes,
        modelled.stack_bytes,
        found.spill_store_bytes,
        found.spill_load_bytes,
        occupancy(device, size, found.registers, shared).blocks_per_sm,
    )


def _modelled(plan: Plan):
    capability = plan.limits.compute_capability
    assert capability is not None
    return CostModel.for_capability(capability).predict(
        plan.problem,
        {name: p.location for name, p in plan.placements.items()},
        shared_bytes_per_run=plan.shared_bytes_per_run,
    )


def what_if(plan: Plan) -> Table:
    """Plan again for other block sizes, then for other limits; `cost` is the model's cycles."""
    rows = [_asked(plan.problem, limits) for limits in _other_limits(plan.limits)]
    return table("what if: bytes; cost in modelled cycles per run and step", ASKED, rows, ASKED)


def _other_limits(limits: Limits) -> Iterator[Limits]:
    """Yield other block sizes under the present limit, then other limits at the present size."""
    for size in BLOCK_SIZES:
        yield evolve(limits, block_size=size)
    most = max(LIMITS)
    if limits.compute_capability is not None:
        most = Device.for_capability(limits.compute_capability).shared_per_block_optin
    for size in LIMITS:
        if size <= most:
            yield evolve(limits, max_shared_bytes=size)


def _asked(problem: Problem, limits: Limits) -> Sequence[object]:
    limit = limits.max_shared_bytes
    head = (limits.block_size, "none" if limit is None else f"{limit / KIB:.4g} KiB")
    found = _try(evolve(problem, limits=limits, previous=None))
    if found is None:
        return (*head, NO_PLAN, *[""] * (len(ASKED) - 3))
    cost = blocks = ""
    if limits.compute_capability is not None:
        modelled = _modelled(found)
        device = Device.for_capability(limits.compute_capability)
        cost = f"{modelled.total:.4g}"
        blocks = occupancy(
            device, limits.block_size, modelled.registers, found.shared_bytes_per_block
        ).blocks_per_sm
    private = found.local_bytes + found.persistent_bytes
    return (
        *head,
        found.shared_bytes_per_run,
        found.shared_bytes_per_block,
        private,
        cost,
        blocks,
    )
