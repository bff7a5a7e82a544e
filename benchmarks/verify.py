"""What the planner predicts beside what the assembler reports, for one method of each family.

``python -m benchmarks verify`` plans Lorenz-96 as ``cubie-plan benchmarks.specs:lorenz96
--states N --method M --max-shared 48k --verify`` does, compiles every kernel all local,
all shared and as planned, each in a process of its own, and keeps the figures as JSON.
``--docs`` writes them into the table of docs/verify.md, ``--pages DIR`` also writes the
report and the picture of every plan.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.resources import versions
from cubie.cli.inputs import Source, read_source
from cubie.cli.models import ModelOptions
from cubie.cli.requests import Request
from cubie.cli.verify import compiled, planned
from cubie_planner import Plan
from cubie_planner import plan as make_plan
from cubie_planner.gpu.device import Device

TARGET = "benchmarks.specs:lorenz96"
METHODS = {"tsit5": "ERK", "kvaerno5": "DIRK", "radau_iia_5": "FIRK", "rodas5p": "Rosenbrock"}
STATES = (4, 20, 40)
LIMIT = 48 * 1024
DEVICE = "sm_90"
PLACEMENTS = ("local", "shared", "plan")
DOCUMENT = DOCS / "verify.md"


@frozen
class Row:
    """One placement of one kernel; bytes and registers of a thread unless named a block's.

    Attributes
    ----------
    status : str
        Of the plan; "no plan" where not everything fits, and then nothing else is known.
    seconds : float
        Processor time of compiling.
    """

    method: str
    states: int
    placement: str
    status: str
    shared_per_run: int = 0
    shared_modelled: int = 0
    shared: int = 0
    registers_modelled: int = 0
    registers: int = 0
    stack_modelled: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    seconds: float = 0.0


def case(method: str, states: int) -> tuple[Source, Plan]:
    """Return the model and its plan, as the command line makes them."""
    source = read_source(TARGET, ModelOptions(states=states, method=method))
    request = Request(max_shared=LIMIT, device=Device.parse(DEVICE))
    return source, make_plan(request.applied_to(source.problem, model=True))


def measure(method: str, states: int, placements: tuple[str, ...] = PLACEMENTS) -> Iterator[Row]:
    """Compile one kernel under several placements; equal plans are compiled once."""
    source, made = case(method, states)
    assert source.kernel is not None, "a right-hand side has a kernel"
    known: dict[Any, Row] = {}
    for placement in placements:
        plan = made
        if placement != "plan":
            plan = planned(evolve(made.problem, policy=placement), make_plan)
        if plan is None:
            yield Row(method, states, placement, "no plan")
            continue
        layout = tuple((p.location, p.offset, p.parent) for p in plan.placements.values())
        if layout not in known:
            started = time.process_time()
            found = compiled(source.kernel, plan)
            known[layout] = Row(
                method,
                states,
                placement,
                str(plan.status),
                plan.shared_bytes_per_run,
                plan.shared_bytes_per_block,
                found.shared_bytes_per_block,
                found.modelled.registers,
                found.registers,
                found.modelled.stack_bytes,
                found.stack_bytes,
                found.spill_store_bytes,
                found.spill_load_bytes,
                round(time.process_time() - started, 1),
            )
        yield evolve(known[layout], placement=placement)


def write_pages(method: str, states: int, folder: Path) -> None:
    """Write the report and the picture, light and dark, of one plan."""
    source, plan = case(method, states)
    name = f"{method}-{states}"
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Lorenz-96 with {states} states, {method}"
    plan.report(folder / f"{name}.html", name=title, phases=source.phases)
    plan.plot(folder / f"{name}.png", phases=source.phases)
    plan.plot(folder / f"{name}-dark.png", phases=source.phases, theme="dark")


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table; errors are those of the model."""
    lines = [
        "| method | states | placement | shared per run | shared per block | error | registers "
        "| error | stack | error | spills (st / ld) | compile |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    head = f"| {row.method} | {row.states} | {row.placement} "
    if row.status == "no plan":
        return f"{head}| does not fit | | | | | | | | |"
    return (
        f"{head}| {row.shared_per_run} | {row.shared} | {row.shared_modelled - row.shared:+d} "
        f"| {row.registers} | {_error(row.registers_modelled, row.registers)} "
        f"| {row.stack} | {_error(row.stack_modelled, row.stack)} "
        f"| {row.spill_stores} / {row.spill_loads} | {row.seconds:.1f} s |"
    )


def _error(modelled: int, found: int) -> str:
    """Return the difference, and its share of what was found."""
    if modelled == found:
        return "0"
    share = f" ({100 * (modelled - found) / found:+.0f} %)" if found else ""
    return f"{modelled - found:+d}{share}"


def summary(rows: list[Row]) -> str:
    """Return in words how far the model is from the assembler; equal plans are one kernel."""
    made = {evolve(row, placement="") for row in rows if row.status != "no plan"}
    exact = sum(row.shared_modelled == row.shared for row in made)
    registers = sorted(abs(row.registers_modelled - row.registers) for row in made)
    stacks = [row for row in made if row.stack or row.stack_modelled]
    shares = sorted(abs(row.stack_modelled - row.stack) / max(1, row.stack) for row in stacks)
    told = f"Shared bytes are exact in {exact} of {len(made)} kernels. "
    told += f"Registers are off by {registers[len(registers) // 2]} in the median and by "
    told += f"{registers[-1]} at most"
    if shares:
        median = 100 * shares[len(shares) // 2]
        told += f"; the stack, in the {len(shares)} kernels that have or were to have one, by "
        told += f"{median:.0f} % in the median"
    return f"{told}."


def write_table(rows: list[Row], made_with: dict[str, str]) -> None:
    """Replace the table in the documentation, with what it was made with."""
    tools = ", ".join(f"{name} {found}" for name, found in made_with.items())
    write_section(DOCUMENT, "table", f"{summary(rows)}\n\n{table(rows)}\n\nMade with {tools}.")


def _in_a_process(method: str, states: int) -> list[Row]:
    """Measure where nothing compiled before can matter."""
    command = [sys.executable, "-m", "benchmarks.verify", "--one", method, str(states)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [Row(**row) for row in json.loads(done.stdout)]


def main(argv: list[str]) -> None:
    """Parse the command line; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks verify", description=__doc__)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--states", type=int, nargs="*", default=STATES)
    parser.add_argument("--docs", action="store_true", help="write the table of docs/verify.md")
    parser.add_argument("--pages", type=Path, help="write reports and pictures into this folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "STATES"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.one:
        method, states = chosen.one
        print(json.dumps([asdict(row) for row in measure(method, int(states))]))
        return
    rows: list[Row] = []
    for method in chosen.methods:
        for states in chosen.states:
            found = _in_a_process(method, states)
            rows += found
            print("\n".join(_line(row) for row in found), flush=True)
            if chosen.pages:
                write_pages(method, states, chosen.pages)
    chosen.results.mkdir(parents=True, exist_ok=True)
    path = chosen.results / f"verify-{machine_name()}.json"
    kept = {"environment": describe(), "compilers": versions(), "rows": [asdict(r) for r in rows]}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"\n{summary(rows)}\nRaw data: {path}")
    if chosen.docs:
        write_table(rows, versions())


if __name__ == "__main__":
    main(sys.argv[1:])
