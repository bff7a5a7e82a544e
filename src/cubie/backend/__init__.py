"""Compilation targets behind one interface; the only package that knows which one is in use."""

from cubie.backend.arrays import (
    OF_POINTS,
    KernelInputs,
    KernelOutputs,
    OutputBlock,
    OutputLayout,
)
from cubie.backend.base import SOURCE, Backend, Kernel, RunMemory
from cubie.backend.build_lock import building, tracing
from cubie.backend.bundles import Given, Launch, Memory
from cubie.backend.composition import in_turn
from cubie.backend.device.exchange import ArrayOnDevice, DeviceArray, is_on_device
from cubie.backend.device.exchange import read as read_on_device
from cubie.backend.device.inputs import OnDevice, ParametersOnDevice, StatesOnDevice
from cubie.backend.form_costs import OF_LANES, FormCosts
from cubie.backend.free_memory import free_bytes
from cubie.backend.interruption import Interrupted
from cubie.backend.machine import THREADS_VARIABLE, n_threads, use_threads
from cubie.backend.package import package_digest
from cubie.backend.portions import Portions, Spent
from cubie.backend.primitives import (
    absolute,
    all_lanes,
    any_lane,
    as_index,
    as_real,
    exponent_of,
    floor,
    gather,
    is_finite,
    larger,
    larger_size,
    load_run,
    maximum,
    minimum,
    power_of_two,
    quotient,
    rounded_difference,
    rounded_sum,
    select,
    significand_of,
    smaller,
    square_root,
    store_run,
)
from cubie.backend.register_limits import RegisterLimits
from cubie.backend.several import checked_gpus, gpu_in_use, use_gpu
from cubie.backend.sharing import shared_function
from cubie.backend.slices import GOES_ON, HEADER, UNFINISHED, KeptPerRun
from cubie.backend.special import SPECIAL
from cubie.backend.tables import table
from cubie.backend.targets import (
    BACKENDS,
    assembled_backend,
    is_small_batch,
    make_backend,
    recording_backend,
)
from cubie.backend.what_is_here import targets_here, targets_in_words

__all__ = [
    "BACKENDS",
    "GOES_ON",
    "HEADER",
    "OF_LANES",
    "OF_POINTS",
    "SOURCE",
    "SPECIAL",
    "THREADS_VARIABLE",
    "UNFINISHED",
    "ArrayOnDevice",
    "Backend",
    "DeviceArray",
    "FormCosts",
    "Given",
    "Interrupted",
    "KeptPerRun",
    "Kernel",
    "KernelInputs",
    "KernelOutputs",
    "Launch",
    "Memory",
    "OnDevice",
    "OutputBlock",
    "OutputLayout",
    "ParametersOnDevice",
    "Portions",
    "RegisterLimits",
    "RunMemory",
    "Spent",
    "StatesOnDevice",
    "absolute",
    "all_lanes",
    "any_lane",
    "as_index",
    "as_real",
    "assembled_backend",
    "building",
    "checked_gpus",
    "exponent_of",
    "floor",
    "free_bytes",
    "gather",
    "gpu_in_use",
    "in_turn",
    "is_finite",
    "is_on_device",
    "is_small_batch",
    "larger",
    "larger_size",
    "load_run",
    "make_backend",
    "maximum",
    "minimum",
    "n_threads",
    "package_digest",
    "power_of_two",
    "quotient",
    "read_on_device",
    "recording_backend",
    "rounded_difference",
    "rounded_sum",
    "select",
    "shared_function",
    "significand_of",
    "smaller",
    "square_root",
    "store_run",
    "table",
    "targets_here",
    "targets_in_words",
    "tracing",
    "use_gpu",
    "use_threads",
]
