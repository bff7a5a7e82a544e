"""A search that Ctrl-C ends, and any other handler of signals that raises.

OR-Tools' own handling of SIGINT swallows it, and leaves the process with the system's action in
the place of Python's: the next Ctrl-C would end the interpreter. So it is turned off; Python calls
handlers in the main thread, which therefore waits while another one searches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 0.05  # between two calls of `stop`: the first may come before the search began


def stoppable(search: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Return what a search returns, or raises; end it by `stop` where a signal's handler raises.

    Parameters
    ----------
    search : callable
        It gives up the interpreter's lock while it searches.
    stop : callable
        May be called at any time, and again.
    """
    if threading.current_thread() is not threading.main_thread():
        return search()  # other threads get no signals
    found: list[Any] = []
    failed: list[BaseException] = []
    called_off = False
    ended = threading.Semaphore(0)

    def work() -> None:
        try:
            if not called_off:
                found.append(search())
        except BaseException as error:
            failed.append(error)
        finally:
            ended.release()

    worker = threading.Thread(target=work, name="cubie_planner_search")
    try:
        worker.start()
        ended.acquire()
    except BaseException:
        # What it works on is the caller's: it has ended before anybody goes on.
        called_off = True
        while worker.is_alive() and not _has_ended(ended, stop):
            pass
        raise
    if failed:
        raise failed[0]
    return found[0]


def _has_ended(ended: threading.Semaphore, stop: Callable[[], None]) -> bool:
    """Ask for the end and wait a moment, whatever else is signalled meanwhile.

    Not by Thread.join: interrupted, that of Python 3.11 and 3.12 takes a running thread for ended.
    """
    try:
        stop()
        return ended.acquire(timeout=PATIENCE_SECONDS)
    except BaseException:
        return False
