"""Suite "stiff": stiff sweeps by our implicit methods and by the peers, a process each.

``python -m benchmarks stiff`` prints the table and keeps the raw data; with ``--docs`` it also
writes the table into docs/implicit.md. ``python -m benchmarks.stiff --worker WORK CONTENDER`` is
a contender's process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.contender import Runner
from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.process import Process
from benchmarks.reference import median_error, sample_of
from benchmarks.registry import chosen
from benchmarks.stiff_specs import STIFF_CONTENDERS, STIFF_WORKS, StiffWork
from benchmarks.table import markdown_table
from benchmarks.worker import serve

DOCUMENT = DOCS / "implicit.md"
ROUNDS = 7
# A contender whose calls take long is called as often as fits into this.
SECONDS = 5.0
REFERENCE_RTOL, REFERENCE_ATOL = 1e-10, 1e-13
MEANING = {
    "W3": "Robertson to t = 1e4, 2000 values of the slow rate",
    "W4": "van der Pol to t = 1000, 2000 values of mu from 100 to 1000",
}


def one_call(runner: Runner) -> dict[str, float]:
    """Solve once, and return how long it took."""
    begin = time.perf_counter()
    runner()
    return {"seconds": time.perf_counter() - begin}


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
    """Return data with what was kept of works and contenders that were not run again."""
    works = {}
    for name in STIFF_WORKS:
        both = kept["works"].get(name, {}) | data["works"].get(name, {})
        if both:
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
        for contender in list(running):
            spent = raw[contender]["seconds"]
            if number and sum(spent) + spent[-1] >= SECONDS:
                continue
            answer = running[contender].ask("turn")
            if "unavailable" in answer:
                raw[contender] |= {"facts": answer, "seconds": []}
                del running[contender]
            else:
                spent.append(answer["seconds"])
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


def report(data: dict[str, Any], works: Iterable[str] = STIFF_WORKS) -> str:
    """Return the tables of works, in Markdown."""
    parts = []
    for name in works:
        header = [MEANING[name], "ms (min)", "ms (median)", "median error", "note"]
        rows = [_row(contender, raw) for contender, raw in data["works"][name].items()]
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
    parser.add_argument("--works", help=f"comma-separated, of {', '.join(STIFF_WORKS)}")
    parser.add_argument("--contenders", help='comma-separated, such as "cubie rodas5p,SciPy LSODA"')
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write the table into the page")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work, contender = STIFF_WORKS[options.worker[0]], STIFF_CONTENDERS[options.worker[1]]
        serve(work, contender, sample_of(work), one_call)
        return
    works = chosen("work", options.works, STIFF_WORKS) or list(STIFF_WORKS)
    contenders = chosen("contender", options.contenders, STIFF_CONTENDERS)
    path = options.results / f"stiff-{machine_name()}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"works": {}}
    data = run(works, contenders or list(STIFF_CONTENDERS), options.rounds,
               kept.get("references", {}))  # fmt: skip
    data = merged(kept, data)
    options.results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(report(data, works), f"\nRaw data: {path}", sep="\n", flush=True)
    if options.docs:
        write_section(DOCUMENT, "stiff sweeps", report(data))


if __name__ == "__main__":
    main()
