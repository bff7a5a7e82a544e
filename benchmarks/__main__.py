"""``python -m benchmarks [suite ...]``: run benchmarks, print tables, keep the raw data."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.documents import RESULTS
from benchmarks.environment import machine_name

OWN_SUITES = ("cpu", "startup", "planning")
# Suites with a command line of their own, each a module of this package.
OTHER_SUITES = (
    "planner", "resources", "verify", "stiff", "work-precision", "implicit-memory", "accuracy",
    "driven", "several-steps", "jacobian-reuse", "gpu", "instructions", "placement",
    "published", "large", "preconditioners", "sweeps", "lu-forms", "sensitivities", "sbml",
)  # fmt: skip


def main() -> None:
    """Parse the command line and run the suites in order.

    After the name of a suite with a command line of its own, the rest is for that.
    """
    if len(sys.argv) > 1 and sys.argv[1] in OTHER_SUITES:
        _run_other(sys.argv[1], sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    suites = ("all", *OWN_SUITES, *OTHER_SUITES, "report")
    parser.add_argument("suites", nargs="*", default=["all"], metavar="suite",
                        help=f"any of {', '.join(suites)}; report prints kept results")  # fmt: skip
    parser.add_argument("--works", help="comma-separated names, such as W1,W5")
    parser.add_argument("--contenders", help='comma-separated, such as "cubie,numba lanes"')
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--threads", type=int, help="threads of every contender")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    options = parser.parse_args()
    unknown = sorted(set(options.suites) - set(suites))
    if unknown:
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(suites)}")
    if options.threads:
        os.environ["NUMBA_NUM_THREADS"] = str(options.threads)
    wanted = options.suites
    if "all" in wanted:
        wanted = [*OWN_SUITES, *(name for name in OTHER_SUITES if _exists(name))]
    for name in wanted:
        if name in OTHER_SUITES:
            _run_other(name, [])
        elif name == "report":
            _print_kept(options.results)
        else:
            _run_own(name, options)


def _run_other(suite: str, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{_module(suite)}", *arguments])
    if done.returncode:
        sys.exit(done.returncode)


def _module(suite: str) -> str:
    return suite.replace("-", "_")


def _exists(suite: str) -> bool:
    module = Path(__file__).parent / _module(suite)
    return module.is_dir() or module.with_suffix(".py").exists()


def _run_own(name: str, options: argparse.Namespace) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    data = module.run(**_arguments(name, options))
    print(module.report(data), flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{name}-{machine_name()}.json"
    if "works" in data and path.exists():
        # Works that were not run this time keep their results, and the environment
        # that those were made in.
        kept = json.loads(path.read_text(encoding="utf-8"))
        data = data | {"works": kept["works"] | data["works"]}
    path.write_text(_readable(data), encoding="utf-8")
    print(f"\nRaw data: {path}\n", flush=True)


def _readable(data: dict[str, Any]) -> str:
    """Return JSON with each list of numbers on one line."""
    text = json.dumps(data, indent=1)
    numbers = re.compile(r"\[\s+([-+.\deE,\s]+?)\s+\]")
    return numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def _arguments(name: str, options: argparse.Namespace) -> dict[str, Any]:
    if name == "planning":
        return {}
    # Late: suites of their own start, and say what is missing, where NumPy does not import.
    from benchmarks.contender import CONTENDERS
    from benchmarks.registry import chosen
    from benchmarks.specs import WORKS

    arguments: dict[str, Any] = {
        "works": chosen("work", options.works, WORKS),
        "contenders": chosen("contender", options.contenders, CONTENDERS),
    }
    return arguments | ({"rounds": options.rounds} if name == "cpu" else {})


def _print_kept(directory: Path) -> None:
    for name in OWN_SUITES:
        module = importlib.import_module(f"benchmarks.{name}")
        for path in sorted(directory.glob(f"{name}-*.json")):
            print(f"{path.name}\n\n{module.report(json.loads(path.read_text(encoding='utf-8')))}\n")


if __name__ == "__main__":
    main()
