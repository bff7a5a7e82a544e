"""How far a sweep is: a bar on a terminal, or whatever a user does with the numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen

from cubie.errors import Described, InvalidOption
from cubie.status import RunStatus
from cubie.sweeps.events_lost import LostEvents
from cubie.sweeps.job import Outcome


@frozen
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    runs_done, n_runs : int
        Those of earlier calls among them.
    chunks_done, n_chunks : int
    failed : int
        Runs that ended with a negative status, since this call began.
    status : mapping of RunStatus to int
        How many runs ended how, since this call began.
    runs_per_second : float
    seconds_left : float
        As far as that can be told: NaN at first.
    lost : LostEvents or None
        Events that there was no room for, since this call began.
    """

    runs_done: int
    n_runs: int
    chunks_done: int
    n_chunks: int
    failed: int
    status: dict[RunStatus, int]
    runs_per_second: float
    seconds_left: float
    lost: LostEvents | None = None


class Watcher(Protocol):
    """What is told of progress."""

    def begin(self, progress: Progress) -> None:
        """Learn where the sweep is before anything was computed."""
        ...

    def tell(self, progress: Progress) -> None:
        """Learn how far it is."""
        ...

    def end(self) -> None:
        """Learn that nothing more comes."""
        ...


@frozen
class Nobody:
    """Tells nobody."""

    def begin(self, progress: Progress) -> None:
        """Do nothing."""

    def tell(self, progress: Progress) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


@frozen
class Called:
    """Calls a function of the user's."""

    function: Callable[[Progress], Any]

    def begin(self, progress: Progress) -> None:
        """Do nothing: the first chunk tells."""

    def tell(self, progress: Progress) -> None:
        """Call it."""
        self.function(progress)

    def end(self) -> None:
        """Do nothing."""


class Bar:
    """A bar of rich's on standard error."""

    def __init__(self, console: Any):
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn("[progress.description]{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f} runs"),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TextColumn("{task.fields[left]}"),
            progress.TextColumn("{task.fields[failures]}"),
            console=console,
        )
        self._task = self._bar.add_task("sweep", total=None, rate="", left="", failures="")

    def begin(self, progress: Progress) -> None:
        """Show it."""
        self._bar.update(self._task, total=progress.n_runs, completed=progress.runs_done)
        self._bar.start()

    def tell(self, progress: Progress) -> None:
        """Move it."""
        left = progress.seconds_left
        counts = {s.name: n for s, n in progress.status.items() if s < 0}
        failures = ", ".join(f"{n:,} {name}" for name, n in counts.items())
        self._bar.update(
            self._task,
            completed=progress.runs_done,
            rate=f"{progress.runs_per_second:,.0f} runs/s",
            left="" if left != left else f"{_duration(left)} left",
            failures=failures,
        )

    def end(self) -> None:
        """Leave it where it is."""
        self._bar.stop()


def watcher_of(given: Any) -> Watcher:
    """Return what is told of progress.

    Parameters
    ----------
    given : None, bool or callable
        None: a bar where standard error is a terminal.

    Raises
    ------
    InvalidOption
    """
    if callable(given):
        return Called(given)
    if given is False:
        return Nobody()
    if given is not None and given is not True:
        allowed = (True, False, Described("a function of a Progress"))
        raise InvalidOption("progress", given, allowed)
    from rich.console import Console

    console = Console(stderr=True)
    return Bar(console) if given or console.is_terminal else Nobody()


@define(eq=False)
class Account:
    """Counts outcomes, and tells of them.

    Attributes
    ----------
    watcher : Watcher
    n_runs, n_chunks : int
        Of the whole sweep.
    runs_before, chunks_before : int
        Done when this call began.
    """

    watcher: Watcher
    n_runs: int
    n_chunks: int
    runs_before: int
    chunks_before: int
    started: float = field(factory=time.perf_counter)
    chunks: int = field(default=0)
    status: Counter[int] = field(factory=Counter)
    lost: LostEvents | None = field(default=None)

    def now(self) -> Progress:
        """Return how far the sweep is."""
        here = sum(self.status.values())
        seconds = time.perf_counter() - self.started
        rate = here / seconds if seconds > 0 else 0.0
        left = self.n_runs - self.runs_before - here
        return Progress(
            self.runs_before + here,
            self.n_runs,
            self.chunks_before + self.chunks,
            self.n_chunks,
            sum(n for code, n in self.status.items() if code < 0),
            {RunStatus(code): n for code, n in sorted(self.status.items())},
            rate,
            left / rate if rate else float("nan"),
            self.lost,
        )

    def add(self, outcome: Outcome) -> None:
        """Count one chunk."""
        self.chunks += 1
        self.status.update(outcome.status)
        if outcome.lost is not None:
            self.lost = outcome.lost if self.lost is None else self.lost.plus(outcome.lost)
        self.watcher.tell(self.now())


def told_of_lost(progress: Progress, dims: Sequence[str], shape: Sequence[int]) -> str:
    """Return which events of runs of that shape there was no room for; nothing where none are."""
    if progress.lost is None:
        return ""
    return progress.lost.told(sum(progress.status.values()), dims, shape)


def told_of_failures(counts: Mapping[RunStatus, int]) -> str:
    """Return which runs failed, of counts by status, and what helps; nothing where none did."""
    failed = {status: n for status, n in counts.items() if status < 0}
    if not failed:
        return ""
    each = "; ".join(
        f"{n:,} {status.name} ({status.remedy.rstrip('.') or status.sentence.rstrip('.')})"
        for status, n in sorted(failed.items(), key=lambda item: -item[1])
    )
    return (
        f"{sum(failed.values()):,} of {sum(counts.values()):,} runs failed: {each}. What is kept "
        "of them are no results. Pictures leave them out; datasets and tables have them, with a "
        "negative `status`, and ds.where(ds.status >= 0) leaves them out. s.retry(...) computes "
        "them again with other limits, such as max_steps; s.counts() tells how all runs ended."
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
