"""``python -m benchmarks driven``: neurons under a measured current, summarised three ways.

Ten thousand runs of Hodgkin and Huxley's membrane (J. Physiol. 117, 1952, p. 500) under a current
of 5000 samples, scaled differently for each run. Asked for: peaks, their number, the largest value,
mean and root mean square of the potential, and the smallest sodium current.

* cubie's summaries, without any point kept;
* 1000 points of each run from cubie, summarised with NumPy afterwards;
* SciPy's `solve_ivp` for some runs, its dense output summarised at 1000 points.

Errors are against SciPy at 1e-10, whose extremes are found between 50,000 points by parabolas.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cubie
from benchmarks.documents import RESULTS
from benchmarks.environment import machine_name

SPAN, N_SAMPLES = (0.0, 100.0), 5000
SAVED = np.linspace(*SPAN, 1000)
TOLERANCES = {"rtol": 1e-6, "atol": 1e-8}
START = (-65.0, 0.0529, 0.5961, 0.3177)
NAMES = ("max", "mean", "rms", "n_peaks", "first peak", "least I_Na")


def current() -> tuple[np.ndarray, np.ndarray]:
    """Return times (ms) and samples (uA/cm2) of a current that varies within milliseconds."""
    t = np.linspace(*SPAN, N_SAMPLES)
    numbers = np.random.default_rng(11)
    noise = np.convolve(numbers.normal(size=N_SAMPLES + 400), np.hanning(401), "valid")
    return t, 8.0 + 4.0 * noise / np.std(noise)


def membrane(t, y, drive, scale):
    """Potential (mV), and the gates m, h and n."""
    v, m, h, n = y
    am = 0.1 * (v + 40.0) / (1.0 - np.exp(-(v + 40.0) / 10.0))
    an = 0.01 * (v + 55.0) / (1.0 - np.exp(-(v + 55.0) / 10.0))
    ah, bh = 0.07 * np.exp(-(v + 65.0) / 20.0), 1.0 / (1.0 + np.exp(-(v + 35.0) / 10.0))
    bm, bn = 4.0 * np.exp(-(v + 65.0) / 18.0), 0.125 * np.exp(-(v + 65.0) / 80.0)
    sodium = 120.0 * m**3 * h * (v - 50.0)
    flow = sodium + 36.0 * n**4 * (v + 77.0) + 0.3 * (v + 54.387)
    return [
        scale * drive(t) - flow,
        am * (1.0 - m) - bm * m,
        ah * (1.0 - h) - bh * h,
        an * (1.0 - n) - bn * n,
    ]


def sodium_current(t, y, drive, scale):
    """Sodium current (uA/cm2), which flows inwards: it is negative."""
    return {"I_Na": 120.0 * y[1] ** 3 * y[2] * (y[0] - 50.0)}


def drive() -> Any:
    """Return the current as right-hand sides call it: a spline."""
    return cubie.Interpolant(*current(), "cubic")


def summarised(scales: np.ndarray) -> dict[str, np.ndarray]:
    """Return the summaries by cubie, of the continuous solution."""
    result = cubie.solve_ivp(
        membrane, SPAN, START, "dormand_prince54", args=(drive(), scales),
        observables=sodium_current, save_states=False, save_observables=False,
        summaries={
            "y0": ["max", "mean", "rms", cubie.peaks(k=10, height=0.0)],
            "I_Na": ["min"],
        },
        **TOLERANCES,
    )  # fmt: skip
    assert np.all(result.success)
    v, sodium = result.summaries["y0"], result.summaries["I_Na"]["min"]
    peaks = v["peaks"]
    found = (v["max"], v["mean"], v["rms"], peaks.count, peaks.times[:, 0], sodium)
    return dict(zip(NAMES, found, strict=True))


def by_points(scales: np.ndarray) -> dict[str, np.ndarray]:
    """Return them of 1000 saved points of each run, with NumPy."""
    result = cubie.solve_ivp(
        membrane, SPAN, START, "dormand_prince54", SAVED, args=(drive(), scales),
        observables=sodium_current, save_states=["y0"], **TOLERANCES,
    )  # fmt: skip
    assert np.all(result.success)
    return _of_points(SAVED, result.y[:, 0], result.observables["I_Na"])


def by_scipy(scales: np.ndarray, rtol: float, atol: float, n: int) -> dict[str, np.ndarray]:
    """Return them of `n` points of SciPy's dense output, run by run."""
    from scipy.integrate import solve_ivp
    from scipy.interpolate import CubicSpline

    spline, times = CubicSpline(*current()), np.linspace(*SPAN, n)
    rows = []
    for scale in scales:
        found = solve_ivp(
            membrane, SPAN, START, "DOP853", times, args=(spline, scale), rtol=rtol, atol=atol,
        )  # fmt: skip
        assert found.success
        rows.append((found.y[0], 120.0 * found.y[1] ** 3 * found.y[2] * (found.y[0] - 50.0)))
    v, sodium = (np.array(values) for values in zip(*rows, strict=True))
    return _of_points(times, v, sodium, refine=n > len(SAVED))


def _of_points(times, v, sodium, refine: bool = False) -> dict[str, np.ndarray]:
    """Summarise points at equal distances; with `refine` by parabolas through three of them."""
    length = times[-1] - times[0]
    means = [np.trapezoid(values, times, axis=1) / length for values in (v, v * v)]
    top = (v[:, 1:-1] > v[:, :-2]) & (v[:, 1:-1] >= v[:, 2:]) & (v[:, 1:-1] > 0.0)
    first = np.argmax(top, axis=1) + 1
    highest, _ = _extreme(v, np.argmax(v, axis=1), refine)
    _, offset = _extreme(v, first, refine)
    lowest, _ = _extreme(-sodium, np.argmin(sodium, axis=1), refine)
    when = times[first] + offset * (times[1] - times[0])
    found = (
        highest, means[0], np.sqrt(means[1]), top.sum(axis=1),
        np.where(top.any(axis=1), when, np.nan), -lowest,
    )  # fmt: skip
    return dict(zip(NAMES, found, strict=True))


def _extreme(values, at, refine: bool):
    """Return the values at some points of rows, or at the tops of parabolas there."""
    rows, at = np.arange(len(values)), np.clip(at, 1, values.shape[1] - 2)
    before, here, after = (values[rows, at + k] for k in (-1, 0, 1))
    if not refine:
        return values.max(axis=1), np.zeros(len(values))
    bend = before - 2.0 * here + after
    offset = np.where(bend < 0.0, 0.5 * (before - after) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return here - 0.25 * (before - after) * offset, offset


def errors(found: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the largest relative differences of the runs that are in both."""
    n = len(right["max"])
    return {
        name: float(np.nanmax(np.abs(found[name][:n] - values) / np.maximum(np.abs(values), 1e-12)))
        for name, values in right.items()
    }


def timed(ask: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the least seconds of some calls, after one that compiles, and the last answer."""
    answer, best = ask(), np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        answer = ask()
        best = min(best, time.perf_counter() - start)
    return best, answer


def measure(n_runs: int, n_scipy: int, rounds: int) -> dict[str, Any]:
    """Measure all three, and what they get wrong."""
    scales = np.random.default_rng(5).uniform(0.4, 1.6, n_runs)
    some = scales[:n_scipy]
    right = by_scipy(some, 1e-10, 1e-10, 50_001)
    ours, summaries = timed(lambda: summarised(scales), rounds)
    saving, points = timed(lambda: by_points(scales), rounds)
    start = time.perf_counter()
    by_them = by_scipy(some, TOLERANCES["rtol"], TOLERANCES["atol"], len(SAVED))
    theirs = (time.perf_counter() - start) / n_scipy * n_runs
    rows = {
        "summaries": {"seconds": ours, "bytes_per_run": 8 * 40, **errors(summaries, right)},
        "1000 points, NumPy": {
            "seconds": saving, "bytes_per_run": 16 * len(SAVED), **errors(points, right),
        },
        "SciPy": {
            "seconds": theirs, "bytes_per_run": 32 * len(SAVED), **errors(by_them, right),
        },
    }  # fmt: skip
    return {
        "runs": n_runs, "samples": N_SAMPLES, "scipy_runs": n_scipy, "rows": rows,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def table(measured: dict[str, Any]) -> str:
    """Return the measurement as a table of a page."""
    lines = ["| | time | " + " | ".join(NAMES) + " |", "|" + "---|" * (len(NAMES) + 2)]
    for name, row in measured["rows"].items():
        cells = [f"{row['seconds']:.3g} s", *(f"{row[what]:.1e}" for what in NAMES)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks driven", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--scipy-runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    measured = measure(options.runs, options.scipy_runs, options.rounds)
    print(table(measured))
    path = options.results / f"driven-{machine_name()}.json"
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    print(f"peak memory of the process: {measured['peak_rss_mb']:.0f} MB; kept in {path}")


if __name__ == "__main__":
    main()
