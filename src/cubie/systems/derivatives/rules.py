"""Derivatives of a system by forward accumulation on its expression graph.

Every node's partial derivatives with respect to its operands are nodes of the same graph, so what
the right-hand side and several derivatives have in common is computed once. SymPy would see trees
in place of the graph, and costs more to import than a compiled solve from the cache.

At the edge of their domain some functions have a value, and an infinite derivative: sqrt and
powers below one at zero, arcsin and arccos at one. There its stand-in is zero. So ``x * sqrt(x)``
and ``sqrt(v * v)`` have finite derivatives at zero, as they should, not 0 * inf. Where a derivative
truly is infinite, a step goes past the edge as an explicit one does: what a huge number in its
place would hide from the stages of a step, and so from its error estimate, they see.
"""

import math
from collections import Counter

from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arithmetic import add, call, compare, div, mul, neg, select, sub
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import CALL, MASK_OPERATORS, PRODUCT, VECTOR, reachable
from cubie.systems.tracing.operations import digamma

_CONSTANT_BETWEEN_JUMPS = frozenset({"floor", "ceil"})
# Values that depend on so many states, and that so many others need, are differentiated by, as
# states are, where there are few of them: one for so many states at most.
WIDE, SHARED, STATES_OF_EACH = 8, 8, 8


def partials(node):
    """Return the derivative of a node with respect to each operand."""
    rule = _RULES.get(node.op)
    if rule is None:
        raise NotImplementedError(f"no derivative is known for `{node.op}`")
    return rule(node, *node.operands)


def _power_partials(node, a, b):
    if type(b) is float and b >= 1.0:
        return mul(b, ex.power(a, sub(b, 1.0))), 0.0
    at_edge = compare("==", a, 0.0)
    infinite = ex.logical_and(at_edge, compare("<", b, 1.0))
    inside = select(infinite, 1.0, a)
    with_base = select(infinite, 0.0, mul(b, ex.power(inside, sub(b, 1.0))))
    if type(b) is float:
        return with_base, 0.0
    # 0**b stays 0 for every b > 0, though the logarithm is infinite there.
    return with_base, mul(node, call("log", select(at_edge, 1.0, a)))


def _half_power(node):
    """Return (a, b) of a product that is a**b, b an integer and a half; None of any other node.

    Its derivative is a power again: no division, and no edge.
    """
    if node.op != "*":
        return None
    for root, whole in (node.operands, node.operands[::-1]):
        if type(root) is Expr and root.op == "sqrt":
            exponent = _whole_exponent(whole, root.operands[0])
            if exponent:
                return root.operands[0], exponent + 0.5
    return None


def _whole_exponent(node, base):
    """Return b of a node that is base**b, made of products; 0 if it is none."""
    if node is base:
        return 1
    if type(node) is not Expr or node.op != "*":
        return 0
    first = _whole_exponent(node.operands[0], base)
    second = first and _whole_exponent(node.operands[1], base)
    return first + second if second else 0


def _quotient_partials(node, a, b):
    inverse = div(1.0, b)
    return inverse, neg(mul(node, inverse)) if type(b) is Expr else 0.0


def _angle_partials(node, a, b):
    square = add(mul(a, a), mul(b, b))
    square = select(compare("==", square, 0.0), 1.0, square)
    return div(b, square), neg(div(a, square))


def _branches(node) -> tuple | None:
    """Return (mask, operand where it holds, operand elsewhere) of a node that takes one of two.

    The derivative is that of the operand taken; multiplying by 1 or 0 instead would let an
    infinite derivative of the other one in. At a kink it is one of the one-sided derivatives.
    """
    if node.op == "select":
        return node.operands
    if node.op == "fabs":
        (a,) = node.operands
        return compare("<", a, 0.0), neg(a), a
    if node.op in ("minimum", "maximum"):
        a, b = node.operands
        return compare("<" if node.op == "minimum" else ">", a, b), a, b
    return None


def _circle(a):
    return call("sqrt", sub(1.0, mul(a, a)))


def _bell(a):
    """Return the derivative of erf."""
    return mul(2.0 / math.sqrt(math.pi), call("exp", neg(mul(a, a))))


def _inside(numerator, denominator):
    """Return the quotient, and zero where the denominator is zero: at the edge of a domain."""
    at_edge = compare("==", denominator, 0.0)
    return div(select(at_edge, 0.0, numerator), select(at_edge, 1.0, denominator))


_RULES = {
    "+": lambda node, a, b: (1.0, 1.0),
    "-": lambda node, a, b: (1.0, -1.0),
    "*": lambda node, a, b: (b, a),
    "/": _quotient_partials,
    "neg": lambda node, a: (-1.0,),
    "pow": _power_partials,
    "exp": lambda node, a: (node,),
    "expm1": lambda node, a: (call("exp", a),),
    "log": lambda node, a: (div(1.0, a),),
    "log1p": lambda node, a: (div(1.0, add(1.0, a)),),
    "sqrt": lambda node, a: (_inside(0.5, node),),
    "sin": lambda node, a: (call("cos", a),),
    "cos": lambda node, a: (neg(call("sin", a)),),
    "tan": lambda node, a: (add(1.0, mul(node, node)),),
    "asin": lambda node, a: (_inside(1.0, _circle(a)),),
    "acos": lambda node, a: (_inside(-1.0, _circle(a)),),
    "atan": lambda node, a: (div(1.0, add(1.0, mul(a, a))),),
    "atan2": _angle_partials,
    "sinh": lambda node, a: (call("cosh", a),),
    "cosh": lambda node, a: (call("sinh", a),),
    "tanh": lambda node, a: (sub(1.0, mul(node, node)),),
    "erf": lambda node, a: (_bell(a),),
    "erfc": lambda node, a: (neg(_bell(a)),),
    "gamma": lambda node, a: (mul(node, digamma(a)),),
    "lgamma": lambda node, a: (digamma(a),),
    "asinh": lambda node, a: (div(1.0, call("sqrt", add(mul(a, a), 1.0))),),
    "acosh": lambda node, a: (_inside(1.0, call("sqrt", sub(mul(a, a), 1.0))),),
    "atanh": lambda node, a: (div(1.0, sub(1.0, mul(a, a))),),
    "log2": lambda node, a: (div(1.0 / math.log(2.0), a),),
    "log10": lambda node, a: (div(1.0 / math.log(10.0), a),),
    "fmod": lambda node, a, b: (1.0, div(sub(node, a), b) if type(b) is Expr else 0.0),
    "copysign": lambda node, a, b: (mul(call("copysign", 1.0, a), call("copysign", 1.0, b)), 0.0),
}
# A call of a driver: its number, the order of the derivative, and the argument.
_RULES[CALL] = lambda node, k, order, x: (0.0, 0.0, x.graph.node(CALL, k, order + 1.0, x))
for _op in _CONSTANT_BETWEEN_JUMPS:
    _RULES[_op] = lambda node, a: (0.0,)


def _accumulate(outputs, seeds, space, ends=None):
    """Return the derivative of each output, carried forward from the leaves; None for zero.

    Parameters
    ----------
    seeds : mapping of serial number to derivative
        Of the leaves that something depends on.
    space : _Numbers or _Gradients
        How derivatives are added up.
    ends : dict of serial number to derivative, optional
        Nodes that are leaves to their users, whose derivatives these are. Their own replace them.
    """
    known, nodes, ends = dict(seeds), reachable(outputs, seeds), ends or {}
    uses = Counter(a.serial for node in nodes for a in node.operands if type(a) is Expr)
    uses.update(output.serial for output in outputs if type(output) is Expr)

    def of(value):
        return known.get(value.serial) if type(value) is Expr else None

    for node in nodes:
        if node.serial in known or node.op in MASK_OPERATORS:
            continue
        choice, power = _branches(node), _half_power(node)
        if power is not None:
            base, exponent = power
            slope = mul(exponent, ex.power(base, exponent - 1.0))
            inner = of(base)
            result = None if inner is None else space.combine([(slope, inner)])
        elif choice is not None:
            mask, a, b = choice
            # |a| is a choice between a and -a, which may be no node of the outputs.
            da = space.negative(of(b)) if node.op == "fabs" else of(a)
            result = space.choose(mask, da, of(b))
        elif node.op == VECTOR:
            result = space.vector(node, [of(a) for a in node.operands])
        elif node.op == PRODUCT:
            number, row, vector = node.operands
            of_vector = of(vector)
            result = None if of_vector is None else node.graph.node(PRODUCT, number, row, of_vector)
        else:
            derivatives = [of(a) for a in node.operands]
            if all(d is None for d in derivatives):
                continue
            pairs = zip(partials(node), derivatives, strict=True)
            terms = [(f, d) for f, d in pairs if d is not None]
            # A sum of many terms grows into the next one, where nothing else needs it.
            grows = node.op in ("+", "-") and derivatives[0] is not None
            first = node.operands[0].serial if grows else None
            grows = grows and uses[first] == 1 and first not in seeds
            if grows:
                del known[first]
            result = space.combine(terms, grows)
        if node.serial in ends:
            result, ends[node.serial] = ends[node.serial], result
        if result is not None:
            known[node.serial] = result
    return [of(output) for output in outputs]


class _Numbers:
    """Derivatives along one direction: one number a node."""

    @staticmethod
    def combine(terms, may_change_first=False):
        total = 0.0
        for factor, derivative in terms:
            total = add(total, mul(factor, derivative))
        return None if _is_zero(total) else total

    @staticmethod
    def choose(mask, a, b):
        chosen = select(mask, 0.0 if a is None else a, 0.0 if b is None else b)
        return None if _is_zero(chosen) else chosen

    @staticmethod
    def negative(a):
        return None if a is None else neg(a)

    @staticmethod
    def vector(node, derivatives):
        if all(d is None for d in derivatives):
            return None
        return node.graph.node(VECTOR, *(0.0 if d is None else d for d in derivatives))


class _Gradients:
    """Derivatives by all states: {column: number} a node."""

    @staticmethod
    def combine(terms, may_change_first=False):
        total = {}
        for number, (factor, gradient) in enumerate(terms):
            if not total and type(factor) is float and factor == 1.0:
                total = gradient if may_change_first and number == 0 else dict(gradient)
                continue
            for column, derivative in gradient.items():
                value = add(total.get(column, 0.0), mul(factor, derivative))
                if _is_zero(value):
                    total.pop(column, None)
                else:
                    total[column] = value
        return total or None

    @staticmethod
    def choose(mask, a, b):
        a, b = a or {}, b or {}
        columns = sorted(a.keys() | b.keys())
        return _without_zeros({c: select(mask, a.get(c, 0.0), b.get(c, 0.0)) for c in columns})

    @staticmethod
    def negative(a):
        return None if a is None else {column: neg(value) for column, value in a.items()}

    @staticmethod
    def vector(node, derivatives):
        if all(d is None for d in derivatives):
            return None
        raise NotImplementedError("products are differentiated by, or expanded before")


def _without_zeros(gradient):
    return {column: value for column, value in gradient.items() if not _is_zero(value)} or None


def _is_zero(value):
    return type(value) is float and value == 0.0


def tangents(outputs, seeds):
    """Return the derivative of each output along one direction.

    Parameters
    ----------
    outputs : sequence of Expr or float
    seeds : mapping of Expr to (Expr or float)
        Leaf -> its component of the direction.
    """
    by_serial = {leaf.serial: value for leaf, value in seeds.items()}
    results = _accumulate(outputs, by_serial, _Numbers)
    return [0.0 if result is None else result for result in results]


def sparse_jacobian(outputs, states):
    """Return {(row, column): derivative} of all entries that are not zero for all arguments.

    What many rows need and depends on many states, such as a mean or a norm, is differentiated by
    as a state is, and by the chain rule once for each entry. Else each of n terms of a row would
    bring as many derivatives: n**3 products for n rows.

    Parameters
    ----------
    outputs : sequence of Expr or float
    states : sequence of Expr
        Leaves to differentiate by.
    """
    n = len(states)
    seeds = {leaf.serial: {column: 1.0} for column, leaf in enumerate(states)}
    ends = {serial: {n + k: 1.0} for k, serial in enumerate(_shared_by_many(outputs, states))}
    rows = [gradient or {} for gradient in _accumulate(outputs, seeds, _Gradients, ends)]
    of_shared = []
    for gradient in ends.values():
        of_shared.append(_by_states(gradient or {}, n, of_shared))
    rows = [_by_states(gradient, n, of_shared) for gradient in rows]
    return by_columns({(row, c): rows[row][c] for row in range(len(rows)) for c in rows[row]})


def _by_states(gradient, n, of_shared):
    """Return a gradient by the first `n` columns, with those of values of the columns behind."""
    terms = [(1.0, {column: value for column, value in gradient.items() if column < n})]
    terms += [(gradient[n + k], each) for k, each in enumerate(of_shared) if n + k in gradient]
    return terms[0][1] if len(terms) == 1 else _Gradients.combine(terms) or {}


def _shared_by_many(outputs, states):
    """Return the serial numbers of values that many others need and that depend on many states."""
    nodes = reachable(outputs, {leaf.serial for leaf in states})
    uses = Counter(a.serial for node in nodes for a in node.operands if type(a) is Expr)
    under = {leaf.serial: 1 << column for column, leaf in enumerate(states)}  # sets, as bits
    found = []
    for node in nodes:
        if node.serial in under or node.op in MASK_OPERATORS:
            continue
        below = 0
        for a in node.operands:
            below |= under.get(a.serial, 0) if type(a) is Expr else 0
        if uses[node.serial] >= SHARED and below.bit_count() >= WIDE:
            below = 1 << (len(states) + len(found))
            found.append(node.serial)
        under[node.serial] = below
    return found if STATES_OF_EACH * len(found) <= len(states) else []


def by_columns(entries):
    """Return the entries of a matrix, {(row, column): value}, column after column."""
    return {place: entries[place] for place in sorted(entries, key=lambda place: place[::-1])}
