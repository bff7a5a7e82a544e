"""Blocks for slow cases: a subnormal denominator, an argument out of range.

The compiler has functions of its own for them, which it calls behind a test. A usual way goes
past such a call wherever it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from cubie_planner.assembler.blocks import Flow
from cubie_planner.assembler.loops import Loop, dominators, innermost, reverse_postorder

_OWN = ("__cuda_sm", "__internal")


def slow_blocks(flow: Flow, loops: Mapping[int, Loop]) -> frozenset[int]:
    """Return blocks that call a function of the compiler's own, and those only behind them.

    A call that every way through its loop passes is none of them.
    """
    calls = [number for number, labels in flow.calls.items() if any(map(is_own, labels))]
    avoidable = [n for n in calls if _can_be_passed(flow, innermost(loops, n), n)]
    dominator = dominators(flow)
    slow: set[int] = set(avoidable)
    for number in reverse_postorder(flow.entry, flow.following):
        if dominator[number] in slow:
            slow.add(number)
    return frozenset(slow)


def is_own(label: str) -> bool:
    """Tell a function of the compiler's own by its label."""
    return any(part in label for part in _OWN)


def _can_be_passed(flow: Flow, loop: Loop | None, call: int) -> bool:
    """Tell whether a way round the loop, or through the function, leads past a block."""
    head = flow.entry if loop is None else loop.head
    inside: Set[int] = flow.blocks.keys() if loop is None else loop.blocks
    seen, waiting = {call, head}, [head] if head != call else []
    while waiting:
        number = waiting.pop()
        after = flow.following[number]
        if number in loop.latches if loop else not after:
            return True
        for other in after:
            if other in inside and other not in seen:
                seen.add(other)
                waiting.append(other)
    return False
