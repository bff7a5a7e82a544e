"""``python -m cubie.demo``: ten thousand Lorenz runs, and where their memory went."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from rich.console import Console
from rich.table import Table

from cubie.launch.results import Result
from cubie.run.loop import IVPLoop
from cubie.solver import Solver
from cubie.status import RunStatus
from cubie_planner import Plan, Timeline, report

SIGMA, BETA = 10.0, 8.0 / 3.0
RHO_RANGE = (0.0, 200.0)
# Below the first value every run settles on a fixed point before it is looked
# at; at the second the fixed points lose their stability (Sparrow, 1982, ch. 1).
RHO_SETTLED = 12.0
RHO_CHAOS = SIGMA * (SIGMA + BETA + 3.0) / (SIGMA - BETA - 1.0)

T_END = 40.0
T_LOOK = 30.0  # the attractor is drawn from here on
N_LOOKS = 200
WIDTH_WITHOUT_TERMINAL = 120
# What a GPU of any age gives a block without being asked specially.
SHARED_LIMIT = "48k"


def lorenz(t, y, sigma, rho, beta):
    """Return the derivative of the Lorenz system, as one writes it for SciPy."""
    x, y, z = y
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


@frozen(eq=False)
class Sweep:
    """A solved sweep, and how long each part of it took."""

    rho: np.ndarray
    result: Result
    seconds: dict[str, float]
    from_cache: bool


def make_solver(**options: Any) -> Solver:
    """Return the solver of the demo."""
    return Solver(lorenz, method="tsit5", rtol=1e-6, atol=1e-9, **options)


def sweep(n_runs: int) -> Sweep:
    """Plan, compile and solve; rho differs between the runs."""
    rho = np.linspace(*RHO_RANGE, n_runs)
    y0, args = [1.0, 1.0, 1.0], (SIGMA, rho, BETA)
    solver = make_solver()
    looks = np.linspace(T_LOOK, T_END, N_LOOKS)
    seconds = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        outcome = action()
        seconds[name] = time.perf_counter() - start
        return outcome

    # The first solve compiles, or finds the kernel on disk: it gets a span of no
    # length, so that its time is that of the preparation alone.
    timed("plan and build", lambda: solver.solve((0.0, 0.0), y0, [0.0], args=args))
    result = timed("solve", lambda: solver.solve((0.0, T_END), y0, looks, args=args))
    from_cache = getattr(solver.kernel.compiled, "compiled_from_cache", False)
    return Sweep(rho, result, seconds, from_cache)


def shared_layout():
    """Return the plan, and its timeline, of the same runs with all buffers shared."""
    solver = make_solver(locations="shared", max_shared=SHARED_LIMIT)
    solver.prepare([1.0, 1.0, 1.0], (SIGMA, np.zeros(2), BETA))
    return solver.kernel.layout


# --- what is printed ------------------------------------------------------------------


def plan_table(plan: Plan, title: str) -> Table:
    """Return the buffers that take bytes; those that this method does without are counted."""
    view = Table(title=title, title_justify="left", caption_justify="left")
    shown = ("buffer", "location", "offset", "bytes", "lifetime", "alias")
    columns = [report.COLUMNS.index(name) for name in shown]
    for name in shown:
        view.add_column(name, justify="right" if name in ("offset", "bytes") else "left")
    used = [row for row in report.rows(plan) if plan.placements[row[0]].size_bytes]
    for row in used:
        view.add_row(*(row[column] for column in columns))
    unused = len(plan.placements) - len(used)
    lines = [*report.totals(plan), f"{unused} buffers that this method does without take no bytes"]
    view.caption = "\n".join(lines)
    return view


def outcome_lines(done: Sweep) -> list[str]:
    """Return how the runs ended, what they cost, and how true they are."""
    result, n_runs = done.result, len(done.rho)
    codes, counts = np.unique(result.status, return_counts=True)
    lines = [
        f"status: {count} x {RunStatus(int(code)).name}. {RunStatus(int(code)).message}"
        for code, count in zip(codes, counts, strict=True)
    ]
    steps, rejected = int(result.n_steps.sum()), int(result.n_rejected.sum())
    solve = done.seconds["solve"]
    source = "kernel found on disk" if done.from_cache else "kernel compiled"
    lines += [
        f"steps: {steps:,} accepted, {rejected:,} rejected, "
        f"{int(result.nfev.sum()):,} right-hand sides",
        f"steps per run: {result.n_steps.min()} to {result.n_steps.max()}",
        f"time: plan and build {done.seconds['plan and build']:.2f} s ({source}), "
        f"solve {solve:.2f} s",
        f"rate: {n_runs / solve:,.0f} runs/s, "
        f"{(steps + rejected) / solve / 1e6:.1f} million attempted steps/s",
    ]
    return [*lines, *_truth(done)]


def _truth(done: Sweep) -> list[str]:
    """Compare the runs whose limit is known with it: z tends to rho - 1."""
    known = (done.rho > 2.0) & (done.rho < RHO_SETTLED)
    if not known.any():
        return []
    final = done.result.y[known, 2, -1]
    away = np.abs(final - (done.rho[known] - 1.0)).max()
    return [
        f"check: the {known.sum()} runs with 2 < rho < {RHO_SETTLED:g} end at most {away:.1e} "
        "from their fixed point z = rho - 1"
    ]


# --- what is drawn --------------------------------------------------------------------


def draw_sweep(done: Sweep, path: Path) -> None:
    """Draw where the runs spend their time: rho across, z up, darker is more often."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    z = done.result.y[:, 2, :]
    rho = np.broadcast_to(done.rho[:, np.newaxis], z.shape)
    finite = np.isfinite(z)
    bins = (min(600, len(done.rho)), 360)
    *_, image = axes.hist2d(
        rho[finite], z[finite], bins=bins, cmap="Blues", norm=LogNorm(), rasterized=True
    )
    line = np.array([1.0, RHO_RANGE[1]])
    axes.plot(line, line - 1.0, color="#b5401a", linewidth=1.0, linestyle="--")
    axes.annotate(
        "fixed points, z = rho - 1",
        xy=(150, 149),
        xytext=(150, 20),
        ha="center",
        color="#b5401a",
        arrowprops={"arrowstyle": "-", "color": "#b5401a", "linewidth": 0.8},
    )
    axes.axvline(RHO_CHAOS, color="#444444", linewidth=0.8, linestyle=":")
    axes.annotate(
        f"the fixed points lose\ntheir stability: rho = {RHO_CHAOS:.2f}",
        xy=(RHO_CHAOS, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        va="top",
        color="#444444",
    )
    axes.set(xlabel="rho", ylabel="z", xlim=RHO_RANGE, ylim=(0, None))
    axes.set_title(
        f"Lorenz system, {len(done.rho):,} runs: z for t from {T_LOOK:g} to {T_END:g}",
        loc="left",
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.colorbar(image, ax=axes, label="points (log scale)", pad=0.01)
    figure.savefig(path, dpi=150)


def draw_plan(plan: Plan, timeline: Timeline, path: Path) -> None:
    """Draw shared memory over the phases of the loop."""
    phases = {name: timeline.point(IVPLoop.name, name) for name in IVPLoop.phases}
    report.plot(plan, path, phases=phases)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cubie.demo", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder of the pictures"
    )
    given = parser.parse_args(arguments)
    if given.runs < 1:
        parser.error(f"--runs must be at least 1, got {given.runs}")
    if find_spec("matplotlib") is None:
        parser.error("the pictures need matplotlib: pip install 'cubie-ode[plot]'")
    console = Console(
        highlight=False,
        soft_wrap=True,
        width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL,
    )
    console.print(
        f"{given.runs:,} Lorenz runs, rho from {RHO_RANGE[0]:g} to {RHO_RANGE[1]:g}, "
        f"t to {T_END:g}: Tsit5, adaptive, rtol 1e-6\n"
    )
    done = sweep(given.runs)
    console.print(plan_table(done.result.plan, "The plan of this solve, locations='auto'"), "")
    layout = shared_layout()
    title = f"The same runs with every buffer in a GPU's shared memory, max_shared='{SHARED_LIMIT}'"
    console.print(plan_table(layout.plan, title), "")
    for line in outcome_lines(done):
        console.print(line)
    given.output.mkdir(parents=True, exist_ok=True)
    pictures = given.output / "memory-plan.png", given.output / "lorenz-sweep.png"
    draw_plan(layout.plan, layout.timeline, pictures[0])
    draw_sweep(done, pictures[1])
    console.print(f"\npictures: {pictures[0]}, {pictures[1]}")
    return 0 if bool(np.all(done.result.success)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
