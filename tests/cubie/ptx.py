"""Just enough understanding of PTX and SASS to say where code reads and writes."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

_DEPOT = re.compile(r"\.local\s+\.align\s+\d+\s+\.b8\s+__local_depot\d+\[(\d+)\]")
_MEMORY = re.compile(r"(ld|st)\.(?:volatile\.)?(shared|local)[.\w]*\s+(.*);")
_ADDRESS = re.compile(r"\[([%\w$.]+)(?:\+(-?\d+))?\]")
_ASSIGN = re.compile(r"(mov|add)\.[su]64\s+(%\w+),\s*([%\w$.]+)(?:,\s*([%\w$.+-]+))?;")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")


@frozen
class Access:
    """One load or store.

    Attributes
    ----------
    kind : "ld" or "st"
    space : "shared" or "local"
    offset : int
        Bytes from the run's slice of shared memory or from the thread's stack frame;
        where the address has a part known only at run time, of the constant part.
    """

    kind: str
    space: str
    offset: int


def accesses(ptx: str) -> list[Access]:
    """Return all accesses to shared and local memory, in the order of the code."""
    constants: dict[str, int] = {}
    found = []
    for line in ptx.splitlines():
        assigned = _ASSIGN.search(line)
        if assigned:
            _, target, first, second = assigned.groups()
            constants[target] = _constant(constants, first) + _constant(constants, second)
        memory = _MEMORY.search(line)
        if memory:
            kind, space, operands = memory.groups()
            register, shift = _ADDRESS.search(operands).groups()
            found.append(Access(kind, space, constants.get(register, 0) + int(shift or 0)))
    return found


def _constant(constants: dict[str, int], operand: str | None) -> int:
    """Return the constant part of a register or number; symbols count as zero."""
    if operand is None:
        return 0
    if re.fullmatch(r"-?\d+", operand):
        return int(operand)
    return constants.get(operand, 0)


def frame_bytes(ptx: str) -> int:
    """Return the bytes of arrays in the thread's stack frame, before registers are assigned."""
    depots = _DEPOT.findall(ptx)
    return sum(int(size) for size in depots)


def find_nvdisasm() -> str | None:
    """Return the path of the disassembler, from the PATH or from NVIDIA's wheel."""
    on_path = shutil.which("nvdisasm")
    if on_path:
        return on_path
    package = find_spec("nvidia")
    for root in package.submodule_search_locations or () if package else ():
        for candidate in sorted(Path(root).glob("*/bin/nvdisasm*")):
            return str(candidate)
    return None


def sass(cubin: bytes) -> list[str]:
    """Return the instructions of assembled code, without addresses."""
    return _INSTRUCTION.findall(_disassembled(cubin))


def _disassembled(cubin: bytes) -> str:
    tool = find_nvdisasm()
    if tool is None:
        raise RuntimeError("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [tool, "-c", "-ndf", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def opcodes(instructions: list[str]) -> Counter[str]:
    """Count instructions by opcode, without predicate and modifiers."""
    bare = (re.sub(r"^@!?U?P\w+\s+", "", line) for line in instructions)
    return Counter(line.split()[0].split(".")[0] for line in bare)


_LABEL = re.compile(r"^(\.L_x_\d+):")


def straight_loops(cubin: bytes) -> list[list[str]]:
    """Return the instructions of every loop without branches inside it: of one round."""
    text = _disassembled(cubin)
    loops, label, body = [], None, []
    for line in text.splitlines():
        found = _LABEL.match(line.strip())
        if found:
            label, body = found[1], []
            continue
        instruction = _INSTRUCTION.search(line)
        if instruction is None:
            continue
        body.append(instruction[1])
        if "BRA" in instruction[1]:
            if label is not None and f"({label})" in instruction[1]:
                loops.append(body)
            label, body = None, []
    return loops
