"""What the assembler reports of a CUDA kernel: registers, stack, spills, shared memory."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from attrs import field, frozen

from cubie.backend.register_limits import RegisterLimits
from cubie.errors import InvalidOption, NotCompiled, NoToolkit
from cubie_planner.gpu.device import Device, DeviceError, occupancy
from cubie_planner.gpu.launch import register_limit, registers_for_blocks

LEAST_REGISTERS = 24  # of a thread: with fewer the assembler takes no kernel of any size


@frozen
class KernelResources:
    """Needs of one kernel compiled for one compute capability; sizes in bytes.

    Attributes
    ----------
    capability : (int, int)
    registers : int
        Per thread.
    stack_bytes : int
        Local memory per thread for arrays and spills.
    spill_store_bytes, spill_load_bytes : int
        Bytes of register spills written and read by the code, per thread.
    shared_bytes_per_block : int
        Dynamic shared memory of a launch.
    ptx : str
        The code before assembly.
    cubin : bytes
        The assembled code.
    """

    capability: tuple[int, int]
    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    shared_bytes_per_block: int
    ptx: str = field(repr=False)
    cubin: bytes = field(repr=False)


COMPILERS = (
    *("numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvdisasm"),
    *("nvidia-nvvm-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvdisasm-cu12"),
)


@functools.cache
def compiler_versions() -> tuple[str, ...]:
    """Return what machine code, and what is read in it, depends on besides its source."""
    found = []
    for name in COMPILERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


@contextmanager
def needing_the_toolkit() -> Iterator[None]:
    """Say what to install where a library of the CUDA toolkit cannot be found.

    Raises
    ------
    NoToolkit
    """
    from cuda.pathfinder import DynamicLibNotFoundError

    try:
        yield
    except DynamicLibNotFoundError as error:
        raise NoToolkit(
            "Compiling for CUDA needs the CUDA toolkit, and a library of it was not found. "
            'Install it with pip install "cubie-ode[cu13]", or "cubie-ode[cu12]" for a driver of '
            f"that generation; no GPU is needed to compile. ({str(error).splitlines()[0]})"
        ) from error


def most_registers(
    capability: tuple[int, int], block_size: int, shared_bytes: int, limits: RegisterLimits
) -> int | None:
    """Return how many registers a thread may use at most, None where nothing limits them.

    A block must be launched at all, and be small enough that `min_blocks` are resident.

    Raises
    ------
    InvalidOption
        Where as many blocks cannot be, with few registers or none.
    """
    try:
        device = Device.for_capability(capability)
    except DeviceError:
        if limits.min_blocks is None:
            return limits.max_registers
        raise
    most = register_limit(device, block_size)
    if limits.max_registers is not None:
        most = min(most, limits.max_registers)
    if limits.min_blocks is not None:
        most = min(most, registers_for_blocks(device, block_size, limits.min_blocks))
        found = occupancy(device, block_size, most, shared_bytes)
        if most < LEAST_REGISTERS or found.blocks_per_sm < limits.min_blocks:
            bare = occupancy(device, block_size, LEAST_REGISTERS, shared_bytes)
            advice = (
                f"Blocks of {block_size} with {shared_bytes} B of shared memory: at most "
                f"{bare.blocks_per_sm} are resident on {device.name} at once, limited by "
                f"{' and '.join(bare.limited_by)}."
            )
            raise InvalidOption("min_blocks", limits.min_blocks, advice=advice)
    return most if most < device.registers_per_thread else None


def assemble(
    ptx: str, capability: tuple[int, int], shared_bytes: int, max_registers: int | None = None
) -> KernelResources:
    """Assemble PTX without a GPU and parse the assembler's report.

    Raises
    ------
    NotCompiled
        Where the CUDA toolkit's linker is not installed, naming the extra that
        brings it, or where the report cannot be read.
    """
    try:
        from cuda.bindings import nvjitlink
    except ImportError as error:
        raise NotCompiled(
            "Reading a kernel's resources needs the CUDA toolkit's linker: "
            "install cubie-ode[cu13] or cubie-ode[cu12]."
        ) from error

    arch = f"-arch=sm_{capability[0]}{capability[1]}"
    options = [arch, "-O3", "-verbose", "-Xptxas=-v"]
    if max_registers is not None:
        options.append(f"-maxrregcount={max_registers}")
    handle = nvjitlink.create(len(options), options)
    try:
        code = ptx.encode() + b"\0"
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
    finally:
        nvjitlink.destroy(handle)
    return _parse(log.decode(errors="replace"), capability, shared_bytes, ptx, bytes(cubin))


def _parse(report: str, capability, shared_bytes, ptx, cubin) -> KernelResources:
    """Read the report: of each function by itself, and at the end of the kernel with its calls.

    A loop that is called, and not a part of the kernel, has registers and a frame of its own.
    """
    registers = [int(found) for found in re.findall(r"[Uu]sed (\d+) registers", report)]
    frame = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    frames = [tuple(map(int, found)) for found in re.findall(frame, report)]
    if not registers or not frames:
        raise NotCompiled(f"The assembler's report has another form than expected:\n{report}")
    whole = re.findall(r"used \d+ registers.*?(\d+) stack", report)
    stacks, stores, loads = zip(*frames, strict=True)
    return KernelResources(
        capability=capability,
        registers=max(registers),
        stack_bytes=int(whole[-1]) if whole else sum(stacks),
        spill_store_bytes=sum(stores),
        spill_load_bytes=sum(loads),
        shared_bytes_per_block=shared_bytes,
        ptx=ptx,
        cubin=cubin,
    )
