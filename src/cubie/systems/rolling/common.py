"""Values that several outputs need: which of them are worth keeping, and how they are computed.

Where rows of a network all read tanh of the same states, loops over rows would compute each anew
for every row. Kept in an array, they are computed once, themselves in loops where they are alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import frozen

from cubie.systems.rolling.shapes import LONG_SUM, AsLeaf, Shapes, needed_for, nodes_cost
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import MASK_OPERATORS, Value

# Of an array that a function stores them in, and the name that it has in generated text.
COMMON = "_common"
# Without what is cheap other values have more users, and cost more.
MOST_ROUNDS = 4
# Forms that need each other in turns are so many classes for so many values at most, where their
# values can be computed form by form: a norm, then what is divided by it, then sums of that.
VALUES_OF_EACH = 4
SEVERAL = -1


@frozen(eq=False)
class Class:
    """Values of one form.

    Attributes
    ----------
    members : tuple of Expr
        In an order in which each needs only members before it.
    in_order : bool
        They need each other.
    is_alike : bool
        They are of one form; not so where several forms need each other in turns.
    """

    members: tuple[Expr, ...]
    in_order: bool
    is_alike: bool = True


def common_values(
    outputs: Sequence[Value], as_leaf: AsLeaf, most: int, most_cheap: int
) -> list[Class]:
    """Return values to keep, in an order in which each class needs only classes before it.

    Parameters
    ----------
    outputs : sequence of Expr or float
    as_leaf : callable
    most : int
        Nothing is returned where there would be more.
    most_cheap : int
        What costs no more is computed anew.
    """
    cheap: set[int] = set()
    classes: list[Class] = []
    for _ in range(MOST_ROUNDS):
        chosen = _used_by_several(outputs, as_leaf, cheap)
        if not chosen:
            return []
        chosen = _with_others_alike(outputs, chosen, as_leaf)
        classes = _classes(chosen, as_leaf)
        too_cheap = [each for each in classes if _cost(each, chosen, as_leaf) <= most_cheap]
        if not too_cheap:
            break
        cheap |= {node.serial for each in too_cheap for node in each.members}
    return classes if sum(len(each.members) for each in classes) <= most else []


def beside(as_leaf: AsLeaf, kept: dict[int, int]) -> AsLeaf:
    """Return ``as_leaf`` for which what is kept, by serial number, is an element of `COMMON`."""

    def with_common(node: Expr) -> tuple[str, int] | None:
        slot = kept.get(node.serial)
        return as_leaf(node) if slot is None else (COMMON, slot)

    return with_common


def _used_by_several(outputs: Sequence[Value], as_leaf: AsLeaf, cheap: set[int]) -> dict[int, Expr]:
    """Return values that several outputs, or other such values, need, by serial number."""
    user: dict[int, int] = {}  # of a node; outputs are counted behind all nodes
    nodes = needed_for(outputs, as_leaf)
    beyond = nodes[-1].serial + 1 if nodes else 0
    for row, output in enumerate(outputs):
        if type(output) is Expr:
            known = user.setdefault(output.serial, beyond + row)
            if known != beyond + row:
                user[output.serial] = SEVERAL
    chosen = {}
    for node in reversed(nodes):
        if as_leaf(node) is not None:
            continue
        mine = user[node.serial]
        if mine == SEVERAL and node.serial not in cheap and node.op not in MASK_OPERATORS:
            chosen[node.serial], mine = node, node.serial
        for operand in node.operands:
            if type(operand) is Expr and user.setdefault(operand.serial, mine) != mine:
                user[operand.serial] = SEVERAL
    return dict(sorted(chosen.items()))


def _with_others_alike(
    outputs: Sequence[Value], chosen: dict[int, Expr], as_leaf: AsLeaf
) -> dict[int, Expr]:
    """Return also what only one output needs, where most that are like it are chosen.

    Rows at an edge, or of few neighbours, are then like others.
    """
    inner = beside(as_leaf, dict.fromkeys(chosen, 0))
    operators = {node.op for node in chosen.values()}
    nodes = needed_for([*chosen.values(), *outputs], inner, defines=True)
    if all(node.op not in operators or node.serial in chosen for node in nodes):
        return chosen
    shapes = Shapes([*chosen.values(), *outputs], inner, LONG_SUM, defines=True)
    counts = Counter(shapes.of_output(node).outer for node in chosen.values())
    others: dict[int, list[Expr]] = {}
    for node in shapes.nodes:
        if inner(node) is None and node.op not in MASK_OPERATORS:
            outer = shapes.of(node).outer
            if outer in counts:
                others.setdefault(outer, []).append(node)
    found = dict(chosen)
    for outer, alike in others.items():
        if len(alike) <= counts[outer]:
            found |= {node.serial: node for node in alike}
    return dict(sorted(found.items()))


def _classes(chosen: dict[int, Expr], as_leaf: AsLeaf) -> list[Class]:
    """Return values by their forms, each class behind those that it needs."""
    inner = beside(as_leaf, dict.fromkeys(chosen, 0))
    shapes = Shapes([*chosen.values()], inner, LONG_SUM, defines=True)
    alike: dict[int, list[Expr]] = {}
    for node in chosen.values():
        alike.setdefault(shapes.of_output(node).outer, []).append(node)
    form_of: dict[int, int] = {node.serial: form for form, nodes in alike.items() for node in nodes}
    needs = {
        form: {form_of[serial] for serial in _read_by(nodes, inner) if serial in form_of}
        for form, nodes in alike.items()
    }
    found = []
    for forms in _in_turn(needs):
        members = [node for form in forms for node in alike[form]]
        members.sort(key=lambda node: node.serial)
        in_order = len(forms) > 1 or forms[0] in needs[forms[0]]
        by_level = _by_level(members, form_of, inner) if in_order else []
        if by_level and len(by_level) * VALUES_OF_EACH <= len(members):
            found += [Class(tuple(alike), False) for alike in by_level]
        else:
            found.append(Class(tuple(members), in_order, len(forms) == 1))
    return found


def _by_level(
    members: Sequence[Expr], form_of: Mapping[int, int], as_leaf: AsLeaf
) -> list[list[Expr]]:
    """Return members in classes of one form that need classes before them alone.

    Those that the longest chain to has as many others on it are of one class.
    """
    own = {node.serial for node in members}
    level: dict[int, int] = {}
    for node in needed_for(members, as_leaf, defines=True):
        if node.serial in own or as_leaf(node) is None:
            below = [a.serial for a in node.operands if type(a) is Expr and a.serial in level]
            level[node.serial] = max(
                (level[serial] + (serial in own) for serial in below), default=0
            )
    classes: dict[tuple[int, int], list[Expr]] = {}
    for node in members:
        classes.setdefault((level[node.serial], form_of[node.serial]), []).append(node)
    return [classes[key] for key in sorted(classes)]


def _read_by(nodes: Sequence[Expr], as_leaf: AsLeaf) -> set[int]:
    """Return the serial numbers of leaves that computing some nodes takes."""
    stack, seen, read = list(nodes), set(), set()
    while stack:
        for operand in stack.pop().operands:
            if type(operand) is not Expr or operand.serial in seen:
                continue
            if as_leaf(operand) is not None:
                read.add(operand.serial)
                continue
            seen.add(operand.serial)
            stack.append(operand)
    return read


def _cost(each: Class, chosen: dict[int, Expr], as_leaf: AsLeaf) -> float:
    """Return what computing a value costs, from what is kept of others."""
    if each.in_order:
        return math.inf
    first = each.members[0]
    read = [a for a in first.operands if type(a) is Expr]
    if first.op in ("neg", "*") and len(read) == 1 and read[0].serial in chosen:
        return 0  # of one that is kept: as a term of a sum it needs none of its own
    inner = needed_for([first], beside(as_leaf, dict.fromkeys(chosen, 0)), defines=True)
    own = [node for node in inner if node is first or node.serial not in chosen]
    return nodes_cost(own, as_leaf)


def _in_turn(needs: Mapping[int, set[int]]) -> list[list[int]]:
    """Return what needs each other together, behind all that it needs (Tarjan, 1972)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    over: set[int] = set()
    found: list[list[int]] = []
    for root in needs:
        stack = [] if root in number else [(root, iter(sorted(needs[root])))]
        for form, _ in stack:
            number[form] = low[form] = len(number)
            path.append(form)
        while stack:
            form, pending = stack[-1]
            for other in pending:
                if other not in number:
                    number[other] = low[other] = len(number)
                    path.append(other)
                    stack.append((other, iter(sorted(needs[other]))))
                    break
                if other not in over:
                    low[form] = min(low[form], number[other])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[form])
                if low[form] == number[form]:
                    at = path.index(form)
                    found.append(sorted(path[at:]))
                    over.update(path[at:])
                    del path[at:]
    return found
