"""Block sizes as alternatives: what they cost follows from the warps that stay resident."""

import pytest

from cubie_planner import Buffer, Limits, Problem, ProblemError
from cubie_planner.decide import Alternatives, decide
from cubie_planner.gpu.block_sizes import block_size_choice
from cubie_planner.gpu.device import Device, DeviceError, occupancy

H100 = Device.parse("sm_90")
SIZES = (1024, 256, 96, 64)


@pytest.mark.parametrize("registers", [32, 64, 168])
@pytest.mark.parametrize("shared", [0, 20_000, lambda threads: 200 * threads])
def test_costs_are_the_warps_that_are_not_resident(registers, shared):
    """As the rules of occupancy count them, in the order of the sizes; the best cost nothing."""
    choice = block_size_choice(H100, SIZES, registers, shared, cost_per_warp=3)
    warps = {}
    for size in SIZES:
        held = shared(size) if callable(shared) else shared
        warps[str(size)] = occupancy(H100, size, registers, held).warps
    there = [name for name, resident in warps.items() if resident]
    assert [option.name for option in choice.options] == there
    most = max(warps.values())
    for option in choice.options:
        assert option.cost == 3 * (most - warps[option.name])
        assert option.limits == {"block_size": int(option.name)}
    assert min(option.cost for option in choice.options) == 0


def test_a_block_size_is_decided_with_the_places():
    """Slices that do not fit for the size of most warps make room for the next."""
    buffers = [Buffer("a", 50, "f4", locations="shared")]
    choice = block_size_choice(H100, (512, 1024, 64), 32, lambda threads: 204 * threads)
    limits = Limits(H100.shared_per_block_optin)
    found = decide(Alternatives(Problem(buffers, limits), [choice]))
    costs = {option.name: option.cost for option in choice.options}
    picked = found.picked["block size"]
    assert costs[picked] == min(costs.values())
    assert found.plan.limits.block_size == int(picked)


def test_sizes_that_cannot_be_launched_are_left_out_or_refused():
    """By name, with what was given; a cost is an integer from 0."""
    choice = block_size_choice(H100, (1024, 64), 168)
    assert [option.name for option in choice.options] == ["64"]
    with pytest.raises(DeviceError, match="no block of 1024 threads can be launched on sm_90"):
        block_size_choice(H100, [1024], 168)
    with pytest.raises(DeviceError, match="no block of any number of threads"):
        block_size_choice(H100, [], 32)
    with pytest.raises(DeviceError, match=r"outside 1\.\.1024"):
        block_size_choice(H100, [2048], 32)
    for odd in (-1, 0.5, True):
        with pytest.raises(ProblemError, match="cost_per_warp must be an integer from 0"):
            block_size_choice(H100, [64], 32, cost_per_warp=odd)
