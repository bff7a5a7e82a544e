"""Rows of JSON that a step hands out one by one, so that what it had is kept when it dies."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Rows:
    """Writes rows to a file, each on a line of its own, as soon as it has them.

    Attributes
    ----------
    path : Path
    simulated : bool
        Whether there is no GPU behind the figures; each row says so.
    """

    def __init__(self, path: Path, simulated: bool = False):
        self.path, self.simulated = path, simulated

    def add(self, kind: str, **values: Any) -> None:
        """Append a row."""
        row = {"kind": kind, **values, "simulated": self.simulated}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Return a NumPy number as one of Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value: {value!r}")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; one that was cut off while it was written is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


def rows_of(data: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the rows of a kind, of all steps of a day in order."""
    return [row for step in data["steps"] for row in step["rows"] if row["kind"] == kind]


def run_as_step(main: Callable[[Rows, argparse.Namespace], None], description: str) -> None:
    """Run a module of this package as a step: what ``python -m benchmarks.gpu.NAME`` does."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("part", nargs="?", help="what of the step to do")
    parser.add_argument("--rows", type=Path, required=True, help="where rows are appended")
    parser.add_argument("--data", type=Path, help="what earlier steps measured, as JSON")
    parser.add_argument("--save", type=Path, help="where a calibrated model goes")
    parser.add_argument("--simulated", action="store_true")
    options = parser.parse_args()
    main(Rows(options.rows, options.simulated), options)
