"""Nodes of a graph of expressions, in which equal nodes are one.

Every operation asks its graph for the node `(operator, operands)`; asking twice gives the same
node, so common subexpressions are shared as they are written, at the cost of one dictionary
look-up. Constants are plain floats. What nodes mean to Python is in
`cubie.systems.tracing.expression`.
"""

import math
import operator
from typing import Any, ClassVar, TypeAlias

import numpy as np

from cubie.systems.errors import Untraceable

# Node, float or bool: an operation on two constants is a constant.
Value: TypeAlias = Any

COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
MASK_OPERATORS = frozenset(COMPARISONS) | {"&", "|", "~"}
COMMUTATIVE = frozenset("+*&|") | {"==", "!="}
# Of finite numbers these give finite ones, however large.
BOUNDED = MASK_OPERATORS | {"neg", "fabs", "sin", "cos", "tanh", "atan", "select", "copysign"}


# Operator of a driver's call: number of the driver, order of the derivative, argument.
CALL = "interpolant"
# A vector of expressions, and a row of a constant matrix times one: number of the matrix, row,
# vector. See `cubie.systems.tracing.products`.
VECTOR, PRODUCT = "vector", "product"


class Node:
    """One node: an operator and its operands.

    Attributes
    ----------
    finite : bool
        Whether it surely is a finite number in a run that has not failed.
    """

    __slots__ = ("finite", "graph", "op", "operands", "serial")

    def __init__(self, graph, op, operands, serial):
        self.graph = graph
        self.op = op
        self.operands = operands
        self.serial = serial
        self.finite = op in ("t", "y") or (op in BOUNDED and all(map(is_finite, operands)))

    def __repr__(self):
        return f"<{describe(self)}>"


class Complex:
    """A complex number as the pair of its parts; at least one of them is a node.

    What it means to Python is in `cubie.systems.tracing.complex_numbers`.
    """

    __slots__ = ("im", "re")

    def __init__(self, re, im):
        self.re = re
        self.im = im

    def __repr__(self):
        return "<a complex expression>"


def is_complex(value):
    """Whether `value` is a complex number, plain or traced."""
    return isinstance(value, (Complex, complex, np.complexfloating))


class Nodes:
    """All nodes of one trace, and who decides when Python asks for a truth value.

    Attributes
    ----------
    nodes : dict
        Key of a node -> the node. Insertion order is a topological order.
    integers : dict
        Serial number of a parameter given as an int -> the leaf of args it came from.
    decide : callable
        Answers `bool(mask)`; the path explorer sets it.
    catching : callable
        Tells whether the code under trace catches exceptions.
    either : set of int
        Serial numbers of what is Python's in some runs and NumPy's in others: `max` of both.
    plain : set of int
        Serial numbers of nodes that are Python's own floats, which raise where NumPy's do not.
    of_numpy : set of int
        Serial numbers of nodes that a function of NumPy's returned.
    drivers : dict
        Id of a driver that was called -> its number, and the driver.
    tables : dict
        Content of a table that was looked up -> the driver made of it.
    fixed : dict
        Serial number of a parameter that is the same in all runs -> where it stands in args.
    below : dict of str to dict
        Of each question about all that is below a node: serial number -> answer.
    most_choices : int
        Samples of the largest table that is a choice of each, as it can be nothing else.
    keeps_products : bool
        Large matrices times vectors are products that are kept whole.
    matrices : list of ndarray
        Theirs, each of them once.
    make : type
        Of its nodes.
    """

    make: ClassVar[type[Node]] = Node

    def __init__(self, decide=None, catching=lambda: False):
        self.nodes = {}
        self.integers = {}
        self.decide = decide or _refuse_truth_value
        self.catching = catching
        self.plain = set()
        self.either = set()
        self.of_numpy = set()
        self.drivers = {}
        self.tables = {}
        self.fixed = {}
        self.below = {}
        self.most_choices = 0
        self.keeps_products = False
        self.matrices = []
        self._numbers = {}

    def matrix(self, values):
        """Return the number of a constant matrix, which is kept as it is now."""
        values = np.array(values, np.float64, order="C")
        key = values.shape, values.tobytes()
        number = self._numbers.setdefault(key, len(self.matrices))
        if number == len(self.matrices):
            values.flags.writeable = False
            self.matrices.append(values)
        return number

    def node(self, op, *operands):
        """Return the one node of this operator and these operands."""
        key = (op, *(a.serial if isinstance(a, Node) else _constant_key(a) for a in operands))
        if op in COMMUTATIVE and str(key[2]) < str(key[1]):
            key = (op, key[2], key[1])
        found = self.nodes.get(key)
        if found is None:
            found = self.make(self, op, operands, len(self.nodes))
            self.nodes[key] = found
        return found

    def call_driver(self, driver, order, x):
        """Return the node of a driver's value at an expression, or of a derivative of it."""
        if type(order) is not int or order < 0:
            raise Untraceable(f"a derivative of order {order!r} of an interpolant is asked for")
        if is_mask(x):
            raise Untraceable("an interpolant is called with a truth value")
        index, _ = self.drivers.setdefault(id(driver), (len(self.drivers), driver))
        return self.node(CALL, float(index), float(order), x)

    def leaf(self, kind, index=0):
        """Return the node of `t`, of state `index` or of parameter `index`."""
        key = ("leaf " + kind, index)
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = self.make(self, kind, (index,), len(self.nodes))
        return found


def _refuse_truth_value(mask):
    raise Untraceable("the truth value of an expression of the states is needed")


def _constant_key(value):
    # A string never equals a serial number, and tells 0.0 from -0.0.
    return value.hex() if type(value) is float else value


def operand(value) -> Value:
    """Return `value` as Expr, float, bool or complex, or NotImplemented for what is no number."""
    kind = type(value)
    if issubclass(kind, (Node, Complex)) or kind is float or kind is bool:
        return value
    if isinstance(value, np.ndarray):
        return operand(value.item()) if value.ndim == 0 else NotImplemented
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (complex, np.complexfloating)):
        return complex(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return NotImplemented


def is_mask(value):
    """Whether `value` is true or false, and not a number."""
    if isinstance(value, Node):
        return value.op in MASK_OPERATORS
    return type(value) is bool or type(value) is np.bool_


def graph_of(*operands):
    for a in operands:
        if isinstance(a, Node):
            return a.graph
    return None


def reachable(outputs, leaves=()):
    """Return all nodes under the outputs, operands before their users.

    What is below one of the `leaves`, serial numbers, is not looked at.
    """
    found, stack = {}, [output for output in outputs if isinstance(output, Node)]
    while stack:
        node = stack.pop()
        if node.serial not in found:
            found[node.serial] = node
            if node.serial in leaves:
                continue
            stack.extend(a for a in node.operands if isinstance(a, Node))
    return [found[serial] for serial in sorted(found)]


def is_finite(value):
    return value.finite if isinstance(value, Node) else math.isfinite(value)


def asked_below(node, question, answer):
    """Return ``answer(node, known)``; `known` holds the answers of the operands by serial number.

    A loop that asks at each turn what is below a chain that grows takes no longer for it: answers
    are kept under the name of the question.
    """
    known, stack = node.graph.below.setdefault(question, {}), [node]
    while stack:
        top = stack[-1]
        if top.serial in known:
            stack.pop()
            continue
        pending = [a for a in top.operands if isinstance(a, Node) and a.serial not in known]
        if pending:
            stack += pending
        else:
            known[top.serial] = answer(top, known)
    return known[node.serial]


def integer_leaves(expr):
    """Return the leaves of args under `expr` if all of them were given as ints, else nothing."""
    return asked_below(expr, "integers", _integers) or frozenset()


def fixed_under(values):
    """Return where in args all that some values are computed from stands.

    Nothing where one of them depends on the time, on a state, or on what differs between runs.
    """
    nodes = (value for value in values if isinstance(value, Node))
    return _all_of(asked_below(node, "fixed", _fixed) for node in nodes) or frozenset()


def _integers(node, known):
    return _leaves(node, known, node.graph.integers)


def _fixed(node, known):
    return _leaves(node, known, node.graph.fixed)


def _leaves(node, known, given):
    """Return what is given of all leaves below a node; None where one is not among them."""
    if node.op in ("t", "y", "p"):
        found = given.get(node.serial)
        return None if found is None else frozenset([found])
    return _all_of(known[a.serial] for a in node.operands if isinstance(a, Node))


def _all_of(sets):
    found = frozenset()
    for each in sets:
        if each is None:
            return None
        found |= each
    return found


def describe(expr):
    """Name an expression in an error message."""
    if expr.op == "t":
        return "the time"
    if expr.op == "y":
        return f"state {expr.operands[0]}"
    if expr.op == "p":
        return f"parameter {expr.operands[0]}"
    return "an expression of the states, the time or the parameters"
