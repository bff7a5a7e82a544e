"""What there is of a sweep in numbers: how many runs ended how, and what they came to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.table import Table

from cubie.cli.views import table
from cubie.labelled.words import COMPONENT, STATES, STATUS
from cubie.sweeps import Sweep
from cubie.sweeps.chunks import Chunks

MOST_CHUNKS = 64  # that are read for the figures of variables
OUTCOMES = ("status", "runs", "what it means")
FIGURES = ("variable", "min", "mean", "max")


def boxes_of(dataset: Any) -> Chunks:
    """Return how runs of a dataset lie in chunks: what is read together."""
    shape = dataset[STATUS].shape
    return Chunks(shape, tuple(dataset.attrs.get("cubie_chunk", shape)))


def part_of(dataset: Any, chunks: Chunks, number: int) -> Any:
    """Return the runs of one chunk, in memory."""
    box = dict(zip(dataset[STATUS].dims, chunks.at(number), strict=True))
    return dataset.isel(box).load()


def outcomes_table(title: str, counts: dict[Any, int]) -> Table:
    """Return how many runs ended how, and what each ending means."""
    rows = [
        (status.name, f"{counts[status]:,}", f"{status.sentence} {status.remedy}".strip())
        for status in sorted(counts, key=lambda status: (status < 0, abs(status)))
    ]
    return table(title, OUTCOMES, rows, OUTCOMES[1:2])


def progress_line(sweep: Sweep) -> str:
    """Return how far a sweep is, in words."""
    n, done = sweep.n_chunks, sweep.n_chunks_done
    if done == n:
        return f"all {sweep.n_runs:,} runs done"
    return f"{done:,} of {n:,} chunks done, of {sweep.n_runs:,} runs"


def figures_table(sweep: Sweep) -> Table | str:
    """Return least, mean and greatest value of every variable, of runs that did not fail.

    Of very many chunks some are read, spread evenly over those that are done.
    """
    there = [number for number in sweep.chunks_done() if _any_succeeded(sweep, number)]
    if not there:
        return "no run was successful so far"
    read = there
    if len(there) > MOST_CHUNKS:
        read = [there[i * len(there) // MOST_CHUNKS] for i in range(MOST_CHUNKS)]
    seen: dict[str, _Figures] = {}
    for number in read:
        for name, values in _values(sweep, number):
            seen.setdefault(name, _Figures()).add(values)
    some = "" if read is there else f", of {len(read)} of {len(there):,} chunks that are done"
    rows = [(name, *figures.told()) for name, figures in seen.items()]
    return table(f"runs that did not fail{some}", FIGURES, rows, FIGURES[1:])


def _any_succeeded(sweep: Sweep, number: int) -> bool:
    return bool((sweep.kept_of(number, [STATUS])[STATUS] >= 0).any())


def _values(sweep: Sweep, number: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the values of runs that did not fail, by variable, and by component of the state."""
    dims = sweep.dims_kept
    kept = sweep.kept_of(number, list(dims))
    good = kept[STATUS] >= 0
    components, taken = sweep.components, {*dims, *sweep.coordinates}
    for name, own in dims.items():
        if name == STATUS:
            continue
        values, label = kept[name][good], name
        if values.dtype.kind == "c":
            values, label = np.abs(values), f"|{name}|"
        if own[:1] == (COMPONENT,):
            for i, component in enumerate(components):
                clear = component == STATES or component not in taken
                of_its_own = name == STATES and clear
                yield component if of_its_own else f"{label}[{component}]", values[:, i]
        else:
            yield label, values


class _Figures:
    """Least, greatest and sum of the finite ones of some numbers."""

    def __init__(self) -> None:
        self.n, self.sum, self.least, self.greatest = 0, 0.0, np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        values = values[np.isfinite(values)]
        if values.size:
            self.n += values.size
            self.sum += float(values.sum(dtype=float))
            self.least = min(self.least, float(values.min()))
            self.greatest = max(self.greatest, float(values.max()))

    def told(self) -> tuple[str, str, str]:
        if not self.n:
            return "", "", ""
        return tuple(f"{x:.6g}" for x in (self.least, self.sum / self.n, self.greatest))  # pyright: ignore
