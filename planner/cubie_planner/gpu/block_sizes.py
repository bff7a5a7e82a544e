"""Block sizes as a choice among alternatives, priced by the warps that stay resident."""

from collections.abc import Callable, Iterable

from cubie_planner.basics import is_integer
from cubie_planner.declarations.choices import Choice, Option
from cubie_planner.declarations.limits import ProblemError
from cubie_planner.gpu.device import Device, DeviceError, occupancy


def block_size_choice(
    device: Device,
    block_sizes: Iterable[int],
    registers_per_thread: int,
    shared_bytes: Callable[[int], int] | int = 0,
    *,
    cost_per_warp: int = 1,
    name: str = "block size",
) -> Choice:
    """Return the choice of a block size, where each warp costs that is not resident.

    The most warps that any of the sizes keeps resident on an SM cost nothing; each one less costs
    the same. Shared bytes that places decide on are not known before: what is told here is what
    blocks take in any case, or what they would with everything shared.

    Parameters
    ----------
    device : Device
    block_sizes : iterable of int
        Threads; among equals `decide` takes the first. Sizes of which not one block is resident
        are left out.
    registers_per_thread : int
        As the assembler reports it; 0 for none.
    shared_bytes : callable or int
        Of a block: as a function of its threads, or one number for every size.
    cost_per_warp : int
        In the unit of the costs of places, which it is added to; see `Prices.unit`.
    name : str
        Of the choice.

    Raises
    ------
    DeviceError
        If no block of any size can be launched, or a size is none that a launch can have.
    ProblemError
        If the cost of a warp is no integer from 0.
    """
    if not is_integer(cost_per_warp) or cost_per_warp < 0:
        raise ProblemError(f"cost_per_warp must be an integer from 0, got {cost_per_warp!r}")
    sizes = tuple(block_sizes)
    warps = {}
    for size in sizes:
        held = shared_bytes(size) if callable(shared_bytes) else shared_bytes
        found = occupancy(device, size, registers_per_thread, held)
        if found.blocks_per_sm:
            warps[size] = found.warps
    if not warps:
        raise DeviceError(
            f"no block of {', '.join(map(str, sizes)) or 'any number of'} threads can be launched "
            f"on {device.name} with {registers_per_thread} registers a thread; give smaller ones, "
            "or fewer shared bytes",
            sizes,
        )
    most = max(warps.values())
    return Choice(
        name,
        [
            Option(str(size), cost_per_warp * (most - held), limits={"block_size": size})
            for size, held in warps.items()
        ],
    )
