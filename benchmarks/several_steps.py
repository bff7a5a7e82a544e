"""Backward differentiation and the choice by stiffness beside methods of one step, and SciPy's.

``python -m benchmarks several-steps`` solves the nine problems of `work_precision`, and heat
conduction on 200 points, by ``bdf``, ``auto``, ``kvaerno5``, ``rodas5p``, and by SciPy's BDF and
LSODA, turn by turn in one process; then van der Pol's oscillator by ``auto``, to ever later ends.
It keeps raw data and, with ``--docs``, writes the tables of docs/implicit.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from scipy.integrate import solve_ivp as scipy_solve_ivp
from tests.oracle.stiff_problems import STIFF_BY_NAME, stiff_references

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.registry import chosen
from benchmarks.table import markdown_table
from benchmarks.work_precision import ATOL_OVER_RTOL, GROUP, LONG, MAX_STEPS, REPEATS, suits
from cubie import RunStatus, Solver
from cubie.tableaus import get_method

DOCUMENT = DOCS / "implicit.md"
OURS = ("bdf", "auto", "rodas5p", "kvaerno5")
PEERS = ("BDF", "LSODA")
TOLERANCES = (1e-4, 1e-6, 1e-8)
POINTS = 200  # of the heat equation
# Seconds of a peer's solve behind which tighter tolerances are not tried.
PATIENCE = 60.0
ENDS = tuple(np.arange(20.0, 241.0, 20.0).tolist())


def heat(t, y):
    """Heat conduction in a rod with cold ends and a source, by central differences."""
    n = len(y)
    ends = [0.0, *(y[i] for i in range(n)), 0.0]
    return [(n + 1) ** 2 * (ends[i] - 2 * ends[i + 1] + ends[i + 2]) + 1.0 for i in range(n)]


def oscillator(t, y, mu):
    """Van der Pol's."""
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


@frozen
class Task:
    """A problem whose solution at the end is known."""

    name: str
    fun: Any
    span: tuple[float, float]
    y0: tuple[float, ...]
    args: tuple
    atol_over_rtol: float
    floor: float
    wanted: np.ndarray

    def error(self, end: np.ndarray) -> float:
        """Return the largest error of a component, relative to it or to the problem's floor."""
        return float(np.max(np.abs(end - self.wanted) / (self.floor + np.abs(self.wanted))))


def tasks() -> dict[str, Task]:
    """Return all problems by name."""
    references = stiff_references()
    found = {
        name: Task(
            name, p.fun, p.t_span, tuple(p.y0), p.args, ATOL_OVER_RTOL[name], p.floor,
            references[name],
        )
        for name, p in STIFF_BY_NAME.items()
    }  # fmt: skip
    name = f"heat_{POINTS}"
    return found | {
        name: Task(name, heat, (0.0, 0.05), (0.0,) * POINTS, (), 1.0, 0.0, heat_at(0.05))
    }


def heat_at(t: float) -> np.ndarray:
    """Return the solution, by the eigenvectors of the matrix of differences."""
    matrix = np.diag(np.full(POINTS, -2.0))
    matrix += np.diag(np.ones(POINTS - 1), 1) + np.diag(np.ones(POINTS - 1), -1)
    rates, vectors = np.linalg.eigh((POINTS + 1) ** 2 * matrix)
    return vectors @ (np.expm1(rates * t) / rates * (vectors.T @ np.ones(POINTS)))


@frozen
class Solve:
    """One solve of a problem by a method.

    Attributes
    ----------
    error : float or None
        None where it failed.
    microseconds : float
        Of one core, for each run.
    """

    rtol: float
    error: float | None
    status: str
    steps: int
    rejected: int
    rhs: int
    stiff: int
    microseconds: float


def ours(task: Task, method: str) -> list[Solve]:
    """Solve by a method of this package, eight equal runs in a group of lanes."""
    solver = Solver(task.fun, method=method, backend="cpu", max_steps=MAX_STEPS, save="final")
    y0 = np.tile(np.array(task.y0), (GROUP, 1))
    # Compiled before anything is timed.
    solver.solve(task.span, y0, args=task.args, rtol=1e-2, atol=1e-2 * task.atol_over_rtol)
    found = []
    for rtol in TOLERANCES:
        seconds = []
        for _ in range(REPEATS):
            cpu = time.process_time()
            result = solver.solve(
                task.span, y0, args=task.args, rtol=rtol, atol=rtol * task.atol_over_rtol
            )
            cpu = time.process_time() - cpu
            seconds.append(min(cpu, result.solve_seconds) if cpu > LONG else result.solve_seconds)
            if cpu > LONG:
                break
        status = RunStatus(int(result.status[0]))
        found.append(
            Solve(
                rtol,
                task.error(result.y[0, :, -1]) if status is RunStatus.SUCCESS else None,
                status.name.lower(),
                int(result.n_steps[0]),
                int(result.n_rejected[0]),
                int(result.nfev[0]),
                int(result.n_stiff[0]),
                1e6 * min(seconds) / GROUP,
            )
        )
    return found


def peers(task: Task, method: str) -> list[Solve]:
    """Solve by one of SciPy's, once; it counts no rejected steps."""
    found = []
    for rtol in TOLERANCES:
        cpu = time.process_time()
        result = scipy_solve_ivp(
            task.fun, task.span, task.y0, method, args=task.args, rtol=rtol,
            atol=rtol * task.atol_over_rtol,
        )  # fmt: skip
        cpu = time.process_time() - cpu
        error = task.error(result.y[:, -1]) if result.success else None
        status = "success" if result.success else "failed"
        found.append(Solve(rtol, error, status, result.t.size - 1, 0, result.nfev, 0, 1e6 * cpu))
        if cpu > PATIENCE:
            break
    return found


def switches() -> list[tuple[float, int, int]]:
    """Return, for ever later ends of an oscillation, all attempts and those that were implicit."""
    solver = Solver(oscillator, method="auto", backend="cpu", rtol=1e-6, atol=1e-8, save="final")
    found = []
    for end in ENDS:
        result = solver.solve((0.0, end), [2.0, 0.0], args=(100.0,))
        attempts = int(result.n_steps + result.n_rejected)
        found.append((end, attempts, int(result.n_stiff)))
    return found


def tables(data: dict[str, Any]) -> dict[str, str]:
    """Return the sections of the page by the names of their places."""
    figures = ("error", "steps", "µs")
    header = [f"{what} {rtol:.0e}" for rtol in TOLERANCES for what in figures]
    parts = []
    for name in [name for name in tasks() if name in data["problems"]]:
        rows = [[method, *cells(found)] for method, found in data["problems"][name].items()]
        parts.append(markdown_table([name.replace("_", " "), *header], rows))
    rows, before = [], (0.0, 0, 0)
    for end, attempts, stiff in data["switches"]:
        made, implicit = attempts - before[1], stiff - before[2]
        rows.append([f"{before[0]:g} to {end:g}", str(made - implicit), str(implicit)])
        before = (end, attempts, stiff)
    along = markdown_table(["time", "steps of tsit5", "steps of rodas5p"], rows)
    return {"several steps": "\n\n".join(parts), "switches": along}


def cells(found: list[list[Any]]) -> list[str]:
    """Return error, steps and time at each tolerance."""
    told = []
    for rtol in TOLERANCES:
        point = next((Solve(*values) for values in found if values[0] == rtol), None)
        if point is None:
            told += ["", "", ""]
            continue
        error = point.status if point.error is None else f"{point.error:.0e}"
        told += [error, str(point.steps + point.rejected), f"{point.microseconds:.3g}"]
    return told


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks several-steps", description=__doc__)
    known = tasks()
    parser.add_argument("--problems", help=f"comma-separated, of {', '.join(known)}")
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join((*OURS, *PEERS))}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    options = parser.parse_args()
    path = options.results / f"several-steps-{machine_name()}.json"
    data = {"suite": "several-steps", "environment": describe(), "problems": {}, "switches": []}
    if path.exists():
        data |= json.loads(path.read_text(encoding="utf-8"))
    if not options.report:
        names = chosen("problem", options.problems, known) or list(known)
        every = (*OURS, *PEERS)
        methods = chosen("method", options.methods, every) or list(every)
        measure([known[name] for name in names], methods, data, path)
    for section, text in tables(data).items():
        print(text, end="\n\n")
        if options.docs:
            write_section(DOCUMENT, section, text)


def measure(wanted: list[Task], methods: list[str], data: dict[str, Any], path: Path) -> None:
    """Solve problems by all methods that suit them, and keep what was found after each."""
    data["switches"] = switches()
    for task in wanted:
        rows = data["problems"].setdefault(task.name, {})
        for method in methods:
            if method in PEERS:
                rows[f"SciPy {method}"] = [attrs.astuple(solve) for solve in peers(task, method)]
            elif task.name not in STIFF_BY_NAME or suits(get_method(method), task.name):
                rows[method] = [attrs.astuple(solve) for solve in ours(task, method)]
            print(f"{task.name} {method}", file=sys.stderr, flush=True)
            path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
