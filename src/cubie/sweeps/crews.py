"""Who computes chunks: processes that are started here, an executor, or a cluster of Dask's."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

from cubie.backend import THREADS_VARIABLE, checked_gpus, n_threads, use_gpu
from cubie.errors import Described, InvalidOption

# Chunks that wait for a worker, so that none is idle between two.
AHEAD = 2
# How long it is believed who works for a cluster.
SECONDS_KNOWN = 1.0


class Crew(NamedTuple):
    """Workers, behind an executor.

    Attributes
    ----------
    executor : object
    slots : callable
        ``slots()``: how many chunks they compute at once, now.
    threads : int or None
        What a chunk may use in a process of its own; None: see `cubie.sweeps.sharing`.
    memory : callable or None
        ``memory()``: bytes that workers have, where these are not on this computer.
    """

    executor: Any
    slots: Callable[[], int]
    threads: int | None = None
    memory: Callable[[], int | None] | None = None

    def room(self, limit: int) -> int:
        """Return how many chunks are submitted at once: two a worker, as far as memory allows."""
        return max(1, min(AHEAD * self.slots(), limit))


@contextlib.contextmanager
def crew_of(given: Any, workers: Any, devices: Any = None) -> Iterator[Crew | None]:
    """Give workers; None: this process computes.

    Parameters
    ----------
    given : object or None
        An executor, or a `dask.distributed.Client`.
    workers : int or None
        Processes to start here, or how many workers the executor has.
    devices : "all", sequence of int, or None
        GPUs of this process, each with a thread of its own.

    Raises
    ------
    InvalidOption, NoDevice
    """
    if devices is not None:
        if given is not None or workers is not None:
            advice = "Give `devices`, or an executor or workers that have their own."
            raise InvalidOption("devices", devices, advice=advice)
        numbers = checked_gpus(devices)
        with _threads(numbers) as pool:
            yield Crew(pool, lambda: len(numbers))
        return
    if workers is not None and (
        isinstance(workers, bool) or not isinstance(workers, int) or workers < 1
    ):
        raise InvalidOption("workers", workers, advice="How many: an int of at least 1.")
    if given is None and workers is not None:
        with _processes(workers) as pool:
            yield Crew(pool, lambda: workers)
    elif given is None:
        yield None
    elif hasattr(given, "get_executor") and hasattr(given, "scheduler_info"):
        yield _of_dask(given, workers)
    elif callable(getattr(given, "submit", None)):
        known = getattr(given, "_max_workers", None)
        n = workers or (known if isinstance(known, int) else os.cpu_count() or 1)
        apart = isinstance(given, ProcessPoolExecutor)
        yield Crew(given, lambda: n, max(1, n_threads() // n) if apart else None)
    else:
        allowed = (Described("an executor of concurrent.futures"),
                   Described("a dask.distributed.Client"))  # fmt: skip
        raise InvalidOption("executor", given, allowed)


def _of_dask(client: Any, workers: int | None) -> Crew:
    if client.asynchronous:
        advice = "Make one without asynchronous=True: `run` waits for results."
        raise InvalidOption("executor", client, advice=advice)

    known = _Workers(client)

    def slots() -> int:
        return workers or max(1, sum(worker["nthreads"] for worker in known.now()))

    def memory() -> int | None:
        limits = [worker["memory_limit"] for worker in known.now()]
        return sum(limits) if limits and all(limits) else None

    # Each call is another chunk: Dask would take two with the same arguments for one.
    return Crew(client.get_executor(pure=False), slots, None, memory)


class _Workers:
    """Those of a cluster, which come and go: looked at once a second."""

    def __init__(self, client: Any):
        self._client, self._at = client, -math.inf
        self._known: list[dict[str, Any]] = []

    def now(self) -> list[dict[str, Any]]:
        """Return what their scheduler tells of each."""
        if time.monotonic() - self._at > SECONDS_KNOWN:
            # Where it has gone away, chunks that are there, or the next one, fail.
            with contextlib.suppress(Exception):
                self._known = list(self._client.scheduler_info()["workers"].values())
            self._at = time.monotonic()
        return self._known


class _Pool(ProcessPoolExecutor):
    """Processes that neither Ctrl-C nor the main module of the user's program disturbs."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        with _begun_in_peace():
            return super().submit(function, *args, **kwargs)

    def kill(self) -> None:
        """End all processes: what they compute is not kept."""
        processes = list((self._processes or {}).values())
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


@contextlib.contextmanager
def _begun_in_peace() -> Iterator[None]:
    """Let processes be started that see no Ctrl-C, and do not run the user's program once more.

    What they compute needs nothing of the main module; so a script needs no
    ``if __name__ == "__main__"``, and one that comes from standard input has workers, too.
    """
    held = hasattr(signal, "pthread_sigmask")
    # A blocked signal stays blocked in a new process until it knows what to do with it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if held else set()
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if held:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Give a pool of processes that share the processors."""
    import multiprocessing

    each = max(1, n_threads() // workers)
    context = multiprocessing.get_context("spawn")
    pool = _Pool(workers, context, _begin_worker, (each,))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.kill()
        raise


@contextlib.contextmanager
def _threads(gpus: tuple[int, ...]) -> Iterator[Executor]:
    """Give a thread for each GPU."""
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in gpus:
        left.put(number)
    pool = ThreadPoolExecutor(
        len(gpus), "cubie-gpu", initializer=lambda: use_gpu(left.get_nowait())
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(threads: int) -> None:
    os.environ[THREADS_VARIABLE] = str(threads)
    _let_semaphores_have_no_names()
    # Ctrl-C goes to all processes of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, name="cubie-parent", daemon=True).start()


def _let_semaphores_have_no_names() -> None:
    """Let nothing be left of a worker that is killed.

    The codec of stores makes a semaphore. Where Python starts processes anew it has a name, which
    the tracker of resources removes, and warns of, after a process that could not; where they are
    forked it has none. No worker starts any.
    """
    import multiprocessing

    if "fork" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("fork", force=True)


def _end_with_parent() -> None:
    """End this process when the one is killed that started it: nobody else would."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def pickler() -> Any:
    """Return what turns functions into bytes: where it is there, what needs no names for them."""
    try:
        import cloudpickle
    except ImportError:
        return pickle
    return cloudpickle
