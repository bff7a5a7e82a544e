"""Choice of the target: by name, or the best one this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cubie.backend.base import Backend
from cubie.backend.machine import cuda_is_available, cuda_is_simulated, n_threads, register_bytes
from cubie.errors import InvalidOption, NotCompiled
from cubie.reals import as_int
from cubie_planner import Timeline
from cubie_planner.gpu.cards import Target

if TYPE_CHECKING:
    from cubie_planner.recording import Recording

BACKENDS = ("auto", "cpu", "cuda", "python")


def make_backend(
    name: str,
    dtype,
    fastmath: bool,
    lanes: int | None = None,
    one_run: bool = False,
    n_states: int = 1,
    small_batch: bool = False,
    free_steps: bool = False,
    device: Target | None = None,
    refill: bool = False,
    sliced: bool | None = None,
) -> Backend:
    """Return the backend of a name.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "python"}
        "auto" is cuda where a GPU is present or named, else cpu. With NUMBA_ENABLE_CUDASIM=1
        "cuda" is numba's CUDA simulator.
    dtype : float32 or float64
    fastmath : bool
        Allow reassociation and approximate division; NaN and infinity keep
        their meaning. Without effect on interpreted targets.
    lanes : int, optional
        Runs per group on the cpu target, a power of two; by default chosen from
        the vector registers, the number of states and the size of batches.
    one_run : bool
        Whether the code to come handles the plain numbers of one run: then the
        default is a single lane.
    n_states : int
        Size of the system to come.
    small_batch : bool
        Whether batches are small, as `is_small_batch` says.
    free_steps : bool
        Whether steps are taken without a look at each, one register's worth of runs at a time.
    device : Target, optional
        The GPU to plan and compile for; by default the one that is there.
    refill : bool
        Whether the threads of a GPU take further runs when theirs are over. Lanes of a CPU do so
        in any case.
    sliced : bool, optional
        Whether launches on a GPU end after a quarter of a second, in the middle of runs, and others
        go on; by default where it drives a display, whose watchdog ends what takes longer. With
        `refill` they do not.

    Raises
    ------
    InvalidOption
        For a name, dtype or number of lanes that is not available.
    """
    if name not in BACKENDS:
        advice = "A GPU is 'cuda'." if str(name).lower() in ("gpu", "device", "nvidia") else ""
        raise InvalidOption("backend", name, BACKENDS, advice)
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidOption("dtype", np.dtype(dtype).name, ("float32", "float64"))
    if name == "auto":
        there = device is not None or cuda_is_simulated() or cuda_is_available()
        name = "cuda" if there else "cpu"
    if device is not None and name != "cuda":
        advice = f"It names a GPU, and backend={name!r} uses none; leave one of them out."
        raise InvalidOption("device", device.name, advice=advice)
    if sliced and (refill or name != "cuda"):
        advice = f"Launches of backend={name!r} are ended by nobody: leave it out."
        if name == "cuda":
            advice = "With `refill` a launch ends with its runs: leave one of them out."
        raise InvalidOption("time_slices", True, advice=advice)
    lanes = None if lanes is None else _whole(lanes)
    if lanes not in (None, 1) and name != "cpu":
        raise InvalidOption("lanes", lanes, (1,), f"The {name} target runs one lane a thread.")
    if name == "cpu":
        from cubie.backend.cpu.target import CPUBackend

        if lanes is None:
            lanes = 1 if one_run else default_lanes(dtype, n_states, small_batch, free_steps)
        return CPUBackend(dtype, fastmath, _checked_lanes(lanes))
    if name == "python":
        from cubie.backend.interpreted.python import PythonBackend

        return PythonBackend(dtype, fastmath)
    if cuda_is_simulated():
        from cubie.backend.interpreted.simulator import SimulatorBackend

        return SimulatorBackend(dtype, fastmath, device, refill, bool(sliced))
    from cubie.backend.cuda.target import CUDABackend

    return CUDABackend(dtype, fastmath, device, refill, sliced=sliced)


def recording_backend(dtype, timeline: Timeline) -> tuple[Backend, Recording]:
    """Return a target that logs what component code does to its buffers, and its log.

    It is the interpreter; the timeline is that of the components of a kernel.
    """
    from cubie.backend.interpreted.recorded import RecordingBackend

    backend = RecordingBackend(dtype, timeline)
    return backend, backend.recording


def assembled_backend(backend: Backend, lines: bool = False) -> Backend:
    """Return the backend for which an assembler reports a kernel's needs, GPU or not.

    With `lines` its machine code tells which source line each instruction came from; that
    changes no instruction.

    Raises
    ------
    NotCompiled
        Under the simulator, which replaces numba's compiler in this process.
    """
    if cuda_is_simulated():
        raise NotCompiled(
            "kernel.resources() compiles, and NUMBA_ENABLE_CUDASIM=1 replaced numba's compiler for "
            "this process by the simulator. Ask for them in a process without it; no GPU is needed."
        )
    from cubie.backend.cuda.target import CUDABackend

    if isinstance(backend, CUDABackend):
        return backend if backend.lines == lines else backend.with_lines(lines)
    return CUDABackend(backend.dtype, backend.fastmath, lines=lines)


MAX_LANES = 64


LANES = tuple(1 << k for k in range(MAX_LANES.bit_length()))


def _whole(lanes: Any) -> int:
    number = as_int(lanes)
    if type(number) is not int:
        raise InvalidOption("lanes", lanes, LANES)
    return number


def _checked_lanes(lanes: int) -> int:
    if lanes not in LANES:
        raise InvalidOption("lanes", lanes, LANES)
    return lanes


# Up to so many states the values of several registers' worth of runs are at hand
# at once, and hide each other's latencies; beyond, they would only spill.
FEW_STATES = 6
REGISTERS_FOR_FEW_STATES = 2
# Of steps that go through a group register by register.
REGISTERS_FOR_FREE_STEPS = 4
# With fewer groups a thread lanes without a run cost more than latencies do.
FULL_GROUPS_A_THREAD = 2


def default_lanes(dtype, n_states: int, small_batch: bool = False, free_steps: bool = False) -> int:
    """Return the group width that measured best for a system of this size.

    In double precision with 256-bit registers, of 4, 8 and 16 lanes: for Lorenz (3 states) by
    Tsit5 15.9, 12.8 and 12.6 ms for 10,000 runs, 174, 156 and 186 us for 100, 11, 14 and 21 us
    for one; 10,000 steps of RK4 in 1000 runs 22, 11.5 and 8.1 ms; Robertson by Kvaerno5 13.8,
    10.7 and 13.9 ms; Lorenz-96 by Tsit5 2.9, 2.8 and 4.7 ms with 6 states, 3.5, 3.8 and 7.7 with 8.
    """
    per_register = register_bytes() // np.dtype(dtype).itemsize
    if small_batch or n_states > FEW_STATES:
        return per_register
    return per_register * (REGISTERS_FOR_FREE_STEPS if free_steps else REGISTERS_FOR_FEW_STATES)


def is_small_batch(dtype, n_runs: int) -> bool:
    """Tell whether groups of several registers' worth of runs would leave lanes without one."""
    per_register = register_bytes() // np.dtype(dtype).itemsize
    group = per_register * REGISTERS_FOR_FEW_STATES
    return n_runs < FULL_GROUPS_A_THREAD * n_threads() * group
