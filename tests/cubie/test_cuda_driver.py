"""NVIDIA's driver, as it is called: by a library with its interface that works on the host.

The library (`native/libcuda.c`) is compiled here. Its only kernel writes where every run began:
what is looked at is the way there and back.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cubie.backend import KernelInputs

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs a C compiler, and Linux"
)

SCRIPT = """
import json, sys
import numpy as np
from cubie import NoDevice, Solver
from cubie.backend.machine import cuda_is_available

def lorenz(t, y, rho):
    return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]

told = {"available": cuda_is_available()}
y0 = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
rho = np.linspace(0, 21, 1000)
solver = Solver(lorenz, dtype="float32", method="euler", first_step=0.25)

def solve(**options):
    result = solver.solve((0, 1), y0, args=(rho,), **options)
    y = result.y.to_host() if options.get("on_device") else result.y
    return result, bool(np.array_equal(y[:, :, 0], y0))

result, told["plain"] = solve()
told["needs"] = solver.kernel.compiled.thread_needs
told["held"] = solver.kernel.compiled.workspaces().held_bytes
told["kernel_seconds"] = result.kernel_seconds
told["limits"] = [*solver.plan.limits.compute_capability, solver.plan.limits.card]
told["max_shared"] = solver.plan.limits.max_shared_bytes
told["from_cache"] = solver.kernel.compiled.compiled_from_cache
_, told["shared"] = solve(locations="shared", block_size=512)
_, told["wide"] = solve(block_size=256, refill=True)
result, told["on_device"] = solve(on_device=True)
told["dlpack"] = result.y.__dlpack_device__()
again = solver.solve((0, 1), result.y.point(-1), args=(rho,))
told["from_device"] = again.success.tolist() == [True] * 1000
solver.prepare(y0, (rho,), device="H200")
told["same"] = solver.kernel.compiled is not None and solve(device="H200")[1]
try:
    solve(device="rtx 4090")
except NoDevice as error:
    told["elsewhere"] = str(error)
solver.close()
print("TOLD", json.dumps(told))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the script with the library in place of NVIDIA's; what it told, and what was launched."""
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    source = HERE / "native" / "libcuda.c"
    inputs = f"-DINPUTS={len(KernelInputs._fields)}"
    command = [COMPILER, "-shared", "-fPIC", inputs, "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)

    def once():
        paths = os.environ.get("LD_LIBRARY_PATH", "")
        environment = os.environ | {"LD_LIBRARY_PATH": f"{folder}:{paths}"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        *launched, last = done.stdout.splitlines()
        return json.loads(last.removeprefix("TOLD ")), launched

    return once


def test_a_gpu_is_driven_as_its_driver_wants_it(run):
    """Facts, memory, copies, code, shared memory, events: numbers come back where they belong."""
    told, launched = run()
    assert told["available"]
    assert told["plain"]
    assert told["needs"] == [48, 16]
    assert told["held"] == 2**21  # a block for inputs and one for outputs, kept
    assert told["limits"] == [9, 0, "H100 SXM5"]  # by the driver's name of it
    assert told["max_shared"] == 232448
    assert told["kernel_seconds"] == pytest.approx(0.0025)
    assert not told["from_cache"]
    assert told["shared"]
    assert told["wide"]
    assert told["on_device"]
    assert told["dlpack"] == [2, 0]
    assert told["from_device"]
    assert told["same"]
    assert launched[0] == "launched a kernel grid 16 threads 64 shared 0 runs 1000"
    assert "grid 2 threads 512 shared 22528 runs 1000" in launched[1]
    needed = "device='RTX 4090 (sm_89)' needs that GPU, and here is NVIDIA H100 80GB HBM3 (sm_90)"
    assert needed in told["elsewhere"]

    again, _ = run()  # another process
    assert again["from_cache"]
    assert again["plain"]
