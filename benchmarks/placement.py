"""What the assembler makes of placements: all local, all shared, the model's and the checked plan.

``python -m benchmarks placement`` compiles, for methods, sizes and devices, the kernel with every
buffer local, with every buffer shared, as the cost model alone would place them, and the candidates
of the checked plan; it counts what a step executes and sets the static cost beside. ``--merge``
completes a JSON file of an earlier part (kept kernel by kernel, so that it can be broken off);
``--docs`` writes the table of docs/placement.md from it. ``--only-local`` compiles nothing but the
kernels with every buffer local, and ``--fit`` prints the constants of registers and stack that such
kernels give the cost model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from attrs import evolve

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.instructions import Spec, make_kernel
from benchmarks.resources import versions
from benchmarks.table import figures, markdown_table
from cubie.backend import assembled_backend
from cubie.buffers import Layout
from cubie.factory import BuildCache
from cubie.launch.inputs import sample_arguments
from cubie.launch.verdicts import assembled
from cubie_planner import Location, Plan, PlanInfeasible, plan
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.checked import EFFORT, Verdict, checked_plan
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.footprint import live_words, own_bytes
from cubie_planner.gpu.objective import objective
from cubie_planner.gpu.register_fit import CompiledKernel, fit_registers, stack_error
from cubie_planner.gpu.static_cost import Assembled, static_cost

METHODS = (
    "tsit5", "dop853", "rk4", "kvaerno5", "l_stable_sdirk_4", "rodas5p", "radau_iia_5",
)  # fmt: skip
STATES = (3, 10, 20, 30, 40, 60, 100, 200)
CAPABILITIES = ((7, 5), (8, 6), (8, 9), (9, 0), (12, 0))
DOCUMENT = DOCS / "placement.md"
KEPT = RESULTS / "placement.json"


class Compiler:
    """Compiles plans of one kernel, each layout once."""

    def __init__(self, spec: Spec, built: BuildCache):
        self.kernel = make_kernel(spec, built)
        self.spec = spec
        self.seconds = 0.0
        self._known: dict[tuple, Assembled] = {}

    def __call__(self, wanted: Plan) -> Assembled:
        layout = tuple(
            (p.name, p.location, p.offset, p.parent, p.parent_offset)
            for p in wanted.placements.values()
        )
        if layout not in self._known:
            started = time.process_time()
            backend = assembled_backend(self.kernel.backend, lines=True)
            kernel: Any = self.kernel._compiled_for(
                backend, Layout(wanted, self.kernel.layout.timeline)
            )
            found = kernel.resources(
                self.spec.capability, *sample_arguments(backend.dtype), self.spec.block_size
            )
            self._known[layout] = assembled(lambda lines: found)
            self.seconds += time.process_time() - started
        return self._known[layout]


def measure(spec: Spec, built: BuildCache) -> dict[str, Any]:
    """Compile the placements of one kernel, and return what became of each."""
    compiler = Compiler(spec, built)
    problem = compiler.kernel.plan.problem
    device, model = (
        Device.for_capability(spec.capability),
        CostModel.for_capability(spec.capability),
    )
    proposed = objective(problem, model)
    local = _row(device, model, compiler, plan(evolve(problem, policy="local")))
    try:
        verdict = checked_plan(problem, compiler, effort=EFFORT)
    except UnreadableCode as error:
        verdict, untold = None, str(error)
    else:
        untold = ""
    rows = {
        "local": local,
        "shared": None,
        "model": _row(device, model, compiler, plan(problem)),
        "checked": None if verdict is None else _checked_row(verdict, local),
    }
    with suppress(PlanInfeasible):  # where no block of so much shared memory can be launched
        everything = plan(evolve(problem, policy="shared"))
        rows["shared"] = _row(device, model, compiler, everything)
    modelled = (proposed.all_local, proposed.predicted)
    local_cost, best_cost = (cost.total if cost else 1.0 for cost in modelled)
    return {
        **attrs.asdict(spec),
        "placements": rows,
        "candidates": []
        if verdict is None
        else [
            _checked_row(evolve(verdict, winner=n), local) for n in range(len(verdict.candidates))
        ],
        "winner": None if verdict is None else verdict.winner,
        "static_gain": None if verdict is None else verdict.gain,
        "untold": untold,
        "modelled_gain": local_cost / best_cost,
        "live_words": live_words(problem.buffers),
        "bytes": sum(own_bytes(b) for b in problem.buffers),
        "seconds": round(compiler.seconds, 1),
    }


def measure_local(spec: Spec, built: BuildCache) -> dict[str, Any]:
    """Compile a kernel with every buffer local, and return what the cost model is fitted to."""
    kernel = make_kernel(evolve(spec, locations="local"), built)
    buffers = kernel.plan.problem.buffers
    started = time.process_time()
    found = kernel.resources(spec.capability)
    return {
        **attrs.asdict(evolve(spec, locations="local")),
        "live_words": live_words(buffers),
        "bytes": sum(own_bytes(b) for b in buffers),
        "placements": {
            "local": {
                "registers": found.registers,
                "stack": found.stack_bytes,
                "spills": found.spill_store_bytes + found.spill_load_bytes,
            }
        },
        "seconds": round(time.process_time() - started, 1),
    }


def _row(device: Device, model: CostModel, compiler: Compiler, wanted: Plan) -> dict[str, Any]:
    found = compiler(wanted)
    size = compiler.spec.block_size
    try:
        cost = static_cost(device, model, found, size, wanted.run_stride_bytes)
    except UnreadableCode:
        cost = None  # what its steps execute cannot be told
    return {
        "registers": found.registers,
        "stack": found.stack_bytes,
        "spills": found.spill_bytes,
        "shared_per_run": wanted.shared_bytes_per_run,
        "moved": _shared_of(wanted),
        **(_of_cost(cost)),
    }


def _shared_of(wanted: Plan) -> list[str]:
    return sorted(
        name
        for name, p in wanted.placements.items()
        if p.location is Location.SHARED and p.size_bytes
    )


def _of_cost(cost: Any) -> dict[str, Any]:
    if cost is None:
        return {"instructions": None, "cycles": None}
    return {
        "instructions": cost.instructions,
        "local": cost.local_accesses,
        "shared": cost.shared_accesses,
        "warps": cost.resident_warps,
        "cycles": cost.total,
    }


def _checked_row(verdict: Verdict, local: dict[str, Any]) -> dict[str, Any]:
    """Return the winner; where nothing was counted, what is local has been counted beside."""
    candidate = verdict.candidates[verdict.winner]
    if candidate.cost is None and not candidate.refused:
        return {"name": candidate.name, "refused": "", **local}
    return {
        "name": candidate.name,
        "registers": candidate.registers,
        "stack": candidate.stack_bytes,
        "spills": candidate.spill_bytes,
        "shared_per_run": candidate.shared_bytes_per_run,
        "refused": candidate.refused,
        **_of_cost(candidate.cost),
    }


def key(row: dict[str, Any]) -> str:
    """Return what tells a row from the others."""
    device = "sm_{}{}".format(*row["capability"])
    return f"{row['method']} {row['states']} {row['dtype']} {device}"


def in_order(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows by method, states and device, in whichever order they were measured."""

    def place(item: tuple[str, dict[str, Any]]) -> tuple:
        row = item[1]
        return METHODS.index(row["method"]), row["states"], tuple(row["capability"])

    return dict(sorted(rows.items(), key=place))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table: cycles, and of each placement stack and instructions."""
    header = ("method", "states", "device", "local", "shared", "model", "checked", "stack",
              "instructions", "LDL+STL", "runs/SM", "gain modelled", "gain static")  # fmt: skip
    return markdown_table(header, [_cells(row) for row in rows])


def told(rows: list[dict[str, Any]]) -> str:
    """Return which kernels the table has and which not, in how many the checked plan is best."""
    there: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for row in rows:
        there.setdefault((row["method"], row["states"]), set()).add(tuple(row["capability"]))
    missing = []
    for method in METHODS:
        sizes = [
            f"{states} ({_devices(lacking)})" if there.get((method, states)) else str(states)
            for states in STATES
            if (lacking := set(CAPABILITIES) - there.get((method, states), set()))
        ]
        missing += [f"{method} {', '.join(sizes)}"] if sizes else []
    counted = [row for row in rows if not row.get("untold")]
    above = [worse for row in counted if (worse := _above_the_best(row)) > 0]
    total = len(METHODS) * len(STATES) * len(CAPABILITIES)
    text = (
        f"Of {total} kernels these {len(rows)} were compiled. In {len(counted) - len(above)} "
        "of them the checked plan costs least of what was compiled"
    )
    if above:
        text += f", in {len(above)} up to {max(above):.1%} more"
    if len(counted) < len(rows):
        text += f"; in {len(rows) - len(counted)} what a step executes cannot be told"
    return f"{text}. Not there are, by states: {'; '.join(missing)}." if missing else f"{text}."


def _devices(capabilities: set[tuple[int, int]]) -> str:
    return " ".join("sm_{}{}".format(*capability) for capability in sorted(capabilities))


def _above_the_best(row: dict[str, Any]) -> float:
    """Return by which part the checked plan costs more than the best that it may be."""
    places = row["placements"]
    local = places["local"]
    allowed = [
        place["cycles"]
        for place in places.values()
        if place
        and place["cycles"]
        and (place["instructions"] <= local["instructions"] or place["local"] <= local["local"])
    ]
    return places["checked"]["cycles"] / min(allowed) - 1


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    places = row["placements"]

    def each(field: str, scale: int = 1) -> str:
        named = [places[name] for name in ("local", "shared", "model", "checked")]
        values = [None if place is None else place.get(field) for place in named]
        return " / ".join("-" if value is None else str(value * scale) for value in values)

    def cycles(name: str) -> str:
        found = places[name]
        return "-" if found is None or found["cycles"] is None else figures(found["cycles"])

    return (
        row["method"], str(row["states"]), "sm_{}{}".format(*row["capability"]),
        *map(cycles, ("local", "shared", "model", "checked")),
        each("stack"), each("instructions"), each("local"), each("warps", 32),
        figures(row["modelled_gain"]),
        "-" if row["static_gain"] is None else figures(row["static_gain"]),
    )  # fmt: skip


def fitted(rows: list[dict[str, Any]]) -> str:
    """Return the register and stack constants that follow from the kernels, and their errors."""
    kernels = [
        CompiledKernel(
            live_words=row["live_words"],
            local_bytes=row["bytes"],
            registers=row["placements"]["local"]["registers"],
            stack_bytes=row["placements"]["local"]["stack"],
        )
        for row in rows
    ]
    model = CostModel.for_capability(tuple(rows[0]["capability"]))
    found = fit_registers(kernels, model)
    names = ("registers_base", "registers_per_word", "spill_bytes_per_word", "frame_demand",
             "frame_factor")  # fmt: skip
    table_rows = [
        (name, figures(getattr(model.constants, name)), figures(getattr(found.constants, name)))
        for name in names
    ]
    before = stack_error(model.constants, kernels)
    return (
        f"{markdown_table(('constant', 'built in', 'fitted'), table_rows)}\n\n"
        f"{found.kernels} kernels. Registers without a stack are off by "
        f"{found.register_error:.0%} in the median and {found.worst_register_error:.0%} at most; "
        f"the stack by {found.stack_error:.0%} in the median, and by {before:.0%} with the "
        "constants that are built in."
    )


def write_tables(rows: list[dict[str, Any]]) -> None:
    """Replace the table in the documentation, with what it was made with."""
    tools = ", ".join(f"{name} {found}" for name, found in versions().items())
    write_section(DOCUMENT, "table", f"{table(rows)}\n\n{told(rows)} Made with {tools}.")


def _capability(text: str) -> tuple[int, int]:
    return Device.parse(text).capability


def run(argv: list[str]) -> None:
    """Measure the kernels asked for; see the module."""
    parser = argparse.ArgumentParser(prog="benchmarks placement", description=__doc__)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--states", type=int, nargs="*", default=STATES)
    parser.add_argument("--arch", nargs="*", type=_capability, default=CAPABILITIES)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--merge", type=Path, help="JSON of an earlier part, to be completed")
    parser.add_argument("--docs", action="store_true", help=f"write the table of {DOCUMENT.name}")
    parser.add_argument("--only-local", action="store_true", help="no other placement")
    parser.add_argument("--fit", action="store_true", help="fit register and stack constants")
    chosen = parser.parse_args(argv)
    kept: dict[str, dict[str, Any]] = {}
    if chosen.merge is not None and chosen.merge.exists():
        kept = json.loads(chosen.merge.read_text(encoding="utf-8"))["rows"]
    for states in chosen.states:
        for method in chosen.methods:
            built = BuildCache()
            for capability in chosen.arch:
                spec = Spec(method, states, True, chosen.dtype, capability, "auto")
                name = key(attrs.asdict(spec))
                if name in kept:
                    continue
                kept[name] = (measure_local if chosen.only_local else measure)(spec, built)
                line = name if chosen.only_local else table([kept[name]]).splitlines()[-1]
                print(line, f"{kept[name]['seconds']} s", flush=True)
                if chosen.merge is not None:
                    kept = in_order(kept)
                    result = {"versions": versions(), "rows": kept}
                    chosen.merge.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if chosen.fit:
        print(fitted(list(kept.values())))
    if chosen.docs:
        write_tables(list(kept.values()))


if __name__ == "__main__":
    run(sys.argv[1:])
