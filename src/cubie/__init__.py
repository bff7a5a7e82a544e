"""Integrate very many small ODE systems at once, with every buffer's memory planned."""

from cubie.backend import DeviceArray
from cubie.buffers import BufferLocation, BufferRegistry, CUDABuffer
from cubie.cache import CacheWarning
from cubie.errors import (
    CubieError,
    DeviceFault,
    DeviceLost,
    DeviceOutOfMemory,
    InvalidOption,
    InvalidProblem,
    LaunchTimedOut,
    LaunchTooLarge,
    NoDevice,
    OutOfMemory,
    OutputsTooLarge,
    UnknownOption,
)
from cubie.factory import CUDAFactory
from cubie.integrator import SingleIntegratorRun
from cubie.ivp import solve_ivp
from cubie.launch.dense_output import OdeSolution
from cubie.launch.event_results import EventsLost
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.ragged import RaggedArray
from cubie.launch.results import Result
from cubie.problem import ToleranceWarning, UntracedWarning
from cubie.run.loop import IVPLoop
from cubie.run.summaries.kinds import Summary
from cubie.run.summaries.levels import crossings, time_above
from cubie.run.summaries.peaks import negative_peaks, peaks
from cubie.solver import Solver
from cubie.status import RunStatus
from cubie.systems.drivers.interpolant import Interpolant
from cubie.systems.events.given import Event
from cubie_planner import Plan

__all__ = [
    "BatchSolverKernel",
    "BufferLocation",
    "BufferRegistry",
    "CUDABuffer",
    "CUDAFactory",
    "CacheWarning",
    "CubieError",
    "DeviceArray",
    "DeviceFault",
    "DeviceLost",
    "DeviceOutOfMemory",
    "Event",
    "EventsLost",
    "IVPLoop",
    "Interpolant",
    "InvalidOption",
    "InvalidProblem",
    "LaunchTimedOut",
    "LaunchTooLarge",
    "NoDevice",
    "OdeSolution",
    "OutOfMemory",
    "OutputsTooLarge",
    "Plan",
    "RaggedArray",
    "Result",
    "RunStatus",
    "SingleIntegratorRun",
    "Solver",
    "Summary",
    "ToleranceWarning",
    "UnknownOption",
    "UntracedWarning",
    "crossings",
    "negative_peaks",
    "peaks",
    "solve_ivp",
    "time_above",
]


def __getattr__(name: str) -> str:
    """Return `__version__`, which takes a look at the installed files."""
    if name != "__version__":
        raise AttributeError(f"module 'cubie' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cubie")
    except PackageNotFoundError:  # the sources alone are on the path
        return "0+unknown"
