"""MiniMalloc itself on the same instances, where it is installed: `minimalloc` on the path.

Its answer is read as a problem whose offsets are pinned, which has a plan exactly where nothing
overlaps: what it says is checked as ours is. Both are asked for a packing within the capacity.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from cubie_planner import Location, PlanInfeasible, plan, problem_from_minimalloc

PROGRAM = "minimalloc"
MOST_SECONDS = 300.0


def paired_part(folder: Path) -> list[dict[str, Any]]:
    """Pack every instance into its capacity by both, one after the other."""
    program = shutil.which(PROGRAM)
    if program is None:
        print(f"\nWithout MiniMalloc: there is no `{PROGRAM}` on the path")
        return []
    print("\nWithin the capacity, paired: bytes and seconds of MiniMalloc, then of plan")
    rows = []
    for path in sorted(folder.glob("*.csv")):
        name, capacity = path.name.split(".")[:2]
        start = time.perf_counter()
        theirs = their_height(program, path, int(capacity))
        between = time.perf_counter()
        ours = plan(problem_from_minimalloc(path.read_text(), int(capacity)), fits=True)
        row = {
            "name": name,
            "their_bytes": theirs,
            "their_seconds": round(between - start, 3),
            "our_bytes": ours.levels[0].value,
            "our_seconds": round(time.perf_counter() - between, 3),
        }
        told = "none found" if theirs is None else theirs
        print(
            f"{name:10} {told:>11} {row['their_seconds']:8.3f} {row['our_bytes']:11} "
            f"{row['our_seconds']:8.3f}"
        )
        rows.append(row)
    return rows


def their_height(program: str, path: Path, capacity: int) -> int | None:
    """Return the bytes of MiniMalloc's packing of a file; None where it finds none in time.

    Raises
    ------
    RuntimeError
        When its packing leaves out a buffer, overlaps, or is above the capacity.
    """
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "packed.csv"
        command = [program, f"--capacity={capacity}", f"--input={path}", f"--output={output}"]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        if ended.returncode or not output.exists():
            return None
        packed = problem_from_minimalloc(output.read_text(), capacity)
    asked = problem_from_minimalloc(path.read_text(), capacity)
    told = {b.name: (b.size_bytes, b.lifetime) for b in packed.buffers if b.offset is not None}
    if told != {b.name: (b.size_bytes, b.lifetime) for b in asked.buffers}:
        raise RuntimeError(f"{PROGRAM} answers another question than {path.name}")
    try:
        found = plan(packed, fits=True)
    except PlanInfeasible as error:
        raise RuntimeError(f"{PROGRAM}'s packing of {path.name} is none: {error}") from error
    return max(p.end or 0 for p in found.placed_in(Location.SHARED))
