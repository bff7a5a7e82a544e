"""One contender's process: prepares a work, then solves it whenever a line arrives.

``python -m benchmarks.worker WORK CONTENDER`` writes one JSON object a line: first
what was prepared (or why not), then the timings of each turn; at the end of its
input, the final states of sampled runs.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.contender import CONTENDERS, Unavailable
from benchmarks.environment import package_versions
from benchmarks.specs import work_named

TURN_SECONDS = 0.1
MAX_CALLS = 100
NANOSECOND = 9  # decimals of a second that mean something


def turn(runner) -> dict[str, list[float]]:
    """Call once to warm caches, then measure calls for `TURN_SECONDS`.

    CPU time is taken over the whole turn, as its mean a call: what the system knows
    of a thread that is still running may be a scheduler tick old, which is as long
    as some calls.
    """
    runner()
    wall: list[float] = []
    kernel: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    while not wall or (time.perf_counter() - start < TURN_SECONDS and len(wall) < MAX_CALLS):
        begin = time.perf_counter()
        runner()
        wall.append(round(time.perf_counter() - begin, NANOSECOND))
        if hasattr(runner, "kernel_seconds"):
            kernel.append(round(runner.kernel_seconds, NANOSECOND))
    cpu_a_call = round((time.process_time() - cpu) / len(wall), NANOSECOND)
    return {"wall": wall, "cpu": [cpu_a_call], "kernel": kernel}


def prepare(work_name: str, contender_name: str):
    """Return the runner after its first call, and what is worth knowing of it."""
    start = time.perf_counter()
    runner = CONTENDERS[contender_name].make(work_named(work_name))
    runner()
    facts = {
        "ready_seconds": time.perf_counter() - start,
        "variant": getattr(runner, "chosen", None),
        "trials": getattr(runner, "trials", None),
        "scale": getattr(runner, "scale", 1.0),
        "steps": runner.steps() if hasattr(runner, "steps") else None,
        "versions": package_versions(loaded_only=True),
    }
    return runner, facts


def main(work_name: str, contender_name: str, sample: list[int]) -> None:
    try:
        runner, facts = prepare(work_name, contender_name)
    except Unavailable as reason:
        _say({"unavailable": str(reason)})
        return
    _say(facts)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        _say(turn(runner))
    _say({"final_states": runner.final_states()[sample].tolist()})


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
