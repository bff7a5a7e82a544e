"""Step ``comparison``: the times of Lorenz' system beside the card's limit and published ones."""

from __future__ import annotations

import argparse
import json

import numpy as np

from benchmarks.gpu.limits import (
    LORENZ_RIGHT_HAND_SIDE,
    PUBLISHED,
    Card,
    fewest_instructions,
)
from benchmarks.gpu.rows import Rows, rows_of, run_as_step
from benchmarks.specs import LORENZ
from cubie.tableaus import get_tableau


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Add a row for each time that there is, ours first."""
    data = json.loads(options.data.read_text(encoding="utf-8"))
    card = None if rows.simulated else Card.of(data["device"])
    for row in rows_of(data, "lorenz"):
        seconds = None
        if card is not None and row["kernel_seconds"]:
            seconds = float(np.median(row["kernel_seconds"]))
        tableau = get_tableau(row["method"])
        a, b = np.array(tableau.a), np.array(tableau.b)
        fewest = fewest_instructions(a, b, len(LORENZ.y0), LORENZ_RIGHT_HAND_SIDE)
        done = row["runs"] * row["attempts"]
        rows.add(
            "comparison",
            who="cubie",
            case=row["case"],
            card=card.name if card else "simulated",
            runs=row["runs"],
            steps=row["attempts"],
            seconds=seconds,
            slots_per_step=None if not seconds else seconds * card.slots_per_second / done,
            fewest_instructions=fewest,
            limit_seconds=None if card is None else done * fewest / card.slots_per_second,
        )
    for entry in PUBLISHED:
        rows.add(
            "comparison",
            who=entry.who,
            case=entry.case,
            card=entry.card.name,
            runs=entry.runs,
            steps=entry.steps,
            seconds=entry.seconds,
            slots_per_step=entry.slots_per_step,
            fewest_instructions=None,
            limit_seconds=None,
        )


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
