"""Following a function's conditions both ways: all paths, and what joins their results.

What one condition says about a number may settle another on the same one: after `t < 24` holds,
`t >= 48` does not. So a loop over dose times has as many paths as there are intervals, and not
one for each combination of answers.
"""

import math

from cubie.systems.errors import TooManyPaths
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import COMPARISONS, asked_below

# On one path: conditions that depend on the states, as those of a loop until something converges
# do, and all of them.
MOST_STATE_CONDITIONS = 40
MOST_CONDITIONS = 2000
# Those that follow from others as well: so many of one condition are a loop that goes on for ever
# where it is supposed to hold, though it may end for numbers.
MOST_QUESTIONS = 50_000

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SINGLE_VALUED = frozenset({"+", "-", "*", "neg"})


class Paths:
    """Depth-first walk over the answers to `bool(mask)`, along so many paths at most."""

    def __init__(self, most_paths):
        self._most_paths = most_paths
        self.prefix = []
        self._forget()

    def _forget(self):
        self.taken = []
        self._on_states = 0
        self._questions = 0
        self._answers = {}  # serial number of a mask -> whether it holds
        self._ranges = {}  # serial number of a number -> Range

    def decide(self, mask):
        """Answer for this path; what follows from earlier answers is not asked."""
        if type(mask) is bool:
            return mask
        self._questions += 1
        if self._questions > MOST_QUESTIONS:
            raise TooManyPaths("it cannot be decided while tracing when a loop ends")
        answer = self._implied(mask)
        if answer is not None:
            return answer
        self._check_length(mask)
        depth = len(self.taken)
        answer = self.prefix[depth] if depth < len(self.prefix) else True
        self.taken.append((mask, answer))
        self._learn(mask, answer)
        return answer

    def _check_length(self, mask):
        self._on_states += _has_state(mask)
        if self._on_states > MOST_STATE_CONDITIONS or len(self.taken) == MOST_CONDITIONS:
            most = MOST_STATE_CONDITIONS if len(self.taken) < MOST_CONDITIONS else MOST_CONDITIONS
            raise TooManyPaths(
                f"more than {most} conditions on the states follow one another "
                "(a loop that depends on the states?)"
            )

    def _implied(self, mask):
        if type(mask) is bool:
            return mask
        if mask.serial in self._answers:
            return self._answers[mask.serial]
        if mask.op == "~":
            inner = self._implied(mask.operands[0])
            return None if inner is None else not inner
        if mask.op in ("&", "|"):
            answers = [self._implied(operand) for operand in mask.operands]
            settles = mask.op == "|"
            if settles in answers:
                return settles
            return None if None in answers else not settles
        number, op, bound = _against_constant(mask)
        known = self._ranges.get(number.serial) if number is not None else None
        return None if known is None else known.answer(op, bound)

    def _learn(self, mask, answer):
        if type(mask) is bool:
            return
        self._answers[mask.serial] = answer
        if mask.op == "~":
            self._learn(mask.operands[0], not answer)
        elif mask.op in ("&", "|"):
            if answer is (mask.op == "&"):
                for operand in mask.operands:
                    self._learn(operand, answer)
        else:
            number, op, bound = _against_constant(mask)
            if number is not None:
                known = self._ranges.setdefault(number.serial, Range(_is_number(number)))
                known.narrow(op, bound, answer)

    def run_all(self, function):
        """Return (conditions with answers, result) of each path, in depth-first order."""
        results = []
        while True:
            self._forget()
            outcome = function()
            results.append((tuple(self.taken), outcome))
            answers = [answer for _, answer in self.taken]
            while answers and not answers[-1]:
                answers.pop()
            if not answers:
                return results
            if len(results) == self._most_paths:
                raise TooManyPaths(
                    f"its conditions on the states give more than {self._most_paths} paths; "
                    "np.where makes none"
                )
            self.prefix = [*answers[:-1], False]


class Range:
    """What is known about a number: between which bounds it is, unless it is NaN.

    Parameters
    ----------
    is_number : bool
        It cannot be NaN.
    """

    def __init__(self, is_number):
        self.is_number = is_number
        # Bounds as (value, 1 where the value itself is excluded): they compare as they bind.
        self.least = (-math.inf, 0)
        self.most = (math.inf, 0)

    def narrow(self, op, bound, answer):
        """Take in that `number op bound` has this answer."""
        if op in ("==", "!="):
            if answer is (op == "=="):
                self.least, self.most = (bound, 0), (bound, 0)
                self.is_number = True
            return
        if answer:
            self.is_number = True
        else:
            op = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[op]
        strict = int(op in ("<", ">"))
        if op in ("<", "<="):
            self.most = min(self.most, (bound, -strict))
        else:
            self.least = max(self.least, (bound, strict))

    def answer(self, op, bound):
        """Return whether `number op bound` holds, or None where that is open."""
        # Of NaN all comparisons are false but `!=`.
        of_nan = op == "!="
        answer = self._of_numbers(op, bound)
        return answer if self.is_number or answer is of_nan else None

    def _of_numbers(self, op, bound):
        if op == "<":
            return _either(self.most < (bound, 0), self.least >= (bound, 0))
        if op == "<=":
            return _either(self.most <= (bound, 0), self.least > (bound, 0))
        if op == ">":
            return _either(self.least > (bound, 0), self.most <= (bound, 0))
        if op == ">=":
            return _either(self.least >= (bound, 0), self.most < (bound, 0))
        is_bound = self.least == (bound, 0) == self.most
        is_other = self.least > (bound, 0) or self.most < (bound, 0)
        return _either(is_bound, is_other) if op == "==" else _either(is_other, is_bound)


def _either(holds, fails):
    return True if holds else False if fails else None


def _against_constant(mask):
    """Return (number, op, constant) of a comparison with a constant; number is None elsewhere."""
    if mask.op in COMPARISONS:
        a, b = mask.operands
        if type(a) is Expr and type(b) is float:
            return a, mask.op, b
        if type(a) is float and type(b) is Expr:
            return b, _FLIPPED[mask.op], a
    return None, "", 0.0


def _is_number(expr):
    """Whether an expression cannot be NaN: the time, moved and stretched by constants."""
    return asked_below(expr, "number", _is_moved_time)


def _is_moved_time(node, known):
    if node.op not in _SINGLE_VALUED:
        return node.op == "t"
    inner = [a for a in node.operands if type(a) is Expr]
    if len(inner) != 1 or not all(type(a) is Expr or math.isfinite(a) for a in node.operands):
        return False
    return known[inner[0].serial]


def _has_state(mask):
    return asked_below(mask, "state", _is_of_state)


def _is_of_state(node, known):
    return node.op == "y" or any(known[a.serial] for a in node.operands if type(a) is Expr)


def join(results):
    """Return the outputs of all paths in one: each a choice by the conditions on the way.

    Parameters
    ----------
    results : list of (conditions with answers, outputs)
        In depth-first order.
    """
    open_paths = []
    for conditions, outputs in results:
        # Where a condition fails, all paths on which it holds are behind and joined.
        while conditions and not conditions[-1][1]:
            mask = conditions[-1][0]
            _, held = open_paths.pop()
            outputs = [ex.select(mask, a, b) for a, b in zip(held, outputs, strict=True)]
            conditions = conditions[:-1]
        open_paths.append((conditions, outputs))
    ((_, outputs),) = open_paths
    return outputs
