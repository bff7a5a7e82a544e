"""What Tsit5 kernels need on GPUs: registers, stack, spills and shared memory, without a GPU.

``python -m benchmarks.resources`` compiles Lorenz-96 (Lorenz at three states) in single
precision for several compute capabilities, once with every buffer local, once with every
buffer shared and once placed by ``locations="auto"``, reads the assembler's report, and
writes it as JSON and, with ``--docs``, into the table of docs/resources.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from benchmarks.documents import DOCS, write_section
from benchmarks.specs import lorenz, lorenz96
from cubie.backend import make_backend
from cubie.factory import BuildCache
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.systems import trace
from cubie.tableaus import get_method

STATES = (3, 10, 30, 100)
POLICIES = ("local", "shared", "auto")
CAPABILITIES = ((7, 5), (9, 0), (12, 0))
BLOCK_SIZE = 64
COMPILERS = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")
DOCUMENT = DOCS / "resources.md"


@frozen
class Spec:
    """One kernel, compiled for one device."""

    states: int
    policy: str
    capability: tuple[int, int]
    method: str = "tsit5"
    dtype: str = "float32"
    block_size: int = BLOCK_SIZE


@frozen
class Row:
    """What the assembler says about it; sizes in bytes, a thread's unless named a block's."""

    states: int
    policy: str
    capability: tuple[int, int]
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared_per_block: int
    local_planned: int
    persistent_planned: int
    seconds: float

    @property
    def key(self) -> tuple:
        return (self.states, POLICIES.index(self.policy), self.capability)


def right_hand_side(n: int):
    """Return Lorenz's system at three states and Lorenz-96 above, and its argument."""
    return (lorenz, (28.0,)) if n == 3 else (lorenz96, (8.0,))


def make_kernel(spec: Spec, built: BuildCache | None = None) -> BatchSolverKernel:
    """Plan a kernel as `solve_ivp` does for the device of the spec.

    Kernels that share `built` share the functions that are the same in both.
    """
    fun, arguments = right_hand_side(spec.states)
    dtype = np.dtype(spec.dtype)
    settings = RunSettings(method=get_method(spec.method))
    system = trace(fun, spec.states, arguments)
    config = BatchSolverConfig(
        locations=spec.policy,
        block_size=spec.block_size,
        compute_capability=spec.capability,
    )
    backend = make_backend("cuda", dtype, True)
    integrator = SingleIntegratorRun(system, settings, dtype, {}, form_costs=backend.form_costs)
    return BatchSolverKernel(integrator, config, backend, built)


def measure(spec: Spec, built: BuildCache | None = None) -> Row:
    """Compile one kernel and read what it needs."""
    started = time.process_time()
    kernel = make_kernel(spec, built)
    found = kernel.resources(spec.capability)
    return Row(
        states=spec.states,
        policy=spec.policy,
        capability=spec.capability,
        registers=found.registers,
        stack=found.stack_bytes,
        spill_stores=found.spill_store_bytes,
        spill_loads=found.spill_load_bytes,
        shared_per_block=found.shared_bytes_per_block,
        local_planned=kernel.plan.local_bytes,
        persistent_planned=kernel.plan.persistent_bytes,
        seconds=round(time.process_time() - started, 2),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| states | placement | device | registers | stack | spills (st / ld) | shared per block |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: row.key):
        device = "sm_{}{}".format(*row.capability)
        lines.append(
            f"| {row.states} | {row.policy} | {device} | {row.registers} | {row.stack} "
            f"| {row.spill_stores} / {row.spill_loads} | {row.shared_per_block} |"
        )
    return "\n".join(lines)


def write_table(rows: list[Row]) -> None:
    """Replace the table in the documentation, with what it was made with."""
    tools = ", ".join(f"{name} {found}" for name, found in versions().items())
    write_section(DOCUMENT, "table", f"{table(rows)}\n\nMade with {tools}.")


def versions() -> dict[str, str]:
    """Return what the figures depend on besides this repository."""
    return {name: version(name) for name in COMPILERS}


def run(argv: list[str]) -> dict[str, Any]:
    """Compile the kernels asked for and return their rows; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks resources", description=__doc__)
    parser.add_argument("--states", type=int, nargs="*", default=STATES)
    parser.add_argument("--policies", nargs="*", choices=POLICIES, default=POLICIES)
    parser.add_argument("--merge", type=Path, help="JSON of an earlier part, to be completed")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/resources.md")
    chosen = parser.parse_args(argv)
    rows = {}
    if chosen.merge is not None and chosen.merge.exists():
        kept = json.loads(chosen.merge.read_text(encoding="utf-8"))["rows"]
        before = [Row(**{**row, "capability": tuple(row["capability"])}) for row in kept]
        rows = {row.key: row for row in before}
    for states in chosen.states:
        built = BuildCache()
        for policy in chosen.policies:
            for capability in CAPABILITIES:
                row = measure(Spec(states, policy, capability), built)
                rows[row.key] = row
                print(table([row]).splitlines()[-1], f"{row.seconds} s", flush=True)
    result = {"versions": versions(), "rows": [attrs.asdict(row) for row in rows.values()]}
    if chosen.merge is not None:
        chosen.merge.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if chosen.docs:
        write_table(list(rows.values()))
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
