"""Write the planner benchmark's figures into its page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.documents import DOCS, write_section
from benchmarks.table import markdown_table

PAGE = DOCS / "planner.md"


def write(results: dict[str, Any], page: Path = PAGE) -> None:
    """Replace every table of the page whose part was run."""
    for part, table in TABLES.items():
        if part in results:
            write_section(page, part, table(results[part]))


def conditions(data: dict[str, Any]) -> str:
    """Return under which conditions the figures came about."""
    versions = data["versions"]
    load = ""
    if data["load_average"]:
        before, after = data["load_average"][0], data["load_average_after"][0]
        load = (
            f" The machine was not idle: its load average over a minute was {before:.1f} before "
            f"and {after:.1f} after, of which the benchmark itself is at most 1."
        )
    return (
        f"Measured on {data['time'][:10]}: {data['cpu']}, {data['cpus']} CPUs, Python "
        f"{data['python']}, numba {versions['numba']}, OR-Tools {versions['ortools']}.{load} "
        "CPU times count all threads of the process that plans; it uses one."
    )


def packing(rows: list[dict[str, Any]]) -> str:
    """Return the table of one set of instances."""
    cells = [
        [
            row["name"],
            str(row["items"]),
            f"{row['height']:,}" if row["height"] else "none",
            f"{row['bound']:,}",
            _percent(1 - row["bound"] / row["height"]) if row["height"] else "",
            str(row["nodes"]),
            f"{row['cpu']:.2f}",
            row["status"],
            "accepted" if row["height"] else "",
        ]
        for row in rows
    ]
    header = ["instance", "buffers", "height", "proven bound", "gap", "nodes", "CPU s", "status"]
    total = f"{sum(row['cpu'] for row in rows):.2f}"
    cells.append(["together", "", "", "", "", "", total, "", ""])
    return markdown_table([*header, "checker"], cells)


def plans(rows: list[dict[str, Any]]) -> str:
    """Return the table of what `plan` makes of published instances."""
    cells = [
        [
            row["name"],
            f"{row['items']:,}",
            "`fits=True`" if row["fits"] else "the lowest",
            f"{row['bytes']:,}",
            f"{row['bytes'] / row['bound']:.5f}",
            f"{row['cpu']:.2f}",
            row["status"],
        ]
        for row in rows
    ]
    header = ["instance", "buffers", "asked for", "bytes", "over the proven bound", "CPU s"]
    return markdown_table([*header, "status"], cells)


def graphs(rows: list[dict[str, Any]]) -> str:
    """Return the table of graphs: the worse of the seeds of a shape and size."""
    sizes = sorted({row["size"] for row in rows})
    cells = []
    for shape in dict.fromkeys(row["shape"] for row in rows):
        line = [shape]
        for size in sizes:
            some = [r for r in rows if (r["shape"], r["size"]) == (shape, size)]
            over, cpu = max(r["over"] for r in some), max(r["cpu"] for r in some)
            line.append(f"{over:.4f}, {cpu:.1f} s")
        cells.append(line)
    return markdown_table(["shape", *(f"{size:,}" for size in sizes)], cells)


def hard_graphs(rows: list[dict[str, Any]]) -> str:
    """Return the table of the graphs that are left the farthest above the load."""
    header = ["shape", "buffers", "seed", "bytes over the load", "CPU s"]
    cells = [
        [
            row["shape"],
            f"{row['buffers']:,}",
            str(row["seed"]),
            f"{row['over']:.4f}",
            f"{row['cpu']:.1f}",
        ]
        for row in rows
    ]
    return markdown_table(header, cells)


def joint(entries: list[dict[str, Any]]) -> str:
    """Return the table of random problems in one process."""
    header = ["buffers", "problems", "statuses", "median CPU ms", "longest CPU s", "largest gap"]
    return markdown_table(header, [_joint_cells(entry) for entry in entries])


def fresh(entries: list[dict[str, Any]]) -> str:
    """Return the table of random problems in processes of their own."""
    header = ["buffers", "processes", "statuses", "median CPU s", "median wall s", "longest wall s"]
    cells = []
    for entry in entries:
        first = _joint_cells(entry)[:3]
        times = (entry["median"], entry["median_wall"], entry["longest_wall"])
        cells.append([*first, *(f"{seconds:.2f}" for seconds in times)])
    return markdown_table(header, cells)


def _joint_cells(entry: dict[str, Any]) -> list[str]:
    return [
        str(entry["buffers"]),
        str(len(entry["rows"])),
        ", ".join(f"{count} {status}" for status, count in entry["statuses"].items()),
        f"{1e3 * entry['median']:.1f}",
        f"{entry['longest']:.2f}",
        _percent(entry["gap"]),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share else "0"


TABLES = {
    "conditions": conditions,
    "capacity": packing,
    "height": packing,
    "plans": plans,
    "graphs": graphs,
    "hard_graphs": hard_graphs,
    "joint": joint,
    "fresh": fresh,
}
