"""Parts ``joint`` and ``fresh`` of the planner's benchmark: whole problems, location and offset.

``joint``: random problems with every feature together (locations, policies, pins of place
and of offset, optional and required aliases with several parents, lifetimes with gaps,
mixed types and alignments, limits that bind), planned in a warm process. ``fresh``: the same
in a process of its own, from before the import of the planner to the plan.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SEEDS = {12: 20, 25: 20, 50: 6, 100: 6, 200: 6}
FRESH_SEEDS = {12: 5, 25: 5, 50: 3}
EFFORT = 0.02
"""A tenth of the default, so that the whole benchmark takes less than two minutes."""

FRESH_SCRIPT = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import json, sys
from benchmarks.planner_joint import planned
found = planned(int(sys.argv[1]), int(sys.argv[2]))
found |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
print(json.dumps(found))
"""


def planned(buffers: int, seed: int) -> dict[str, Any]:
    """Plan one problem; return its status, the largest gap of a level, and CPU seconds."""
    from tests.planner.random_problems import kernel_problem

    from cubie_planner import PlanInfeasible, PlanUnknown, check, plan

    problem = kernel_problem(seed, buffers)
    start = time.process_time()
    try:
        made = plan(problem, effort=EFFORT)
    except PlanInfeasible:
        status, gap = "infeasible", 0.0
    except PlanUnknown:
        status, gap = "unknown", 0.0
    else:
        check(problem, made)
        status, gap = made.status.value, max((level.gap for level in made.levels), default=0.0)
    cpu = time.process_time() - start
    return {"seed": seed, "status": status, "gap": gap, "cpu": cpu}


def joint_part(folder: Path) -> list[dict[str, Any]]:
    """Plan random problems of every size in this process."""
    planned(25, 0), planned(12, 1), planned(50, 2)  # loads OR-Tools and the compiled search
    print(f"\nRandom problems, every feature, location and offset (effort {EFFORT}), warm")
    found = []
    for buffers, seeds in SEEDS.items():
        rows = [planned(buffers, seed) for seed in range(seeds)]
        found.append({"buffers": buffers, "rows": rows, **summary(rows)})
        _say(found[-1])
    return found


def fresh_part(folder: Path) -> list[dict[str, Any]]:
    """Plan random problems, each in a process of its own."""
    print("\nThe same, each in a fresh process, from import to plan")
    found = []
    for buffers, seeds in FRESH_SEEDS.items():
        rows = [_in_a_process(buffers, seed) for seed in range(seeds)]
        walls = [row["wall"] for row in rows]
        entry = {"buffers": buffers, "rows": rows, **summary(rows)}
        entry |= {"median_wall": statistics.median(walls), "longest_wall": max(walls)}
        found.append(entry)
        _say(entry)
    return found


def _in_a_process(buffers: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-c", FRESH_SCRIPT, str(buffers), str(seed)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return statuses, median and longest CPU time, and the largest gap."""
    times = [row["cpu"] for row in rows]
    return {
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
        "median": statistics.median(times),
        "longest": max(times),
        "gap": max(row["gap"] for row in rows),
    }


def _say(entry: dict[str, Any]) -> None:
    wall = f"  wall {entry['median_wall']:.2f} s" if "median_wall" in entry else ""
    print(
        f"{entry['buffers']:4} buffers {1e3 * entry['median']:9.2f} ms {entry['longest']:7.2f} s  "
        f"largest gap {100 * entry['gap']:4.1f} %{wall}  {entry['statuses']}",
        flush=True,
    )
