"""Shared bytes a run of the implicit methods, everything shared; and what kernels need on sm_90.

``python -m benchmarks implicit-memory`` plans Lorenz-96 in single precision, with lifetimes and
without, compiles one method of each family for sm_90, prints the tables, keeps them as JSON and,
with ``--docs``, writes them into docs/implicit.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from benchmarks.documents import write_section
from benchmarks.resources import Spec, measure, right_hand_side, table, versions
from benchmarks.table import markdown_table
from cubie.integrator import RunSettings, SingleIntegratorRun
from cubie.launch.planned import BatchSolverConfig, plan_layout
from cubie.systems import trace
from cubie.tableaus import ERKTableau, all_methods, get_method
from cubie_planner.report import savings

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "implicit.md"
STATES = (4, 20, 40)
MATRIX_FREE = {"linear_solver": "minimal_residual"}
# Bytes a run of CuBIE 0.17.0 at 4 and 20 states, asked of its solver under the simulator with all
# of its 44 location options "shared"; of minimal residual they are the same with and without a
# preconditioner.
CUBIE = {
    ("kvaerno5", "lu"): (496, 1776),
    ("l_stable_sdirk_4", "lu"): (388, 1540),
    ("radau_iia_5", "lu"): (460, 2480),
    ("ros3p", "lu"): (224, 1184),
    ("backwards_euler", "lu"): (168, 936),
    ("crank_nicolson", "lu"): (176, 944),
    ("kvaerno5", "minimal_residual"): (464, 1424),
    ("l_stable_sdirk_4", "minimal_residual"): (356, 1188),
    ("radau_iia_5", "minimal_residual"): (388, 1604),
    ("ros3p", "minimal_residual"): (192, 832),
    ("backwards_euler", "minimal_residual"): (136, 584),
    ("crank_nicolson", "minimal_residual"): (144, 592),
}
RESOURCE_METHODS = ("rodas4", "kvaerno3", "radau_iia_5")
RESOURCE_STATES = (3, 10)


@frozen
class Need:
    """Shared bytes of one run.

    Attributes
    ----------
    factors : int
        Of them, the factors of the linear systems.
    without_lifetimes : int
        With aliases alone.
    """

    method: str
    linear_solver: str
    states: int
    planned: int
    factors: int
    without_lifetimes: int


def need(method: str, states: int, options: dict[str, Any]) -> Need:
    """Plan one method with everything shared."""
    fun, arguments = right_hand_side(states)
    settings = RunSettings(method=get_method(method))
    system = trace(fun, states, arguments)
    run = SingleIntegratorRun(system, settings, np.dtype("float32"), options)
    plan = plan_layout(run.buffer_registry, BatchSolverConfig(locations="shared")).plan
    factors = [p.size_bytes for name, p in plan.placements.items() if name.endswith("lu_factors")]
    saved = savings(plan)
    return Need(
        method=method,
        linear_solver=options.get("linear_solver", "lu"),
        states=states,
        planned=plan.shared_bytes_per_run,
        factors=sum(factors),
        without_lifetimes=saved.without_reuse - saved.by_aliases,
    )


def needs() -> list[Need]:
    """Return the needs of every implicit method, by LU and without matrices."""
    methods = [t.name for t in all_methods().values() if not isinstance(t, ERKTableau)]
    ways: tuple[dict[str, Any], ...] = ({}, MATRIX_FREE)
    return [need(m, n, options) for options in ways for m in methods for n in STATES]


def memory_table(found: list[Need]) -> str:
    """Return the table of shared bytes, in Markdown."""
    header = ["method", "linear solver"]
    for n in STATES:
        header += [f"{n} states: planned", "of it factors", "without lifetimes"]
        header += ["CuBIE"] if n != STATES[-1] else []
    rows: dict[tuple[str, str], list[str]] = {}
    for one in found:
        row = rows.setdefault((one.method, one.linear_solver), [])
        row += [str(one.planned), str(one.factors or ""), str(one.without_lifetimes)]
        if one.states != STATES[-1]:
            theirs = CUBIE.get((one.method, one.linear_solver))
            row.append(str(theirs[STATES.index(one.states)]) if theirs else "")
    return markdown_table(header, [[*key, *row] for key, row in rows.items()])


def resource_table() -> str:
    """Return what kernels of one method of each family need on sm_90, in Markdown."""
    parts = []
    for method in RESOURCE_METHODS:
        specs = [Spec(n, p, (9, 0), method) for n in RESOURCE_STATES for p in ("local", "shared")]
        rows = table([measure(spec) for spec in specs]).splitlines()
        head = [f"| method {rows[0]}", f"|---{rows[1]}"] if not parts else []
        kept = [line for line in rows[2:] if line.startswith("|")]
        parts += head + [f"| {method} {line}" for line in kept]
    made_with = ", ".join(f"{name} {number}" for name, number in versions().items())
    return "\n".join(parts) + f"\n\nMade with {made_with}."


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks implicit-memory",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the tables into the page")
    parser.add_argument("--plans-only", action="store_true", help="compile nothing")
    chosen = parser.parse_args()
    found = needs()
    rows = [attrs.asdict(one) for one in found]
    text = json.dumps({"suite": "implicit-memory", "needs": rows}, indent=1)
    path = chosen.results / "implicit-memory.json"
    path.write_text(text + "\n", encoding="utf-8")
    memory = memory_table(found)
    resources = "" if chosen.plans_only else resource_table()
    print(memory, resources, f"Raw data: {path}", sep="\n\n")
    if chosen.docs:
        write_section(DOCUMENT, "shared memory", memory)
        if resources:
            write_section(DOCUMENT, "resources", resources)


if __name__ == "__main__":
    main()
