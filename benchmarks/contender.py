"""What is timed: something that solves a work again and again, in a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
from attrs import frozen

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


def _peer(name: str, option: str = "") -> Contender:
    label = f"{name} {option}" if option else name
    return Contender(label, f"benchmarks.peers.{name}_peer", option)


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("cubie", "benchmarks.ours", "solver"),
        Contender("cubie lanes=1", "benchmarks.ours", "scalar"),
        Contender("cubie solve_ivp", "benchmarks.ours", "solve_ivp"),
        Contender("numba lanes", "benchmarks.baselines", "lanes"),
        Contender("numba scalar", "benchmarks.baselines", "scalar"),
        _peer("heyoka"),
        _peer("diffrax"),
        _peer("numbalsoda", "dop853"),
        _peer("numbalsoda", "lsoda"),
        _peer("scipy"),
    )
}
