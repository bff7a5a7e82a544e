"""Integrate very many small ODE systems at once, with every buffer's memory planned."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cubie.backend import DeviceArray
from cubie.buffers import BufferLocation, BufferRegistry, CUDABuffer
from cubie.cache import CacheWarning
from cubie.distribution import VERSION, NamesakeWarning, warn_of_namesake
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
from cubie.fitting.least_squares import LeastSquares
from cubie.integrator import SingleIntegratorRun
from cubie.ivp import solve_ivp
from cubie.launch.dense_output import OdeSolution
from cubie.launch.event_results import EventsLost
from cubie.launch.inexact import ConservationWarning
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.ragged import RaggedArray
from cubie.launch.results import Result
from cubie.models import Model, ModelError, load_model
from cubie.petab import PetabProblem, load_petab
from cubie.problem import SensitivityWarning, ToleranceWarning, UntracedWarning
from cubie.run.loop import IVPLoop
from cubie.run.summaries.kinds import Summary
from cubie.run.summaries.levels import crossings, time_above
from cubie.run.summaries.lyapunov import lyapunov
from cubie.run.summaries.peaks import negative_peaks, peaks
from cubie.solver import Solver
from cubie.status import RunStatus
from cubie.systems.drivers.interpolant import Interpolant
from cubie.systems.events.given import Event
from cubie_planner import Plan

if TYPE_CHECKING:
    from cubie.sweeps import (
        ChunksLost,
        OtherSweep,
        RunsFailed,
        StoreError,
        Sweep,
        SweepFailed,
        SweepTooLarge,
        grid,
        sampled,
        sweep,
        table,
        zipped,
    )
    from cubie.versions import show_versions

# Loaded on first use: a solve needs none of it.
_OF_SWEEPS = (
    *("ChunksLost", "OtherSweep", "RunsFailed", "StoreError"),
    *("Sweep", "SweepFailed", "SweepTooLarge"),
    *("grid", "sampled", "sweep", "table", "zipped"),
)

__all__ = [
    "BatchSolverKernel",
    "BufferLocation",
    "BufferRegistry",
    "CUDABuffer",
    "CUDAFactory",
    "CacheWarning",
    "ChunksLost",
    "ConservationWarning",
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
    "LeastSquares",
    "Model",
    "ModelError",
    "NamesakeWarning",
    "NoDevice",
    "OdeSolution",
    "OtherSweep",
    "OutOfMemory",
    "OutputsTooLarge",
    "PetabProblem",
    "Plan",
    "RaggedArray",
    "Result",
    "RunStatus",
    "RunsFailed",
    "SensitivityWarning",
    "SingleIntegratorRun",
    "Solver",
    "StoreError",
    "Summary",
    "Sweep",
    "SweepFailed",
    "SweepTooLarge",
    "ToleranceWarning",
    "UnknownOption",
    "UntracedWarning",
    "crossings",
    "grid",
    "load_model",
    "load_petab",
    "lyapunov",
    "negative_peaks",
    "peaks",
    "sampled",
    "show_versions",
    "solve_ivp",
    "sweep",
    "table",
    "time_above",
    "zipped",
]


def __getattr__(name: str) -> Any:
    """Return what is loaded on first use."""
    if name in _OF_SWEEPS:
        return getattr(import_module("cubie.sweeps"), name)
    if name == "show_versions":
        return import_module("cubie.versions").show_versions
    raise AttributeError(f"module 'cubie' has no attribute {name!r}")


__version__ = VERSION
warn_of_namesake()
