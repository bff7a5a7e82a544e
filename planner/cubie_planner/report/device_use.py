"""How much of a multiprocessor a plan can fill, and what stops it."""

from __future__ import annotations

from attrs import frozen

from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device, Occupancy, occupancy
from cubie_planner.gpu.launch import Cost
from cubie_planner.plans.plan import Plan


@frozen
class DeviceUse:
    """What a plan is modelled to take of a device.

    Attributes
    ----------
    cost : Cost
        Registers, stack and cycles, all modelled.
    occupancy : Occupancy
        Resident blocks with the modelled registers and the planned shared bytes.
    """

    device: Device
    cost: Cost
    occupancy: Occupancy


def modelled_cost(plan: Plan) -> Cost:
    """Return what the cost model predicts for a plan that has a compute capability."""
    capability = plan.limits.compute_capability
    assert capability is not None, "a cost needs a device"
    return CostModel.for_capability(capability, plan.limits.card).predict(
        plan.problem,
        {name: p.location for name, p in plan.placements.items()},
        shared_bytes_per_run=plan.shared_bytes_per_run,
    )


def device_use(plan: Plan) -> DeviceUse | None:
    """Return what the plan takes of its device; None where it was made for none."""
    capability = plan.limits.compute_capability
    if capability is None:
        return None
    device = Device.for_capability(capability)
    cost = modelled_cost(plan)
    found = occupancy(device, plan.limits.block_size, cost.registers, plan.shared_bytes_per_block)
    return DeviceUse(device, cost, found)


def device_lines(plan: Plan) -> list[str]:
    """Return the same in words; nothing where the plan was made for no device."""
    use = device_use(plan)
    if use is None:
        return []
    name, found = use.device.name, use.occupancy
    return [
        f"{name}: {found.blocks_per_sm} blocks of {plan.limits.block_size} resident per "
        f"multiprocessor, {100 * found.fraction:.0f} % of its warps, limited by "
        f"{' and '.join(found.limited_by)}",
        f"{name}, modelled: {use.cost.registers} registers and {use.cost.stack_bytes} B of stack "
        "per thread",
    ]
