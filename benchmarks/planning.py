"""Suite "planning": how long placing a solver's buffers takes, apart from tracing and compiling."""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

import numpy as np
from attrs import frozen

import cubie
from benchmarks.environment import describe
from benchmarks.specs import LORENZ, LORENZ96, Problem
from benchmarks.table import markdown_table
from cubie_planner import plan

REPEATS = 7


@frozen
class Case:
    """A solver whose buffers are placed.

    Attributes
    ----------
    name : str
    problem : Problem
    method : str
    options : tuple of (str, object)
        Further options of the solver.
    """

    name: str
    problem: Problem
    method: str
    options: tuple[tuple[str, Any], ...] = ()


_SHARED = (("locations", "shared"), ("max_shared", "sm_90"))

CASES = (
    Case("Lorenz tsit5", LORENZ, "tsit5"),
    Case("Lorenz tsit5, all shared", LORENZ, "tsit5", _SHARED),
    Case("Lorenz-96 tsit5", LORENZ96, "tsit5"),
    Case("Lorenz-96 tsit5, all shared", LORENZ96, "tsit5", (*_SHARED, ("block_size", 32))),
    Case("Lorenz-96 dop853", LORENZ96, "dop853"),
    Case("Lorenz-96 dop853, all shared", LORENZ96, "dop853", (*_SHARED, ("block_size", 32))),
)


def run() -> dict[str, Any]:
    """Return seconds of every plan, and of the first `prepare` (trace and plan)."""
    results = {}
    for case in CASES:
        print(f"planning {case.name} ...", file=sys.stderr, flush=True)
        solver = cubie.Solver(
            case.problem.fun, method=case.method, backend="cpu", **dict(case.options)
        )
        start = time.perf_counter()
        made = solver.prepare(np.array(case.problem.y0), (np.linspace(*case.problem.sweep, 100),))
        prepare_seconds = time.perf_counter() - start
        results[case.name] = {
            "prepare": prepare_seconds,
            "plan": [_seconds_of_plan(made.problem) for _ in range(REPEATS)],
            "buffers": len(made.placements),
            "status": made.status.value,
            "shared_bytes_per_run": made.shared_bytes_per_run,
        }
    return {"suite": "planning", "environment": describe(), "cases": results}


def _seconds_of_plan(problem) -> float:
    start = time.perf_counter()
    plan(problem)
    return time.perf_counter() - start


def report(data: dict[str, Any]) -> str:
    """Return the table, in Markdown."""
    rows = [
        [
            name,
            str(case["buffers"]),
            str(case["status"]),
            str(case["shared_bytes_per_run"]),
            f"{1e3 * min(case['plan']):.2f}",
            f"{1e3 * median(case['plan']):.2f}",
        ]
        for name, case in data["cases"].items()
    ]
    header = ["solver", "buffers", "status", "shared bytes a run", "plan ms (min)", "(median)"]
    return markdown_table(header, rows)
