"""Suite "sweeps": what keeping ten million runs takes beside computing them, and what workers add.

    python -m benchmarks sweeps [--runs 10000000] [--parts plan,store,workers]

Each figure comes from a process of its own, which finds compiled code where an earlier one left it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents import RESULTS
from benchmarks.environment import THREADS_VARIABLE, describe, machine_name
from benchmarks.registry import chosen
from benchmarks.specs import LORENZ, WORKS
from benchmarks.table import markdown_table

PARTS = ("plan", "store", "workers")
RUNS, PLANNED, SHARED = 10**7, 10**9, 10**6
# Who computes: threads of this process, processes that `run` starts, workers of Dask.
CREWS = (("threads", 1), ("threads", 2), ("processes", 1), ("processes", 2),
         ("dask", 1), ("dask", 2), ("dask", 4))  # fmt: skip


def lorenz(t, y, rho, sigma):
    """The right-hand side."""
    return [sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]


def sweep_of(n_runs: int, store: Any = None, **options: Any) -> Any:
    """Return a sweep: runs as long, and as exact, as those of the work W1."""
    import cubie

    work, width = WORKS["W1"], round(n_runs**0.5)
    low, high = work.problem.sweep
    over = cubie.grid(rho=np.linspace(low, high, width), sigma=np.linspace(8, 12, n_runs // width))
    options |= work.solver_options() | {"summaries": {"x": ["max", "mean"]}, "store": store}
    y0 = dict(zip("xyz", LORENZ.y0, strict=True))
    return cubie.sweep(lorenz, (0.0, work.t_end), y0, over=over, **options)


def peak_bytes() -> int:
    """Return the most memory this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def folder_of_stores() -> Any:
    """Give a folder for stores, which goes: where $TMPDIR is."""
    return tempfile.TemporaryDirectory(prefix="cubie-sweeps-")


def plan() -> dict[str, Any]:
    """Return what planning a sweep takes that nobody would run here."""
    import cubie  # noqa: F401  (its import is no part of it)

    before, begun = peak_bytes(), time.perf_counter()
    sweep = sweep_of(PLANNED, "there/is/none.zarr", memory="8G")
    told = str(sweep.plan)
    seconds = time.perf_counter() - begun
    return {"runs": PLANNED, "seconds": seconds, "bytes": peak_bytes(), "before": before,
            "plan": told}  # fmt: skip


def store(n_runs: int) -> dict[str, Any]:
    """Return the time of the kernels alone, of solving chunks, and of a sweep that keeps them."""
    from cubie.sweeps.job import Part

    with folder_of_stores() as folder:
        sweep = sweep_of(n_runs, Path(folder, "runs.zarr"))
        sweep.pilot()
        whole, chunks = sweep._whole, sweep._layout.chunks
        alone = {"kernel": 0.0, "seconds": 0.0, "cpu": 0.0}

        def solve(numbers: Any) -> None:
            begun, cpu = time.perf_counter(), time.process_time()
            for number in numbers:
                shape = chunks.shape_of(number)
                part = Part.of(whole.space, chunks, number, whole.drawn)
                result = whole.model.solve(part.values(shape), shape)
                alone["kernel"] += result.kernel_seconds
            alone["seconds"] += time.perf_counter() - begun
            alone["cpu"] += time.process_time() - cpu

        # Half of it before the sweep and half after: other work on the machine comes and goes.
        solve(range(0, len(chunks), 2))
        begun, cpu = time.perf_counter(), time.process_time()
        sweep.run(progress=False)
        kept = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
        solve(range(1, len(chunks), 2))
        kernel, solved = alone.pop("kernel"), alone
        on_disk = sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file())
        return {
            "runs": sweep.n_runs, "chunks": len(chunks), "kernel": kernel, "solved": solved,
            "kept": kept, "bytes": peak_bytes(), "results": sweep.plan.kept_bytes,
            "on_disk": on_disk, "processors": os.cpu_count(),
        }  # fmt: skip


def crew(kind: str, n: int) -> dict[str, Any]:
    """Return the time of a sweep by workers that are there and have compiled."""
    with folder_of_stores() as folder, executor_of(kind, n) as executor:
        sweep_of(SHARED // 20, chunk=SHARED // 40).run(executor, progress=False)
        sweep = sweep_of(SHARED, Path(folder, "runs.zarr"), chunk=SHARED // 16)
        begun = time.perf_counter()
        sweep.run(executor, progress=False)
        return {"kind": kind, "workers": n, "seconds": time.perf_counter() - begun}


@contextmanager
def executor_of(kind: str, n: int):
    """Give what computes."""
    if kind == "threads":
        yield None
    elif kind == "processes":
        from cubie.sweeps.crews import crew_of

        with crew_of(None, n) as found:
            yield found.executor
    else:
        from distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
        with cluster, Client(cluster) as client:
            yield client


def measured(*arguments: Any, threads: int | None = None) -> dict[str, Any]:
    """Return what a process of its own finds."""
    environment = dict(os.environ)
    if threads is not None:
        environment[THREADS_VARIABLE] = str(threads)
    command = [sys.executable, "-m", "benchmarks.sweeps", "--one", *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(data: dict[str, Any]) -> str:
    """Return the tables."""
    told = []
    if "plan" in data:
        found = data["plan"]
        told.append(f"A plan of {found['runs']:,} runs took {found['seconds']:.2f} s; the process "
                    f"had {found['bytes'] / 1e6:.0f} MB at most.")  # fmt: skip
    if "store" in data:
        found = data["store"]
        alone, n = found["kernel"], found["runs"]
        rows = [
            [name, f"{values:.1f}", f"{values / alone:.2f}", f"{values / n * 1e6:.2f}"]
            for name, values in (
                ("kernels alone", alone),
                ("solved, nothing kept", found["solved"]["seconds"]),
                ("swept, all kept in a store", found["kept"]["seconds"]),
            )
        ]
        told.append(markdown_table([f"{n:,} runs", "s", "of kernels", "us a run"], rows))
        told.append(
            f"Peak memory {found['bytes'] / 1e6:.0f} MB; {found['results'] / 1e6:.0f} MB of "
            f"results are {found['on_disk'] / 1e6:.0f} MB on disk, in {found['chunks']} chunks."
        )
    if "workers" in data:
        rows = [[one["kind"], str(one["workers"]), f"{one['seconds']:.2f}"]
                for one in data["workers"]]  # fmt: skip
        told.append(markdown_table(["by", "workers", f"s for {SHARED:,} runs"], rows))
    return "\n\n".join(told)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sweeps", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--parts", help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the raw data")
    parser.add_argument("--report", action="store_true", help="only report what was kept")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, *rest = options.one
        found = {"plan": plan, "store": lambda n: store(int(n)),
                 "crew": lambda kind, n: crew(kind, int(n))}[name](*rest)  # fmt: skip
        print(json.dumps(found))
        return
    path = options.results / f"sweeps-{machine_name()}.json"
    data = {"suite": "sweeps", "environment": describe()}
    if path.exists():
        data |= json.loads(path.read_text(encoding="utf-8"))
    if not options.report:
        for part in chosen("part", options.parts, PARTS) or PARTS:
            data["environment"] = describe()
            if part == "plan":
                data["plan"] = measured("plan")
            elif part == "store":
                measured("store", SHARED // 10)  # compiles
                data["store"] = measured("store", options.runs)
            else:
                # Of one process so many threads as others have workers of one thread each.
                data["workers"] = [
                    measured("crew", kind, n, threads=n if kind == "threads" else None)
                    for kind, n in CREWS
                ]
            path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(report(data))


if __name__ == "__main__":
    main()
