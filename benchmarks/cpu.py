"""Suite "cpu": every work by every contender, in turns, one process each."""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Any

from benchmarks.contender import CONTENDERS
from benchmarks.environment import describe
from benchmarks.process import Process
from benchmarks.reference import median_error, reference, sample_of
from benchmarks.specs import WORKS, Work
from benchmarks.table import figures, markdown_table

ROUNDS = 7
BASELINE = "numba lanes"


def run(works: list[str] | None, contenders: list[str] | None, rounds: int) -> dict[str, Any]:
    """Time works (all by default) and return raw data."""
    results = {}
    for name in works or WORKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = _run_work(WORKS[name], contenders or list(CONTENDERS), rounds)
    return {"suite": "cpu", "works": results}


def _run_work(work: Work, contenders: list[str], rounds: int) -> dict[str, Any]:
    environment = describe()
    sample = json.dumps(sample_of(work))
    processes = {name: Process("benchmarks.worker", work.name, name, sample) for name in contenders}
    raw: dict[str, Any] = {name: {"facts": p.facts, "turns": []} for name, p in processes.items()}
    running = {n: p for n, p in processes.items() if "unavailable" not in p.facts}
    for _ in range(rounds):
        # In turns, so that whatever else the machine does meets all of them alike.
        for name in list(running):
            answer = running[name].ask("turn")
            if "unavailable" in answer:
                raw[name]["facts"] = answer
                del running[name]
            else:
                raw[name]["turns"].append(answer)
    exact = reference(work)
    for name, process in running.items():
        raw[name]["error"] = median_error(process.ask("end")["final_states"], exact)
    for process in processes.values():
        process.close()
    return {"environment": environment, "contenders": raw}


def summarise(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return milliseconds of one contender on one work: least and median, wall and CPU."""
    if not raw["turns"] or "unavailable" in raw["facts"]:
        return None
    scale = 1e3 * raw["facts"]["scale"]
    summary: dict[str, Any] = {"error": raw["error"], "variant": raw["facts"]["variant"]}
    for clock in ("wall", "cpu", "kernel"):
        values = [value for turn in raw["turns"] for value in turn[clock]]
        if values:
            summary[clock] = (scale * min(values), scale * median(values))
    for clock in ("wall", "cpu"):
        summary[f"{clock}_rounds"] = [scale * min(turn[clock]) for turn in raw["turns"]]
    return summary


def report(data: dict[str, Any]) -> str:
    """Return the tables, in Markdown."""
    parts = []
    for name, work in data["works"].items():
        header = [name, "wall ms (min)", "(median)", "CPU ms (min)", "kernel ms (min)",
                  "cores", "wall / lanes", "CPU / lanes", "median error", "note"]  # fmt: skip
        parts.append(markdown_table(header, _rows(work["contenders"])))
    return "\n\n".join(parts)


def _rows(work: dict[str, Any]) -> list[list[str]]:
    summaries = {name: summarise(raw) for name, raw in work.items()}
    base = summaries.get(BASELINE)
    rows = []
    for name, summary in summaries.items():
        if summary is None:
            reason = work[name]["facts"].get("unavailable", "failed")
            rows.append([name, *[""] * 8, reason])
            continue
        kernel = figures(summary["kernel"][0]) if "kernel" in summary else ""
        note = summary["variant"] or ""
        if work[name]["facts"]["scale"] != 1.0:
            note = "sample of the runs, scaled"
        rows.append(
            [
                name,
                figures(summary["wall"][0]),
                figures(summary["wall"][1]),
                figures(summary["cpu"][0]),
                kernel,
                f"{cores(work[name]):.1f}",
                _ratio(summary, base, "wall"),
                _ratio(summary, base, "cpu"),
                f"{summary['error']:.1e}",
                note,
            ]
        )
    return rows


def cores(raw: dict[str, Any]) -> float:
    """Return how many cores a contender had: CPU time over wall time, median over rounds."""
    return median(turn["cpu"][0] / median(turn["wall"]) for turn in raw["turns"])


def _ratio(summary: dict[str, Any], base: dict[str, Any] | None, clock: str) -> str:
    """Return the median over rounds of the ratio of the best calls within a round."""
    if base is None:
        return ""
    pairs = zip(summary[f"{clock}_rounds"], base[f"{clock}_rounds"], strict=True)
    return f"{median(a / b for a, b in pairs):.2f}"
