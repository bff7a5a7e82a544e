"""Clusters of Dask's: workers that share processors, die, or leave; a scheduler that goes away."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

import cubie
from cubie.backend import n_threads
from cubie.errors import InvalidOption
from cubie.sweeps import SweepFailed
from tests.cubie.sweeps.decays import Harmful, bytes_of, decays, done_in, environment, written

distributed = pytest.importorskip("distributed")

N = 12
LONG = 120.0  # seconds, on a machine that does much else
SOON = 10.0  # seconds, in which a few chunks are mostly done


@pytest.fixture(scope="module")
def wanted():
    """All that is kept of a sweep of twelve chunks."""
    return bytes_of(decays(chunks=N).run(progress=False))


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """What schedulers and workers say of connections that end is no matter of these tests."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        yield


def cluster_of(n_workers, **options):
    """Give a cluster of processes of one thread each, and its client."""
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0",
        silence_logs=logging.CRITICAL, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two():
    """A client of two workers, which nanny processes start anew where they die."""
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


def settled(client):
    """Wait until a cluster has nothing to do and keeps nothing for anybody.

    But for a task that failed: the exception that tells of it keeps its future.
    """

    def left(dask_scheduler):
        return [key for key, task in dask_scheduler.tasks.items() if task.state != "erred"]

    since = time.monotonic()
    while time.monotonic() < since + LONG:
        if not client.run_on_scheduler(left):
            return
        time.sleep(0.05)
    raise AssertionError("tasks are left on the cluster")


@contextlib.contextmanager
def uncollected():
    """Let only counts of references free objects, as between two collections, however far apart."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_two_workers(tmp_path, two, wanted):
    """The same bytes as without, in memory and on disk; no task, and no result, is left there."""
    for store in (None, tmp_path / "runs.zarr"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of large tasks
            sweep = decays(store, N).run(two, progress=False)
        assert bytes_of(sweep) == wanted
        settled(two)


def test_four_workers(tmp_path, wanted):
    """The same, of which a worker is lost that no nanny starts again."""
    with cluster_of(4) as cluster, distributed.Client(cluster) as client:
        store = tmp_path / "runs.zarr"

        def lose(progress):
            if progress.chunks_done == 3:
                cluster.scale(3)

        assert bytes_of(decays(store, N).run(client, progress=lose)) == wanted


def test_a_worker_is_killed(tmp_path, two, wanted):
    """Its chunk is computed by another; who killed it is not blamed at once."""
    sweep = decays(tmp_path / "runs.zarr", N)
    sweep.peek()
    Harmful.of(sweep, "killed", 5, tmp_path / "told")
    assert bytes_of(sweep.run(two, progress=False)) == wanted
    assert (tmp_path / "told").exists()


def test_a_chunk_that_kills_every_worker(tmp_path, two, wanted):
    """Dask gives it up after some: the sweep ends, says so, and goes on elsewhere."""
    sweep = decays(tmp_path / "runs.zarr", N)
    sweep.peek()
    Harmful.of(sweep, "killed", 5, "")
    # Dask suspects whatever a worker had when it died: others that waited there, too.
    with pytest.raises(SweepFailed, match=r"Chunk \d+ failed: .*KilledWorker") as told:
        sweep.run(two, progress=False)
    assert told.value.chunk in range(N)
    assert "goes on" in told.value.__notes__[0]
    settled(two)
    assert bytes_of(cubie.Sweep.resume(tmp_path / "runs.zarr").run(progress=False)) == wanted


def test_a_chunk_that_raises(tmp_path, two, wanted):
    """The others in flight are taken from the cluster."""
    sweep = decays(tmp_path / "runs.zarr", N)
    sweep.peek()
    Harmful.of(sweep, "raises", 5, tmp_path / "told")
    with pytest.raises(SweepFailed, match="Chunk 5 failed: ArithmeticError: no such number"):
        sweep.run(two, progress=False)
    settled(two)
    assert bytes_of(sweep.run(two, progress=False)) == wanted


def test_interrupted(tmp_path, two, wanted):
    """What was submitted is taken back; what is done stays, and the same object goes on."""

    def working(dask_scheduler):
        return [key for key, task in dask_scheduler.tasks.items() if task.state != "memory"]

    def interrupt(progress):
        if progress.chunks_done == 3:
            # The others in flight may be done by now: then there is nothing to cancel, but results.
            # Some may not be, where this one's results wait for it: that is an interruption, too.
            since = time.monotonic()
            while two.run_on_scheduler(working) and time.monotonic() < since + SOON:
                time.sleep(0.05)
            raise KeyboardInterrupt

    store = tmp_path / "runs.zarr"
    sweep = decays(store, N)
    with uncollected():
        with pytest.raises(KeyboardInterrupt) as told:
            sweep.run(two, progress=interrupt)
        assert "of 12 chunks are done and kept" in told.value.__notes__[0]
        settled(two)
    before, done = written(store), done_in(store)
    assert 3 <= len(done) < N
    assert bytes_of(sweep.run(two, progress=False)) == wanted
    marks = {one: at for one, at in before.items() if one.parts[1] == "done"}
    assert marks.items() <= written(store).items()


def within(seconds, function):
    """Call a function in a thread; return what it raised, if it ends in time."""
    raised = []

    def call():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_the_scheduler_goes_away(tmp_path, wanted, how):
    """That ends the sweep soon, in words; what is done is kept, and it goes on elsewhere."""
    store = tmp_path / "runs.zarr"
    sweep = decays(store, N)
    with scheduler_apart(tmp_path) as (scheduler, client):

        def lose(progress):
            if progress.chunks_done == 3:
                os.kill(scheduler.pid, signal.SIGKILL if how == "killed" else signal.SIGTERM)

        error = within(LONG, lambda: sweep.run(client, progress=lose))
    assert isinstance(error, SweepFailed), error
    assert "goes on" in error.__notes__[0]
    assert len(done_in(store)) >= 3
    assert bytes_of(sweep.run(progress=False)) == wanted


@contextlib.contextmanager
def scheduler_apart(folder):
    """Give the process of a scheduler with one worker, and a client."""
    told = folder / "scheduler.json"
    python, quiet = (
        [sys.executable, "-m"],
        {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
    )
    begun = [
        subprocess.Popen(
            [*python, f"distributed.cli.dask_{name}", "--scheduler-file", str(told), *arguments],
            env=environment(), **quiet,
        )
        for name, arguments in (
            ("scheduler", ["--port", "0", "--no-dashboard", "--host", "127.0.0.1"]),
            ("worker", ["--nthreads", "1", "--no-dashboard", "--no-nanny"]),
        )
    ]  # fmt: skip
    try:
        with distributed.Client(scheduler_file=str(told), timeout=LONG) as client:
            client.wait_for_workers(1, timeout=LONG)
            yield begun[0], client
    finally:
        for process in begun:
            process.kill()
            process.wait(LONG)


def test_a_client_that_is_closed(tmp_path, two):
    """What cannot take tasks is told of, with nothing lost."""
    client = distributed.Client(two.cluster)
    client.close()
    with pytest.raises(SweepFailed, match="Chunk 0 failed"):
        decays(tmp_path / "runs.zarr", N).run(client, progress=False)


def test_a_client_for_coroutines(two):
    """`run` waits for results: a client that cannot is refused."""

    async def give():
        async with distributed.Client(two.scheduler.address, asynchronous=True) as client:
            with pytest.raises(InvalidOption, match="asynchronous"):
                decays(chunks=2).run(client, progress=False)

    asyncio.run(give())


def test_workers_that_come_later(tmp_path, wanted):
    """A sweep may begin before its workers do, as queues of clusters have it."""
    with cluster_of(0) as cluster, distributed.Client(cluster) as client:
        later = threading.Timer(2.0, cluster.scale, (2,))
        later.start()
        assert bytes_of(decays(tmp_path / "runs.zarr", N).run(client, progress=False)) == wanted
        later.join()


def test_workers_share_the_processors(tmp_path, two):
    """Dask's own rule: as many chunks at once as workers have threads, one thread for each."""
    decays(tmp_path / "runs.zarr", N).run(two, progress=False)
    assert set(two.run(n_threads).values()) == {1}


def test_a_cluster_in_this_process(wanted):
    """It computes with the processors that this process uses."""
    before = n_threads()
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                                 dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        assert bytes_of(decays(chunks=N).run(client, progress=False)) == wanted
    assert n_threads() == before
