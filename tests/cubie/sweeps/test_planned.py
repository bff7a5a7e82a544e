"""What a sweep takes is known before it runs, and what cannot fit is refused in words."""

import tracemalloc

import numpy as np
import pytest

import cubie
from cubie import OutputsTooLarge, SweepTooLarge, solve_ivp
from cubie.launch import capacity


def decay(t, y, a, b=1.0):
    return [-a * b * y[0]]


def planned(n, m, **options):
    over = cubie.grid(a=np.linspace(0.0, 1.0, n), b=np.linspace(1.0, 2.0, m))
    return cubie.sweep(decay, (0.0, 1.0), [1.0], over=over, backend="python", **options)


def test_many_runs_in_memory_are_refused():
    """10^9 runs that do not fit: how many would, and what to ask for; nothing is computed."""
    sweep = planned(40_000, 25_000, memory="8G")
    assert sweep.plan.n_runs == 10**9
    with pytest.raises(SweepTooLarge) as refused:
        sweep.run(progress=False)
    text = str(refused.value)
    fit = sweep.plan.runs_that_fit
    assert 10**8 < fit < 10**9
    assert text.startswith("1,000,000,000 runs of 29 B each take 29")
    assert f"and 8.59 GB may be used: {fit:,} runs would fit. Ask for a store on disk" in text
    assert sweep._keeper is None
    assert sweep._seconds is None  # nor was there a pilot


@pytest.mark.parametrize("memory", ["40k", "1M", "100M", "8G"])
def test_as_many_runs_fit_as_is_said(memory):
    """So many runs and the chunks in flight are within the limit, and one more is not."""
    plan = planned(40_000, 25_000, memory=memory).plan
    rest = plan.memory_limit - plan.chunk_bytes * plan.in_flight
    fit = plan.runs_that_fit
    assert fit * plan.bytes_per_run <= rest < (fit + 1) * plan.bytes_per_run


def test_a_plan_of_many_runs_takes_no_room():
    """Of 10^9 runs no array is made that has one number each, or one each a chunk's run."""
    planned(4, 2)  # what is traced and planned once
    tracemalloc.start()
    try:
        sweep = planned(40_000, 25_000, store="never-made.zarr")
        assert str(sweep.plan).startswith("runs    1,000,000,000, each by tsit5")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_points_of_many_runs_are_refused(monkeypatch):
    """1000 points of 10^6 runs are refused before they are allocated, by sweeps and solves."""
    times = np.linspace(0.0, 1.0, 1000)
    runs = np.linspace(0.1, 1.0, 10**6)
    monkeypatch.setattr(capacity, "free_bytes", lambda: 2 * 10**9)
    tracemalloc.start()
    try:
        with pytest.raises(SweepTooLarge, match=r"1,000,000 runs of 8.02 KB each take 8.*t_eval="):
            planned(1000, 1000, t_eval=times, memory="2G").run(progress=False)
        for span in ((0.0, 1.0), (0.0, np.full(10**6, 1.0))):
            with pytest.raises(
                OutputsTooLarge, match=r"1,000 points of 1,000,000 runs.*cubie.sweep"
            ):
                solve_ivp(decay, span, [1.0], t_eval=times, args=(runs,), backend="python")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500e6
