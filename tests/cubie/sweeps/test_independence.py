"""What a run gives depends on its own values alone: not on chunks, order, workers or stores."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

import cubie
from tests.cubie.sweeps.alone import kept_by_run, require_same

SPANS = {"rtol": 1e-4, "atol": 1e-6, "method": "tsit5", "summaries": {"y0": ["max", "mean"]}}


def swinging(t, y, a, b=0.1):
    return [y[1], -a * y[0] - b * y[1]]


def sweep_of(chunk=None, n=7, **options):
    """Return a sweep of 3 x n runs, with numbers that are drawn, of compiled code."""
    over = cubie.grid(a=[1.0, 2.0, 3.0]) * cubie.sampled(n, y1=(-1.0, 1.0), seed=4)
    args = {"b": stats.uniform(0.0, 0.5)}
    return cubie.sweep(
        swinging, (0.0, 2.0), [1.0, 0.0], over=over, args=args, chunk=chunk, seed=8,
        **{**SPANS, **options},
    )  # fmt: skip


def everything_of(sweep):
    """Return all that is kept of a sweep, and its coordinates, as one mapping of arrays."""
    dataset = sweep.to_xarray()
    return {name: dataset[name].values for name in (*dataset.data_vars, *dataset.coords)}


def require_equal(found, wanted):
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.fixture(scope="module")
def undisturbed():
    """Return all of a sweep in one chunk."""
    return everything_of(sweep_of(chunk=100).run(progress=False))


class Backwards:
    """An executor that begins when all were submitted, and with the last one."""

    def __init__(self, n):
        self._max_workers, self.waiting, self.n = n, [], n

    def submit(self, function, *args):
        """Wait for the others."""
        future = Future()
        self.waiting.append((future, function, args))
        if len(self.waiting) == self.n:
            for one, work, given in reversed(self.waiting):
                one.set_result(work(*given))
        return future


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 7, 14, 20, 21, None])
def test_chunks_change_nothing(undisturbed, chunk):
    """Whatever the size of chunks, and of the last one, all values are the same to the bit."""
    require_equal(everything_of(sweep_of(chunk).run(progress=False)), undisturbed)


@pytest.mark.parametrize("memory", ["80%", None, "5k", 10**9])
def test_memory_changes_nothing(undisturbed, memory, tmp_path):
    """How much memory chunks may take changes how many there are, and no number."""
    sweep = sweep_of(memory=memory, store=tmp_path / "runs.zarr").run(progress=False)
    require_equal(everything_of(sweep), undisturbed)


def test_the_store_changes_nothing(undisturbed, tmp_path):
    """What is read from a store, by the sweep that wrote it and by another, is the same."""
    path = tmp_path / "runs.zarr"
    require_equal(everything_of(sweep_of(4, store=path).run(progress=False)), undisturbed)
    require_equal(everything_of(cubie.Sweep.resume(path)), undisturbed)


def test_order_and_workers_change_nothing(undisturbed):
    """Chunks that end in any order, in any thread, give the same."""
    sweep = sweep_of(3)
    require_equal(everything_of(sweep.run(Backwards(9), progress=False)), undisturbed)
    with ThreadPoolExecutor(3) as pool:
        require_equal(everything_of(sweep_of(2).run(pool, progress=False)), undisturbed)


def test_runs_of_many_are_those_of_a_batch():
    """Of thousands of runs, which kernels group otherwise than few, each is that of `solve_ivp`."""
    values = np.linspace(0.5, 3.0, 4100)
    sweep = cubie.sweep(
        swinging, (0.0, 2.0), [1.0, 0.0], over={"a": values}, args={"b": 0.1}, chunk=1000, **SPANS
    ).run(progress=False)
    batch = cubie.solve_ivp(swinging, (0.0, 2.0), [1.0, 0.0], args=(values, 0.1), **SPANS)
    kept = kept_by_run(sweep)
    np.testing.assert_array_equal(kept["y"], batch.y[:, :, -1])
    np.testing.assert_array_equal(kept["mean of y0"], batch.summaries["y0"]["mean"])


@pytest.mark.parametrize("length", range(1, 11))
def test_arrays_of_all_runs_are_never_taken_for_swept(length):
    """An array in args serves every run, though it be as long as a chunk, the last one or all."""

    def fun(t, y, k, a, p):
        return [-k * sum(a[i] for i in range(length)) * y[0] + p["b"][length - 1, 0]]

    a, b = np.linspace(0.1, 0.2, length), np.ones((length, 2))
    of_euler = {"method": "euler", "first_step": 0.5, "backend": "python"}
    values = np.linspace(0.5, 1.0, 10)
    runs = [((0, 1), [1.0], (float(k), list(a), {"b": b.tolist()})) for k in values]

    def listed(t, y, k, a, p):
        return [-k * sum(a[i] for i in range(length)) * y[0] + p["b"][length - 1][0]]

    wanted = None
    for chunk in range(1, 11):
        sweep = cubie.sweep(
            fun, (0, 1), [1.0], over={"k": values}, args=(None, a, {"b": b}), chunk=chunk,
            **of_euler,
        ).run(progress=False)  # fmt: skip
        if wanted is None:
            require_same(sweep, runs, listed, **of_euler)
            wanted = kept_by_run(sweep)
        require_equal(kept_by_run(sweep), wanted)
