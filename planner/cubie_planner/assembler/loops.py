"""Loops of a function: which blocks they hold, and which loop lies in which."""

from __future__ import annotations

from collections.abc import Mapping, Set

from attrs import field, frozen

from cubie_planner.assembler.blocks import Flow
from cubie_planner.assembler.disassembly import UnreadableCode


@frozen(eq=False)
class Loop:
    """A natural loop: what can reach a jump back to its head without passing the head.

    Attributes
    ----------
    head : int
        Block through which every way into it leads.
    latches : frozenset of int
        Blocks that jump back to the head.
    blocks : frozenset of int
        All of its blocks, those of inner loops included.
    outer : int or None
        Head of the smallest loop around it.
    """

    head: int
    latches: Set[int]
    blocks: Set[int] = field(repr=False)
    outer: int | None


def loops_of(flow: Flow) -> dict[int, Loop]:
    """Return the loops by their heads, inner ones before those around them.

    Raises
    ------
    UnreadableCode
        For code that can go round without a head that every way into the loop passes.
    """
    dominator = dominators(flow)
    order = reverse_postorder(flow.entry, flow.following)
    place = {number: position for position, number in enumerate(order)}
    latches: dict[int, set[int]] = {}
    for number, after in flow.following.items():
        for other in after:
            if place[other] > place[number]:
                continue
            if not dominates(dominator, other, number):
                raise UnreadableCode(
                    f"A loop of {flow.code.name!r} is entered at more than one place, which "
                    "compilers of structured code do not make; how often its blocks run cannot be "
                    "told.",
                    str(other),
                )
            latches.setdefault(other, set()).add(number)
    bodies = {head: _body(flow, head, back) for head, back in latches.items()}
    ordered = sorted(bodies, key=lambda head: (len(bodies[head]), head))
    found = {}
    for place, head in enumerate(ordered):
        around = (other for other in ordered[place + 1 :] if head in bodies[other])
        found[head] = Loop(
            head, frozenset(latches[head]), frozenset(bodies[head]), next(around, None)
        )
    return found


def _body(flow: Flow, head: int, latches: Set[int]) -> set[int]:
    body, waiting = {head}, list(latches)
    while waiting:
        number = waiting.pop()
        if number not in body:
            body.add(number)
            waiting += flow.preceding[number]
    return body


def dominators(flow: Flow) -> dict[int, int]:
    """Return for each block the nearest one that every way to it passes; the entry's is itself.

    Cooper, Harvey and Kennedy, A Simple, Fast Dominance Algorithm (2001), figure 3.
    """
    order = reverse_postorder(flow.entry, flow.following)
    place = {number: position for position, number in enumerate(order)}
    found = {flow.entry: flow.entry}

    def common(one: int, other: int) -> int:
        while one != other:
            while place[one] > place[other]:
                one = found[one]
            while place[other] > place[one]:
                other = found[other]
        return one

    changed = True
    while changed:
        changed = False
        for number in order[1:]:
            ways = [before for before in flow.preceding[number] if before in found]
            nearest = ways[0]
            for other in ways[1:]:
                nearest = common(nearest, other)
            if found.get(number) != nearest:
                found[number], changed = nearest, True
    return found


def dominates(dominator: Mapping[int, int], one: int, number: int) -> bool:
    """Tell whether every way to block `number` passes block `one`."""
    while number != one:
        if dominator[number] == number:
            return False
        number = dominator[number]
    return True


def innermost(loops: Mapping[int, Loop], number: int) -> Loop | None:
    """Return the smallest loop that a block lies in."""
    around = [loop for loop in loops.values() if number in loop.blocks]
    return min(around, key=lambda loop: len(loop.blocks), default=None)


def reverse_postorder(entry: int, following: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Return the nodes that can be reached, each before what follows it but for jumps back."""
    seen, order = {entry}, []
    waiting = [(entry, iter(following[entry]))]
    while waiting:
        number, after = waiting[-1]
        for other in after:
            if other not in seen:
                seen.add(other)
                waiting.append((other, iter(following[other])))
                break
        else:
            order.append(number)
            waiting.pop()
    return order[::-1]
