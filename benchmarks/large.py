"""Suite "large": systems from tens of states to thousands, beside SciPy's sparse and banded ones.

``python -m benchmarks large`` measures all rows, each in a process of its own with an empty cache;
``--systems``, ``--sizes`` and ``--methods`` choose some, which take the place of those kept, and
``--missing`` those that are not kept. Other solvers get the function as machine code of Numba where
it can be, and are measured where they are installed. Times are those of one core's work, so that
others who work on the machine count as little as may be. ``--first-calls`` measures only what first
calls of ours take beyond their steps, of rows that are kept. With ``--docs`` what is kept goes into
the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.environment import describe, machine_name
from benchmarks.table import figures, markdown_table

OURS = ("tsit5", "rodas5p", "kvaerno5", "radau_iia_5", "bdf")
THEIRS = ("SciPy BDF", "SciPy LSODA", "CVODE", "diffrax Kvaerno5")
RTOL, ATOL = 1e-5, 1e-8
N_RUNS = 16
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
# A row takes so many seconds of one core at most, and is repeated for so long.
LIMIT, REPEATED = 120, 2.0
# Of its time, what a run takes of which only the first call counts.
SHORT = 1e-4


def main() -> None:
    """Parse the command line and run."""
    from benchmarks.large_systems import SYSTEMS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--systems", help=f"comma-separated, of {', '.join(SYSTEMS)}")
    parser.add_argument("--sizes", help="comma-separated numbers of states")
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join(OURS + THEIRS)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--missing", action="store_true", help="leave out rows that are kept")
    parser.add_argument("--first-calls", action="store_true", help="and keep times of steps")
    parser.add_argument("--docs", action="store_true", help="write what is kept into the page")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, n, method = options.row
        measure = _first_call if options.first_calls else _measured
        print(json.dumps(measure(name, int(n), method)))
        return
    path = options.results / f"large-{machine_name()}.json"
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
    if options.docs:
        write_section(DOCS / "large-systems.md", "large", report(data))
        return
    systems = options.systems.split(",") if options.systems else list(SYSTEMS)
    all_methods = list(OURS if options.first_calls else OURS + THEIRS)
    methods = options.methods.split(",") if options.methods else all_methods
    for unknown in [*({*systems} - {*SYSTEMS}), *({*methods} - {*OURS, *THEIRS})]:
        parser.error(f"there is no {unknown!r}")
    asked = [int(size) for size in options.sizes.split(",")] if options.sizes else None
    rows = [
        (n, name, method)
        for name in systems
        for n in asked or SYSTEMS[name].sizes
        for method in methods
    ]
    for n, name, method in sorted(rows, key=lambda row: row[0]):
        key = f"{name}/{n}/{method}"
        kept = data["rows"].get(key, {})
        if options.first_calls:
            if "ns" in kept:
                first, cached = _first_calls(name, n, method)
                print(name, n, method, f"first {first:.2f} s, cached {cached:.2f} s", flush=True)
                kept["first"] = {"seconds": first, "cached": cached, "environment": describe()}
                path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            continue
        if options.missing and kept:
            continue
        row = _in_a_process(name, n, method) | {"environment": describe()}
        print(name, n, method, _shown(row), flush=True)
        data["rows"][key] = row
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(report(data))


def _in_a_process(name: str, n: int, method: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        return _row_of(cache, name, n, method)


def _first_calls(name: str, n: int, method: str) -> tuple[float, float]:
    """Return seconds of a first call in a process of its own, and in one after it."""
    with tempfile.TemporaryDirectory() as cache:
        rows = [_row_of(cache, name, n, method, "--first-calls") for _ in range(2)]
    for row in rows:
        if "failed" in row:
            raise SystemExit(f"{name}, {n} states, {method}: {row['failed']}")
    first, cached = (row["seconds"] for row in rows)
    return first, cached


def _row_of(cache: str, name: str, n: int, method: str, *options: str) -> dict[str, Any]:
    """Return what a process with a cache says of a row."""
    import psutil  # of the extra "bench", as elsewhere

    own = {"CUBIE_CACHE_DIR": cache, "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.large", "--row", name, str(n), method, *options]
    row = subprocess.Popen(
        command, env={**os.environ, **own, **ONE_THREAD}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    # A limit of the system would make its clocks count whole ticks.
    while row.poll() is None:
        used = psutil.Process(row.pid).cpu_times()
        if used.user + used.system > LIMIT:
            row.kill()
            row.wait()
            return {"failed": f"took more than {LIMIT} s"}
        time.sleep(0.2)
    out, error = row.communicate()
    if row.returncode:
        said = error.strip().splitlines() or [f"exit code {row.returncode}"]
        return {"failed": said[-1][:200]}
    return json.loads(out.splitlines()[-1])


def _first_call(name: str, n: int, method: str) -> dict[str, float]:
    """Return what a first call takes beyond its steps: one to nearly where it starts."""
    import cubie  # noqa: F401  (before the clock is read)
    from benchmarks.large_systems import SYSTEMS

    system = SYSTEMS[name]
    made = system.make(n)
    begin = time.process_time()
    solver, starts = _solver(method, made)

    def solve():
        return solver.solve((0.0, SHORT * system.t_end), starts)

    solve()
    seconds = time.process_time() - begin
    return {"seconds": seconds - _repeated(solve)}


def _measured(name: str, n: int, method: str) -> dict[str, Any]:
    """Return what one row takes on one core."""
    from benchmarks.large_systems import SYSTEMS

    system = SYSTEMS[name]
    made = system.make(n)
    if method == "diffrax Kvaerno5":
        return _diffrax(name, made, system.t_end)
    if method in THEIRS:
        return _theirs(method, made, system.t_end)
    return _ours(method, made, system.t_end)


def _solver(method: str, made) -> tuple[Any, Any]:
    """Return a solver, and where its runs start."""
    import numpy as np

    from cubie import Solver

    starts = made.start * np.linspace(0.98, 1.02, N_RUNS)[:, None]
    options = {"rtol": RTOL, "atol": ATOL, "backend": "cpu", "max_steps": 10**7}
    return Solver(made.fun, method=method, save="final", **options), starts


def _ours(method: str, made, t_end: float) -> dict[str, Any]:
    import cubie  # noqa: F401  (before the clock is read)

    begin = time.process_time()
    solver, starts = _solver(method, made)
    result = solver.solve((0.0, t_end), starts)
    first = time.process_time() - begin
    failed = int((result.status != 0).sum())
    if failed:
        return {"failed": f"{failed} of {N_RUNS} runs: {result.message}"[:200]}
    seconds, steps = _repeated(lambda: solver.solve((0.0, t_end), starts)), result.n_steps.sum()
    return {
        "first_call": first,
        "run_ms": 1e3 * seconds / N_RUNS,
        "ns": 1e9 * seconds / float(steps) / made.start.size,
        "steps": float(steps) / N_RUNS,
        # Of the arrays that components ask for, wherever they lie.
        "bytes_of_a_run": sum(
            solver.plan.totals[kind]
            for kind in ("local_bytes", "persistent_bytes", "shared_bytes_per_run")
        ),
    }


def _theirs(method: str, made, t_end: float) -> dict[str, Any]:
    from scipy.integrate import solve_ivp
    from scipy.sparse import csr_matrix

    begin = time.process_time()
    fun = _fastest(made)
    if method == "CVODE":
        return _cvode(fun, made, t_end, begin)
    options: dict[str, Any] = {"rtol": RTOL, "atol": ATOL}
    if method == "SciPy BDF":
        options["jac_sparsity"] = csr_matrix(made.pattern)
    elif made.bandwidth:
        options |= {"lband": made.bandwidth, "uband": made.bandwidth}
    name = method.removeprefix("SciPy ")

    def solve():
        return solve_ivp(fun, (0.0, t_end), made.start, name, **options)

    result = solve()
    first = time.process_time() - begin
    if not result.success:
        return {"failed": result.message[:200]}
    seconds, steps = _repeated(solve), len(result.t) - 1
    return {
        "first_call": first, "run_ms": 1e3 * seconds, "steps": steps,
        "ns": 1e9 * seconds / steps / made.start.size,
    }  # fmt: skip


def _fastest(made):
    """Return ``fun(t, y)``, as machine code of Numba where it can be and is quicker."""
    import numba
    import numpy as np

    def plain(t, y):
        return np.asarray(made.fun(t, y), float)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled: Any = numba.njit(made.fun)
            right = np.allclose(compiled(0.0, made.start), plain(0.0, made.start), 1e-12, 1e-12)
    except Exception:
        return plain
    taken = []
    for fun in (plain, compiled):
        begin = time.process_time()
        for _ in range(20):
            fun(0.0, made.start)
        taken.append(time.process_time() - begin)
    return compiled if right and taken[1] < taken[0] else plain


def _cvode(fun, made, t_end: float, begin: float) -> dict[str, Any]:
    import numpy as np

    try:
        from sksundae.cvode import CVODE  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {"failed": "scikit-sundae is not installed"}

    def rhs(t, y, yp):
        yp[:] = fun(t, y)

    options: dict[str, Any] = {"rtol": RTOL, "atol": ATOL, "max_num_steps": 10**7}
    if made.bandwidth:
        options |= {"linsolver": "band", "lband": made.bandwidth, "uband": made.bandwidth}
    elif made.pattern.mean() < 0.3:
        options |= {"linsolver": "sparse", "sparsity": made.pattern}

    def solve():
        return CVODE(rhs, **options).solve(np.array([0.0, t_end]), made.start)

    result = solve()
    first = time.process_time() - begin
    if not result.success:
        return {"failed": str(result.message)[:200]}
    seconds, steps = _repeated(solve), int(result.nfev)
    return {"first_call": first, "run_ms": 1e3 * seconds, "steps": None, "evaluations": steps}


def _diffrax(name: str, made, t_end: float) -> dict[str, Any]:
    """Return what all runs take under ``jit(vmap(...))``, as diffrax advises for stiff ones."""
    import numpy as np

    try:
        from benchmarks.peers.large_diffrax import batch
    except ImportError:
        return {"failed": "diffrax is not installed"}
    starts = made.start * np.linspace(0.98, 1.02, N_RUNS)[:, None]
    begin = time.process_time()
    solve = batch(name, made, t_end, RTOL, ATOL)
    final, steps = solve(starts)
    first = time.process_time() - begin
    if not np.isfinite(final).all():
        return {"failed": "a run did not reach the end"}
    seconds = _repeated(lambda: solve(starts))
    return {
        "first_call": first,
        "run_ms": 1e3 * seconds / N_RUNS,
        "ns": 1e9 * seconds / float(steps.sum()) / made.start.size,
        "steps": float(steps.mean()),
    }


def _repeated(solve) -> float:
    """Return the least time of some calls."""
    spent: list[float] = []
    while not spent or (sum(spent) + spent[-1] < REPEATED and len(spent) < 20):
        begin = time.process_time()
        solve()
        spent.append(time.process_time() - begin)
    return min(spent)


def _shown(row: dict[str, Any]) -> str:
    if "failed" in row:
        return row["failed"]
    ns = f"{figures(row['ns'])} ns, " if row.get("ns") else ""
    return f"{figures(row['run_ms'])} ms a run, {ns}first call {row['first_call']:.1f} s"


def report(data: dict[str, Any]) -> str:
    """Return the tables, in Markdown: what steps cost, what runs take, and what stands out."""
    from benchmarks.large_systems import SYSTEMS

    places = sorted({tuple(key.split("/")[:2]) for key in data["rows"]}, key=_order(SYSTEMS))
    steps, runs = [], []
    for name, n in places:
        found = {m: data["rows"].get(f"{name}/{n}/{m}", {}) for m in OURS + THEIRS}
        steps.append([name, n, *(_of_step(found[method]) for method in OURS)])
        shown = [_of_run(found[method]) for method in OURS + THEIRS]
        n_bytes = max((row.get("bytes_of_a_run", 0) for row in found.values()), default=0)
        runs.append([name, n, *shown, _ahead(found), f"{n_bytes / 1024:,.0f}"])
    return "\n\n".join(
        (
            "Nanoseconds a step and state; in brackets the seconds that the first call takes "
            f"beyond its steps (empty cache{_cached(data)}):",
            markdown_table(["system", "states", *OURS], steps),
            "Milliseconds a run; how many times as long the best of the others takes as the best "
            "of ours; KiB a run of the method that needs most:",
            markdown_table(["system", "states", *OURS, *THEIRS, "times", "KiB"], runs),
            f"Of neighbouring sizes steps cost more than twice as much: {_jumps(data, places)}.",
            f"Methods that are slower than the best of the others: {_behind(data, places)}.",
        )
    )


def _cached(data) -> str:
    """Return what first calls take at most where the kernel is found in the cache."""
    seconds = [row["first"]["cached"] for row in data["rows"].values() if "first" in row]
    return (
        f"; {max(seconds):.2f} s at most where another process left its kernel" if seconds else ""
    )


def _order(systems):
    names = list(systems)
    return lambda place: (names.index(place[0]), int(place[1]))


def _of_step(row: dict[str, Any]) -> str:
    if not row.get("ns"):
        return _why(row)
    compiled = row["first_call"] - 1e-3 * N_RUNS * row["run_ms"]
    compiled = row.get("first", {}).get("seconds", compiled)
    return f"{figures(row['ns'])} ({max(0.0, compiled):.1f})"


def _of_run(row: dict[str, Any]) -> str:
    return figures(row["run_ms"]) if "run_ms" in row else _why(row)


def _ahead(found: dict[str, dict[str, Any]]) -> str:
    """Return how many times as long the best of the others takes as the best of ours."""
    ours, theirs = (
        [found[method]["run_ms"] for method in methods if "run_ms" in found[method]]
        for methods in (OURS, THEIRS)
    )
    return figures(min(theirs) / min(ours)) if ours and theirs else ""


def _why(row: dict[str, Any]) -> str:
    """Return a word for what was not measured."""
    if "took more" in row.get("failed", ""):
        return "too long"
    return "failed" if "failed" in row and "not installed" not in row["failed"] else ""


def _jumps(data, places) -> str:
    found = []
    for (name, n), (after, m) in pairwise(places):
        methods = []
        for method in OURS if name == after else ():
            small, large = (data["rows"].get(f"{name}/{k}/{method}", {}) for k in (n, m))
            if "ns" in small and large.get("ns", 0.0) > 2.0 * small["ns"]:
                methods.append(method)
        if methods:
            found.append(f"{name}, from {n} to {m} states ({', '.join(methods)})")
    return "; ".join(found) or "nowhere"


def _behind(data, places) -> str:
    found = []
    for name, n in places:
        taken = {
            method: row["run_ms"]
            for method in OURS + THEIRS
            if "run_ms" in (row := data["rows"].get(f"{name}/{n}/{method}", {}))
        }
        theirs = [taken[method] for method in THEIRS if method in taken]
        slower = [m for m in OURS if theirs and taken.get(m, 0.0) > min(theirs)]
        if slower:
            found.append(f"{name} with {n} states ({', '.join(slower)})")
    return "; ".join(found) or "nowhere"


if __name__ == "__main__":
    main()
