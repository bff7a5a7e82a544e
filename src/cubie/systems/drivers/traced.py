"""Calls of drivers in a function that is being traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.systems.drivers.interpolant import Driver, Slope
from cubie.systems.errors import RightHandSideError, Untraceable

CALL = "interpolant"  # operator of the nodes: number of the driver, order of the derivative, time


def call_in_trace(driver: Driver, x: Any, nu: Any = 0, graph: Any = None) -> Any:
    """Return the node of a call; `graph` where the argument may be a plain number."""
    from cubie.systems.tracing.arithmetic import number

    if driver.pieces.columns > 1:
        raise RightHandSideError(
            f"fun calls {driver.label}, which has samples of {driver.pieces.columns} runs. Give it "
            "in args: from there each run gets its own."
        )
    if isinstance(nu, bool) or not isinstance(nu, int) or nu < 0:
        raise Untraceable(f"a derivative of order {nu!r} of an interpolant is asked for")
    graph = x.graph if graph is None else graph
    index, _ = graph.drivers.setdefault(id(driver), (len(graph.drivers), driver))
    return graph.node(CALL, float(index), float(nu), number(x))


def call_on_array(driver: Driver, x: np.ndarray, nu: Any = 0, graph: Any = None) -> Any:
    """Call with every entry of an array of expressions."""
    from cubie.systems.tracing.arrays import elementwise

    def one(entry):
        if graph is None and not hasattr(entry, "graph"):
            return driver(entry, nu)
        return call_in_trace(driver, entry, nu, graph)

    return elementwise(one, x)


class Argument:
    """A driver in `args`, as code under trace meets it: all of it but its form is data."""

    def __init__(self, driver: Driver, graph: Any):
        self._driver, self._graph = driver, graph

    def __call__(self, t: Any, nu: int = 0) -> Any:
        from cubie.systems.tracing.nodes import operand

        if isinstance(t, (list, tuple)):
            t = np.array(t, dtype=object)
        if isinstance(t, np.ndarray) and t.ndim:
            return call_on_array(self._driver, t.astype(object), nu, self._graph)
        x = operand(t)
        if x is NotImplemented:
            raise Untraceable(f"an interpolant is called with a {type(t).__name__}")
        return call_in_trace(self._driver, x, nu, self._graph)

    def derivative(self, nu: int = 1) -> Slope:
        """Return the derivative of order `nu` as a function."""
        return Slope(self, nu)

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"`{name}` of an interpolant in args is asked for; it can only be called")


def drivers_in(outputs: Any) -> dict[int, Driver]:
    """Return the drivers that expressions call, by their numbers there, in order of first calls."""
    from cubie.systems.drivers.calls import drivers_called
    from cubie.systems.source import reachable

    nodes = reachable(outputs)
    if not nodes:
        return {}
    known = dict(nodes[0].graph.drivers.values())
    return {number: known[number] for number in drivers_called(nodes)}
