"""Placements that others measured, beside what the assembler makes of kernels of the same sizes.

``python -m benchmarks published`` compiles, for each outcome of a published sweep (RTX 4070 SUPER,
single precision), a kernel of its kind with every array local and one with the arrays moved that
were moved there, and sets the static costs of both beside the outcome. ``--merge`` completes a JSON
file of an earlier part; ``--docs`` writes the table of docs/placement.md from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.documents import RESULTS, write_section
from benchmarks.placement import DOCUMENT
from benchmarks.published_kernels import KernelSize, compile_kernel, placed
from benchmarks.resources import versions
from benchmarks.table import figures, markdown_table
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.static_cost import Assembled, static_cost

ADA = (8, 9)
KEPT = RESULTS / "published.json"
STATES = ("state", "proposed")


@frozen
class Outcome:
    """What was moved to shared memory, and whether that was faster.

    Attributes
    ----------
    row : str
        As published; of the local footprints no array is named that was moved.
    size : KernelSize
        Of a kernel with as many bytes as the row gives.
    moved : tuple of str
        Names of arrays.
    won : bool
    """

    row: str
    size: KernelSize
    moved: tuple[str, ...]
    won: bool


def _everything(size: KernelSize) -> tuple[str, ...]:
    return tuple(buffer.name for buffer in size.buffers)


SMALL, STAGED, LARGE = KernelSize(11), KernelSize(16, staged=True), KernelSize(64, staged=True)
OUTCOMES = (
    Outcome("below 0.5 KiB: state + proposed", SMALL, STATES, False),
    Outcome("below 0.5 KiB: stages", SMALL, SMALL.slopes, False),
    Outcome("below 0.5 KiB: one array", SMALL, ("stage_state",), False),
    Outcome("local arrays of 3.3 KiB: state + proposed", KernelSize(77), STATES, False),
    Outcome("local arrays of 3.9 KiB: state + proposed", KernelSize(91), STATES, True),
    Outcome("state + proposed, 1 KiB", KernelSize(128), STATES, True),
    Outcome("state + proposed, 2 KiB", KernelSize(256), STATES, False),
    Outcome("implicit work, 2 KiB", KernelSize(128, 7, work=512), ("work",), True),
    Outcome("implicit work, 4 KiB", KernelSize(256, 7, work=1024), ("work",), False),
    Outcome("explicit stages, 448 B", STAGED, STAGED.slopes, True),
    Outcome("explicit stages, 1.8 KiB", LARGE, LARGE.slopes, False),
    Outcome("parameters, 512 B", KernelSize(110, 7, 128), ("parameters",), True),
    Outcome("2.6 KiB of shared memory", KernelSize(60), _everything(KernelSize(60)), False),
    Outcome("3.4 KiB of shared memory", KernelSize(80), _everything(KernelSize(80)), False),
)


def measure(outcome: Outcome) -> dict[str, Any]:
    """Compile both placements of an outcome; return what became of each."""
    started = time.process_time()
    return {
        "row": outcome.row,
        "won": outcome.won,
        "local": _became(outcome.size, ()),
        "moved": _became(outcome.size, outcome.moved),
        "seconds": round(time.process_time() - started, 1),
    }


def gain(row: dict[str, Any]) -> float:
    """Return how many times cheaper the placement is that was moved."""
    return row["local"]["cycles"] / row["moved"]["cycles"]


def _became(size: KernelSize, moved: tuple[str, ...]) -> dict[str, Any]:
    wanted = placed(size, moved)
    found = compile_kernel(size, wanted, ADA)
    assembled = Assembled(
        registers=found.registers,
        stack_bytes=found.stack_bytes,
        spill_bytes=found.spill_store_bytes + found.spill_load_bytes,
        count=MachineCode.of(found.cubin).executed,
    )
    block, stride = wanted.limits.block_size, wanted.run_stride_bytes
    model = CostModel.for_capability(ADA)
    cost = static_cost(Device.for_capability(ADA), model, assembled, block, stride)
    assert cost is not None  # a block as the sweep had it can be launched
    return {
        "shared_per_run": wanted.shared_bytes_per_run,
        "block_size": block,
        "registers": found.registers,
        "stack": found.stack_bytes,
        "instructions": cost.instructions,
        "local": cost.local_accesses,
        "shared": cost.shared_accesses,
        "warps": cost.resident_warps,
        "cycles": cost.total,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table; pairs are of the local and of the moved placement."""
    header = ("published", "outcome", "shared a run", "block", "stack", "instructions", "LDL+STL",
              "runs/SM", "cycles", "gain", "agrees")  # fmt: skip
    return markdown_table(header, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def each(field: str, scale: int = 1) -> str:
        return " / ".join(str(row[place][field] * scale) for place in ("local", "moved"))

    return (
        row["row"], "won" if row["won"] else "lost", f"{row['moved']['shared_per_run']} B",
        each("block_size"), each("stack"), each("instructions"), each("local"), each("warps", 32),
        " / ".join(figures(row[place]["cycles"]) for place in ("local", "moved")),
        figures(gain(row)), "yes" if agrees(row) else "no",
    )  # fmt: skip


def agrees(row: dict[str, Any]) -> bool:
    """Tell whether the static cost says what was measured."""
    return (gain(row) > 1) is row["won"]


def run(argv: list[str]) -> None:
    """Compile the kernels; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks published", description=__doc__)
    parser.add_argument("--merge", type=Path, help="JSON of an earlier part, to be completed")
    parser.add_argument("--docs", action="store_true", help=f"write the table of {DOCUMENT.name}")
    chosen = parser.parse_args(argv)
    kept: dict[str, dict[str, Any]] = {}
    if chosen.merge is not None and chosen.merge.exists():
        kept = json.loads(chosen.merge.read_text(encoding="utf-8"))["rows"]
    for outcome in OUTCOMES:
        if outcome.row not in kept:
            kept[outcome.row] = measure(outcome)
            print(table([kept[outcome.row]]).splitlines()[-1], flush=True)
            if chosen.merge is not None:
                result = {"versions": versions(), "rows": kept}
                chosen.merge.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if chosen.docs:
        rows = [kept[outcome.row] for outcome in OUTCOMES]
        tools = ", ".join(f"{name} {found}" for name, found in versions().items())
        write_section(DOCUMENT, "published", f"{table(rows)}\n\nMade with {tools}.")


if __name__ == "__main__":
    run(sys.argv[1:])
