"""One step in a process of its own, with a time limit: a crash or a hang takes nothing along."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.rows import read_rows

LOOK_EVERY = 0.2  # seconds
KILLED_WITHIN = 10.0  # seconds
TAIL = 3000  # characters of a failed step's output that are kept

Record = dict[str, Any]


def pending(name: str) -> Record:
    """Return the record of a step that has not been run."""
    return {
        "name": name,
        "status": "not run",
        "seconds": 0.0,
        "limit_seconds": None,
        "exit_code": None,
        "rows": [],
        "output_tail": None,
    }


def run_step(
    record: Record,
    command: list[str],
    limit: float,
    changed: Callable[[], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command that appends rows to the file after its ``--rows``.

    Parameters
    ----------
    record : dict
        As made by `pending`; filled as rows come in. Its status ends as "done", "failed" (another
        exit code than 0, or a signal) or "timed out"; rows that were written are kept in all three.
    command : list of str
        Arguments of Python; ``--rows FILE`` is added.
    limit : float
        Seconds after which the process and those it started are killed.
    changed : callable
        Called whenever there are more rows, and at the end.
    environment : mapping, optional
        What is set beside this process's own environment.
    """
    started = time.monotonic()
    record |= {"status": "running", "limit_seconds": round(limit, 1)}
    with tempfile.TemporaryDirectory(prefix="cubie-gpu-") as folder:
        rows, log = Path(folder) / "rows.jsonl", Path(folder) / "output.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command, "--rows", str(rows)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(environment or {}),
                start_new_session=True,  # so that all that it starts can be killed with it
            )
        try:
            in_time = _wait(process, started + limit, rows, record, changed)
        finally:
            _end(process)
            record["rows"] = read_rows(rows)
            record["seconds"] = round(time.monotonic() - started, 2)
            record["exit_code"] = process.returncode
            record["status"] = "interrupted"
        record["status"] = "timed out"
        if in_time:
            record["status"] = "failed" if process.returncode else "done"
        if record["status"] != "done":
            record["output_tail"] = log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    changed()


def _wait(
    process: subprocess.Popen, deadline: float, rows: Path, record: Record, changed: Callable
) -> bool:
    """Wait for the end, telling of rows on the way; return whether it came before the deadline."""
    known = 0
    while time.monotonic() < deadline:
        try:
            process.wait(min(LOOK_EVERY, max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            size = rows.stat().st_size if rows.exists() else 0
            if size != known:
                known, record["rows"] = size, read_rows(rows)
                changed()
        else:
            return True
    return process.poll() is not None


def _end(process: subprocess.Popen) -> None:
    """Kill what is left of a process's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # One that waits for a driver that does not answer stays until it does: go on without it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILLED_WITHIN)
