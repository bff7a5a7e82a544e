"""The tables and the picture of docs/accuracy.md, from the kept results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tests.oracle.random_systems import KINDS
from tests.oracle.stiff_problems import STIFF_BY_NAME

from benchmarks.accuracy_problems import OVER_BUDGET
from benchmarks.documents import DOCS
from benchmarks.table import markdown_table
from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    FIRKTableau,
    MultistepMethod,
    RosenbrockTableau,
    SwitchingMethod,
    get_method,
)

PAGE = DOCS / "accuracy.md"
PICTURE = DOCS / "pictures" / "accuracy.svg"
COLUMNS = ("1e-03", "1e-05", "1e-07", "1e-09", "1e-11")
FAMILIES = {
    "explicit": ERKTableau,
    "diagonally implicit": DIRKTableau,
    "fully implicit": FIRKTableau,
    "Rosenbrock": RosenbrockTableau,
    "of several steps": MultistepMethod,
    "of two methods": SwitchingMethod,
}
ORDERS = {"RK23": "3", "RK45": "5", "DOP853": "8", "Radau": "5", "BDF": "1-5", "LSODA": "1-12"}


def sections(data: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the page by the names of their places."""
    return {
        "random systems": random_table(data),
        "problems": problem_table(data, amplified=True),
        "problems undivided": problem_table(data, amplified=False),
        "conditions": conditions(data),
    }


def random_table(data: dict[str, Any]) -> str:
    """Return the worst ratio of each method by tolerance and by kind, ours and then SciPy's."""
    header = ["method", "order", *(f"worst at {c}" for c in COLUMNS), "median", *KINDS]
    rows = []
    for part, label in (("random", "{}"), ("peers", "SciPy {}")):
        for name, found in data[part].items():
            order = ORDERS[name] if part == "peers" else str(get_method(name).order)
            worst = [figure(max(found[c]["worst"])) if c in found else "" for c in COLUMNS]
            median = figure(float(np.median([one["median"] for one in found.values()])))
            kinds = [
                figure(max(one["worst"][i] for one in found.values())) for i in range(len(KINDS))
            ]
            rows.append([label.format(name), order, *worst, median, *kinds])
    return markdown_table(header, rows)


def problem_table(data: dict[str, Any], amplified: bool) -> str:
    """Return the worst ratio of each method on each problem, over what the problem amplifies."""
    problems = [name for name in STIFF_BY_NAME if name in data["problems"]]
    factors = {p: data["amplification"][p] if amplified else 1.0 for p in problems}
    rows = [["*amplification*", *map(figure, factors.values())]] if amplified else []
    for part, names, label in (
        ("problems", data["random"], "{}"),
        ("problem_peers", data["peers"], "SciPy {}"),
    ):
        for name in names:
            found = [data[part].get(p, {}).get(name, {}) for p in problems]
            if any(found):
                cells = [_cell(*pair) for pair in zip(found, factors.values(), strict=True)]
                rows.append([label.format(name), *cells])
    return markdown_table(["method", *(p.replace("_", " ") for p in problems)], rows)


def _cell(found: dict[str, float | str], factor: float) -> str:
    """Return the worst of a problem's tolerances, and where they ended if before the last."""
    ratios = {at: x for at, x in found.items() if isinstance(x, float | int)}
    missing = {at: x for at, x in found.items() if isinstance(x, str)}
    if not ratios:
        return ", ".join(dict.fromkeys(x.replace("_", " ") for x in missing.values()))
    failed = [f"{x.replace('_', ' ')} at {at}" for at, x in missing.items() if x != OVER_BUDGET]
    until = f"to {list(ratios)[-1]}" if OVER_BUDGET in missing.values() else ""
    parts = [until, *failed] if until else failed
    return figure(max(ratios.values()) / factor) + (f" ({', '.join(parts)})" if parts else "")


def conditions(data: dict[str, Any]) -> str:
    """Return what made the figures."""
    made, runs = data["environment"], sum(len(found) for found in data["random"].values())
    unsolved = sum(one["unsolved"] for found in data["random"].values() for one in found.values())
    versions = ", ".join(f"{n} {made['versions'][n]}" for n in ("numpy", "numba", "scipy"))
    return (
        f"{runs} sweeps of the random systems; runs of them that were not solved: {unsolved}. "
        f"Made on {made['cpu']}, Python {made['python']}, {versions}."
    )


def figure(value: float) -> str:
    """Return a ratio with two significant figures."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}" if value < 1e4 else f"{value:.0e}"


def draw(data: dict[str, Any], path: Path) -> None:
    """Draw worst and median ratio over tolerance, a panel for each family and one for SciPy."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "accuracy"
    from matplotlib import pyplot

    panels = {
        family: {n: found for n, found in data["random"].items() if type(get_method(n)) is kind}
        for family, kind in FAMILIES.items()
    } | {"SciPy": data["peers"]}
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 7.5), sharey=True, layout="constrained")
    for axis, (title, methods) in zip(axes.flat, panels.items(), strict=False):
        for i, (name, found) in enumerate(methods.items()):
            at = [float(c) for c in COLUMNS if c in found]
            kept = [found[c] for c in COLUMNS if c in found]
            color = f"C{i % 10}"
            axis.loglog(
                at, [max(one["worst"]) for one in kept], color=color, marker=".", label=name
            )
            axis.loglog(at, [one["median"] for one in kept], color=color, linestyle=":")
        axis.axhline(1.0, color="black", linewidth=0.6)
        axis.invert_xaxis()
        axis.set_ylim(1e-6, 1e3)
        axis.set_title(title)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="x-small", loc="lower left", ncols=2)
    axes.flat[-1].axis("off")
    figure.supxlabel("tolerance")
    figure.supylabel("error over tolerance: worst (lines) and median (dots) of the systems")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
