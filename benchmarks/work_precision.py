"""Work and precision of the implicit methods on stiff problems with known solutions.

``python -m benchmarks work-precision`` solves nine problems by every implicit method with an
error estimate, at tolerances from 1e-3 to 1e-9, and compares the ends with reference solutions
that are good to 1e-10 (tests/oracle/make_stiff_references.py). It keeps raw data and, with
``--docs``, writes the tables and the picture of docs/implicit.md.
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
from tests.oracle.problems import Problem
from tests.oracle.stiff_problems import STIFF_BY_NAME, stiff_references

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.registry import chosen
from benchmarks.table import markdown_table
from cubie import RunStatus, Solver
from cubie.tableaus import (
    ERKTableau,
    Method,
    RosenbrockTableau,
    Stability,
    SwitchingMethod,
    all_methods,
    get_method,
)

DOCUMENT = DOCS / "implicit.md"
PICTURE = DOCUMENT.parent / "pictures" / "work-precision.svg"
TOLERANCES = tuple(10.0**-k for k in range(3, 10))
# Methods of order one and two take a hundred thousand steps for more.
LEAST_TOLERANCE_OF_LOW_ORDER = 1e-6
MAX_STEPS = 200_000
GROUP = 8  # runs, all the same, in one group of SIMD lanes
REPEATS = 5
LONG = 0.1  # seconds of a solve that is not repeated

# Absolute over relative tolerance: a size below which a component does not matter, after Hairer
# & Wanner II, IV.10 (for E5 and Robertson's problem smaller by two orders).
ATOL_OVER_RTOL = {
    "robertson": 1e-8,
    "hires": 1e-4,
    "oregonator": 1e-6,
    "van_der_pol": 1e-2,
    "e5": 1e-18,
    "ring_modulator": 1e-3,
    "pleiades": 1.0,
    "pollu": 1e-8,
    "brusselator_40": 1.0,
}

# Methods that do not damp infinitely stiff components oscillate or drift in these problems.
NEED_DAMPING = ("robertson", "e5", "pollu")
# The matrix of a step adds 1 / (h gamma), down to 1e-13, to reaction rates of 1e4: no digit is
# left. Newton's method corrects what comes of it, a Rosenbrock step does not.
NEED_ITERATION = ("e5",)

TABLE_TOLERANCES = (1e-4, 1e-6, 1e-8)
PICTURED = ("rodas4", "rodas5p", "kvaerno5", "kencarp4", "l_stable_sdirk_4", "radau_iia_5",
            "radau_iia_9")  # fmt: skip


@frozen
class Point:
    """One solve.

    Attributes
    ----------
    end : tuple of float or None
        The solution at the end; None where the run failed.
    microseconds : float
        Of one core, for each of the runs of a group.
    """

    problem: str
    method: str
    rtol: float
    end: tuple[float, ...] | None = attrs.field(repr=False)
    status: str
    steps: int
    rejected: int
    rhs: int
    iterations: int
    microseconds: float

    @property
    def error(self) -> float | None:
        """Largest error of a component at the end, relative to it or to the problem's floor."""
        if self.end is None:
            return None
        return error_at_end(STIFF_BY_NAME[self.problem], np.array(self.end))


def methods() -> list[Method]:
    """Return the implicit methods with an error estimate."""
    everything = all_methods().values()
    return [t for t in everything if not isinstance(t, ERKTableau) and t.has_error_estimate]


def tolerances_of(method: Method) -> tuple[float, ...]:
    """Return the tolerances that a method of its order is used with."""
    least = LEAST_TOLERANCE_OF_LOW_ORDER if method.order < 3 else 0.0
    return tuple(rtol for rtol in TOLERANCES if rtol >= least * 0.999)


def error_at_end(problem: Problem, found: np.ndarray) -> float:
    """Return the largest error of a component, relative to it or to the problem's floor."""
    wanted = stiff_references()[problem.name]
    return float(np.max(np.abs(found - wanted) / (problem.floor + np.abs(wanted))))


def make_solver(problem: Problem, method: str, **options: Any) -> Solver:
    """Return a solver of runs of a problem."""
    given = {"backend": "cpu", "max_steps": MAX_STEPS, "save": "final"} | options
    return Solver(problem.fun, method=method, **given)


def measure(problem: Problem, method: str, solver: Solver, rtol: float) -> Point:
    """Solve once for the answer, and again for the time."""
    y0 = np.tile(np.array(problem.y0), (GROUP, 1))
    tolerances = {"rtol": rtol, "atol": rtol * ATOL_OVER_RTOL[problem.name]}
    seconds = []
    for _ in range(REPEATS):
        cpu = time.process_time()
        result = solver.solve(problem.t_span, y0, args=problem.args, **tolerances)
        cpu = time.process_time() - cpu
        # Of a long solve CPU time is known well, whatever else the machine did meanwhile.
        seconds.append(min(cpu, result.solve_seconds) if cpu > LONG else result.solve_seconds)
        if cpu > LONG:
            break
    status = RunStatus(int(result.status[0]))
    reached = status is RunStatus.SUCCESS
    return Point(
        problem=problem.name,
        method=method,
        rtol=rtol,
        end=tuple(result.y[0, :, -1].tolist()) if reached else None,
        status=status.name,
        steps=int(result.n_steps[0]),
        rejected=int(result.n_rejected[0]),
        rhs=int(result.nfev[0]),
        iterations=int(result.n_newton[0]),
        microseconds=1e6 * min(seconds) / GROUP,
    )


OF_ROSENBROCK = (RosenbrockTableau, SwitchingMethod)


def suits(method: Method, problem: str) -> bool:
    """Tell whether a method is meant for a problem."""
    damps = problem not in NEED_DAMPING or method.stability is Stability.L
    return damps and not (problem in NEED_ITERATION and isinstance(method, OF_ROSENBROCK))


def run(problems: list[str], names: list[str], keep) -> None:
    """Measure methods on problems, and hand the points of each pair to `keep`."""
    for name in problems:
        for method in names:
            if not suits(get_method(method), name):
                continue
            begin = time.perf_counter()
            problem = STIFF_BY_NAME[name]
            solver = make_solver(problem, method)
            tolerances = tolerances_of(get_method(method))
            keep(name, method, [measure(problem, method, solver, rtol) for rtol in tolerances])
            spent = time.perf_counter() - begin
            print(f"{name} {method}: {spent:.1f} s", file=sys.stderr, flush=True)


def read(path: Path) -> dict[str, list[Point]]:
    """Return kept points, by problem and method."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))["points"]
    names = [field.name for field in attrs.fields(Point)]
    return {
        pair: [Point(**dict(zip(names, values, strict=True))) for values in rows]
        for pair, rows in kept.items()
    }


def write(path: Path, points: dict[str, list[Point]]) -> None:
    """Keep points, a line each."""
    rows = (
        f"  {json.dumps(pair)}: [\n"
        + ",\n".join(f"   {json.dumps(attrs.astuple(point))}" for point in found)
        + "\n  ]"
        for pair, found in sorted(points.items())
    )
    head = json.dumps({"suite": "work-precision", "environment": describe()}, indent=1)
    text = f'{head[:-2]},\n "points": {{\n' + ",\n".join(rows) + "\n }\n}\n"
    path.write_text(text, encoding="utf-8")


def report(points: dict[str, list[Point]]) -> str:
    """Return a table for each problem, in Markdown: error, steps and time at three tolerances."""
    parts = []
    for problem in STIFF_BY_NAME:
        rows = [
            [method.name, *(cell for rtol in TABLE_TOLERANCES for cell in _cells(found, rtol))]
            for method in methods()
            if (found := points.get(f"{problem} {method.name}"))
        ]
        header = [problem.replace("_", " ")]
        header += [f"{what} {rtol:.0e}" for rtol in TABLE_TOLERANCES for what in ("error at", "µs")]
        parts.append(markdown_table(header, rows))
    return "\n\n".join(parts)


def _cells(points: list[Point], rtol: float) -> tuple[str, str]:
    for point in points:
        if abs(point.rtol / rtol - 1.0) < 1e-6:
            error = point.status.lower() if point.error is None else f"{point.error:.0e}"
            return error, f"{point.microseconds:.3g}"
    return "", ""


def draw(points: dict[str, list[Point]], path: Path) -> None:
    """Draw time over error, a panel for each problem."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "work-precision"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 3, figsize=(12, 11), layout="constrained")
    for axis, problem in zip(axes.flat, STIFF_BY_NAME, strict=True):
        for method in PICTURED:
            found = [p for p in points.get(f"{problem} {method}", ()) if p.error]
            errors, times = [p.error for p in found], [p.microseconds for p in found]
            axis.loglog(errors, times, marker=".", label=method)
        axis.set_title(problem.replace("_", " "))
        axis.set_xlim(axis.get_xlim()[::-1])
        axis.grid(alpha=0.3)
    figure.supxlabel("error at the end, of the worst component")
    figure.supylabel("µs a run, on one core")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(PICTURED))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks work-precision",
                                     description=__doc__)  # fmt: skip
    every = [method.name for method in methods()]
    parser.add_argument("--problems", help=f"comma-separated, of {', '.join(STIFF_BY_NAME)}")
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join(every)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write tables and picture into docs")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    options = parser.parse_args()
    problems = chosen("problem", options.problems, STIFF_BY_NAME) or list(STIFF_BY_NAME)
    names = chosen("method", options.methods, every) or every
    path = options.results / f"work-precision-{machine_name()}.json"
    points = read(path)

    def keep(problem: str, method: str, found: list[Point]) -> None:
        points[f"{problem} {method}"] = found
        write(path, points)

    if not options.report:
        run(problems, names, keep)
    print(report(points))
    if options.docs:
        write_section(DOCUMENT, "work-precision", report(points))
        draw(points, PICTURE)


if __name__ == "__main__":
    main()
