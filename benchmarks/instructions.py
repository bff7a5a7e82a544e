"""What CUDA kernels execute for a step, counted from machine code without a GPU.

``python -m benchmarks instructions`` compiles kernels with every buffer local, and, for explicit
methods, kernels written by hand; counts the instructions that one step executes on its usual way
(trips of inner loops included, saving excluded); and sets beside them the floating-point
instructions that the tableau and the right-hand side ask for. ``--merge`` completes a JSON file of
an earlier part; ``--docs`` writes the table of docs/instructions.md from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from benchmarks import pypi_cubie
from benchmarks.by_hand import compile_by_hand, least_instructions
from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.resources import right_hand_side, versions
from benchmarks.stiff_specs import robertson
from benchmarks.table import markdown_table
from cubie.backend import make_backend
from cubie.factory import BuildCache
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.launch.step_code import step_code
from cubie.systems import trace
from cubie.tableaus import ERKTableau, get_tableau
from cubie_planner.assembler.executed import Executed
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.gpu.device import Device, occupancy

BLOCK_SIZE = 64
NEWTON_ITERATIONS = 2
CAPABILITIES = ((7, 5), (9, 0), (12, 0))
DTYPES = ("float32", "float64")
DOCUMENT = DOCS / "instructions.md"
KEPT = RESULTS / "instructions.json"
KINDS = ("FP32", "FP64", "MUFU", "convert", "move", "integer", "local", "shared", "global",
         "constant", "branch", "half", "other")  # fmt: skip


@frozen
class Spec:
    """One kernel, compiled for one device."""

    method: str
    states: int
    adaptive: bool
    dtype: str
    capability: tuple[int, int]
    locations: Any = "local"
    block_size: int = BLOCK_SIZE

    @property
    def is_explicit(self) -> bool:
        return isinstance(get_tableau(self.method), ERKTableau)

    @property
    def system(self) -> tuple[Any, tuple]:
        """The right-hand side and its argument."""
        if self.states == 3 and not self.is_explicit:
            return robertson, (0.04,)
        return right_hand_side(self.states)


CASES = (
    *(("tsit5", n, adaptive) for adaptive in (False, True) for n in (3, 10, 20, 40)),
    *(("rk4", n, False) for n in (3, 20)),
    *((method, n, True) for method in ("vern7", "dop853") for n in (3, 20)),
    *((method, n, True) for method in ("rodas5p", "kvaerno5", "radau_iia_5") for n in (3, 20)),
)


def specs(
    methods: list[str] | None, states: list[int] | None, dtypes, capabilities
) -> Iterator[Spec]:
    """Yield the kernels of the table, or those of some methods and sizes."""
    cases = CASES
    if methods or states:
        cases = [
            (method, n, adaptive)
            for method in methods or dict.fromkeys(case[0] for case in CASES)
            for n in states or dict.fromkeys(case[1] for case in CASES)
            for adaptive in (False, True)
            if _may_be_asked_for(method, adaptive)
        ]
    for method, n, adaptive in cases:
        for dtype in dtypes:
            for capability in capabilities:
                yield Spec(method, n, adaptive, dtype, capability)


def _may_be_asked_for(method: str, adaptive: bool) -> bool:
    """Tell whether a method has such steps: fixed ones are those of explicit methods."""
    tableau = get_tableau(method)
    return tableau.has_error_estimate if adaptive else isinstance(tableau, ERKTableau)


def make_kernel(spec: Spec, built: BuildCache | None = None) -> BatchSolverKernel:
    """Plan a kernel as `solve_ivp` does for the device of the spec."""
    fun, arguments = spec.system
    dtype, method = np.dtype(spec.dtype), get_tableau(spec.method)
    adaptive = spec.adaptive and method.has_error_estimate
    settings = RunSettings(method=method, step_controller=None if adaptive else "fixed")
    config = BatchSolverConfig(
        spec.locations, block_size=spec.block_size, compute_capability=spec.capability
    )
    backend = make_backend("cuda", dtype, True)
    integrator = SingleIntegratorRun(
        trace(fun, spec.states, arguments), settings, dtype, {}, form_costs=backend.form_costs
    )
    return BatchSolverKernel(integrator, config, backend, built)


def measure(spec: Spec, built: BuildCache | None = None) -> dict[str, Any]:
    """Compile a kernel and the one by hand; return what they take and execute.

    Bytes are a thread's unless named a block's; instructions are those of one step.
    """
    started = time.process_time()
    found = make_kernel(spec, built).resources(spec.capability, lines=True)
    step = step_code(found.cubin, NEWTON_ITERATIONS)
    row = {
        **attrs.asdict(spec),
        **_taken(found, spec),
        "rejected": _counted(step.rejected),
        "accepted": _counted(step.accepted),
        "by_hand": None,
        "least": None,
    }
    fun, _ = spec.system
    if spec.is_explicit:
        arguments = (spec.method, fun, spec.states)
        compiled = compile_by_hand(*arguments, spec.dtype, spec.adaptive, spec.capability)
        by_hand = _step_by_hand(MachineCode.of(compiled.cubin))
        row["by_hand"] = {**_taken(compiled, spec), "accepted": _counted(by_hand)}
        row["least"] = least_instructions(*arguments, spec.adaptive)
    return row | {"seconds": round(time.process_time() - started, 2)}


def _step_by_hand(code: MachineCode) -> Executed:
    """Return what one step of a kernel by hand executes, of which a round may hold several."""
    place = code.main_loop()
    steps = None if place is None else code.counted_in_a_round(place)
    return attrs.evolve(code.executed(loop=place), shares=steps or 1)


def _taken(found: Any, spec: Spec) -> dict[str, int]:
    device = Device.for_capability(spec.capability)
    shared = found.shared_bytes_per_block
    resident = occupancy(device, spec.block_size, found.registers, shared)
    return {
        "registers": found.registers,
        "stack": found.stack_bytes,
        "spill_stores": found.spill_store_bytes,
        "spill_loads": found.spill_load_bytes,
        "shared_per_block": shared,
        "blocks_per_sm": resident.blocks_per_sm,
    }


def _counted(executed: Executed) -> dict[str, Any]:
    """Return the instructions of a step by class, and those of one more round of its loops."""
    rounds = [
        {"entered": loop.entered, "rounds": loop.trips, "instructions": Executed(loop.blocks).total}
        for loop in executed.repeated
    ]
    kinds = {str(kind): count for kind, count in executed.kinds.items()}
    return {"total": executed.total, "kinds": kinds, "iterations": rounds}


def key(row: dict[str, Any]) -> str:
    """Return what tells a row from the others."""
    control = "adaptive" if row["adaptive"] else "fixed"
    arch = "sm_{}{}".format(*row["capability"])
    return f"{row['method']} {control} {row['states']} {row['dtype']} {arch} {row['locations']}"


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows by method and kind of steps, states, precision and device."""
    kinds = list(dict.fromkeys((method, adaptive) for method, _, adaptive in CASES))

    def place(row: dict[str, Any]) -> tuple:
        kind = row["method"], row["adaptive"]
        first = kinds.index(kind) if kind in kinds else len(kinds)
        return first, *kind, row["states"], row["dtype"], tuple(row["capability"])

    return sorted(rows, key=place)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table, in the order of `in_order`."""
    header = ("method", "states", "dtype", "device", "instructions", "by hand", "least FP",
              "FP", "MUFU", "move", "integer", "LDL+STL", "registers (by hand)", "stack",
              "blocks/SM")  # fmt: skip
    return markdown_table(header, [_cells(row) for row in in_order(rows)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    accepted, hand = row["accepted"], row["by_hand"]
    kinds, rejected = accepted["kinds"], row["rejected"]["total"]
    total = str(accepted["total"])
    if rejected != accepted["total"]:
        total += f" ({rejected} rejected)"
    if accepted["iterations"]:
        more = sum(loop["entered"] * loop["instructions"] for loop in accepted["iterations"])
        total += f", of them {more} x {NEWTON_ITERATIONS}"
    name = row["method"] + ("" if row["adaptive"] else " fixed")
    return (
        name, str(row["states"]), row["dtype"], "sm_{}{}".format(*row["capability"]), total,
        str(hand["accepted"]["total"]) if hand else "-", str(row["least"] or "-"),
        str(kinds.get("FP32", 0) + kinds.get("FP64", 0)),
        *(str(kinds.get(kind, 0)) for kind in ("MUFU", "move", "integer", "local")),
        f"{row['registers']} ({hand['registers']})" if hand else str(row["registers"]),
        str(row["stack"]), str(row["blocks_per_sm"]),
    )  # fmt: skip


def write_table(rows: list[dict[str, Any]]) -> None:
    """Replace the tables in the documentation, with what they were made with."""
    tools = ", ".join(f"{name} {found}" for name, found in versions().items())
    write_section(DOCUMENT, "table", f"{table(rows)}\n\nMade with {tools}.")
    write_section(DOCUMENT, "beside", pypi_cubie.table(pypi_cubie.kept()))


def _capability(text: str) -> tuple[int, int]:
    return Device.parse(text).capability


def run(argv: list[str]) -> None:
    """Measure the kernels asked for; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks instructions", description=__doc__)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--states", type=int, nargs="*")
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--arch", nargs="*", type=_capability, default=CAPABILITIES)
    parser.add_argument("--merge", type=Path, help="JSON of an earlier part, to be completed")
    parser.add_argument("--again", action="store_true", help="measure also what --merge holds")
    parser.add_argument("--docs", action="store_true", help=f"write the table of {DOCUMENT.name}")
    chosen = parser.parse_args(argv)
    kept: dict[str, dict[str, Any]] = {}
    if chosen.merge is not None and chosen.merge.exists():
        kept = json.loads(chosen.merge.read_text(encoding="utf-8"))["rows"]
    built, before = BuildCache(), None
    for spec in specs(chosen.methods, chosen.states, chosen.dtypes, chosen.arch):
        name = key(attrs.asdict(spec))
        if name in kept and not chosen.again:
            continue
        if before != (spec.method, spec.states):
            built, before = BuildCache(), (spec.method, spec.states)
        kept[name] = measure(spec, built)
        print(table([kept[name]]).splitlines()[-1], f"{kept[name]['seconds']} s", flush=True)
        if chosen.merge is not None:
            result = {"versions": versions(), "rows": kept}
            chosen.merge.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if chosen.docs:
        write_table(list(kept.values()))


if __name__ == "__main__":
    run(sys.argv[1:])
