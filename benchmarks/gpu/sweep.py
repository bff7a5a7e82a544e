"""Step ``sweep``: a kernel with its buffers in several places, in blocks of several sizes."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.gpu.cases import (
    BLOCK_SIZES,
    PLACEMENTS,
    SIMULATED_BLOCK_SIZES,
    SIMULATED_RUNS,
    SWEEP_TIMES,
    WAVES,
    SweepCase,
    solver_options,
    sweep_case,
)
from benchmarks.gpu.device import driver_facts, sm_clock_mhz
from benchmarks.gpu.limits import Card
from benchmarks.gpu.rows import Rows, run_as_step
from benchmarks.gpu.timing import time_solves
from benchmarks.specs import Work
from cubie import Solver
from cubie_planner import Location, Plan, PlanInfeasible, problem_to_dict
from cubie_planner.gpu.calibrate import sm_cycles


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Time one case with all placements and blocks; rows come as they are measured."""
    case = sweep_case(options.part, rows.simulated)
    runs, card, repeats = SIMULATED_RUNS, None, 1
    if not rows.simulated:
        device = driver_facts()
        runs = WAVES * device["sm_count"] * device["threads_per_sm"]
        card, repeats = Card.of(device), SWEEP_TIMES
    work = case.work(runs)
    solver = Solver(work.problem.fun, **solver_options(work))
    declared = False
    for block_size in SIMULATED_BLOCK_SIZES if rows.simulated else BLOCK_SIZES:
        for placement in PLACEMENTS:
            chosen = {"locations": placement, "block_size": block_size}
            row, plan = measure(solver, work, chosen, card, repeats)
            if plan is not None and not declared:
                rows.add("buffers", **buffers_of(case, plan))
                declared = True
            rows.add("sweep", sweep=case.name, **row)


def buffers_of(case: SweepCase, plan: Plan) -> dict[str, Any]:
    """Return what the planner was told of a case's buffers; the same for all placements."""
    return {
        "sweep": case.name,
        "method": case.method,
        "states": case.states,
        "dtype": case.dtype,
        "buffers": problem_to_dict(plan.problem)["buffers"],
    }


def measure(
    solver: Solver, work: Work, chosen: dict[str, Any], card: Card | None, repeats: int
) -> tuple[dict[str, Any], Plan | None]:
    """Time one placement; where there is no plan for it the row says why."""
    span, y0, parameters = (0.0, work.t_end), work.y0, work.parameters
    shown = {"placement": chosen["locations"], "block_size": chosen["block_size"]}
    try:
        timed = time_solves(lambda: solver.solve(span, y0, args=(parameters,), **chosen), repeats)
    except PlanInfeasible as error:
        return {**shown, "refused": str(error).splitlines()[0]}, None
    result = timed.result
    plan, steps = result.plan, int(result.n_steps.max())
    cycles = None
    if card is not None and timed.kernel_seconds:
        seconds = float(np.median(timed.kernel_seconds))
        cycles = sm_cycles(seconds, work.n_runs, steps, card.sm_count, card.clock_hz)
    row = {
        **shown,
        "refused": None,
        "runs": work.n_runs,
        "steps": steps,
        **timed.row(),
        "cycles": cycles,
        "succeeded": int(np.count_nonzero(result.success)),
        "shared_bytes_per_run": plan.shared_bytes_per_run,
        "shared_bytes_per_block": plan.shared_bytes_per_block,
        "planned_local_bytes": plan.local_bytes,
        "shared": placed(plan, Location.SHARED),
        "persistent": placed(plan, Location.LOCAL_PERSISTENT),
        "clock_mhz": sm_clock_mhz() if card is not None else None,
    }
    return row, plan


def placed(plan: Plan, location: Location) -> list[str]:
    """Return the buffers with bytes that a plan puts into a location."""
    return [
        name
        for name, place in plan.placements.items()
        if place.location is location and place.size_bytes
    ]


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
