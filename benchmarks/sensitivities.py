"""Suite "sensitivities": what derivatives by P inputs cost, beside differences of runs and others.

``python -m benchmarks sensitivities`` measures every row, each in a process of its own;
``--systems``, ``--inputs`` and ``--contenders`` choose some, which take the place of those kept.
diffrax and heyoka run in the Python that ``--peers`` names. Times are of one core's work; errors
are of the derivatives at the end, the largest one over the largest derivative by the same input,
of solutions of ours with a tolerance of 1e-11. With ``--docs`` what is kept goes into the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.sensitivity_systems import NAMES, STIFF, SYSTEMS, Case, case
from benchmarks.table import markdown_table

PAGE, SECTION = DOCS / "sensitivities.md", "cost"
INPUTS = (1, 5, 20, 100)
OURS, PEERS = ("plain", "cubie", "differences"), ("diffrax", "heyoka")
METHODS = {True: "rodas5p", False: "tsit5"}
ONE_THREAD = {
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
# A row takes so many seconds at most.
LIMIT = 300


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensitivities", description=__doc__)
    parser.add_argument("--systems", default=",".join(NAMES))
    parser.add_argument("--inputs", default=",".join(map(str, INPUTS)))
    parser.add_argument("--contenders", default=",".join(OURS + PEERS))
    parser.add_argument("--peers", default=sys.executable, help="the Python of diffrax and heyoka")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--docs", action="store_true", help="write what is kept into the page")
    parser.add_argument("--row", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, system, n_inputs, path = options.row
        print(json.dumps(_measure(name, case(system, int(n_inputs)), path)))
        return
    path = options.results / f"sensitivities-{machine_name()}.json"
    if not options.docs:
        _run(options, path)
    if path.exists():
        data = json.loads(path.read_text())
        print(table(data))
        if options.docs:
            write_section(PAGE, SECTION, table(data))


def _run(options: argparse.Namespace, path: Path) -> None:
    data = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    with tempfile.TemporaryDirectory() as folder:
        for system in options.systems.split(","):
            for n_inputs in options.inputs.split(","):
                exact = None
                for name in options.contenders.split(","):
                    if name == "heyoka" and system in STIFF:
                        continue
                    key = f"{system}, {n_inputs}, {name}"
                    row, found = _row(options, name, system, n_inputs, Path(folder))
                    if found is not None:
                        if exact is None:
                            reference = _row(options, "reference", system, n_inputs, Path(folder))
                            exact = reference[1]
                        row["error"] = _error(found, exact)
                    data["rows"][key] = row
                    print(key, row, flush=True)
                    data["environment"] = describe()
                    path.write_text(json.dumps(data, indent=1) + "\n")


def _row(options: Any, name: str, system: str, n_inputs: str, folder: Path) -> tuple[dict, Any]:
    """Measure in a process of its own; return figures, and the derivatives where there are some."""
    kept = folder / "found.npy"
    kept.unlink(missing_ok=True)
    if name in PEERS:
        command = [options.peers, "-m", "benchmarks.peers.sensitivity_peers"]
    else:
        command = [sys.executable, "-m", "benchmarks.sensitivities", "--row"]
    own = ONE_THREAD | {"CUBIE_CACHE_DIR": tempfile.mkdtemp(dir=folder)}
    done = subprocess.run(
        [*command, name, system, n_inputs, str(kept)], env=os.environ | own, timeout=LIMIT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}, None
    found = np.load(kept) if kept.exists() else None
    return json.loads(done.stdout.splitlines()[-1]), found


def _error(found: np.ndarray, exact: np.ndarray) -> float:
    return float((np.abs(found - exact) / np.abs(exact).max(axis=(0, 1))).max())


def _measure(name: str, asked: Case, path: str) -> dict[str, float]:
    """Measure one of ours."""
    import cubie

    n_inputs = asked.parameters.shape[1]
    rows = SYSTEMS[asked.name](np, n_inputs)

    def fun(t, y, p):
        return rows(t, y, p)

    tight = {"rtol": 1e-11, "atol": 1e-14} if name == "reference" else {}
    tolerances = {"rtol": asked.rtol, "atol": asked.atol} | tight
    by = {"sensitivities": "parameters"} if name in ("cubie", "reference") else {}
    solver = cubie.Solver(
        fun, method=METHODS[asked.name in STIFF], save="final", max_steps=10**7, **tolerances, **by
    )
    parameters, shifts = asked.parameters, None
    if name == "differences":
        shifts = 1e-4 * np.maximum(np.abs(parameters), 1e-3)
        parameters = np.concatenate(
            [
                parameters + sign * shifts * (np.arange(n_inputs) == k)
                for k in range(n_inputs)
                for sign in (1.0, -1.0)
            ]
        )
    start = np.tile(asked.y0, (len(parameters), 1))

    def solve() -> Any:
        return solver.solve((0.0, asked.t_end), start, args=(parameters,))

    first, seconds, result = _timed(solve, once=name == "reference")
    assert result.success.all()
    if name in ("cubie", "reference"):
        np.save(path, result.dy[..., 0])
    if shifts is not None:
        ends = result.y[..., 0].reshape(n_inputs, 2, len(asked.parameters), -1)
        np.save(path, (ends[:, 0] - ends[:, 1]).transpose(1, 2, 0) / (2.0 * shifts[:, None, :]))
    return {"first": first, "seconds": seconds, "steps": float(np.mean(result.n_steps))}


def _timed(solve: Callable[[], Any], once: bool) -> tuple[float, float, Any]:
    """Return seconds of the first call, of the fastest after it, and the result."""
    begin = time.process_time()
    result = solve()
    first, times = time.process_time() - begin, []
    while not once and sum(times) < 2.0 and len(times) < 50:
        begin = time.process_time()
        result = solve()
        times.append(time.process_time() - begin)
    return first, min(times, default=first), result


def table(data: dict[str, Any]) -> str:
    """Return the table of the page: milliseconds a run of the batch, errors, first calls."""
    rows, kept = [], data["rows"]
    for system in NAMES:
        for n_inputs in INPUTS:
            cells = [_cell(kept.get(f"{system}, {n_inputs}, {name}")) for name in OURS + PEERS]
            if any(cells):
                rows.append([system, str(n_inputs), *cells])
    head = ["system", "P", "plain", "cubie", "2P runs", "diffrax", "heyoka"]
    return markdown_table(head, rows)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "failed" in row:
        return "failed"
    error = f", {row['error']:.0e}" if "error" in row else ""
    return f"{1e3 * row['seconds'] / 32:.3g} ms{error} ({row['first']:.1f} s)"


if __name__ == "__main__":
    main()
