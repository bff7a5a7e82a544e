"""Workers that die, raise, are cancelled or interrupted: a clear end, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

import cubie
from cubie.backend import THREADS_VARIABLE, n_threads
from cubie.errors import InvalidOption
from cubie.sweeps import SweepFailed
from cubie.sweeps.sharing import share_processors
from tests.cubie.sweeps.decays import (
    Harmful,
    Runner,
    bytes_of,
    decays,
    done_in,
    environment,
    refused,
    slow,
    written,
)

POSIX = pytest.mark.skipif(os.name != "posix", reason="processes are forked, and get signals")
LONG = 60.0  # seconds, on a machine that does much else


@pytest.fixture(scope="module")
def wanted():
    """All that is kept of a sweep of eight chunks."""
    return bytes_of(decays(chunks=8).run(progress=False))


@pytest.fixture
def processes():
    """Give an executor of two processes."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


class OnlySubmit:
    """An executor that behaves as others do, and has nothing but `submit`."""

    def __init__(self, cancelled=-1):
        self.submitted, self._cancelled = 0, cancelled
        self._pool = ThreadPoolExecutor(1)

    def submit(self, function, *args):
        """Have it called."""
        future, number = Future(), self.submitted
        self.submitted += 1
        if number == self._cancelled:
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        return self._pool.submit(function, *args)


def test_any_executor(tmp_path, wanted, processes):
    """Threads, processes, and whatever has `submit`: the same bytes, in memory and on disk."""
    with ThreadPoolExecutor(2) as threads:
        for number, executor in enumerate((threads, processes, OnlySubmit())):
            for store in (None, tmp_path / f"{number}.zarr"):
                sweep = decays(store, 8).run(executor, progress=False)
                assert bytes_of(sweep) == wanted


def test_runs_are_computed_once_more_by_workers(tmp_path, processes):
    """Also where no store tells a worker what was kept before."""
    changed = {"max_steps": 10**5, "progress": False}
    alone = bytes_of(refused(chunks=3).run(progress=False).retry(**changed))
    for store in (None, tmp_path / "runs.zarr"):
        sweep = refused(store, 3).run(progress=False)
        assert bytes_of(sweep.retry(executor=processes, **changed)) == alone


@pytest.mark.parametrize("workers", [0, True, 1.5, "2"])
def test_how_many_workers_is_a_number(workers):
    """Whatever is none is refused before anything begins."""
    with pytest.raises(InvalidOption, match="workers"):
        decays(chunks=2).run(workers=workers)


def test_what_is_no_executor(tmp_path):
    """What has no `submit` is refused, with what would do."""
    with pytest.raises(InvalidOption, match=r"an executor of concurrent\.futures"):
        decays(chunks=2).run(object())


HARMS = {
    "killed": "BrokenProcessPool",
    "exits": "BrokenProcessPool",
    "raises": "ArithmeticError: no such number",
    "leaves": "SystemExit: enough",
    "interrupted": "KeyboardInterrupt",
}


@POSIX
@pytest.mark.parametrize("harm", list(HARMS))
def test_a_worker_is_harmed(tmp_path, wanted, harm):
    """The sweep ends, saying what happened and how to go on, and goes on."""
    store = tmp_path / "runs.zarr"
    sweep = decays(store, 8)
    sweep.peek()
    Harmful.of(sweep, harm, 5, tmp_path / "told")
    with pytest.raises(SweepFailed, match=HARMS[harm]) as told:
        sweep.run(workers=1, progress=False)
    assert "chunks are done and kept: run() of this sweep goes on" in told.value.__notes__[0]
    before = {one: at for one, at in written(store).items() if one.parts[-1] in "01234"}
    assert done_in(store) >= {0, 1, 2, 3, 4}
    assert bytes_of(sweep.run(workers=1, progress=False)) == wanted
    assert before.items() <= written(store).items()


def test_an_executor_is_shut_down(tmp_path, wanted):
    """What is left cannot be submitted, or was cancelled: another executor goes on."""
    sweep = decays(tmp_path / "runs.zarr", 8)
    with ThreadPoolExecutor(1) as pool, pytest.raises(SweepFailed, match=r"shut ?down") as told:
        sweep.run(pool, progress=lambda p: pool.shutdown(wait=False, cancel_futures=True))
    assert "goes on" in told.value.__notes__[0]
    assert bytes_of(sweep.run(progress=False)) == wanted


def test_a_future_is_cancelled(tmp_path, wanted):
    """That is no success."""
    sweep = decays(tmp_path / "runs.zarr", 8)
    with pytest.raises(SweepFailed, match="Chunk 3 was cancelled: the executor was shut down, or"):
        sweep.run(OnlySubmit(cancelled=3), workers=1, progress=False)
    assert bytes_of(sweep.run(OnlySubmit(), progress=False)) == wanted


def test_a_callback_raises(tmp_path, wanted):
    """The user's own exception is what is seen; what is done stays, and it goes on."""

    def fail(progress):
        raise LookupError("mine")

    sweep = decays(tmp_path / "runs.zarr", 8)
    for options in ({}, {"executor": OnlySubmit()}, {"workers": 1}):
        with pytest.raises(LookupError, match="mine"):
            sweep.run(progress=fail, **options)
    assert bytes_of(sweep.run(progress=False)) == wanted


@POSIX
@pytest.mark.parametrize(("workers", "to_all"), [(0, False), (2, True), (2, False)])
def test_ctrl_c(tmp_path, wanted, workers, to_all):
    """What is done is kept, nothing is left behind, and the same object goes on."""
    store = tmp_path / "runs.zarr"
    decays(store, 8).peek()
    with Runner(store, workers) as runner:
        number = runner.begin()
        assert runner.told() == "first"
        (os.killpg if to_all else os.kill)(number, signal.SIGINT)
        told = runner.told()
        assert told.startswith("interrupted [] "), "processes are left"
        assert "of 8 chunks are done and kept: run() of this sweep goes on, and so does" in told
        assert runner.end() == "end"
    assert len(done_in(store)) == 8
    assert bytes_of(cubie.Sweep.resume(store)) == wanted


@POSIX
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_does_not_wait_for_chunks(tmp_path, workers):
    """Chunks in flight, each of which takes long, are given up."""
    store = tmp_path / "runs.zarr"
    slow(store).peek()
    with Runner(store, workers) as runner:
        number = runner.begin()
        runner.begun()
        time.sleep(3)  # workers start, and are in a chunk each
        sent = time.perf_counter()
        os.killpg(number, signal.SIGINT)
        assert runner.told().startswith("interrupted [] 0 of 4 chunks")
        print(f"it took {time.perf_counter() - sent:.2f} s")
        runner.kill(number)
    assert not done_in(store)


@POSIX
def test_workers_end_with_the_one_that_started_them(tmp_path):
    """Who is killed alone leaves no worker that waits for ever."""
    store = tmp_path / "runs.zarr"
    slow(store).peek()
    with Runner(store, 2) as runner:
        number = runner.begin()
        runner.begun()
        time.sleep(3)  # workers start, and are in a chunk each
        os.kill(number, signal.SIGKILL)
        assert runner.end() == "killed"
        since = time.monotonic()
        while time.monotonic() < since + LONG:
            try:
                os.killpg(number, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
    raise AssertionError("workers are left")


@pytest.mark.parametrize("from_file", [True, False])
def test_a_program_needs_no_guard(tmp_path, from_file):
    """Workers do not run the user's program once more, wherever that came from."""
    program = (
        "import cubie, numpy\n"
        "print('once')\n"
        "def decay(t, y, k): return [-k * y[0]]\n"
        "s = cubie.sweep(decay, (0, 1), [1.0], over={'k': numpy.linspace(1, 2, 64)}, chunk=32)\n"
        "print(s.run(workers=1, progress=False).counts())\n"
    )
    (tmp_path / "program.py").write_text(program)
    arguments, text = ([str(tmp_path / "program.py")], None) if from_file else (["-"], program)
    found = subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, check=True,
        env=environment(), timeout=300,
    )  # fmt: skip
    assert found.stdout == "once\n{<RunStatus.SUCCESS: 0>: 64}\n"
    assert not found.stderr


def test_processes_share_the_processors(processes, monkeypatch):
    """Of an executor's processes each computes with its part, where nobody says otherwise."""
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    decays(chunks=2).run(processes, progress=False)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert processes.submit(n_threads).result() == max(1, cpus // 2)


def test_what_the_user_says_of_threads_counts(monkeypatch):
    """$NUMBA_NUM_THREADS of a worker is not overruled, nor is the process that runs the sweep."""
    before = n_threads()
    monkeypatch.setenv(THREADS_VARIABLE, str(before))
    share_processors(("elsewhere", 1), 1)
    assert n_threads() == before


def test_distributions_of_the_program_itself_reach_workers():
    """What a script defines has no module that a worker could import it from."""
    script = """
import cubie
class Wide:
    def ppf(self, q):
        return 1.0 + q
def decay(t, y, k, a):
    return [-k * a * y[0]]
def made():
    over = cubie.grid(a=[1.0, 2.0]) * cubie.sampled(3, k=Wide())
    return cubie.sweep(decay, (0.0, 1.0), [1.0], over=over, chunk=3)
alone, apart = made().run().to_xarray(), made().run(workers=1).to_xarray()
print(alone.equals(apart))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.strip() == "True"
