"""Threads for compiled code that needs no interpreter."""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from cubie.backend.build_lock import building
from cubie.backend.machine import n_threads
from cubie.backend.run_queue import RunQueue


class Team(Protocol):
    """Threads that stay alive between jobs; the caller's thread works too."""

    def wake(self, workers: int) -> None:
        """Let the threads of a job that will be posted within microseconds be ready for it."""
        ...

    def run(
        self,
        function: int,
        arguments: ctypes.Array[ctypes.c_int64],
        ended_by_ctrl_c: RunQueue | None = None,
    ) -> None:
        """Call the C function at an address once with each argument, each in its own thread.

        A caller that finds the others busy calls it with the first argument only: any worker
        must be able to do all of the work. `ended_by_ctrl_c` is called off by a SIGINT that
        arrives meanwhile; give it in the main thread, while Python's own handler is installed.
        """
        ...


class PooledTeam:
    """A team of Python's own threads, for systems without POSIX threads."""

    def __init__(self, size: int):
        self._executor = ThreadPoolExecutor(max(1, size - 1), thread_name_prefix="cubie")

    def wake(self, workers: int) -> None:
        """Do nothing: the executor starts threads as they are needed."""

    def run(
        self,
        function: int,
        arguments: ctypes.Array[ctypes.c_int64],
        ended_by_ctrl_c: RunQueue | None = None,
    ) -> None:
        """Call the function once with each argument; `handling` asks no such team for Ctrl-C."""
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)  # releases the interpreter's lock
        others = [self._executor.submit(call, argument) for argument in arguments[1:]]
        call(arguments[0])
        for other in others:
            other.result()


@functools.cache
def shared_team() -> Team:
    """Return the team of this process."""
    with building():  # two threads that ask at once get the same
        return _team()


@functools.cache
def _team() -> Team:
    if os.name != "posix":
        return PooledTeam(n_threads())
    from cubie.backend.cpu.native_team import NativeTeam

    return NativeTeam(n_threads())


# Threads do not survive a fork: the child makes a team of its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared_team.cache_clear)
    os.register_at_fork(after_in_child=_team.cache_clear)
