"""Worker threads for compiled code that releases the interpreter lock."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS_VARIABLE = "NUMBA_NUM_THREADS"


@functools.cache
def n_threads() -> int:
    """Return how many threads a solve uses: $NUMBA_NUM_THREADS, or the CPUs of this process."""
    chosen = os.environ.get(THREADS_VARIABLE, "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """Threads that stay alive between solves; the caller's thread works too."""

    def __init__(self, size: int):
        self._executor = ThreadPoolExecutor(max(1, size - 1), thread_name_prefix="cubie")

    @classmethod
    @functools.cache
    def shared(cls) -> WorkerPool:
        """Return the pool of this process."""
        return cls(n_threads())

    def run(self, work: Callable[[], T], workers: int) -> list[T]:
        """Run `work` in `workers` threads at once and return what each of them returns."""
        others = [self._executor.submit(work) for _ in range(workers - 1)]
        own = work()
        return [own, *(other.result() for other in others)]
