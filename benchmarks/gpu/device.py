"""Step ``device``: what the driver and nvidia-smi tell of the GPU; imports neither numba nor cubie.

Where there is no GPU the row says why, and everything after it is simulated.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
from typing import Any

from benchmarks.gpu.rows import Rows, run_as_step

# Of the driver API's enumeration CUdevice_attribute.
ATTRIBUTES = {
    "max_threads_per_block": 1,
    "warp_size": 10,
    "registers_per_block": 12,
    "clock_khz": 13,
    "sm_count": 16,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "threads_per_sm": 39,
    "capability_major": 75,
    "capability_minor": 76,
    "shared_bytes_per_sm": 81,
    "registers_per_sm": 82,
    "shared_bytes_per_block_optin": 97,
}
SMI_FIELDS = (
    "driver_version", "clocks.max.sm", "clocks.sm", "clocks.max.memory", "clocks.mem",
    "power.limit", "power.draw", "temperature.gpu", "memory.total", "memory.used",
    "persistence_mode", "compute_mode", "mig.mode.current", "utilization.gpu",
)  # fmt: skip
SMI_SECONDS = 20


class NoGPU(Exception):
    """There is no GPU that the driver gives; the message says why."""


def driver_facts() -> dict[str, Any]:
    """Return what the driver tells of its first device; sizes in bytes, clocks in kHz.

    Raises
    ------
    NoGPU
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise NoGPU(f"no driver: {error}") from error

    def call(name: str, *arguments: Any) -> None:
        code = getattr(driver, name)(*arguments)
        if code:
            raise NoGPU(f"{name} of the driver failed with code {code}")

    call("cuInit", 0)
    number, device = ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(number))
    if number.value == 0:
        raise NoGPU("the driver has no device")
    call("cuDeviceGet", ctypes.byref(device), 0)
    text, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
    call("cuDeviceGetName", text, len(text), device)
    call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
    facts: dict[str, Any] = {"name": text.value.decode(), "memory_bytes": size.value}
    call("cuDriverGetVersion", ctypes.byref(number))
    facts["driver_cuda"] = f"{number.value // 1000}.{number.value % 1000 // 10}"
    for name, attribute in ATTRIBUTES.items():
        call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        facts[name] = number.value
    facts["capability"] = [facts.pop("capability_major"), facts.pop("capability_minor")]
    return facts


def smi_facts() -> dict[str, str]:
    """Return what nvidia-smi tells of the same device, as it spells it; empty where it is not."""
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader", "-i=0"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    return dict(zip(SMI_FIELDS, values, strict=False))


def sm_clock_mhz() -> float | None:
    """Return the multiprocessors' clock of now, None where nvidia-smi does not tell."""
    words = smi_facts().get("clocks.sm", "").split()
    return float(words[0]) if words and words[0].replace(".", "").isdigit() else None


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Add one row: of the device, or of why there is none."""
    try:
        facts = driver_facts()
    except NoGPU as reason:
        rows.add("no device", reason=str(reason))
    else:
        rows.add("device", **facts, smi=smi_facts())


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
