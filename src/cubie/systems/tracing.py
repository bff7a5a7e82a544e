"""Running the user's function on expressions.

An `if` on the states is followed both ways: the function is run once for each path through its
conditions, and the results are joined with `select`. So an ordinary `if`, `and`, `min` or
conditional expression needs no rewriting, as long as there are few of them. What arithmetic raises
in a function that catches it is a condition too, see `cubie.systems.exceptions`.
"""

import math
import traceback
from typing import Any

import numpy as np

from cubie.systems import expression as ex
from cubie.systems.arrays import UNSET, traced
from cubie.systems.errors import NeedsInteger, Refusal, RightHandSideError, Untraceable
from cubie.systems.exceptions import is_foreseen, mark_plain
from cubie.systems.expression import Expr, Graph
from cubie.systems.parameters import rebuild
from cubie.systems.rewiring import Rewiring

MOST_PATHS = 64
MOST_CONDITIONS = 40


class Paths:
    """Depth-first walk over the answers to `bool(mask)`."""

    def __init__(self):
        self.prefix = []
        self.taken = []

    def decide(self, mask):
        """Answer for this path; a condition met again gets the answer it had."""
        if type(mask) is bool:
            return mask
        for known, answer in self.taken:
            if known is mask:
                return answer
            if (known.op == "~" and known.operands[0] is mask) or (
                mask.op == "~" and mask.operands[0] is known
            ):
                return not answer
        if len(self.taken) == MOST_CONDITIONS:
            raise Untraceable(
                f"more than {MOST_CONDITIONS} conditions on the states follow one another "
                "(a loop that depends on the states?)"
            )
        depth = len(self.taken)
        answer = self.prefix[depth] if depth < len(self.prefix) else True
        self.taken.append((mask, answer))
        return answer

    def run_all(self, function):
        """Return (conditions with answers, result) of each path, in depth-first order."""
        results = []
        while True:
            self.taken = []
            outcome = function()
            results.append((tuple(self.taken), outcome))
            answers = [answer for _, answer in self.taken]
            while answers and not answers[-1]:
                answers.pop()
            if not answers:
                return results
            if len(results) == MOST_PATHS:
                raise Untraceable(
                    f"its conditions on the states give more than {MOST_PATHS} paths; "
                    "np.where makes none"
                )
            self.prefix = [*answers[:-1], False]


def _join(results, depth=0):
    """Join the outputs of all paths that agree up to `depth`."""
    if len(results) == 1 and len(results[0][0]) == depth:
        return results[0][1]
    mask = results[0][0][depth][0]
    held = [r for r in results if r[0][depth][1]]
    failed = [r for r in results if not r[0][depth][1]]
    pairs = zip(_join(held, depth + 1), _join(failed, depth + 1), strict=True)
    return [ex.select(mask, a, b) for a, b in pairs]


def trace_outputs(fun, n_states, args, leaves, baked):
    """Return the derivative of each state as an expression, and which leaves became constants.

    Parameters
    ----------
    baked : frozenset of int
        Leaves known to be needed as plain ints.

    Raises
    ------
    Untraceable
        With the offending line of the user's code.
    RightHandSideError
        When what `fun` returns cannot be the derivative.
    """
    integers = frozenset(i for i, leaf in enumerate(leaves) if leaf.numeric and leaf.integer)
    while True:
        try:
            return _trace_once(fun, n_states, args, leaves, baked), baked
        except NeedsInteger as need:
            baked |= need.leaves
        except RightHandSideError:
            raise
        except (Exception, Untraceable) as error:
            if integers <= baked:
                raise Untraceable(explain(error)) from error
            # An int may be wanted where it cannot tell us, as in the index of a plain array.
            baked |= integers


def _trace_once(fun, n_states, args, leaves, baked):
    paths = Paths()
    # Copies are made once: a rewired function may be reached on every path.
    rewire = Rewiring()
    graph = Graph(paths.decide, lambda: rewire.catches)
    time = graph.leaf("t")
    states = [graph.leaf("y", i) for i in range(n_states)]
    copy: Any = rewire(fun)

    def run():
        graph.plain.clear()
        Refusal.latest.refusal = None
        values = [_traced_leaf(graph, i, leaf, baked, rewire) for i, leaf in enumerate(leaves)]
        y = traced(np.array(states, dtype=object))
        try:
            result = copy(time, y, *rebuild(args, leaves, values))
        except Exception as error:
            if is_foreseen(error):
                return [math.nan] * n_states
            raise
        if rewire.catches and Refusal.latest.refusal is not None:
            raise Refusal.latest.refusal
        return output_entries(result, n_states)

    return [ex.number(entry) for entry in _join(paths.run_all(run))]


def _traced_leaf(graph, i, leaf, baked, rewire):
    if not leaf.numeric:
        return rewire(leaf.value)
    if i in baked:
        return leaf.value
    slots = []
    for slot in range(leaf.start, leaf.start + leaf.size):
        parameter = graph.leaf("p", slot)
        if leaf.integer:
            graph.integers[parameter.serial] = i
        slots.append(parameter)
    if not leaf.shape and not isinstance(leaf.value, np.ndarray):
        return slots[0] if isinstance(leaf.value, np.generic) else mark_plain(slots[0])
    return traced(np.array(slots, dtype=object).reshape(leaf.shape))


def output_entries(result, n_states):
    """Return the derivatives that `fun` returned as a list of numbers or expressions."""
    if isinstance(result, Expr) or np.isscalar(result):
        if n_states == 1:
            result = [result]
        else:
            raise RightHandSideError(
                f"fun returned one number for {n_states} states; it must return a sequence "
                f"of {n_states}, the derivative of each state."
            )
    if (
        result is None
        or isinstance(result, (str, bytes, dict, set))
        or not hasattr(result, "__len__")
    ):
        hint = " Is there a `return`?" if result is None else ""
        raise RightHandSideError(
            f"fun returned {_what(result)}; it must return a list, tuple or array of "
            f"{n_states} numbers, the derivative of each state.{hint}"
        )
    if isinstance(result, np.ndarray) and result.ndim != 1:
        raise RightHandSideError(
            f"fun returned an array of shape {result.shape}; it must have shape ({n_states},)."
        )
    if len(result) != n_states:
        raise RightHandSideError(f"fun returned {len(result)} values for {n_states} states.")
    return [_output_entry(entry, i) for i, entry in enumerate(result)]


def _output_entry(entry, i):
    if isinstance(entry, np.ndarray) and entry.ndim == 0:
        entry = entry.item()
    if entry is UNSET:
        raise RightHandSideError(
            f"fun returned an array made by np.empty without assigning entry {i}."
        )
    if isinstance(entry, (complex, np.complexfloating)):
        raise RightHandSideError(
            f"fun returned a complex number for state {i}; states are real. Integrate real and "
            "imaginary parts as two states."
        )
    number = NotImplemented if isinstance(entry, str) else ex.operand(entry)
    if number is NotImplemented:
        raise RightHandSideError(
            f"fun returned {_what(entry)} for state {i}; it must be one number."
        )
    return number


def _what(value):
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return f"an array of shape {shape}" if shape else f"a {type(value).__name__} ({value!r:.60})"


def explain(error):
    """Return what was wrong and in which line of the user's code."""
    reason = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not _is_machinery(frame.filename)
    ]
    if not frames:
        return reason
    line = f" `{frames[-1].line}`" if frames[-1].line else ""
    return f"{reason} (in {frames[-1].name}, line {frames[-1].lineno}:{line})"


_OWN_DIRECTORY = __file__.rpartition("tracing.py")[0]
_NUMPY_DIRECTORY = np.__file__.rpartition("__init__.py")[0]


def _is_machinery(filename):
    return filename.startswith((_OWN_DIRECTORY, _NUMPY_DIRECTORY, "<__array_function__"))
