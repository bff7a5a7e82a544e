"""Which outputs become loops, and which stay text: where loops are much shorter and cost little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import evolve, field, frozen

from cubie.systems.rolling.common import Class, beside, common_values
from cubie.systems.rolling.groups import Bodies, Group, Matcher, Unlike
from cubie.systems.rolling.shapes import (
    COSTS,
    LARGEST,
    LONG_SUM,
    AsLeaf,
    Shapes,
    needed_for,
    nodes_cost,
)
from cubie.systems.tracing.expression import Expr, Graph
from cubie.systems.tracing.nodes import Value, reachable

# Text of fewer operations is compiled soon, and is the fastest.
LEAST_OPERATIONS = 500
# Loops compute anew what text shares between rows, and look up which of several kinds a term is.
# So many times the cost of text they may have at most, of text of more than so many operations: a
# compiler takes about a second for a thousand.
MOST_COSTS = ((20_000, 8.0), (10_000, 3.0), (2500, 2.0), (0, 1.1))
# Text of so many operations is read from memory beyond the nearest cache, and keeps no value in a
# register for long: loops that take 1.6 more additions for each of them are still the faster ones.
LEAST_SLOW, MORE_ADDITIONS = 1500, 1.6
COST_OF_A_KIND = 4
# What rows have in common is kept, in memory that every run needs, where text would be as long,
# and loops would cost more by far without; not where there is more of it than that.
LEAST_WITH_COMMON, MOST_OF_COST, MOST_COMMON = LEAST_SLOW, 0.75, 8
COST_OF_KEEPING = 2
# Reading what costs so little is no cheaper than computing it anew; but rows that read it may be
# alike where those that compute it are not.
CHEAP = (2, 0)
# Of so many operations text may be at most, beside those of all rows.
MOST_TEXT = 0.25
# A loop replaces so many operations at least.
LEAST_IN_LOOP = 48
ANY_SUM = 1
LARGEST_BODY = 300
# Rows whose indices follow one another need no tables.
LEAST_RUN, LEAST_SHARE_OF_RUN = 16, 0.25


@frozen(eq=False)
class Part:
    """Values that are computed together.

    Attributes
    ----------
    values : sequence of Expr or float
    first : int
        Where the first of them goes.
    is_common : bool
        They go to the array of what outputs have in common.
    groups : tuple of Group
        Loops; their rows are where values go.
    rest : tuple of int
        Where those go that are in no loop.
    """

    values: Sequence[Value]
    first: int
    is_common: bool
    groups: tuple[Group, ...]
    rest: tuple[int, ...]


@frozen(eq=False)
class Rolled:
    """Outputs as loops.

    Attributes
    ----------
    graph : Graph
        Of the bodies.
    parts : tuple of Part
        In this order; the outputs are the last.
    kept : dict of int to int
        Where values are kept that outputs have in common, by their serial number.
    """

    graph: Graph
    parts: tuple[Part, ...]
    kept: dict[int, int] = field(factory=dict)


def rolled(
    outputs: Sequence[Value],
    as_leaf: AsLeaf,
    most_common: int = 0,
    first_common: int = 0,
    always: bool = False,
) -> Rolled | None:
    """Return outputs as loops; None where straight-line text serves better.

    Parameters
    ----------
    outputs : sequence of Expr or float
    as_leaf : callable
        ``as_leaf(node)``: of which array a node is an element, and which; None for what is
        computed. The time is of an array "t".
    most_common : int
        How many values may be kept that outputs have in common.
    first_common : int
        Where the first of them goes.
    always : bool
        Loops, where there can be any, for however few operations.
    """
    nodes = [node for node in reachable(outputs) if as_leaf(node) is None]
    n_operations = len(nodes) + len(outputs)
    if n_operations < (LEAST_IN_LOOP if always else LEAST_OPERATIONS):
        return None
    cost_of_text = nodes_cost(nodes, as_leaf) + len(outputs)
    most_cost = cost_of_text * next(factor for least, factor in MOST_COSTS if len(nodes) >= least)
    if len(nodes) >= LEAST_SLOW:
        most_cost = max(most_cost, cost_of_text + MORE_ADDITIONS * n_operations)
    most_text = MOST_TEXT * n_operations

    def cost_of(found: Rolled | None) -> float:
        """Return infinity for what does not pay."""
        if found is None:
            return math.inf
        text, cost = _text_and_cost(found, as_leaf)
        return cost if text <= most_text and cost <= most_cost else math.inf

    def keeping(most_cheap: int) -> Rolled | None:
        if not most_common or len(nodes) < LEAST_WITH_COMMON:
            return None
        classes = common_values(outputs, as_leaf, most_common, most_cheap)
        return _with_common(outputs, as_leaf, classes, first_common, Bodies(most_cost))

    with_common = keeping(CHEAP[0])
    least = cost_of(with_common)
    if least < math.inf and least <= MOST_OF_COST * _cost_of_trees(outputs, nodes):
        return with_common
    bodies = Bodies(most_cost)
    found = Rolled(bodies.graph, (_part(outputs, as_leaf, bodies),))
    cost = cost_of(found)
    if cost < math.inf and (least == math.inf or least > MOST_OF_COST * cost):
        return found
    alike = keeping(CHEAP[1])
    if cost_of(alike) < least:
        return alike
    return with_common if least < math.inf else None


def _with_common(
    outputs: Sequence[Value], as_leaf: AsLeaf, classes: list[Class], first: int, bodies: Bodies
) -> Rolled | None:
    """Return outputs as loops that read what they have in common from an array."""
    if not classes:
        return None
    members = [node for each in classes for node in each.members]
    kept: dict[int, int] = {node.serial: slot for slot, node in enumerate(members, first)}
    inner, parts = beside(as_leaf, kept), []
    for each in classes:
        parts.append(_common_part(each, first, inner, bodies))
        first += len(each.members)
    return Rolled(bodies.graph, (*parts, _part(outputs, inner, bodies)), kept)


def _common_part(each: Class, first: int, as_leaf: AsLeaf, bodies: Bodies) -> Part:
    """Return values of one class, which go to places from the first on."""
    values = each.members
    if each.in_order:
        groups, rest = _in_order(each, as_leaf, bodies)
    else:
        part = _part(values, as_leaf, bodies, True)
        groups, rest = part.groups, part.rest
    groups = tuple(evolve(group, rows=group.rows + first) for group in groups)
    return Part(values, first, True, groups, tuple(row + first for row in rest))


def _in_order(
    each: Class, as_leaf: AsLeaf, bodies: Bodies
) -> tuple[tuple[Group, ...], Sequence[int]]:
    """Return a loop of values that need those before them; or all of them as text."""
    values, rows = each.members, range(len(each.members))
    shapes = Shapes(values, as_leaf, LONG_SUM, True)
    facts = shapes.of_output(values[0])
    size = sum(shapes.of_output(value).size + 1 for value in values)
    if not each.is_alike or facts.outer_size > LARGEST_BODY or size < LEAST_IN_LOOP:
        return (), rows
    try:
        group = Matcher(bodies, shapes, as_leaf).group(rows, values)
    except Unlike:
        return (), rows
    return (evolve(group, in_order=True),), ()


def _part(
    values: Sequence[Value], as_leaf: AsLeaf, bodies: Bodies, is_common: bool = False
) -> Part:
    """Return values in loops, as far as they can be; none needs another."""
    groups, rest, text = [], list(range(len(values))), []
    for long_sum in (LONG_SUM, ANY_SUM):
        shapes = Shapes([values[row] for row in rest], as_leaf, long_sum, is_common)
        found, rest, left = _groups(rest, values, shapes, Matcher(bodies, shapes, as_leaf))
        groups += found
        text += left
    return Part(values, 0, is_common, tuple(groups), tuple(sorted(rest + text)))


def _groups(
    rows: list[int], outputs: Sequence[Value], shapes: Shapes, matcher: Matcher
) -> tuple[list[Group], list[int], list[int]]:
    """Return groups of some rows, those that are in none, and those that are too costly for any."""
    alike: dict[int, list[int]] = {}
    for row in rows:
        alike.setdefault(shapes.of_output(outputs[row]).outer, []).append(row)
    groups, rest, too_costly = [], [], []
    for members in alike.values():
        facts = shapes.of_output(outputs[members[0]])
        # Matching takes as long as computing.
        if _size(members, outputs, shapes) > matcher.most_cost:
            too_costly += members
            continue
        if facts.outer_size > LARGEST_BODY:
            rest += members
            continue
        found, left = _in_runs(members, outputs, shapes, matcher)
        groups += found
        rest += left
    return groups, sorted(rest), too_costly


def _in_runs(
    members: list[int], outputs: Sequence[Value], shapes: Shapes, matcher: Matcher
) -> tuple[list[Group], list[int]]:
    """Return groups of rows of equal shape; those without tables by themselves."""
    groups = []
    while _size(members, outputs, shapes) >= LEAST_IN_LOOP:
        try:
            group = matcher.group(members, outputs)
        except Unlike:
            break
        begin, end = _longest_run(group)
        enough = max(LEAST_RUN, LEAST_SHARE_OF_RUN * len(members))
        if not enough <= end - begin < len(members):
            return [*groups, group], []
        groups.append(matcher.group(members[begin:end], outputs))
        members = members[:begin] + members[end:]
    return groups, members


def _size(members: list[int], outputs: Sequence[Value], shapes: Shapes) -> int:
    return sum(shapes.of_output(outputs[row]).size + 1 for row in members)


def _longest_run(group: Group) -> tuple[int, int]:
    """Return the first row of the longest run of rows whose indices grow evenly, and its end."""
    n = len(group.rows)
    if n < 3:
        return 0, n
    indices = [group.rows.reshape(n, 1)]
    in_sums = {slot for each in group.sums for kind in each.kinds for slot in kind.slots}
    irregular = {
        slot
        for each in group.sums
        for kind in each.kinds
        for slot in kind.slots
        if not each.n_terms_of_each
    }
    for slot, column in group.columns.items():
        if column.array and slot not in irregular:
            width = len(column.values) // n if slot in in_sums else 1
            indices.append(column.values.reshape(n, width))
    differences = np.diff(np.concatenate(indices, axis=1), axis=0)
    goes_on = (differences[1:] == differences[:-1]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], goes_on.astype(np.int8), [0]])))
    if not len(edges):
        return 0, 0
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    return int(begins[longest]), int(ends[longest]) + 2


def _cost_of_trees(outputs: Sequence[Value], nodes: list[Expr]) -> int:
    """Return what outputs cost if each computes all that it needs, as loops do."""
    costs: dict[int, int] = {}
    for node in nodes:
        own = COSTS.get(node.op, 1)
        below = [costs.get(a.serial, 0) for a in node.operands if type(a) is Expr]
        costs[node.serial] = min(LARGEST, own + sum(below))
    return sum(costs.get(output.serial, 0) for output in outputs if type(output) is Expr)


def _text_and_cost(result: Rolled, as_leaf: AsLeaf) -> tuple[int, int]:
    """Return how many operations stand in the text, and what all of them cost."""
    inner = beside(as_leaf, result.kept)
    text, cost = 0, COST_OF_KEEPING * len(result.kept)
    for part in result.parts:
        values = [part.values[place - part.first] for place in part.rest]
        written = needed_for(values, inner, part.is_common)
        text += len(written) + len(values)
        cost += nodes_cost(written, as_leaf if part.is_common else inner)
        for group in part.groups:
            more_text, more_cost = _of_group(group)
            text, cost = text + more_text, cost + more_cost
    return text, cost


def _of_group(group: Group) -> tuple[int, int]:
    no_leaf = {"slot", "t"}

    def of_body(body: Value) -> list[Expr]:
        return [node for node in reachable([body]) if node.op not in no_leaf]

    def cost_of(body: list[Expr]) -> int:
        return nodes_cost(body, lambda node: None)

    body = of_body(group.body)
    text, cost = len(body) + 1, len(group.rows) * cost_of(body)
    for each in group.sums:
        counts = np.bincount(each.kind_of, minlength=len(each.kinds))
        is_known = len(each.kinds) == 1 or bool(each.segments)
        for kind, count in zip(each.kinds, counts.tolist(), strict=True):
            body = of_body(kind.body)
            text += len(body) + 1
            cost += count * (cost_of(body) + (1 if is_known else COST_OF_A_KIND))
    return text, cost
