"""Error over tolerance of every adaptive method, beside SciPy's at equal tolerances.

``python -m benchmarks accuracy`` solves five hundred random systems whose errors do not grow
(tests/oracle/random_systems.py) by every method with an error estimate, a tenth of them by SciPy's
methods too, and the problems of docs/implicit.md by the methods meant for them, SciPy's again
beside. It keeps raw data and, with ``--docs``, writes the tables and the picture of
docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.integrate
from tests.oracle.random_systems import (
    KINDS,
    T_END,
    TIMES,
    RandomSystem,
    error_in_tolerances,
    random_system,
    random_systems,
    stacked,
)
from tests.oracle.stiff_problems import STIFF_BY_NAME

from benchmarks.accuracy_docs import PAGE, PICTURE, draw, sections
from benchmarks.accuracy_problems import (
    NOT_STIFF,
    amplification,
    peer_error,
    problem_errors,
    tried,
)
from benchmarks.documents import RESULTS, write_section
from benchmarks.environment import describe
from benchmarks.registry import chosen
from cubie import Solver
from cubie.tableaus import ERKTableau, Method, all_methods, get_method

KEPT = "accuracy.json"
PARTS = ("random", "peers", "problems", "problem_peers")
TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
SYSTEMS, SYSTEMS_OF_PEERS = 500, 50
MAX_STEPS = 10**8
# SciPy's methods by order. What would take it minutes is left out: RK23 at the last tolerance.
PEERS = {"RK23": 3, "RK45": 5, "DOP853": 8, "Radau": 5, "BDF": 5, "LSODA": 12}
IMPLICIT_PEERS = ("Radau", "BDF", "LSODA")
LEAST_TOLERANCE_OF_PEERS = {"RK23": 1e-9}


def methods() -> list[Method]:
    """Return the methods whose step size can be controlled, by order."""
    adaptive = [t for t in all_methods().values() if t.has_error_estimate]
    return sorted(adaptive, key=lambda t: (t.order, not isinstance(t, ERKTableau)))


def tolerances_of(method: Method) -> tuple[float, ...]:
    """Return the tolerances that a method is tried at.

    An estimate of the second power of the step takes ten million steps a run for 1e-11.
    """
    return TOLERANCES if (method.error_order or 0) > 1 else TOLERANCES[:-1]


def summary(errors: np.ndarray, solved: np.ndarray, steps: float) -> dict[str, Any]:
    """Return what is kept of one method at one tolerance: errors of systems, kinds in turn."""
    kinds = [np.where(solved, errors, 0.0)[i :: len(KINDS)] for i in range(len(KINDS))]
    return {
        "worst": [_short(kind.max()) for kind in kinds],
        "median": _short(np.median(errors[solved])),
        "unsolved": int(np.sum(~solved)),
        "steps": round(float(steps)),
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def measure(
    method: str | Method, systems: list[RandomSystem], solutions: np.ndarray,
    tolerances: tuple[float, ...], **options: Any,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Solve systems by one of our methods; return summaries by tolerance."""
    y0, arguments = stacked(systems)
    # Steps land on the times: what is measured is the error of steps, not of what lies between.
    given = {"backend": "cpu", "fastmath": False, "max_steps": MAX_STEPS, "t_eval_exact": True}
    given |= options
    solver = Solver(random_system, method=method, **given)
    found = {}
    for tolerance in tolerances:
        result = solver.solve(
            (0.0, T_END), y0, args=arguments, rtol=tolerance, atol=tolerance, t_eval=TIMES
        )
        errors = error_in_tolerances(np.swapaxes(result.y, 1, 2), solutions, tolerance, tolerance)
        found[f"{tolerance:.0e}"] = summary(errors, result.success, result.n_steps.mean())
    return found


def measure_peer(method: str, systems: list[RandomSystem], solutions: np.ndarray) -> dict:
    """Solve systems by one of SciPy's methods; return summaries by tolerance."""
    found = {}
    for tolerance in TOLERANCES:
        if tolerance < 0.999 * LEAST_TOLERANCE_OF_PEERS.get(method, 0.0):
            continue
        runs = [
            scipy.integrate.solve_ivp(
                system.rhs, (0.0, T_END), system.y0, method, TIMES, rtol=tolerance, atol=tolerance
            )
            for system in systems
        ]
        solved = np.array([run.success for run in runs])
        ends = np.array([run.y.T if run.success else 0.0 * TIMES[:, None] for run in runs])
        errors = error_in_tolerances(ends, solutions, tolerance, tolerance)
        steps = np.mean([run.nfev for run in runs])
        found[f"{tolerance:.0e}"] = summary(errors, solved, steps)
    return found


def run(
    names: list[str], problems: list[str], parts: list[str], data: dict[str, Any], keep
) -> None:
    """Measure what is asked for into `data`, and hand it to `keep` after each method."""
    for problem in problems if "problems" in parts else ():
        _run_problem(problem, names, data, keep)
    for problem in problems if "problem_peers" in parts else ():
        _run_problem_peers(problem, data, keep)
    if not {"random", "peers"} & set(parts):
        return
    systems = random_systems(SYSTEMS)
    solutions = np.array([system.solution() for system in systems])
    for name in names if "random" in parts else ():
        begin = time.perf_counter()
        method = get_method(name)
        data["random"][name] = measure(name, systems, solutions, tolerances_of(method))
        keep(f"random {name}", begin)
    for name in PEERS if "peers" in parts else ():
        begin = time.perf_counter()
        few = slice(SYSTEMS_OF_PEERS)
        data["peers"][name] = measure_peer(name, systems[few], solutions[few])
        keep(f"random SciPy {name}", begin)


def _run_problem(problem: str, names: list[str], data: dict[str, Any], keep) -> None:
    data["amplification"][problem] = _short(amplification(STIFF_BY_NAME[problem]))
    rows = data["problems"].setdefault(problem, {})
    for name in names:
        begin = time.perf_counter()
        if tried(get_method(name), problem):
            rows[name] = problem_errors(STIFF_BY_NAME[problem], get_method(name))
            keep(f"{problem} {name}", begin)


def _run_problem_peers(problem: str, data: dict[str, Any], keep) -> None:
    rows = data["problem_peers"].setdefault(problem, {})
    for name in PEERS:
        begin = time.perf_counter()
        if name in IMPLICIT_PEERS or problem in NOT_STIFF:
            rows[name] = peer_error(STIFF_BY_NAME[problem], name)
            keep(f"{problem} SciPy {name}", begin)


def read(path: Path) -> dict[str, Any]:
    """Return what was kept, or empty places for it."""
    empty: dict[str, Any] = {part: {} for part in (*PARTS, "amplification")}
    return empty | (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})


def write(path: Path, data: dict[str, Any]) -> None:
    """Keep raw data, a line for each method or problem."""
    data["environment"] = describe()
    parts = []
    for name, part in data.items():
        rows = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in part.items())
        parts.append(f" {json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n }")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks accuracy", description=__doc__)
    every = [method.name for method in methods()]
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join(every)}")
    parser.add_argument("--parts", help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument("--problems", help=f"comma-separated, of {', '.join(STIFF_BY_NAME)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write tables and picture into docs")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    options = parser.parse_args()
    names = chosen("method", options.methods, every) or every
    path = options.results / KEPT
    data = read(path)

    def keep(what: str, begin: float) -> None:
        write(path, data)
        print(f"{what}: {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)

    if not options.report:
        problems = chosen("problem", options.problems, STIFF_BY_NAME) or list(STIFF_BY_NAME)
        run(names, problems, chosen("part", options.parts, PARTS) or list(PARTS), data, keep)
    for name, text in sections(data).items():
        print(text, end="\n\n")
        if options.docs:
            write_section(PAGE, name, text)
    if options.docs:
        draw(data, PICTURE)


if __name__ == "__main__":
    main()
