"""Step ``compiler``: whether the machine's llvmlite and CUDA toolkit compile a kernel of ours.

For the GPU's architecture, or sm_90 without one; nothing is launched.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.gpu.device import NoGPU, driver_facts
from benchmarks.gpu.rows import Rows, run_as_step
from benchmarks.resources import Spec, make_kernel

WITHOUT_GPU = (9, 0)


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Add one row; a kernel that does not compile is no failure of the step."""
    try:
        major, minor = driver_facts()["capability"]
    except NoGPU:
        major, minor = WITHOUT_GPU
    started = time.perf_counter()
    registers = failure = None
    try:
        kernel = make_kernel(Spec(3, "local", (major, minor)))
        registers = kernel.resources((major, minor)).registers
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    rows.add(
        "compiler",
        capability=[major, minor],
        registers=registers,
        seconds=round(time.perf_counter() - started, 2),
        error=failure,
    )


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
