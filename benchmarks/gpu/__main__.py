"""``python -m benchmarks gpu [--minutes 10]``: tests, times, placements and calibration on a GPU.

Each step runs in a process of its own with a time limit; one JSON is written anew whenever there
is more, and holds what there is when time is up. Without a GPU the steps run on numba's CUDA
simulator in tiny sizes, and the JSON says so. Installs nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.documents import RESULTS
from benchmarks.gpu.day import Day
from benchmarks.gpu.report import report

WORDS = ("tests", "lorenz", "sweep", "calibration", "comparison")


def main() -> None:
    """Parse the command line, run the day, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything together")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the JSON")
    parser.add_argument("--simulate", action="store_true", help="even if there is a GPU")
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(WORDS)}")
    options = parser.parse_args()
    if not 0 < options.minutes < float("inf"):
        parser.error(f"--minutes must be a number above 0, got {options.minutes}")
    only = tuple(word.strip() for word in (options.only or "").split(",") if word.strip())
    unknown = sorted(set(only) - set(WORDS))
    if unknown:
        parser.error(f"there is no step {', '.join(unknown)}; there are {', '.join(WORDS)}")
    day = Day(options.results.resolve(), options.minutes, options.simulate, only)
    try:
        day.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print(f"\n{report(day.data)}\n\nRaw data: {day.path}", flush=True)
    failed = any(step["status"] in ("failed", "interrupted") for step in day.data["steps"])
    failing = any(
        row.get("outcome") == "failed" for step in day.data["steps"] for row in step["rows"]
    )
    sys.exit(int(failed or failing))


if __name__ == "__main__":
    main()
