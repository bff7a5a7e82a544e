"""One thread at a time plans, traces or compiles; solves with what is there go on beside it.

The compilers have a lock of their own, but what is handed to them is put together outside of it,
and two threads that want the same kernel should make one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

# While a user's function runs under the tracer, it may wait for a thread that waits for it. So
# long is waited for another trace; then both go on, which can only matter to functions that
# change something and put it back.
PATIENCE = 30.0


class _Locks:
    """The locks of this process."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Make them anew: in a forked process their holders do not exist."""
        self.building, self.tracing = threading.RLock(), threading.RLock()


_locks = _Locks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.renew)


def building() -> contextlib.AbstractContextManager:
    """Return a lock, to be held while something is built; never while a user's code runs."""
    return _locks.building


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Keep other traces out, as far as that ends."""
    lock = _locks.tracing
    mine = lock.acquire(timeout=PATIENCE)
    try:
        yield
    finally:
        if mine:
            lock.release()
