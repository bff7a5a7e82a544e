"""Machine code as text: finding NVIDIA's disassembler, and asking it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from cubie_planner.basics import PlannerError

TOOL = "nvdisasm"


class NoDisassembler(PlannerError):
    """There is no `nvdisasm` on this machine; the message says how to get it."""


class UnreadableCode(PlannerError, ValueError):
    """Machine code of a form that is not understood.

    Attributes
    ----------
    given : str
        The instruction, label or report in question.
    """

    def __init__(self, message: str, given: str) -> None:
        super().__init__(message)
        self.given = given


def find_nvdisasm() -> str | None:
    """Return the path of the disassembler, or None.

    Looked at in turn: NVIDIA's wheel ``nvidia-cuda-nvdisasm``, ``CUDA_HOME`` and ``CUDA_PATH``,
    the PATH, and ``/usr/local/cuda``. The wheel comes first: it is as new as the assembler that
    was installed beside it.
    """
    folders = [Path(root) for root in _namespace("nvidia")]
    found = [path for folder in folders for path in sorted(folder.glob(f"*/bin/{TOOL}*"))]
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    found += [Path(home) / "bin" / TOOL for home in homes if home]
    on_path = shutil.which(TOOL)
    found += [Path(on_path)] if on_path else []
    found.append(Path("/usr/local/cuda/bin") / TOOL)
    return next((str(path) for path in found if path.is_file()), None)


def _namespace(package: str) -> list[str]:
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def disassemble(cubin: bytes) -> str:
    """Return the machine code of a cubin and its data as text, with the source lines it knows.

    Source lines are there where the code was compiled with them (``lineinfo=True`` in
    Numba, ``-lineinfo`` in nvcc).

    Raises
    ------
    NoDisassembler
    UnreadableCode
        Where the disassembler refuses the code, with what it said.
    """
    tool = find_nvdisasm()
    if tool is None:
        raise NoDisassembler(
            f"Reading machine code needs {TOOL}, and none was found: neither NVIDIA's wheel, nor "
            "CUDA_HOME, nor the PATH has it. Install it with pip install nvidia-cuda-nvdisasm; "
            "no GPU is needed."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        # Targets of indirect branches need the data flow, on which some code fails: then without.
        for options in (["-gi"], ["-gi", "-ndf"]):
            done = subprocess.run([tool, *options, str(path)], capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout
    said = (done.stderr or done.stdout).strip().splitlines()
    raise UnreadableCode(
        f"{tool} could not read the code: {said[-1] if said else 'it said nothing'}. Is it older "
        "than the assembler that made the code? Then install a newer nvidia-cuda-nvdisasm.",
        said[-1] if said else "",
    )
