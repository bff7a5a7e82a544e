"""What is timed: something that solves a work again and again, in a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
from attrs import frozen

from benchmarks.registry import by_name
from benchmarks.specs import Work


class Unavailable(Exception):
    """A contender cannot do a work here; the message says why."""


class Runner(Protocol):
    """A work made ready; calling it solves the batch once."""

    def __call__(self) -> None: ...

    def final_states(self) -> np.ndarray:
        """Return the final states (n_runs, n) of the latest call."""
        ...


@frozen
class Contender:
    """One column of the table.

    Attributes
    ----------
    name : str
    module : str
        Module with ``make(work, option) -> Runner``; imported in the contender's
        process only.
    option : str
        Handed to `make`.
    """

    name: str
    module: str
    option: str = ""

    def make(self, work: Work) -> Runner:
        """Prepare a work.

        Raises
        ------
        Unavailable
            If a package is missing, or the contender has no such method.
        """
        try:
            make: Callable = importlib.import_module(self.module).make
        except ImportError as error:
            raise Unavailable(f"not installed ({error.name})") from error
        except OSError as error:  # a shared library that the package needs
            raise Unavailable(str(error)) from error
        return make(work, self.option)


def peer(name: str, package: str, option: str = "") -> Contender:
    """Return the contender that another package is."""
    return Contender(name, f"benchmarks.peers.{package}_peer", option)


CONTENDERS = by_name(
    Contender("cubie", "benchmarks.ours", "solver"),
    Contender("cubie lanes=1", "benchmarks.ours", "scalar"),
    Contender("cubie solve_ivp", "benchmarks.ours", "solve_ivp"),
    Contender("cubie vern7", "benchmarks.ours", "vern7"),
    Contender("numba lanes", "benchmarks.baselines", "lanes"),
    Contender("numba scalar", "benchmarks.baselines", "scalar"),
    peer("heyoka", "heyoka"),
    peer("diffrax", "diffrax", "Tsit5"),
    peer("numbalsoda dop853", "numbalsoda", "dop853"),
    peer("numbalsoda lsoda", "numbalsoda", "lsoda"),
    peer("scipy", "scipy", "RK45"),
)
