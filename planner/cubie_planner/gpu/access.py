"""What one access costs, by where the bytes are and how many warps are resident."""

from __future__ import annotations

import math

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.footprint import WORD_BYTES, accesses, words_per_element


@frozen(kw_only=True)
class Residency:
    """Cycles of one run's access while a given number of warps is resident.

    Attributes
    ----------
    compute : float
        Arithmetic that comes with an access.
    shared_wavefront, shared_latency : float
        Of an access to shared memory: per wavefront, and once per access.
    stack_wavefront, stack_latency : float
        Of an access to the stack frame.
    l1_miss, l2_miss : float
        Miss rates of the stack frames.
    """

    compute: float
    shared_wavefront: float
    shared_latency: float
    stack_wavefront: float
    stack_latency: float
    l1_miss: float
    l2_miss: float


def bank_conflict(device: Device, stride_bytes: int, lanes: int) -> int:
    """Wavefronts of a warp whose lanes read the same word of their own slices."""
    return min(lanes, math.gcd(stride_bytes // WORD_BYTES, device.shared_banks)) or 1


def shared_access_cost(buffer: Buffer, rate: Residency, conflict: int) -> float:
    """Cycles of all accesses of a run and step to a buffer in shared memory."""
    wavefronts = max(words_per_element(buffer), conflict)
    return accesses(buffer) * (rate.shared_wavefront * wavefronts + rate.shared_latency)


def stack_access_cost(buffer: Buffer, rate: Residency) -> float:
    """Cycles of all accesses of a run and step to a buffer in the stack frame."""
    wavefronts = words_per_element(buffer)
    return accesses(buffer) * (rate.stack_wavefront * wavefronts + rate.stack_latency)
