"""Work on graphs of very many nodes without the garbage collector, which finds nothing there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector wait; it goes on afterwards where it was on.

    Every node lives until the text is written. The collector would look at all of them again and
    again, up to a quarter of the time of a graph of a hundred thousand. Not for code of users.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
