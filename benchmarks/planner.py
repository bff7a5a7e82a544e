"""The planner's exact packing, timed: ``python -m benchmarks planner`` (or ``.planner``).

Nine parts. ``capacity``: the "challenging" instances that accompany MiniMalloc (Moffitt,
ASPLOS 2023), each to be packed into the capacity in its file name; every placement must be
accepted by `cubie_planner.check`. ``height``: the same instances, as low as possible, with
the bound that was proven. ``plans``: the same and larger ones (`LARGER`) by
`cubie_planner.plan`, which is what users call. ``paired``: MiniMalloc itself on the first ones,
where it is installed, see `benchmarks.planner_paired`. ``graphs`` and ``hard_graphs``: made-up
graphs of thousands of tensors, see `benchmarks.planner_graphs`. ``kernels``: random packing
problems of the size of a GPU kernel.
``joint`` and ``fresh``: whole problems, see `benchmarks.planner_joint`.
Times are CPU seconds of this one process and thread, after the compiled search was loaded.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from benchmarks import planner_docs
from benchmarks.environment import describe
from benchmarks.planner_graphs import graphs_part, hard_graphs_part
from benchmarks.planner_joint import fresh_part, joint_part
from benchmarks.planner_paired import paired_part
from cubie_planner import (
    Level,
    Location,
    Placement,
    Plan,
    Problem,
    check,
    plan,
    problem_from_minimalloc,
)
from cubie_planner.packing import PackingProblem, PackingResult, pack

INSTANCES = Path(__file__).parents[2] / "shared" / "data" / "minimalloc"
LARGER = "dsa"
"""The folder beside them that holds larger ones."""

NEED_INSTANCES = ("capacity", "height", "plans", "paired")
ADVICE = (
    "give the folder of the instances that come with MiniMalloc "
    "(github.com/google/minimalloc, in benchmarks) with --instances"
)


@frozen
class Kernels:
    """Random packing problems of one kind."""

    items: int
    gaps: bool = False
    nested: bool = False
    pinned: bool = False
    seeds: int = 10

    @property
    def name(self) -> str:
        """Number of items and the features."""
        features = [word for word in ("gaps", "nested", "pinned") if getattr(self, word)]
        return " ".join([str(self.items), *(features or ["plain"])])


KERNELS = tuple(
    spec
    for items in (12, 25, 50, 100, 200)
    for spec in (
        Kernels(items),
        Kernels(items, gaps=True),
        Kernels(items, gaps=True, nested=True, pinned=True),
    )
)


@frozen
class Row:
    """One measurement; `bound`, `height` and `capacity` in bytes, `cpu` in seconds."""

    name: str
    items: int
    status: str
    engine: str
    height: int | None
    bound: int
    nodes: int
    cpu: float


def run(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the parts asked for, print tables, return (and with --json write) all figures."""
    parser = argparse.ArgumentParser(prog="benchmarks planner", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--instances", type=Path, help="folder of MiniMalloc's CSV files")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    parts = options.parts or list(PARTS)
    folder = options.instances or INSTANCES
    missing = [part for part in parts if part in NEED_INSTANCES]
    if missing and not any(folder.glob("*.csv")):
        reason = f"no CSV files in {folder}; {ADVICE}"
        if options.parts or options.instances:
            parser.error(reason)
        print(f"Without {' and '.join(missing)}: {reason}")
        parts = [part for part in parts if part not in missing]
    _warm_up()
    conditions = describe()
    results: dict[str, Any] = {"conditions": conditions}
    for part in parts:
        results[part] = PARTS[part](folder)
    conditions["load_average_after"] = describe()["load_average"]
    if options.docs:
        planner_docs.write(results)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _warm_up() -> None:
    """Load the compiled search: its first use per process reads numba's cache, or compiles."""
    count = 200
    problem = PackingProblem(
        [4 + i % 9 for i in range(count)],
        [1] * count,
        [[(i, i + 9 + i % 5)] for i in range(count)],
    )
    pack(problem, node_limit=1)


def _files(folder: Path) -> list[tuple[str, int, Problem]]:
    """Return (name, capacity, problem) of every instance in the folder."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        name, capacity = path.name.split(".")[:2]
        found.append(
            (name, int(capacity), problem_from_minimalloc(path.read_text(), int(capacity)))
        )
    return found


def _packing(problem: Problem) -> PackingProblem:
    buffers = problem.buffers
    return PackingProblem(
        [b.size_bytes for b in buffers],
        [b.alignment for b in buffers],
        [b.lifetime for b in buffers],
        [-1 if b.offset is None else b.offset for b in buffers],
    )


def _accepted(problem: Problem, result: PackingResult) -> None:
    """Raise unless the independent checker accepts the packing."""
    if result.offsets is None:
        return
    placements = {
        buffer.name: Placement(
            buffer.name,
            Location.SHARED,
            offset,
            buffer.size_bytes,
            buffer.n_elements,
            buffer.dtype,
            lifetime=buffer.lifetime,
            pin=buffer.pin,
        )
        for buffer, offset in zip(problem.buffers, result.offsets, strict=True)
    }
    levels = (
        Level("shared_bytes", result.height or 0, result.lower_bound),
        Level("local_and_persistent_bytes", 0, 0),
    )
    check(problem, Plan(problem, placements, levels, problem.digest))


def _timed(name: str, problem: PackingProblem, capacity: int | None) -> tuple[Row, PackingResult]:
    start = time.process_time()
    result = pack(problem, capacity)
    cpu = time.process_time() - start
    row = Row(
        name,
        len(problem.sizes),
        result.status.value,
        result.engine,
        result.height,
        result.lower_bound,
        result.nodes,
        round(cpu, 4),
    )
    return row, result


def _instances(folder: Path, limited: bool) -> list[Row]:
    rows = []
    for name, capacity, problem in _files(folder):
        row, result = _timed(name, _packing(problem), capacity if limited else None)
        _accepted(problem, result)
        rows.append(row)
    return rows


def capacity_part(folder: Path) -> list[dict[str, Any]]:
    """Pack every instance into its capacity."""
    rows = _instances(folder, limited=True)
    print("\nWithin the capacity (accepted by the checker)")
    _print_rows(rows)
    return [asdict(row) for row in rows]


def height_part(folder: Path) -> list[dict[str, Any]]:
    """Pack every instance as low as possible."""
    rows = _instances(folder, limited=False)
    print("\nMinimum height (optimal: equal to the proven bound)")
    _print_rows(rows)
    return [asdict(row) for row in rows]


def plans_part(folder: Path) -> list[dict[str, Any]]:
    """Plan every instance: within its capacity where it has one, as low as possible elsewhere."""
    asked = [(name, problem, True) for name, _, problem in _files(folder)]
    for path in sorted((folder.parent / LARGER).glob("*.csv")):
        asked.append((path.stem, problem_from_minimalloc(path.read_text()), False))
    print("\nBy cubie_planner.plan: bytes, proven bound, CPU s")
    rows = []
    for name, problem, fits in asked:
        start = time.process_time()
        made = plan(problem, fits=fits)
        cpu = time.process_time() - start
        level = made.levels[0]
        row = {
            "name": name,
            "items": len(problem.buffers),
            "fits": fits,
            "bytes": level.value,
            "bound": level.bound,
            "status": str(level.status),
            "cpu": round(cpu, 3),
        }
        print("{name:10} {items:6} {bytes:11} {bound:11} {cpu:8.2f}  {status}".format(**row))
        rows.append(row)
    return rows


def kernels_part(folder: Path) -> list[dict[str, Any]]:
    """Pack random problems of the size of a kernel as low as possible."""
    summary = []
    print("\nRandom problems of a kernel's size: median and longest CPU time, statuses")
    for spec in KERNELS:
        rows = [_timed(spec.name, random_kernel(spec, s), None)[0] for s in range(spec.seeds)]
        statuses = {
            s: sum(row.status == s for row in rows) for s in sorted({r.status for r in rows})
        }
        median = statistics.median(row.cpu for row in rows)
        longest = max(row.cpu for row in rows)
        gaps = [(r.height - r.bound) / r.height for r in rows if r.height]
        print(
            f"{spec.name:24} {1e3 * median:9.2f} ms {longest:7.2f} s  "
            f"largest gap {100 * max(gaps, default=0.0):4.1f} %  {statuses}"
        )
        summary.append({"spec": asdict(spec), "rows": [asdict(row) for row in rows]})
    return summary


def random_kernel(spec: Kernels, seed: int) -> PackingProblem:
    """Return items like the buffers of a kernel: most live for a fifth of the time at most."""
    chance = random.Random(1000 * seed + spec.items)
    count, end = spec.items, 2 * spec.items
    sizes = [chance.choice([4, 8]) * chance.randint(1, 40) for _ in range(count)]
    alignments = [8 if size % 8 == 0 and chance.random() < 0.7 else 4 for size in sizes]
    lifetimes = []
    for _ in range(count):
        start = chance.randrange(end - 4)
        spans = [(start, min(end, start + chance.randint(1, end // 5)))]
        if spec.gaps and chance.random() < 0.3 and spans[0][1] + 3 < end:
            start = chance.randrange(spans[0][1] + 1, end - 1)
            spans.append((start, min(end, start + chance.randint(1, end // 6))))
        lifetimes.append(spans)
    parents, distances, pins = [-1] * count, [-1] * count, [-1] * count
    for item in range(1, count):
        host = chance.randrange(item)
        fits = sizes[host] >= sizes[item] and parents[host] < 0
        if spec.nested and chance.random() < 0.2 and fits:
            parents[item] = host
            if chance.random() < 0.3:
                distances[item] = chance.randrange((sizes[host] - sizes[item]) // 8 + 1) * 8
    for item in range(count):
        if spec.pinned and chance.random() < 0.05 and parents[item] < 0:
            pins[item] = 8 * chance.randint(0, 60)
    return PackingProblem(sizes, alignments, lifetimes, pins, parents, distances)


def _print_rows(rows: list[Row]) -> None:
    print(f"{'':10} {'items':>6} {'height':>9} {'bound':>9} {'gap':>7} {'nodes':>8} {'CPU s':>8}")
    for row in rows:
        gap = "" if row.height is None else f"{100 * (1 - row.bound / row.height):.2f} %"
        print(
            f"{row.name:10} {row.items:6} {row.height or '-':>9} {row.bound:9} {gap:>7} "
            f"{row.nodes:8} {row.cpu:8.3f}  {row.status}, {row.engine}"
        )
    print(f"CPU in total: {sum(row.cpu for row in rows):.2f} s")


PARTS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "capacity": capacity_part,
    "height": height_part,
    "plans": plans_part,
    "paired": paired_part,
    "graphs": graphs_part,
    "hard_graphs": hard_graphs_part,
    "kernels": kernels_part,
    "joint": joint_part,
    "fresh": fresh_part,
}


if __name__ == "__main__":
    run()
