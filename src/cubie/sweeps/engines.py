"""How chunks get computed: one after the other in this process, or by workers.

No engine keeps anything that matters: what is done is in the store.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from cubie.labelled.words import STATUS
from cubie.sweeps.errors import SweepFailed
from cubie.sweeps.events_lost import lost_events
from cubie.sweeps.job import (
    Job,
    Outcome,
    Part,
    Values,
    chunk_of,
    compute_chunk,
    counted,
    done_by_others,
)
from cubie.sweeps.model import Model
from cubie.sweeps.variable import Variable

# How often the main thread looks whether a signal came, or workers, where it waits for chunks.
PATIENCE_SECONDS = 0.1


class Task(NamedTuple):
    """A chunk that is to be computed."""

    number: int
    part: Callable[[], Part]
    shape: tuple[int, ...]
    times: int  # how often it was written before


class Here(NamedTuple):
    """Compute one chunk after the other here, while what the last one gave is read and stored."""

    model: Model
    variables: tuple[Variable, ...]
    rounds: Any
    keeper: Any

    def outcomes(self, tasks: Iterator[Task]) -> Generator[Outcome]:
        """Yield what becomes of chunks, in order.

        Raises
        ------
        SweepFailed
        """
        with ThreadPoolExecutor(1, thread_name_prefix="cubie-store") as writer:
            last: Future | None = None
            try:
                for task in tasks:
                    with _failing(task.number):
                        known = done_by_others(self.keeper, task.number, 1 + len(self.rounds))
                    if known is not None:
                        yield known
                        continue
                    runs, give, seconds = self._computed(task)
                    if last is not None:
                        yield last.result()
                    last = writer.submit(self._write, task, runs, give, seconds)
                if last is not None:
                    yield last.result()
                    last = None
            except GeneratorExit:
                raise
            except BaseException:
                # Of a chunk in flight the computing is given up, and the storing brought to an end.
                if last is not None:
                    with contextlib.suppress(Exception):
                        last.result()
                raise

    def _computed(self, task: Task) -> tuple[range, Values, float]:
        number = task.number
        with _failing(number), contextlib.suppress(KeyboardInterrupt):
            part = task.part()
            give, seconds = chunk_of(
                self.model, self.variables, part, task.shape, self.rounds, self.keeper,
                number, task.times,
            )  # fmt: skip
            return part.runs, give, seconds
        # Without what the solver tells of the runs of a chunk, which is given up, and their result.
        raise KeyboardInterrupt

    def _write(self, task: Task, runs: range, give: Values, seconds: float) -> Outcome:
        with _failing(task.number):
            values = give()
            self.keeper.write(task.number, values, 1 + len(self.rounds))
            lost = lost_events(values, self.model.event_room, len(runs), runs.start)
            return Outcome(task.number, counted(values[STATUS]), seconds, seconds, lost=lost)


class ByExecutor(NamedTuple):
    """Have chunks computed by workers.

    Attributes
    ----------
    executor : object
        With ``submit(function, *args)``, which returns futures with ``add_done_callback``.
    job : Job
    variables : tuple of Variable
    keeper : object
        What keeps the results that workers hand back.
    room : callable
        ``room()``: how many chunks are submitted at once, now.
    pickler : module
        With ``dumps``.
    """

    executor: Any
    job: Job
    variables: tuple[Variable, ...]
    keeper: Any
    room: Callable[[], int]
    pickler: Any

    def outcomes(self, tasks: Iterator[Task]) -> Generator[Outcome]:
        """Yield what becomes of chunks, in the order in which they end.

        Raises
        ------
        SweepFailed
        """
        # No futures, whose callbacks have this queue: a cluster keeps a result as long as there is
        # its future, and of a cycle that is until Python happens to collect it.
        ended: queue.SimpleQueue[Task] = queue.SimpleQueue()
        flying: dict[int, Any] = {}
        left = True
        try:
            while True:
                while left and len(flying) < self.room():
                    task = next(tasks, None)
                    if task is None:
                        left = False
                        break
                    flying[task.number] = self._submit(task, ended)
                if not left and not flying:
                    return
                try:
                    task = ended.get(timeout=PATIENCE_SECONDS)
                except queue.Empty:  # there may be more workers now, and so more room
                    continue
                yield self._kept(task, flying.pop(task.number))
        finally:
            # What a worker has begun goes on, and may be stored: it is the same, and counts.
            # None is left in this frame, which the traceback of what failed keeps.
            while flying:
                with contextlib.suppress(Exception):
                    flying.popitem()[1].cancel()

    def _submit(self, task: Task, ended: queue.SimpleQueue) -> Any:
        number = task.number
        with _failing(number):
            kept = None
            if task.times and self.job.keeper is None:
                kept = self.keeper.read(number, [variable.name for variable in self.variables])
            # With its distributions, which may be of the user's own program, as the model is.
            part = self.pickler.dumps(task.part())
            future = self.executor.submit(
                compute_chunk, self.job, number, part, task.shape, task.times, kept
            )
        future.add_done_callback(lambda _, task=task: ended.put(task))
        return future

    def _kept(self, task: Task, future: Any) -> Outcome:
        with _failing(task.number):
            outcome = _result_of(future)
            if outcome.values is not None:
                self.keeper.write(task.number, outcome.values, 1 + len(self.job.rounds))
                outcome = outcome.without_values()
            return outcome


def _result_of(future: Any) -> Outcome:
    """Return what a worker returned.

    What ended a worker's task that is no Exception, as SystemExit and KeyboardInterrupt, is none
    of this process.
    """
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise RuntimeError(f"its worker was ended by {type(error).__name__}: {error}") from error
    return future.result()


@contextlib.contextmanager
def _failing(number: int) -> Iterator[None]:
    """Say of which chunk it was that something failed."""
    try:
        yield
    except SweepFailed:
        raise
    except CancelledError as error:
        raise SweepFailed(
            f"Chunk {number} was cancelled: the executor was shut down, or its workers, or their "
            "scheduler, went away.",
            number,
        ) from error
    except Exception as error:
        kind = type(error).__name__
        raise SweepFailed(f"Chunk {number} failed: {kind}: {error}", number) from error
