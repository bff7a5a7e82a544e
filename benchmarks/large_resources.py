"""What kernels of hundreds of states need on a GPU: registers, stack, spills, global memory.

``python -m benchmarks.large_resources`` compiles Lorenz-96 in double precision for sm_90, without
a GPU, placed by ``locations="auto"``, and reads the assembler's report. Rows with dense factors
are there for what local memory cannot hold. ``--states`` and ``--methods`` choose some, which
replace their rows in ``benchmarks/results/large-resources.json``; ``--docs`` writes them into
docs/large-systems.md.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np
from attrs import frozen

from benchmarks.documents import DOCS, write_section
from benchmarks.resources import COMPILERS
from benchmarks.specs import lorenz96
from cubie import Solver

STATES = (50, 200, 500)
METHODS = ("tsit5", "rodas5p", "kvaerno5", "radau_iia_5", "bdf")
DENSE = (("rodas5p", 500), ("radau_iia_5", 200))
ARCHITECTURE = "sm_90"
RESULTS = Path(__file__).parent / "results" / "large-resources.json"
DOCUMENT = DOCS / "large-systems.md"


@frozen
class Row:
    """One kernel; sizes in bytes of a thread, seconds of the processor from function to code."""

    method: str
    states: int
    lu_form: str
    local_planned: int
    global_planned: int
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    seconds: float

    @property
    def key(self) -> tuple:
        return (self.lu_form != "auto", METHODS.index(self.method), self.states)


def measure(method: str, n: int, lu_form: str = "auto") -> Row:
    """Plan and compile one kernel, and read what it needs."""
    started = time.process_time()
    form = {} if lu_form == "auto" else {"lu_form": lu_form}
    solver = Solver(lorenz96, method=method, device=ARCHITECTURE, verify=False, **form)
    plan = solver.prepare(np.ones(n), args=(8.0,))
    found = solver.resources()
    return Row(
        method,
        n,
        lu_form,
        plan.local_bytes + plan.persistent_bytes,
        plan.global_bytes,
        found.registers,
        found.stack_bytes,
        found.spill_store_bytes,
        found.spill_load_bytes,
        round(time.process_time() - started, 1),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| method | states | local, planned | global | registers | stack | spills (st / ld) | s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        method = row.method if row.lu_form == "auto" else f"{row.method}, {row.lu_form} factors"
        lines.append(
            f"| {method} | {row.states} | {row.local_planned:,} | {row.global_planned:,} "
            f"| {row.registers} | {row.stack:,} | {row.spill_stores:,} / {row.spill_loads:,} "
            f"| {row.seconds} |"
        )
    return "\n".join(lines)


def stored() -> tuple[list[Row], dict[str, str]]:
    """Return the rows of the file, and the versions they were made with."""
    if not RESULTS.exists():
        return [], {}
    held = json.loads(RESULTS.read_text())
    return [Row(**row) for row in held["rows"]], held["versions"]


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, nargs="*", default=STATES)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--docs", action="store_true", help="only write the page from the file")
    options = parser.parse_args()
    rows, tools = stored()
    if not options.docs:
        asked = [(method, n, "auto") for method in options.methods for n in options.states]
        chosen = options.methods, options.states
        asked += [(m, n, "dense") for m, n in DENSE if m in chosen[0] and n in chosen[1]]
        for each in asked:
            found = measure(*each)
            rows = sorted([*(r for r in rows if r.key != found.key), found], key=lambda r: r.key)
            tools = {name: version(name) for name in COMPILERS}
            held = {"versions": tools, "rows": [attrs.asdict(row) for row in rows]}
            RESULTS.write_text(json.dumps(held, indent=1) + "\n")
            print(table([found]).splitlines()[-1], flush=True)
    made_with = ", ".join(f"{name} {found}" for name, found in tools.items())
    write_section(DOCUMENT, "resources", f"{table(rows)}\n\nMade with {made_with}.")


if __name__ == "__main__":
    main()
