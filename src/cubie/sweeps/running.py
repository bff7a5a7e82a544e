"""`Sweep`: very many runs, kept as a labelled dataset, that can be stopped and gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cubie import checks
from cubie.errors import InvalidProblem
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.codec import to_json
from cubie.sweeps.creating import Taken
from cubie.sweeps.crews import Crew, crew_of, pickler
from cubie.sweeps.describe import told_rounds
from cubie.sweeps.engines import ByExecutor, Here, Task
from cubie.sweeps.errors import StoreError, SweepFailed
from cubie.sweeps.job import Job, Part, Round
from cubie.sweeps.kept import InMemory, Layout
from cubie.sweeps.looking import Looking
from cubie.sweeps.lost import restore
from cubie.sweeps.opening import chunks_of_same, rounds_in, whole_in
from cubie.sweeps.planned import (
    LEAST_RUNS,
    SweepPlan,
    bytes_in_flight,
    cut,
    disk_free,
    memory_limit,
    runs_of_a_chunk,
    steps_of,
)
from cubie.sweeps.progress import Account, Progress, watcher_of
from cubie.sweeps.retries import read_round
from cubie.sweeps.store import ZarrStore, checked_store, path_of, shown_store
from cubie.sweeps.whole import Whole

PILOT_RUNS = 2048


class Sweep(Looking):
    """Many runs of one system; begin one by `cubie.sweep`, go on with one by `Sweep.resume`.

    Attributes
    ----------
    n_runs : int
    dims, shape : tuple
        Of the runs.
    """

    def __init__(self, whole: Whole, layout: Layout, store: Any, memory: Any, why: str):
        self._whole, self._layout, self._store = whole, layout, store
        self._memory, self._why = memory, why
        self._keeper: Any = None
        self._seconds: float | None = None
        self._rounds: list[Round] = []
        self._chunk: int | None = None

    # ---- beginnings ----------------------------------------------------------------

    @classmethod
    def _new(cls, whole: Whole, store: Any, memory: Any, chunk: Any) -> Sweep:
        made = cls(whole, whole.layout(Chunks.of(whole.space.shape, 1)), store, memory, "")
        made._chunk = chunk
        made._cut()
        return made

    def _cut(self) -> None:
        """Decide how large chunks are, by what is known of the time that runs take."""
        whole = self._whole
        each = self._layout.bytes_per_run
        limit, n_runs = memory_limit(self._memory), whole.space.n_runs
        wanted, why = runs_of_a_chunk(whole.model, n_runs, each, limit, self._seconds)
        self._layout = whole.layout(cut(whole.space.shape, self._chunk, wanted))
        self._why = why if self._chunk is None else f"chunk={self._chunk} was given"

    @classmethod
    def _gone_on_with(cls, store: Any, whole: Whole, memory: Any, chunk: Any) -> Sweep:
        """Return the sweep that is in a store, if that is the same one."""
        return cls._opened(whole, chunks_of_same(store, whole, chunk), store, memory)

    @classmethod
    def _opened(cls, whole: Whole, chunks: Chunks, store: Any, memory: Any) -> Sweep:
        made = cls(whole, whole.layout(chunks), store, memory, "as the store was begun")
        made._keeper = ZarrStore.open(store, made._layout)
        made._look_at_rounds()
        return made

    @classmethod
    def resume(cls, store: Any, *, memory: int | str | None = "80%") -> Sweep:
        """Open a sweep from its store, which is all that is needed where `fun` was traced.

        Parameters
        ----------
        store : path, address, or store of Zarr's
        memory : int or str
            See `cubie.sweep`.

        Raises
        ------
        StoreError
            Where there is no sweep, or one of another version, or of a function that was not
            traced: that needs `cubie.sweep` with the function and the same store.
        """
        store = checked_store(store)
        whole, chunks = whole_in(store)
        return cls._opened(whole, chunks, store, memory)

    # ---- what it is ------------------------------------------------------------------

    @property
    def plan(self) -> SweepPlan:
        """What the sweep takes: `print` shows it."""
        return self._planned(1)

    def plan_with(self, workers: int) -> SweepPlan:
        """Return what the sweep takes where so many workers of this machine compute it.

        Parameters
        ----------
        workers : int
            Processes, as of `run`.
        """
        workers = checks.count("workers", workers)
        flying = Crew(None, lambda: workers).room(self._chunks_that_fit(None))
        return self._planned(min(flying, self.n_chunks))

    def _planned(self, flying: int) -> SweepPlan:
        model, layout, chunks = self._whole.model, self._layout, self._layout.chunks
        path = None if self._store is None else path_of(self._store)
        plan = model.prepared.kernel.plan
        left = np.count_nonzero(self._done() == 0) / len(chunks)
        return SweepPlan(
            n_runs=chunks.n_runs,
            n_chunks=len(chunks),
            chunk=chunks.box,
            dims=layout.dims,
            bytes_per_run=layout.bytes_per_run,
            kept_bytes=layout.n_bytes,
            left_bytes=int(layout.n_bytes * left),
            chunk_bytes=chunks.largest * bytes_in_flight(model, layout.bytes_per_run),
            in_flight=flying,
            memory_limit=memory_limit(self._memory),
            disk_free=None if self._store is None else disk_free(path),
            where="memory" if self._store is None else shown_store(self._store),
            seconds=self._seconds,
            binds=self._why,
            method=model.run_settings.method.name,
            target=model.prepared.kernel.backend.name,
            steps=steps_of(model),
            local_bytes=plan.local_bytes,
            n_points=1 if model.times is None else len(model.times),
        )

    # ---- running ---------------------------------------------------------------------

    def pilot(self, n_runs: int = PILOT_RUNS) -> SweepPlan:
        """Compute some runs, spread over all, keep none, and return the plan with the time of all.

        Parameters
        ----------
        n_runs : int
        """
        import time

        n = min(checks.count("n_runs", n_runs), self.n_runs)
        runs = np.linspace(0, self.n_runs - 1, n).astype(np.int64)
        whole = self._whole
        values = whole.space.of_runs(runs)
        if whole.drawn is not None:
            values |= whole.drawn.at(runs)
        few = {name: array[:1] for name, array in values.items()}
        whole.model.solve(few, (1,))  # compiles
        started = time.perf_counter()
        whole.model.solve(values, (n,))
        self._seconds = (time.perf_counter() - started) / n * self.n_runs
        if self._keeper is None:
            self._cut()
        return self.plan

    def run(
        self,
        executor: Any = None,
        *,
        workers: int | None = None,
        devices: Any = None,
        progress: bool | Callable[[Progress], Any] | None = None,
    ) -> Sweep:
        """Compute what is not done.

        Parameters
        ----------
        executor : object, optional
            What computes chunks: an executor of `concurrent.futures`, or one that behaves like it
            (`mpi4py.futures.MPIPoolExecutor`), or a `dask.distributed.Client`; by default this
            process, with all processors.
        workers : int, optional
            Processes to start here, which share the processors; of an executor how many chunks it
            works on at once, where it does not tell.
        devices : "all" or sequence of int, optional
            GPUs that share the chunks; by default the one that this process uses.
        progress : bool or callable, optional
            A bar, or a function that is called with a `Progress` after every chunk; by default a
            bar where standard error is a terminal.

        Returns
        -------
        Sweep
            This one.

        Raises
        ------
        SweepTooLarge, NoDevice
            Before anything is computed.
        SweepFailed
            Where a chunk could not be computed or stored. What was done is kept: `run` goes on.
        KeyboardInterrupt
            After Ctrl-C, with what was done kept.

        Warns
        -----
        RunsFailed
            Where some of the runs failed, also of those that were computed before.
        EventsLost
            Where there were more events in some of them than `max_events`.
        ChunksLost
            Where files of chunks that were done are gone, which are computed anew.
        """
        plan = self.plan
        if plan.never_fits:  # said before anything is compiled
            plan.require()
        if executor is None:  # workers of others may have what is not here
            self._whole.model.prepared.kernel.backend.require_device()
        undecided = self._keeper is None and self._chunk is None and self._seconds is None
        if undecided and self.n_runs > LEAST_RUNS:
            self.pilot(LEAST_RUNS // 4)
        with self._told_how_to_go_on(), crew_of(executor, workers, devices) as crew:
            apart = crew is not None and crew.memory is not None and self._store is not None
            flying = 1 if crew is None or apart else crew.room(self._chunks_that_fit(None))
            self._planned(flying).require()
            self._begin()
            computed = self._compute(crew, watcher_of(progress))
        self._warn_after(computed)
        return self

    def _chunks_that_fit(self, memory: int | None) -> int:
        """Return how many chunks fit at once into the memory of workers, or that of here."""
        limit = memory_limit(self._memory) if memory is None else memory
        each = self._layout.chunks.largest * bytes_in_flight(
            self._whole.model, self._layout.bytes_per_run
        )
        return len(self._layout.chunks) if limit is None else max(1, limit // max(1, each))

    def _begin(self) -> None:
        """Make what keeps the results."""
        if self._keeper is not None:
            return
        if self._store is None:
            self._keeper = InMemory.new(self._layout)
            return
        whole = self._whole
        content = whole.content or b"\0"
        try:
            self._keeper = ZarrStore.create(self._store, self._layout, content, self._attributes())
        except Taken:  # by another process, whose chunks may be larger or smaller
            chunks = chunks_of_same(self._store, whole, self._chunk)
            self._layout = whole.layout(chunks)
            self._keeper = ZarrStore.open(self._store, self._layout)

    def _look_at_rounds(self) -> None:
        """Learn from the store what is computed once more: another process may ask for it."""
        if isinstance(self._keeper, ZarrStore):
            self._rounds = rounds_in(self._keeper.rounds())

    def _compute(self, crew: Crew | None, watcher: Any) -> Progress:
        """Compute what is not done, and return how far the sweep is then."""
        self._look_at_rounds()
        if isinstance(self._keeper, ZarrStore):
            restore(self._layout, self._whole.content, self._keeper.root)
        done, chunks = self._done(look=True), self._layout.chunks
        self._warn_of_lost("they are computed anew.")
        wanted = 1 + len(self._rounds)
        before = [number for number in chunks if done[number] >= wanted]
        account = Account(
            watcher, self.n_runs, len(chunks),
            sum(len(chunks.runs_of(number)) for number in before), len(before),
        )  # fmt: skip
        left = self._keeper.unfinished() if isinstance(self._keeper, ZarrStore) else {}
        watcher.begin(account.now())
        try:
            outcomes = self._engine(crew).outcomes(self._tasks(done, wanted))
            with contextlib.closing(outcomes):
                for outcome in outcomes:
                    account.add(outcome)
        finally:
            watcher.end()
        if left:  # by processes that were killed
            self._keeper.remove(left)
        return account.now()

    def _engine(self, crew: Crew | None) -> Here | ByExecutor:
        whole, rounds = self._whole, tuple(self._rounds)
        if crew is None:
            return Here(whole.model, whole.variables, rounds, self._keeper)
        shared = isinstance(self._keeper, ZarrStore) and self._keeper.is_shared
        job = Job.of(whole.model, self._keeper if shared else None, rounds, pickler(), crew.threads)

        def room() -> int:
            memory = crew.memory() if shared and crew.memory is not None else None
            return crew.room(self._chunks_that_fit(memory))

        return ByExecutor(crew.executor, job, whole.variables, self._keeper, room, pickler())

    def _tasks(self, done: np.ndarray, wanted: int) -> Iterator[Task]:
        space, chunks, drawn = self._whole.space, self._layout.chunks, self._whole.drawn
        for number in chunks:
            if done[number] < wanted:
                yield Task(
                    number,
                    lambda number=number: Part.of(space, chunks, number, drawn),
                    chunks.shape_of(number),
                    int(done[number]),
                )

    @contextlib.contextmanager
    def _told_how_to_go_on(self) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, SweepFailed) as error:
            with contextlib.suppress(StoreError):  # which is gone, with all that was done
                error.add_note(self._how_to_go_on())
            raise

    def _how_to_go_on(self) -> str:
        n, total = int(np.count_nonzero(self._done())), len(self._layout.chunks)
        how = "run() of this sweep goes on"
        if self._store is not None and self._keeper is not None:
            shown = shown_store(self._store)
            how += f", and so does cubie.Sweep.resume({shown!r}).run()"
        return f"{n:,} of {total:,} chunks are done and kept: {how}."

    def retry(
        self,
        status: Any = "failed",
        *,
        executor: Any = None,
        workers: int | None = None,
        devices: Any = None,
        progress: bool | Callable[[Progress], Any] | None = None,
        **changes: Any,
    ) -> Sweep:
        """Compute runs that ended badly once more, with other limits, in place of what was kept.

        Parameters
        ----------
        status : "failed", or a `RunStatus`, its name or code, or several
            Which runs; those with negative status by default.
        executor, workers, devices, progress
            See `run`.
        **changes
            What is changed for them: `max_steps`, `rtol`, `atol`, `max_step`, and `first_step` and
            `min_step` where the sweep had them.

        Raises
        ------
        InvalidOption
        InvalidProblem
            Where nothing is changed for them, so that they would end as they did.
        SweepFailed, KeyboardInterrupt
            As of `run`, which then goes on with the retry, too.
        """
        self._look_at_rounds()
        which = read_round(status, changes, self._whole.model, self._rounds)
        self._begin()
        self._look_at_rounds()
        if self._rounds and to_json(which) == to_json(self._rounds[-1]):
            # Asked for again, where it was interrupted: or all runs that it is of ended so.
            self._require_left()
        elif isinstance(self._keeper, ZarrStore):
            self._keeper.add_round(to_json(which))
        else:
            self._rounds.append(which)
        self._look_at_rounds()
        if isinstance(self._keeper, ZarrStore):
            self._keeper.tell(told_rounds(self._rounds))
        return self.run(executor, workers=workers, devices=devices, progress=progress)

    def _require_left(self) -> None:
        """Refuse a retry that was done already."""
        if self.n_chunks_done == self.n_chunks:
            raise InvalidProblem(
                "retry",
                "was done with the same changes, and runs that failed then would fail again: "
                "give other ones.",
            )
