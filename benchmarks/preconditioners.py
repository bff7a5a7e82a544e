"""What iterations without a matrix take, with each preconditioner.

``python -m benchmarks preconditioners`` solves the Brusselator in the plane by one method with LU
factors, and by BiCGSTAB and GMRES with each preconditioner, eight runs in a group on one core. It
keeps raw data and, with ``--docs``, writes the table of docs/large-systems.md.
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

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.large_systems import brusselator_in_the_plane
from benchmarks.table import figures, markdown_table
from cubie import Solver
from cubie.solvers.preconditioners import PRECONDITIONERS

DOCUMENT = DOCS / "large-systems.md"
METHOD, T_END, GROUP, REPEATS = "rodas5p", 1.0, 8, 5
# States, and diffusion in squares of the side a unit of time.
PROBLEMS = ((128, 0.002), (512, 0.002), (1152, 0.002), (1152, 0.04))


@frozen
class Solve:
    """One way to solve one problem.

    Attributes
    ----------
    products : float
        With the matrix, for each linear system.
    milliseconds : float
        Of one core, for each run.
    kib : float
        Memory of a run.
    difference : float
        Largest difference of a final state from that with LU factors.
    """

    solver: str
    preconditioner: str
    products: float
    milliseconds: float
    kib: float
    solved: bool
    difference: float


def ways() -> Iterator[dict[str, Any]]:
    """Yield the options of each way; that with LU factors first."""
    yield {"linear_solver": "lu"}
    for solver in ("bicgstab", "gmres"):
        for preconditioner in PRECONDITIONERS:
            yield {"linear_solver": solver, "preconditioner": preconditioner}
            if preconditioner == "block_jacobi":
                yield {
                    "linear_solver": solver, "preconditioner": preconditioner,
                    "jacobi_block_size": 2,
                }  # fmt: skip


def measure(n: int, diffusion: float) -> list[Solve]:
    """Solve one problem in all ways."""
    made = brusselator_in_the_plane(n, diffusion)
    start = made.start * (1.0 + 0.001 * np.arange(GROUP))[:, None]
    found, exact = [], None
    for options in ways():
        solver = Solver(
            made.fun, method=METHOD, backend="cpu", rtol=1e-4, atol=1e-7, save="final",
            lanes=GROUP, **options,
        )  # fmt: skip
        seconds = []
        result: Any = solver.solve((0.0, T_END), start)  # compiles
        for _ in range(REPEATS):
            cpu = time.process_time()
            result = solver.solve((0.0, T_END), start)
            seconds.append(time.process_time() - cpu)
        exact = result.y if exact is None else exact
        systems = int((result.n_steps + result.n_rejected).sum()) * 8  # stages of the method
        size = options.get("jacobi_block_size")
        name = options.get("preconditioner", "") + (f", {size} states" if size else "")
        plan = result.plan
        n_bytes = plan.shared_bytes_per_run + plan.local_bytes + plan.persistent_bytes
        found.append(
            Solve(
                options["linear_solver"],
                name,
                float(result.n_linear.sum()) / systems,
                1e3 * min(seconds) / GROUP,
                n_bytes / 1024.0,
                bool(result.success.all()),
                float(abs(result.y - exact).max()),
            )
        )
        print(f"{n} {diffusion} {found[-1]}", file=sys.stderr, flush=True)
    return found


def table(problems: dict[str, list]) -> str:
    """Return the table: of each problem products a system, time and memory of a run."""
    header = ["linear solver", "preconditioner"]
    rows: dict[tuple[str, str], list[str]] = {}
    for name, values in problems.items():
        header += [f"{name}: products", "ms", "KiB"]
        for one in (Solve(*value) for value in values):
            row = rows.setdefault((one.solver, one.preconditioner), [])
            products = figures(one.products) if one.products else ""
            time_taken = figures(one.milliseconds) if one.solved else "failed"
            row += [products, time_taken, figures(one.kib)]
    return markdown_table(header, [[*key, *row] for key, row in rows.items()])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks preconditioners", description=__doc__
    )
    parser.add_argument("--sizes", help="comma-separated numbers of states")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the table into docs")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    options = parser.parse_args()
    path = options.results / f"preconditioners-{machine_name()}.json"
    data = {"suite": "preconditioners", "environment": describe(), "problems": {}}
    if path.exists():
        data |= json.loads(path.read_text(encoding="utf-8"))
    wanted = {int(size) for size in options.sizes.split(",")} if options.sizes else None
    for n, diffusion in PROBLEMS:
        if options.report or (wanted and n not in wanted):
            continue
        name = f"{n} states" if diffusion == PROBLEMS[0][1] else f"{n}, faster diffusion"
        data["problems"][name] = [attrs.astuple(one) for one in measure(n, diffusion)]
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    text = table(data["problems"])
    print(text)
    if options.docs:
        write_section(DOCUMENT, "preconditioners", text)


if __name__ == "__main__":
    main()
