"""Suite "stiff": stiff sweeps by our implicit methods and by the peers, a process each.

``python -m benchmarks stiff`` prints the table and keeps the raw data; with ``--docs`` it also
writes the table into docs/implicit.md. ``python -m benchmarks.stiff --worker WORK CONTENDER`` is
a contender's process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.contender import Unavailable
from benchmarks.documents import write_section
from benchmarks.environment import describe, machine_name, package_versions
from benchmarks.process import Process
from benchmarks.reference import median_error, sample_of
from benchmarks.stiff_specs import STIFF_CONTENDERS, STIFF_WORKS, StiffWork
from benchmarks.table import markdown_table

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "implicit.md"
ROUNDS = 7
# A contender whose calls take long is called as often as fits into this.
SECONDS = 5.0
REFERENCE_RTOL, REFERENCE_ATOL = 1e-10, 1e-13
MEANING = {
    "W3": "Robertson to t = 1e4, 2000 values of the slow rate",
    "W4": "van der Pol to t = 1000, 2000 values of mu from 100 to 1000",
}


def work_in_process(work_name: str, contender_name: str) -> None:
    """Prepare a work, then solve it once for every line of input; answer in lines of JSON."""
    work = STIFF_WORKS[work_name]
    start = time.perf_counter()
    try:
        runner = STIFF_CONTENDERS[contender_name].make(work)
    except Unavailable as reason:
        _say({"unavailable": str(reason)})
        return
    runner()
    _say(
        {
            "ready_seconds": time.perf_counter() - start,
            "scale": getattr(runner, "scale", 1.0),
            "steps": runner.steps() if hasattr(runner, "steps") else None,
            "versions": package_versions(loaded_only=True),
        }
    )
    for line in sys.stdin:
        if line.strip() == "end":
            break
        begin = time.perf_counter()
        runner()
        _say({"seconds": time.perf_counter() - begin})
    _say({"final_states": runner.final_states()[sample_of(work)].tolist()})


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def run(
    works: list[str], contenders: list[str], rounds: int, references: dict[str, Any]
) -> dict[str, Any]:
    """Time works and return raw data; `references` are those kept from before, by work."""
    results = {}
    for name in works:
        results[name] = _run_work(name, contenders, rounds)
        if name not in references:
            references[name] = reference(STIFF_WORKS[name]).tolist()
        for raw in results[name].values():
            if "final_states" in raw:
                states = raw.pop("final_states")
                raw["error"] = median_error(states, np.array(references[name]))
    return {"suite": "stiff", "references": references, "works": results}


def merged(kept: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return data with what was kept of contenders that were not run again."""
    works = {}
    for name in STIFF_WORKS:
        both = kept["works"].get(name, {}) | data["works"].get(name, {})
        works[name] = {label: both[label] for label in STIFF_CONTENDERS if label in both}
    return data | {"works": works}


def _run_work(name: str, contenders: list[str], rounds: int) -> dict[str, Any]:
    environment = describe()
    processes = {
        contender: Process("benchmarks.stiff", "--worker", name, contender)
        for contender in contenders
    }
    raw: dict[str, Any] = {
        contender: {"environment": environment, "facts": process.facts, "seconds": []}
        for contender, process in processes.items()
    }
    running = {c: p for c, p in processes.items() if "unavailable" not in p.facts}
    for number in range(rounds):
        # In turns, so that whatever else the machine does meets all of them alike.
        for contender, process in running.items():
            spent = raw[contender]["seconds"]
            if number == 0 or sum(spent) + spent[-1] < SECONDS:
                spent.append(process.ask("turn")["seconds"])
    for contender, process in running.items():
        raw[contender] |= process.ask("end")
    for process in processes.values():
        process.close()
    return raw


def reference(work: StiffWork) -> np.ndarray:
    """Return final states (sample, n) by SciPy's Radau."""
    ends = []
    for parameter in work.parameters[sample_of(work)]:
        solution = solve_ivp(
            work.problem.fun, (0.0, work.t_end), work.y0, "Radau", t_eval=(work.t_end,),
            rtol=REFERENCE_RTOL, atol=REFERENCE_ATOL, args=(parameter,),
        )  # fmt: skip
        ends.append(solution.y[:, -1])
    return np.array(ends)


def report(data: dict[str, Any]) -> str:
    """Return the tables, in Markdown."""
    parts = []
    for name, work in data["works"].items():
        header = [MEANING[name], "ms (min)", "ms (median)", "median error", "note"]
        rows = [_row(contender, raw) for contender, raw in work.items()]
        parts.append(markdown_table(header, rows))
    return "\n\n".join(parts)


def _row(contender: str, raw: dict[str, Any]) -> list[str]:
    if not raw["seconds"]:
        return [contender, "", "", "", raw["facts"].get("unavailable", "failed")]
    milliseconds = [1e3 * raw["facts"]["scale"] * seconds for seconds in raw["seconds"]]
    sampled = raw["facts"]["scale"] != 1.0
    return [
        contender,
        f"{min(milliseconds):.3g}",
        f"{median(milliseconds):.3g}",
        f"{raw['error']:.1e}",
        "20 runs, scaled" if sampled else "",
    ]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stiff", description=__doc__)
    parser.add_argument("--works", default=",".join(STIFF_WORKS))
    parser.add_argument("--contenders", default=",".join(STIFF_CONTENDERS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the table into the page")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work_in_process(*chosen.worker)
        return
    path = chosen.results / f"stiff-{machine_name()}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"works": {}}
    works, contenders = chosen.works.split(","), chosen.contenders.split(",")
    data = run(works, contenders, chosen.rounds, kept.get("references", {}))
    data = merged(kept, data)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(report(data), f"\nRaw data: {path}", sep="\n", flush=True)
    if chosen.docs:
        write_section(DOCUMENT, "stiff sweeps", report(data))


if __name__ == "__main__":
    main()
