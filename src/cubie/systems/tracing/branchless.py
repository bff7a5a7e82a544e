"""`if` statements as choices between values, where following each both ways gives too many paths.

Twenty states that are each held above zero have a million paths, and twenty choices. So the text
of the user's functions is read, and what only assigns values under a condition,

    if t >= start and t < end:
        rate += dose

is run as both branches and a choice between what they leave. All else is kept: what cannot be
written so (a `return`, a `break`, a call for its effect) is followed both ways as before.
"""

import ast
import copy
import linecache
import types
from typing import Any

import numpy as np

from cubie.systems.errors import Untraceable
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arrays import UNSET
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import is_mask, operand

PREFIX = "_cubie_"
NAME = PREFIX + "branchless"
# What means something else in a function of its own.
_SCOPED = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def branchless(function):
    """Return the code of a function without such branches; its own where it cannot be read."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename))
    try:
        tree = ast.parse(text, code.co_filename)
        # The text may have changed since it was compiled.
        if code not in _codes(compile(tree, code.co_filename, "exec")):
            return code
        node: Any = next(node for node in ast.walk(tree) if _is_definition(node, code))
        if any(isinstance(inner, _SCOPED) for inner in ast.walk(node)):
            return code
        node.name = NAME
        node.body = _Branches().block(node.body)
        compiled = compile(ast.fix_missing_locations(tree), code.co_filename, "exec")
        return next(c for c in _codes(compiled) if c.co_name == NAME).replace(co_name=code.co_name)
    except (StopIteration, SyntaxError, ValueError):
        return code


def _codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _is_definition(node, code):
    if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
        return False
    return min([node.lineno, *(d.lineno for d in node.decorator_list)]) == code.co_firstlineno


class _Branches:
    """Rewrites statements; a fresh name for the values of each `if`."""

    def __init__(self):
        self._count = 0

    def block(self, statements):
        """Return statements that do the same."""
        return [new for statement in statements for new in self._statement(statement)]

    def _statement(self, statement):
        if isinstance(statement, ast.If):
            return self._if(statement)
        for name in ("body", "orelse"):
            inner = getattr(statement, name, None)
            if inner and isinstance(statement, (ast.For, ast.While, ast.With)):
                setattr(statement, name, self.block(inner))
        if isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return)):
            statement = _Conditions().visit(statement)
        return [statement]

    def _if(self, statement):
        if _appends(statement):
            return [_appended(statement)]
        original = copy.deepcopy(statement)
        held, failed = self.block(statement.body), self.block(statement.orelse)
        places = _places([*original.body, *original.orelse])
        if places is None:
            statement.body, statement.orelse = held, failed
            return [statement]
        self._count += 1
        mask, old, left = (f"{PREFIX}{kind}{self._count}" for kind in ("mask", "old", "left"))
        values = f"({''.join(place + ', ' for place in places)})"
        targets = f"{values} = "
        lines = [f"{mask} = {PREFIX}test", f"if {PREFIX}is_traced({mask}): pass\nelse: pass"]
        assignment, choice = (ast.parse(line).body[0] for line in lines)
        assert isinstance(assignment, ast.Assign)
        assert isinstance(choice, ast.If)
        assignment.value = _Conditions().visit(statement.test)
        read = ", ".join(f"lambda: {place}" for place in places)
        choice.body = [
            *_parsed(f"{old} = {PREFIX}old({read})", statement),
            *held,
            *_parsed(f"{left} = {values}\n{targets}{old}", statement),
            *failed,
            *_parsed(f"{targets}{PREFIX}choose({mask}, {left}, {values})", statement),
        ]
        original.test = ast.Name(mask, ast.Load())
        choice.orelse = [original]
        for new in (assignment, choice):
            ast.copy_location(new, statement)
        return [assignment, choice]


def _appends(statement):
    """Whether a statement appends one of two values to the same list."""
    ways = [
        block[0].value
        for block in (statement.body, statement.orelse)
        if len(block) == 1 and isinstance(block[0], ast.Expr)
    ]
    if len(ways) < 2 or not all(isinstance(way, ast.Call) for way in ways):
        return False
    a, b = (ast.unparse(way.func) for way in ways)
    single = all(len(way.args) == 1 and not way.keywords for way in ways)
    return a == b and a.endswith(".append") and single


def _appended(statement):
    call, other = statement.body[0].value, statement.orelse[0].value
    entry = ast.IfExp(statement.test, call.args[0], other.args[0])
    new = ast.Expr(ast.Call(call.func, [_Conditions().visit(entry)], []))
    return ast.copy_location(new, statement)


def _parsed(text, statement):
    """Return new statements, in the line of the one they are part of."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            ast.copy_location(node, statement)
    return tree.body


def _places(statements):
    """Return the text of all places that statements assign to; None if they do more than that."""
    found = {}
    for statement in statements:
        if isinstance(statement, ast.If):
            inner = _places([*statement.body, *statement.orelse])
            if inner is None:
                return None
            found |= dict.fromkeys(inner)
            continue
        if isinstance(statement, ast.Pass):
            continue
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AugAssign):
            target = statement.target
        else:
            return None
        if not _is_place(target):
            return None
        found[ast.unparse(target)] = None
    return list(found) or None


def _is_place(target):
    """Whether a target can be read and written again and again."""
    if isinstance(target, ast.Subscript):
        parts = [target.value, *ast.walk(target.slice)]
        allowed = (ast.Name, ast.Constant, ast.Attribute, ast.BinOp, ast.UnaryOp, ast.Tuple)
        contexts = (ast.expr_context, ast.operator, ast.unaryop)
        return all(isinstance(part, (*allowed, *contexts)) for part in parts)
    return isinstance(target, ast.Name)


class _Conditions(ast.NodeTransformer):
    """`and`, `or`, `not`, chained comparisons and conditional expressions as calls."""

    def visit_BoolOp(self, node):
        """Both sides may be conditions on the states."""
        self.generic_visit(node)
        name = "and" if isinstance(node.op, ast.And) else "or"
        return _call(name, [_later(value) for value in node.values])

    def visit_UnaryOp(self, node):
        """Only `not` asks for a truth value."""
        self.generic_visit(node)
        return _call("not", [node.operand]) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node):
        """`a < b < c` is two comparisons, as long as b can be evaluated twice."""
        self.generic_visit(node)
        inner = node.comparators[:-1]
        calls = any(isinstance(part, ast.Call) for b in inner for part in ast.walk(b))
        if len(node.ops) == 1 or calls:
            return node
        lefts = [node.left, *inner]
        pairs = zip(lefts, node.ops, node.comparators, strict=True)
        return _call("and", [_later(ast.Compare(a, [op], [b])) for a, op, b in pairs])

    def visit_IfExp(self, node):
        """Both values are computed where the condition is on the states."""
        self.generic_visit(node)
        return _call("either", [node.test, _later(node.body), _later(node.orelse)])

    def visit_Lambda(self, node):
        """A function of its own is left alone."""
        return node


def _call(name, arguments):
    return ast.Call(ast.Name(PREFIX + name, ast.Load()), arguments, [])


def _later(value):
    nothing = ast.arguments([], [], None, [], [], None, [])
    return ast.Lambda(nothing, value)


# ---- what the rewritten code calls


def _is_traced(value):
    return isinstance(value, Expr)


def _held(condition, a, b):
    """Return a where the condition holds, else b: `and` and `or` return one of their operands."""
    if is_mask(a) and is_mask(b):
        return (ex.logical_and if b is condition else ex.logical_or)(a, b)
    return ex.select(condition, a, b)


def _all(*later):
    value = True
    for one in later:
        if isinstance(value, Expr):
            other = one()
            if isinstance(other, (Expr, bool, np.bool_)):
                value = _held(value, other, value)
                continue
            value = value and other
        else:
            value = value and one()
    return value


def _any(*later):
    value = False
    for one in later:
        if isinstance(value, Expr):
            other = one()
            if isinstance(other, (Expr, bool, np.bool_)):
                value = _held(value, value, other)
                continue
            value = value or other
        else:
            value = value or one()
    return value


def _not(value):
    return ex.logical_not(value) if isinstance(value, Expr) else not value


def _either(condition, held, failed):
    if not isinstance(condition, Expr):
        return held() if condition else failed()
    return _chosen(condition, held(), failed())


def _old(*places):
    return tuple(_number_at(place) for place in places)


def _number_at(place):
    """Return what is in a place: a number, or UNSET."""
    try:
        value = place()
    except (NameError, LookupError):
        return UNSET
    if value is UNSET:
        return UNSET
    if isinstance(value, str) or operand(value) is NotImplemented:
        # It may be changed where it is, and then is no longer what it was.
        raise Untraceable(f"a {type(value).__name__} is assigned to under a condition")
    return value


def _choose(condition, held, failed):
    return tuple(_chosen(condition, a, b) for a, b in zip(held, failed, strict=True))


def _chosen(condition, a, b):
    if a is b:
        return a
    if a is UNSET or b is UNSET:
        return UNSET
    numbers = [value if isinstance(value, str) else operand(value) for value in (a, b)]
    if any(number is NotImplemented or isinstance(number, str) for number in numbers):
        raise Untraceable(f"a condition on the states chooses a {type(a).__name__}")
    return ex.select(condition, *numbers)


HELPERS = {
    PREFIX + "is_traced": _is_traced,
    PREFIX + "and": _all,
    PREFIX + "or": _any,
    PREFIX + "not": _not,
    PREFIX + "either": _either,
    PREFIX + "old": _old,
    PREFIX + "choose": _choose,
}
