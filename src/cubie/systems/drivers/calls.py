"""Which calls of drivers a generated function holds, and in which order they are answered.

A generated module is arithmetic and nothing else. Where an equation calls a driver it reads a
*slot* of an array `d`. Slot k of driver k holds its value at the time itself; behind them is the
time that they are of, so that whoever asks for the same time again looks nothing up. Every other
call (at another argument, or of a derivative) has a slot behind these: before the function is
called, one of its own argument functions stores the argument there, which is then replaced by the
value. Where arguments hold calls themselves there are several rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from cubie.systems.tracing.nodes import CALL, reachable

Call = tuple[int, int, int]  # slot, number of the driver, order of the derivative


@frozen
class Calls:
    """The calls of one generated function.

    Attributes
    ----------
    slots : mapping of int to int
        Serial number of a node -> its slot.
    driven : tuple of int
        Drivers whose value at the time itself is read.
    rounds : tuple of tuple of (Call, argument)
        Of other calls, in the order in which they can be answered.
    """

    slots: Mapping[int, int]
    driven: tuple[int, ...]
    rounds: tuple[tuple[tuple[Call, Any], ...], ...]

    @property
    def facts(self) -> tuple[tuple[Call, ...], ...]:
        """The rounds as they stand in the module."""
        return tuple(tuple(call for call, _ in each) for each in self.rounds)


NONE = Calls({}, (), ())


def n_kept(n_drivers: int) -> int:
    """Return how many slots hold the values at a time, and the time."""
    return n_drivers + 1 if n_drivers else 0


def calls_of(nodes: Sequence[Any], numbers: Mapping[int, int]) -> Calls:
    """Return the calls among nodes that come after their operands.

    Parameters
    ----------
    nodes : sequence of Expr
        All that a function's outputs need.
    numbers : mapping of int to int
        Number of a driver in the nodes -> in the module.
    """
    slots: dict[int, int] = {}
    driven: set[int] = set()
    depth: dict[int, int] = {}  # by serial: rounds that must be over before
    waiting: dict[int, list[Any]] = {}
    for node in nodes:
        below = max((depth[a.serial] for a in node.operands if hasattr(a, "serial")), default=0)
        depth[node.serial] = below
        if node.op != CALL:
            continue
        number, order, argument = node.operands
        number = numbers[int(number)]
        if order == 0.0 and getattr(argument, "op", None) == "t":
            slots[node.serial] = number
            driven.add(number)
            depth[node.serial] = 0
        else:
            waiting.setdefault(below, []).append((node, number, int(order), argument))
            depth[node.serial] = below + 1
    rounds, slot = [], n_kept(len(numbers))
    for below in sorted(waiting):
        each = []
        for node, number, order, argument in waiting[below]:
            slots[node.serial] = slot
            each.append(((slot, number, order), argument))
            slot += 1
        rounds.append(tuple(each))
    return Calls(slots, tuple(sorted(driven)), tuple(rounds))


def drivers_called(nodes: Sequence[Any]) -> list[int]:
    """Return the numbers of the drivers that nodes call, in the order of the first calls."""
    return list(dict.fromkeys(int(node.operands[0]) for node in nodes if node.op == CALL))


def drivers_in(outputs: Sequence[Any]) -> dict[int, Any]:
    """Return the drivers that expressions call, by their numbers there, in order of first calls."""
    nodes = reachable(outputs)
    if not nodes:
        return {}
    known = dict(nodes[0].graph.drivers.values())
    return {number: known[number] for number in drivers_called(nodes)}


def plain_rhs(namespace: Mapping[str, Any], look_up: Any) -> Any:
    """Return `rhs(t, y, p, dy, at)` of a generated module, as plain Python calls it.

    Parameters
    ----------
    namespace : mapping
        Of the module.
    look_up : callable
        ``look_up(number, order, argument)``: what a driver gives.
    """
    rhs, n_common = namespace["rhs"], namespace.get("RHS_COMMON", 0)
    if n_common:
        rhs = _with_common(rhs, n_common)
    if "DRIVERS" not in namespace:
        return rhs
    n, driven, rounds = (namespace[name] for name in ("DRIVERS", "RHS_DRIVEN", "RHS_CALLS"))
    n_slots = n_kept(len(n)) + sum(map(len, rounds))

    def with_drivers(t, y, p, dy, at):
        d: list[Any] = [None] * n_slots
        for number in driven:
            d[number] = look_up(number, 0, t)
        for number, calls in enumerate(rounds):
            namespace[f"rhs_arguments_{number}"](t, y, p, d)
            for slot, driver, order in calls:
                d[slot] = look_up(driver, order, d[slot])
        rhs(t, y, p, d, dy, at)

    return with_drivers


def _with_common(rhs: Any, n_common: int) -> Any:
    def with_common(*arguments):
        *before, dy, at = arguments
        rhs(*before, [None] * n_common, dy, at)

    return with_common
