"""How many threads a chunk uses in a worker: its share of the processors.

$NUMBA_NUM_THREADS decides where it is set. Of processes on this computer each has its part. A
worker of Dask computes as many chunks at once as it has threads, as is usual there: of those each
uses as many as $OMP_NUM_THREADS tells, which Dask sets to 1; or, where that is not set, its part of
the processors that the worker may use. Others, as processes of MPI, use those that they may.
"""

from __future__ import annotations

import os
import platform
import sys

from cubie.backend import THREADS_VARIABLE, n_threads, use_threads

OPENMP_VARIABLE = "OMP_NUM_THREADS"


def this_process() -> tuple[str, int]:
    """Return what tells this process from all others: its computer and its number there."""
    return platform.node(), os.getpid()


def share_processors(home: tuple[str, int], threads: int | None) -> None:
    """Let kernels of this process use its share, where it is a worker's.

    Parameters
    ----------
    home : (str, int)
        Process that the sweep is run by, which uses what it uses.
    threads : int or None
        What that one found.
    """
    if home == this_process() or os.environ.get(THREADS_VARIABLE):
        return
    threads = threads or _of_dask()
    if threads is not None and threads < n_threads():
        use_threads(threads)


def _of_dask() -> int | None:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # a worker of something else
        return None
    told = os.environ.get(OPENMP_VARIABLE, "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    cpus = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return max(1, len(cpus) // worker.state.nthreads)
