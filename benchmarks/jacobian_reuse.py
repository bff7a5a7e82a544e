"""What keeping Jacobians saves, and whether it costs digits.

``python -m benchmarks jacobian-reuse`` solves the nine problems of `work_precision` and heat
conduction on 200 points by `bdf`, `kvaerno5` and `radau_iia_5`, with Jacobians of every attempt and
with kept ones, turn by turn in one process. It keeps raw data and, with ``--docs``, writes the
tables of docs/implicit.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import attrs
import numpy as np
from attrs import frozen

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.registry import chosen
from benchmarks.several_steps import Task, tasks
from benchmarks.table import markdown_table
from benchmarks.work_precision import GROUP, LONG, MAX_STEPS, REPEATS
from cubie import RunStatus, Solver

DOCUMENT = DOCS / "implicit.md"
METHODS = ("bdf", "kvaerno5", "radau_iia_5")
TOLERANCES = (1e-4, 1e-6, 1e-8)


@frozen
class Solve:
    """One solve.

    Attributes
    ----------
    error : float or None
        None where it failed.
    microseconds : float
        Of one core, for each run.
    """

    rtol: float
    kept: bool
    error: float | None
    attempts: int
    iterations: int
    jacobians: int
    factors: int
    microseconds: float


def solve_both(task: Task, method: str) -> list[Solve]:
    """Solve eight equal runs in a group of lanes, both ways in turn."""
    given = {"backend": "cpu", "max_steps": MAX_STEPS, "save": "final"}
    ways = {
        kept: Solver(task.fun, method=method, jacobian_reuse=kept, **given)
        for kept in (False, True)
    }
    y0, found = np.tile(np.array(task.y0), (GROUP, 1)), []
    for rtol in (1e-2, *TOLERANCES):
        seconds: dict[bool, list[float]] = {False: [], True: []}
        results = {}
        for _ in range(REPEATS):
            for kept, solver in ways.items():
                cpu = time.process_time()
                results[kept] = result = solver.solve(
                    task.span, y0, args=task.args, rtol=rtol, atol=rtol * task.atol_over_rtol
                )
                cpu = time.process_time() - cpu
                seconds[kept].append(min(cpu, result.solve_seconds))
            if max(seconds[True][-1], seconds[False][-1]) > LONG:
                break
        # The first tolerance is for compiling.
        if rtol in TOLERANCES:
            found += [told(task, rtol, kept, results[kept], seconds[kept]) for kept in ways]
    return found


def told(task: Task, rtol: float, kept: bool, result, seconds: list[float]) -> Solve:
    """Return what became of one of the runs."""
    solved = int(result.status[0]) == RunStatus.SUCCESS
    return Solve(
        rtol,
        kept,
        task.error(result.y[0, :, -1]) if solved else None,
        int(result.n_steps[0] + result.n_rejected[0]),
        int(result.n_newton[0]),
        int(result.njev[0]),
        int(result.nlu[0]),
        1e6 * min(seconds) / GROUP,
    )


def table(problems: dict) -> str:
    """Return the table: of each problem and method what both ways took, at two tolerances."""
    header = ["problem", "method"]
    for rtol in TOLERANCES[:2]:
        header += [f"error {rtol:.0e}", "attempts", "iterations", "Jacobians", "time"]
    rows = []
    for name, by_method in problems.items():
        for method, values in by_method.items():
            row = [name.replace("_", " "), method]
            for rtol in TOLERANCES[:2]:
                pair = [Solve(*one) for one in values if one[0] == rtol]
                row += cells(pair)
            rows.append(row)
    return markdown_table(header, rows)


def cells(pair: list[Solve]) -> list[str]:
    """Return errors, counts and the ratio of times, each without and with kept Jacobians."""
    anew, kept = sorted(pair, key=lambda one: one.kept)
    errors = ["failed" if one.error is None else f"{one.error:.0e}" for one in (anew, kept)]
    counts = [
        f"{getattr(anew, what)} → {getattr(kept, what)}"
        for what in ("attempts", "iterations", "jacobians")
    ]
    return [" → ".join(errors), *counts, f"{kept.microseconds / anew.microseconds:.2f}"]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks jacobian-reuse", description=__doc__
    )
    known = tasks()
    parser.add_argument("--problems", help=f"comma-separated, of {', '.join(known)}")
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join(METHODS)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    options = parser.parse_args()
    path = options.results / f"jacobian-reuse-{machine_name()}.json"
    data = {"suite": "jacobian-reuse", "environment": describe(), "problems": {}}
    if path.exists():
        data |= json.loads(path.read_text(encoding="utf-8"))
    if not options.report:
        for name in chosen("problem", options.problems, known) or list(known):
            for method in chosen("method", options.methods, METHODS) or METHODS:
                found = [attrs.astuple(one) for one in solve_both(known[name], method)]
                data["problems"].setdefault(name, {})[method] = found
                print(f"{name} {method}", file=sys.stderr, flush=True)
                path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    text = table(data["problems"])
    print(text)
    if options.docs:
        write_section(DOCUMENT, "jacobian reuse", text)


if __name__ == "__main__":
    main()
