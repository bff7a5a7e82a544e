"""Whether equations may jump where states, or what solutions are differentiated by, decide.

Derivatives are of the branch that is taken. Where both agree at the border, as those of an absolute
value or of the larger of two numbers do, nothing is missing; where they do not, the time at which
the border is crossed depends on inputs, and what it contributes is in no branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cubie.systems.system import Input
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import CALL, COMPARISONS, reachable

# Functions that jump themselves; an angle does so where it comes round.
STEPPED = frozenset({"floor", "ceil", "fmod", "copysign", "atan2"})
# Branches that are looked at; of more it is said that they may jump.
MOST_LOOKED_AT = 64


def may_jump(outputs: Sequence[Any], inputs: Sequence[Input]) -> bool:
    """Tell whether that cannot be excluded of equations, by their form."""
    parameters = {one.number for one in inputs if not one.is_initial}
    moved: set[int] = set()  # nodes that depend on states or inputs
    looked_at = 0
    for node in reachable(outputs):
        of_inputs = node.op == "p" and node.operands[0] in parameters
        if node.op == "y" or of_inputs or _any_in(node.operands, moved):
            moved.add(node.serial)
        if node.op in STEPPED and _any_in(node.operands, moved):
            return True
        if node.op == CALL and _any_in(node.operands[2:], moved):
            return True  # a step of a driver comes at another time
        if node.op == "select" and _any_in(node.operands[:1], moved):
            looked_at += 1
            if looked_at > MOST_LOOKED_AT or not _agree(*node.operands):
                return True
    return False


def _any_in(operands: Sequence[Any], serials: set[int]) -> bool:
    return any(type(a) is Expr and a.serial in serials for a in operands)


def _agree(mask: Any, first: Any, second: Any) -> bool:
    """Tell whether two branches are surely equal at the border of a mask."""
    if type(mask) is not Expr or mask.op not in COMPARISONS:
        return False
    a, b = mask.operands
    if a is b:  # whether it is a number
        return True
    moved, stays = (a, b) if type(a) is Expr else (b, a)
    known: dict[int, Any] = {moved.serial: stays}
    return _same(_replaced(first, known), _replaced(second, known))


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is float and type(b) is float and a == b)


def _replaced(value: Any, known: dict[int, Any]) -> Any:
    """Return an expression with nodes replaced by what is `known` of them."""
    if type(value) is not Expr:
        return value
    for node in reachable([value], set(known)):
        if node.serial not in known:
            operands = [known.get(a.serial, a) if type(a) is Expr else a for a in node.operands]
            changed = any(new is not old for new, old in zip(operands, node.operands, strict=True))
            known[node.serial] = node.graph.node(node.op, *operands) if changed else node
    return known[value.serial]
