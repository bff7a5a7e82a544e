"""Parts ``graphs`` and ``hard_graphs`` of the planner's benchmark: made-up graphs of tensors.

``graphs``: seven shapes (`tests/planner/activation_graphs.py`) of 1,000 to 30,000 buffers, with two
seeds. ``hard_graphs``: those that first fit in many orders leaves the farthest above the load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from cubie_planner import Buffer, Limits, Problem, plan

SIZES = (1_000, 3_000, 10_000, 30_000)
SEEDS = (1, 2)

PER_STEP = {"residual chain": 2.8, "transformer": 71}
"""Buffers for each of what these shapes count: layers, blocks. The others count buffers."""


@frozen
class Row:
    """One plan: `over` is bytes over those that are alive at once, `cpu` in seconds."""

    shape: str
    size: int
    seed: int
    buffers: int
    over: float
    cpu: float


HARD = (
    ("random", 3_000, 1),
    ("random", 3_000, 11),
    ("fan-out", 10_000, 6),
    ("fan-out", 25_000, 4),
    ("fan-out", 25_000, 7),
)
"""Shape, size and seed."""


def shapes() -> dict[str, Callable[[int, int], list[tuple[int, int, int]]]]:
    """Return the generators by the name of their shape."""
    from tests.planner import activation_graphs as graphs

    return {
        "chain": graphs.chain,
        "residual chain": graphs.residual_chain,
        "layered": graphs.layered,
        "transformer": graphs.transformer_training,
        "fan-out": graphs.fan_out,
        "fan-in": graphs.fan_in,
        "random": graphs.random_graph,
    }


def planned(shape: str, size: int, seed: int) -> Row:
    """Plan one graph by `cubie_planner.plan`, as low as possible."""
    lives = shapes()[shape](seed, round(size / PER_STEP.get(shape, 1)))
    buffers = [Buffer(f"b{i}", n, "u1", lifetime=((s, e),)) for i, (s, e, n) in enumerate(lives)]
    problem = Problem(buffers, Limits(pad_banks=False), "shared")
    start = time.process_time()
    made = plan(problem)
    cpu = time.process_time() - start
    level = made.levels[0]
    return Row(shape, size, seed, len(lives), round(level.value / level.bound, 5), round(cpu, 2))


def graphs_part(folder: Path) -> list[dict[str, Any]]:
    """Plan every shape in every size with every seed."""
    print("\nGraphs of tensors by cubie_planner.plan: bytes over the load, CPU s")
    return _rows([(shape, size, seed) for shape in shapes() for size in SIZES for seed in SEEDS])


def hard_graphs_part(folder: Path) -> list[dict[str, Any]]:
    """Plan the graphs that first fit in many orders leaves the farthest above the load."""
    print("\nHard graphs by cubie_planner.plan: bytes over the load, CPU s")
    return _rows(HARD)


def _rows(cases: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
    planned("random", 1_700, 1)  # compiles, or loads what is compiled
    rows = []
    for case in cases:
        row = planned(*case)
        print(f"{row.shape:16} {row.buffers:6} {row.seed:4} {row.over:9.5f} {row.cpu:8.2f}")
        rows.append(asdict(row))
    return rows
