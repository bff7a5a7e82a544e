"""Compilation targets behind one interface; the only package that knows which one is in use."""

from cubie.backend.arrays import KernelInputs, KernelOutputs, OutputBlock, OutputLayout
from cubie.backend.base import SOURCE, Backend, Kernel, RegisterLimits, RunMemory
from cubie.backend.build_lock import building, tracing
from cubie.backend.bundles import Given, Launch, Memory
from cubie.backend.composition import in_turn
from cubie.backend.device.exchange import ArrayOnDevice, DeviceArray, is_on_device
from cubie.backend.device.exchange import read as read_on_device
from cubie.backend.device.inputs import OnDevice, ParametersOnDevice, StatesOnDevice
from cubie.backend.interruption import Interrupted
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
from cubie.backend.sharing import shared_function
from cubie.backend.special import SPECIAL
from cubie.backend.targets import BACKENDS, assembled_backend, is_small_batch, make_backend

__all__ = [
    "BACKENDS",
    "SOURCE",
    "SPECIAL",
    "ArrayOnDevice",
    "Backend",
    "DeviceArray",
    "Given",
    "Interrupted",
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
    "exponent_of",
    "floor",
    "gather",
    "in_turn",
    "is_finite",
    "is_on_device",
    "is_small_batch",
    "larger",
    "load_run",
    "make_backend",
    "maximum",
    "minimum",
    "package_digest",
    "power_of_two",
    "quotient",
    "read_on_device",
    "rounded_difference",
    "rounded_sum",
    "select",
    "shared_function",
    "significand_of",
    "smaller",
    "square_root",
    "store_run",
    "tracing",
]
