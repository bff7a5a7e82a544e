"""Suite "startup": from the start of a process to the first final states of a work.

"cold" starts with empty caches, as after installing; "warm" finds what an
earlier process left there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.table import markdown_table

COLD_REPEATS, WARM_REPEATS = 3, 5
DEFAULT_CONTENDERS = ("cubie", "heyoka", "diffrax", "numbalsoda dop853")
DEFAULT_WORKS = ("W1",)
CACHE_VARIABLE = "CUBIE_CACHE_DIR"

_FIRST = """
import sys
from benchmarks.contender import CONTENDERS, Unavailable
from benchmarks.specs import WORKS
try:
    runner = CONTENDERS[sys.argv[2]].make(WORKS[sys.argv[1]])
except Unavailable as reason:
    sys.exit(f"unavailable: {reason}")
runner()
runner.final_states()[0]
print("done", flush=True)
"""


def run(works: list[str] | None, contenders: list[str] | None) -> dict[str, Any]:
    """Return seconds of every start."""
    results: dict[str, Any] = {}
    for work in works or DEFAULT_WORKS:
        starts: dict[str, Any] = {}
        results[work] = {"environment": describe(), "contenders": starts}
        for name in contenders or DEFAULT_CONTENDERS:
            print(f"startup {work} {name} ...", file=sys.stderr, flush=True)
            starts[name] = _starts(work, name)
    return {"suite": "startup", "works": results}


def _starts(work: str, contender: str) -> dict[str, Any]:
    times: dict[str, Any] = {"cold": [], "warm": []}
    for _ in range(COLD_REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            first = _start(work, contender, cache)
            if isinstance(first, str):
                return {"unavailable": first}
            times["cold"].append(first)
            repeats = WARM_REPEATS // COLD_REPEATS + 1
            times["warm"] += [_start(work, contender, cache) for _ in range(repeats)]
    return times


def _start(work: str, contender: str, cache: str) -> float | str:
    """Return seconds until the final states are there, or why there are none."""
    environment = {**os.environ, CACHE_VARIABLE: cache}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _FIRST, work, contender],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - begin
    _, errors = process.communicate()
    if line.strip() == "done":
        return seconds
    return errors.strip().splitlines()[-1] if errors.strip() else "ended without a result"


def report(data: dict[str, Any]) -> str:
    """Return the table, in Markdown."""
    rows = []
    for work, results in data["works"].items():
        for name, times in results["contenders"].items():
            if "unavailable" in times:
                rows.append([work, name, "", "", "", "", times["unavailable"]])
                continue
            cells = [f"{f(times[kind]):.2f}" for kind in ("cold", "warm") for f in (min, median)]
            rows.append([work, name, *cells, ""])
    header = ["work", "contender", "cold s (min)", "(median)", "warm s (min)", "(median)", "note"]
    return markdown_table(header, rows)
