"""Computing a sweep: who does, who is told how far it is, and what is said at its end."""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from cubie.cli.errors import InputError, one_line
from cubie.cli.sweep.peeking import outcomes_table, progress_line
from cubie.cli.views import show
from cubie.sweeps import Progress, RunsFailed, Sweep, SweepFailed, SweepTooLarge

DONE, STOPPED, SOME_FAILED = 0, 1, 3  # what the process ends with
SIGNALLED = 128  # and, above it, the number of the signal that stopped it
CONNECT_SECONDS = 10
AUTO, BAR, LINES, NONE = "auto", "bar", "json", "none"
WAYS = (AUTO, BAR, LINES, NONE)


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks the process to end."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM, by which queues of clusters end jobs, stop a sweep as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def engine(dask: str | None, fun: Any) -> Iterator[Any]:
    """Give a client of Dask's scheduler; None: chunks are computed by this machine.

    Parameters
    ----------
    dask : str or None
        Address of a scheduler, or a file that it wrote.
    fun : callable or None
        The right-hand side, where a file of this machine has it.
    """
    _send_with_code(fun)
    if dask is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--dask needs distributed: pip install 'cubie-ode[sweep]'") from error
    where = {"scheduler_file": dask} if dask.endswith(".json") else {"address": dask}
    try:
        client = Client(**where, timeout=CONNECT_SECONDS)  # pyright: ignore
    except (OSError, ValueError) as error:
        raise InputError(f"--dask {dask}: {one_line(error)}") from error
    with client:
        yield client


def _send_with_code(fun: Any) -> None:
    """Let workers, who do not find the user's file, get a function of it with its code."""
    module = sys.modules.get(getattr(fun, "__module__", None) or "")
    if module is None:
        return
    try:
        import cloudpickle
    except ImportError:
        return
    cloudpickle.register_pickle_by_value(module)


# ---- how far it is ---------------------------------------------------------------------


def watcher(way: str, quiet: bool) -> bool | Callable[[Progress], Any] | None:
    """Return what `Sweep.run` is given as `progress`."""
    if way == LINES:
        return lambda progress: tell("progress", **_as_data(progress))
    if quiet or way == NONE:
        return False
    return True if way == BAR else None


def tell(event: str, **data: Any) -> None:
    """Print one line of JSON."""
    click.echo(json.dumps({"event": event, **data}, allow_nan=False))


def _as_data(progress: Progress) -> dict[str, Any]:
    left = progress.seconds_left
    return {
        "runs_done": progress.runs_done,
        "n_runs": progress.n_runs,
        "chunks_done": progress.chunks_done,
        "n_chunks": progress.n_chunks,
        "failed": progress.failed,
        "status": {status.name: n for status, n in progress.status.items()},
        "runs_per_second": progress.runs_per_second,
        "seconds_left": left if math.isfinite(left) else None,
    }


# ---- what becomes of it ----------------------------------------------------------------


def computed(
    sweep: Sweep,
    compute: Callable[[], Any],
    say: Callable[[str], None],
    options: Mapping[str, Any],
    line: Sequence[str],
) -> int:
    """Compute, tell what became of it, and return the exit status.

    Parameters
    ----------
    compute : callable
    say : callable
        Tells a message.
    options : mapping
    line : sequence of str
        The words that were typed, by which a sweep goes on that was stopped.
    """
    lines = options["progress"] == LINES
    if lines:
        done = sweep.n_chunks_done
        tell("begin", n_runs=sweep.n_runs, n_chunks=sweep.n_chunks, chunks_done=done)
    try:
        with stopped_by_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore", RunsFailed)  # told below, with what to type
            compute()
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        _tell_stopped(sweep, f"stopped by {signal.Signals(number).name}", say, options, line)
        return SIGNALLED + number
    except (SweepFailed, SweepTooLarge) as error:
        _tell_stopped(sweep, one_line(error), say, options, line)
        return STOPPED
    counts = sweep.counts()
    failed = sum(n for status, n in counts.items() if status < 0)
    if lines:
        told = {status.name: n for status, n in counts.items()}
        tell("done", n_runs=sweep.n_runs, failed=failed, status=told)
    elif not options["quiet"]:
        show(outcomes_table(f"{name_of(options)}: {progress_line(sweep)}", counts), sys.stdout)
    if failed and not options["quiet"]:
        again = ""
        if options["store"]:
            # What is no data is not in the store, which then is not enough.
            words = [options["target"]] if sweep.needs_function and options["target"] else []
            words += ["--store", options["store"], "--retry", "failed", "--max-steps", "N"]
            again = f"; compute them again: cubie-sweep {shlex.join(words)}"
        say(f"{failed:,} of {sweep.n_runs:,} runs failed{again}")
    return SOME_FAILED if failed else DONE


def _tell_stopped(
    sweep: Sweep,
    why: str,
    say: Callable[[str], None],
    options: Mapping[str, Any],
    line: Sequence[str],
) -> None:
    if options["progress"] == LINES:
        tell("stopped", why=why)
    if not options["store"]:
        say(f"{why.rstrip('.')}; nothing is kept without --store")
        return
    # The same line: with other options it would be another sweep.
    say(f"{why.rstrip('.')}; {_kept(sweep)}go on: {shlex.join(['cubie-sweep', *line])}")


def _kept(sweep: Sweep) -> str:
    try:
        return f"{sweep.n_chunks_done:,} of {sweep.n_chunks:,} chunks are done and kept; "
    except (OSError, KeyError, ValueError):  # of a store that is gone
        return ""


def name_of(options: Mapping[str, Any]) -> str:
    """Return what a sweep is called: by its store, or by its file."""
    return options["store"] or options["target"]
