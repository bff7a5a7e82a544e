"""One contender's process: prepares a work, then solves it whenever a line arrives.

``python -m benchmarks.worker WORK CONTENDER SAMPLE`` writes one JSON object a line: first
what was prepared (or why not), then the timings of each turn; at the end of its
input, the final states of the runs in the sample.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.contender import CONTENDERS, Contender, Runner, Unavailable
from benchmarks.environment import package_versions
from benchmarks.specs import WORKS, Work

TURN_SECONDS = 0.1
MAX_CALLS = 100
NANOSECOND = 9  # decimals of a second that mean something


def turn(runner: Runner) -> dict[str, list[float]]:
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


def prepare(work: Work, contender: Contender) -> tuple[Runner, dict[str, Any]]:
    """Return the runner after its first call, and what is worth knowing of it."""
    start = time.perf_counter()
    runner = contender.make(work)
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


def serve(
    work: Work,
    contender: Contender,
    sample: list[int],
    take_turn: Callable[[Runner], dict[str, Any]],
) -> None:
    """Prepare a work, then take a turn for every line of input; answer in lines of JSON."""
    try:
        runner, facts = prepare(work, contender)
    except Unavailable as reason:
        _say({"unavailable": str(reason)})
        return
    _say(facts)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        _say(take_turn(runner))
    _say({"final_states": runner.final_states()[sample].tolist()})


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    serve(WORKS[sys.argv[1]], CONTENDERS[sys.argv[2]], json.loads(sys.argv[3]), turn)
