"""What device functions pass on, each bundle in one order and by name.

A function unpacks what it needs, ``inputs, run, n_runs = launch``, or hands the bundle on. On
compiled targets a bundle is taken apart into its values: it costs nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Memory(NamedTuple):
    """Where the bytes of a run (or a group of runs) begin in the spaces that are planned."""

    shared: Any
    persistent: Any
    global_memory: Any = ()  # () where no buffer is there


class Launch(NamedTuple):
    """What a batch gives to all of its runs, and which of them are in the lanes."""

    inputs: Any  # KernelInputs
    run: Any  # numbers of the runs; int64 lanes
    n_runs: Any  # of the batch; a plain integer


class Given(NamedTuple):
    """What a right-hand side is given beside the time and the state.

    It goes where the parameters go, of systems that call drivers or compute values that rows have
    in common, and runs that have breakpoints; components hand it on unread, and what stands around
    generated code takes it apart.
    """

    parameters: Any  # buffer, (m,), and what a right-hand side that failed writes behind them
    drivers: Any  # buffer: what drivers gave, see `cubie.systems.drivers.calls`
    stack: Any  # buffer: the same at each of several times, of methods that solve stages together
    launch: Any  # Launch
    earliest: Any  # of lanes: no time before is asked for,
    latest: Any  # and none after
    common: Any  # buffer: values that rows have in common, during one evaluation; () for none
