"""Solves that a signal ends: Ctrl-C, or any handler of signals that raises.

Python handles signals in the main thread, between two of its instructions: not while that works
on a batch. While Python's own handler of SIGINT is installed, which raises KeyboardInterrupt, one
in machine code before it calls the batch off (`NativeTeam.run`). Where a program has installed
other handlers, nobody knows before they run whether they raise: the main thread then only waits,
and others do the work.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from enum import Enum, auto
from typing import Any

try:  # without the enumerations that `signal` looks names up in: a microsecond for each signal
    from _signal import getsignal
except ImportError:
    from signal import getsignal

from cubie.backend.run_queue import RunQueue
from cubie.errors import OutOfMemory

# Other signals whose handlers people write: of the end of the process, a timer, their own.
OTHERS = [
    int(getattr(signal, name))
    for name in ("SIGTERM", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    if hasattr(signal, name)
]
SIGNALS = (*OTHERS, int(signal.SIGINT))
# How long the main thread waits before it looks for signals where locks cannot be interrupted.
PATIENCE_SECONDS = 0.05
# The size is the process's: a thread of the program's own that is started meanwhile gets the same.
LEAST_STACK_BYTES = 8 << 20
MAIN = threading.main_thread().ident
# Elsewhere there is no handler in machine code: the main thread waits.
HAS_NATIVE_HANDLER = os.name == "posix"


class Interrupted(Exception):
    """A batch was called off.

    Attributes
    ----------
    cause : BaseException
        What a handler of signals raised.
    n_written : int
        The outputs of so many runs, the first ones, are written; not all of them have ended.
    """

    def __init__(self, cause: BaseException, n_written: int):
        self.cause, self.n_written = cause, n_written
        super().__init__(cause, n_written)


class Handling(Enum):
    """Who may end a solve of the calling thread."""

    NOBODY = auto()  # another thread than the main one gets no signals
    CTRL_C = auto()  # Python's own handler of SIGINT
    HANDLERS = auto()  # handlers that are not known


def handling() -> Handling:
    """Tell which signals may end a solve that begins now."""
    global _latest
    if threading.get_ident() != MAIN:
        return NOBODY
    # At each solve, of which some take microseconds: mostly nothing changed since the last one.
    found, answer = _latest
    handlers = tuple(map(getsignal, SIGNALS))
    if handlers != found:
        answer = _handling(handlers)
        _latest = handlers, answer
    return answer


def _handling(handlers: tuple[Any, ...]) -> Handling:
    """Tell what may end a solve while these are the handlers of `SIGNALS`."""
    *others, on_interrupt = handlers
    # What is not a function says that the system's own action is taken, or none.
    if any(map(callable, others)):
        return Handling.HANDLERS
    if on_interrupt is signal.default_int_handler and HAS_NATIVE_HANDLER:
        return Handling.CTRL_C
    return Handling.HANDLERS if callable(on_interrupt) else NOBODY


NOBODY = Handling.NOBODY  # members are looked up slowly
_latest: tuple[tuple[Any, ...], Handling] = (), NOBODY

_stack_size_lock = threading.Lock()


def run_apart(
    function: int,
    arguments: ctypes.Array[ctypes.c_int64],
    queue: RunQueue,
    stack_bytes: int,
    memory: Any,
) -> None:
    """Call the C function at an address once with each argument, in threads made for it.

    Parameters
    ----------
    function : int
    arguments : ctypes array
    queue : RunQueue
        Called off where a handler of signals raises while the calling thread waits.
    stack_bytes : int
        Of each thread; 0 for what threads usually have.
    memory : object
        Owns all that the function reads and writes. A signal may come between the start of a
        thread and the caller's knowing of it: the thread holds on to its memory.

    Raises
    ------
    OutOfMemory
        If there is no room for the stacks.
    """
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    # Not Thread.join: interrupted, that of Python 3.11 and 3.12 takes a running thread for ended.
    ended = [threading.Semaphore(0) for _ in arguments]

    def work(argument: int, done: threading.Semaphore, memory: Any = memory) -> None:
        try:
            call(argument)
        finally:
            done.release()

    workers = [
        threading.Thread(target=work, args=pair) for pair in zip(arguments, ended, strict=True)
    ]
    started: list[threading.Thread] = []
    try:
        _start(workers, started, stack_bytes)
        for done in ended:
            while not done.acquire(timeout=PATIENCE_SECONDS):
                pass
            done.release()
    except BaseException:
        queue.call_off()
        for done in ended[: len(started)]:
            _wait_in_any_case(done)
        raise


def _wait_in_any_case(done: threading.Semaphore) -> None:
    """Wait for a worker that was called off: its memory is the caller's until then."""
    while True:
        try:
            if done.acquire(timeout=PATIENCE_SECONDS):
                done.release()
                return
        except BaseException:
            continue


def _start(workers: list[threading.Thread], started: list[threading.Thread], stack_bytes: int):
    with _stack_size_lock:
        usual = None  # asking for it would change it
        try:
            if stack_bytes:
                usual = threading.stack_size(max(stack_bytes, LEAST_STACK_BYTES))
            for worker in workers:
                worker.start()
                started.append(worker)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise OutOfMemory(
                f"{len(workers)} threads with {stack_bytes:,} bytes of memory each cannot be had "
                f"({error}). Use fewer lanes (`lanes=1`), dtype=float32, or an explicit method."
            ) from error
        finally:
            if usual is not None:
                threading.stack_size(usual)
