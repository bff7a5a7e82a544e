"""Step ``calibration``: the cost model of "auto", fitted to the sweep of this card.

Without a GPU there are no cycles to fit. The built-in model's own then stand in for them: the
fit must give them back, which shows that it works and says nothing of any card.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict, evolve

from benchmarks.gpu.rows import Rows, rows_of, run_as_step
from cubie_planner import Limits, Location, Problem, problem_from_dict
from cubie_planner.gpu.calibrate import Measurement, calibrate
from cubie_planner.gpu.cost import CostModel

STAND_IN = (9, 0)  # what a simulated GPU is taken for


def placements_of(
    data: Mapping[str, Any], capability: tuple[int, int]
) -> list[tuple[dict[str, Any], Problem, dict[str, Location]]]:
    """Return the rows of the sweep that were run, each with its problem and placement."""
    buffers = {
        row["sweep"]: problem_from_dict({"buffers": row["buffers"]}).buffers
        for row in rows_of(data, "buffers")
    }
    found = []
    for row in rows_of(data, "sweep"):
        if row["refused"] is not None:
            continue
        limits = Limits(block_size=row["block_size"], compute_capability=capability)
        problem = Problem(buffers[row["sweep"]], limits)
        places = dict.fromkeys(problem.by_name, Location.LOCAL)
        places |= dict.fromkeys(row["shared"], Location.SHARED)
        places |= dict.fromkeys(row["persistent"], Location.LOCAL_PERSISTENT)
        found.append((row, problem, places))
    return found


def predicted(model: CostModel, item: Measurement) -> float:
    """Return a model's cycles for a measured placement; infinite if it cannot be launched."""
    return model.predict(
        item.problem, item.locations, shared_bytes_per_run=item.shared_bytes_per_run
    ).total


def agreeing_pairs(
    sweeps: Sequence[str], measured: Sequence[float], by: Sequence[float]
) -> float | None:
    """Return which part of the pairs of one sweep a model puts into the order that was measured."""
    agree = pairs = 0
    for i, j in itertools.combinations(range(len(sweeps)), 2):
        if sweeps[i] == sweeps[j] and measured[i] != measured[j]:
            pairs += 1
            agree += (measured[i] < measured[j]) == (by[i] < by[j])
    return agree / pairs if pairs else None


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Fit, and tell how well the built-in and the fitted model order the placements."""
    data = json.loads(options.data.read_text(encoding="utf-8"))
    device = data["device"]
    capability = STAND_IN if rows.simulated else tuple(device["capability"])
    start = CostModel.for_capability(capability)
    measurements, sweeps, refused = [], [], 0
    for row, problem, places in placements_of(data, capability):
        item = Measurement(
            problem=problem,
            locations=places,
            cycles=row["cycles"] or 1.0,
            shared_bytes_per_run=row["shared_bytes_per_run"],
        )
        model_cycles = predicted(start, item)
        cycles = model_cycles if rows.simulated else row["cycles"]
        if not math.isfinite(model_cycles):
            refused += 1
        elif cycles is not None:
            measurements.append(evolve(item, cycles=cycles))
            sweeps.append(row["sweep"])
    card = "simulated" if rows.simulated else device["name"]
    provenance = f"fitted to {len(measurements)} kernels timed on {card}, {data['time']}"
    fit = calibrate(measurements, start, card, provenance)
    cycles = [item.cycles for item in measurements]
    before, after = (
        agreeing_pairs(sweeps, cycles, [predicted(model, item) for item in measurements])
        for model in (start, fit.model)
    )
    if not rows.simulated:
        fit.model.save(options.save)
    rows.add(
        "calibration",
        cycles_from="the built-in model" if rows.simulated else "events",
        measurements=fit.measurements,
        not_launchable_by_the_model=refused,
        rms_error=fit.rms_error,
        worst_error=fit.worst_error,
        informed=list(fit.informed),
        agreeing_pairs_before=before,
        agreeing_pairs_after=after,
        constants_before=asdict(start.constants),
        constants_after=None if rows.simulated else asdict(fit.model.constants),
        saved=None if rows.simulated else options.save.name,
    )


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
