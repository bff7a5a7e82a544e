"""Who computes chunks: this process, or whatever takes functions as `concurrent.futures` does.

No engine keeps anything that matters: what is done is in the store.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from cubie.errors import Described, InvalidOption
from cubie.sweeps.errors import SweepFailed
from cubie.sweeps.job import Job, Outcome, Part, chunk_of, counted, do
from cubie.sweeps.model import Model
from cubie.sweeps.outputs import STATUS, Variable

# Chunks that wait for a worker, so that none is idle between two.
AHEAD = 2
# How often the main thread looks whether a signal came, where it waits for workers.
PATIENCE_SECONDS = 0.1


class Task(NamedTuple):
    """A chunk that is to be computed."""

    number: int
    part: Callable[[], Part]
    shape: tuple[int, ...]
    times: int  # how often it was written before


class Here(NamedTuple):
    """Compute one chunk after the other here, while the last one is stored."""

    model: Model
    variables: tuple[Variable, ...]
    rounds: Any
    keeper: Any

    def outcomes(self, tasks: Iterator[Task]) -> Iterator[Outcome]:
        """Yield what becomes of chunks, in order.

        Raises
        ------
        SweepFailed
        """
        with ThreadPoolExecutor(1, thread_name_prefix="cubie-store") as writer:
            last: Future | None = None
            try:
                for task in tasks:
                    values, seconds = self._computed(task)
                    if last is not None:
                        yield self._stored(last)
                    last = writer.submit(self._write, task, values, seconds)
                if last is not None:
                    yield self._stored(last)
                    last = None
            except GeneratorExit:
                raise
            except BaseException:
                # Of a chunk in flight the computing is given up, and the storing brought to an end.
                if last is not None:
                    with contextlib.suppress(Exception):
                        last.result()
                raise

    def _computed(self, task: Task) -> tuple[dict[str, np.ndarray], float]:
        number = task.number
        with _failing(number):
            return chunk_of(
                self.model, self.variables, task.part(), task.shape, self.rounds, self.keeper,
                number, task.times,
            )  # fmt: skip

    def _write(self, task: Task, values: dict[str, np.ndarray], seconds: float) -> Outcome:
        self.keeper.write(task.number, values, 1 + len(self.rounds))
        return Outcome(task.number, counted(values[STATUS]), seconds, seconds)

    @staticmethod
    def _stored(future: Future) -> Outcome:
        with _failing(None):
            return future.result()


class ByExecutor(NamedTuple):
    """Have chunks computed by workers.

    Attributes
    ----------
    executor : object
        With ``submit(function, *args)``, which returns futures with ``add_done_callback``.
    job : Job
    keeper : object
        What keeps the results that workers hand back.
    in_flight : int
        Chunks that are submitted at once.
    """

    executor: Any
    job: Job
    keeper: Any
    in_flight: int

    def outcomes(self, tasks: Iterator[Task]) -> Iterator[Outcome]:
        """Yield what becomes of chunks, in the order in which they end.

        Raises
        ------
        SweepFailed
        """
        ended: queue.SimpleQueue[tuple[Task, Any]] = queue.SimpleQueue()
        flying: dict[int, Any] = {}
        try:
            while True:
                while len(flying) < self.in_flight:
                    task = next(tasks, None)
                    if task is None:
                        break
                    flying[task.number] = self._submit(task, ended)
                if not flying:
                    return
                task, future = _next_of(ended)
                del flying[task.number]
                yield self._kept(task, future)
        finally:
            for future in flying.values():
                with contextlib.suppress(Exception):
                    future.cancel()

    def _submit(self, task: Task, ended: queue.SimpleQueue) -> Any:
        with _failing(task.number):
            future = self.executor.submit(
                do, self.job, task.number, task.part(), task.shape, task.times
            )
        future.add_done_callback(lambda done, task=task: ended.put((task, done)))
        return future

    def _kept(self, task: Task, future: Any) -> Outcome:
        with _failing(task.number):
            outcome = future.result()
            if outcome.values is not None:
                self.keeper.write(task.number, outcome.values, 1 + len(self.job.rounds))
                outcome = outcome.without_values()
            return outcome


def _next_of(ended: queue.SimpleQueue) -> Any:
    while True:
        try:
            return ended.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            continue


@contextlib.contextmanager
def _failing(number: int | None) -> Iterator[None]:
    """Say of which chunk it was that something failed."""
    try:
        yield
    except SweepFailed:
        raise
    except Exception as error:
        which = "A chunk" if number is None else f"Chunk {number}"
        kind = type(error).__name__
        raise SweepFailed(f"{which} failed: {kind}: {error}", number) from error


@contextlib.contextmanager
def executor_of(given: Any, workers: Any) -> Iterator[tuple[Any, int] | None]:
    """Give an executor and how many chunks it works on at once; None: this process does.

    Parameters
    ----------
    given : object or None
        An executor, or a `dask.distributed.Client`.
    workers : int or None
        Processes to start here, or how many workers the executor has.

    Raises
    ------
    InvalidOption
    """
    if workers is not None and (
        isinstance(workers, bool) or not isinstance(workers, int) or workers < 1
    ):
        raise InvalidOption("workers", workers, advice="How many: an int of at least 1.")
    if given is None:
        if workers is None:
            yield None
        else:
            with _processes(workers) as pool:
                yield pool, workers
        return
    if hasattr(given, "get_executor") and hasattr(given, "scheduler_info"):
        executor = given.get_executor(pure=False)
        yield executor, workers or max(1, len(given.scheduler_info()["workers"]))
        return
    if not callable(getattr(given, "submit", None)):
        allowed = (Described("an executor of concurrent.futures"),
                   Described("a dask.distributed.Client"))  # fmt: skip
        raise InvalidOption("executor", given, allowed)
    known = getattr(given, "_max_workers", None)
    yield given, workers or (known if isinstance(known, int) else os.cpu_count() or 1)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    """Give a pool of processes that share the processors."""
    import multiprocessing

    from cubie.backend import n_threads

    each = max(1, n_threads() // workers)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (each,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()  # what it computes is not kept
        raise
    else:
        pool.shutdown()


def _begin_worker(threads: int) -> None:
    import signal

    from cubie.backend import THREADS_VARIABLE

    os.environ[THREADS_VARIABLE] = str(threads)
    # Ctrl-C goes to all processes of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def pickler_for(executor: Any) -> Any:
    """Return what turns functions into bytes: where it is there, what needs no names for them."""
    try:
        import cloudpickle
    except ImportError:
        return pickle
    return cloudpickle


def in_flight(workers: int, limit: int) -> int:
    """Return how many chunks are submitted at once: two a worker, as far as memory allows."""
    return max(1, min(AHEAD * workers, limit))
