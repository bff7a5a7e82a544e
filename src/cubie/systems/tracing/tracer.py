"""Running the user's function on expressions.

An `if` on the states is followed both ways: the function is run once for each path through its
conditions, and the results are joined with `select`. So an ordinary `if`, `and`, `min` or
conditional expression needs no rewriting, as long as there are few of them. What arithmetic raises
in a function that catches it is a condition too, see `cubie.systems.tracing.exceptions`.
"""

import traceback
from typing import Any, NamedTuple

import numpy as np

from cubie.systems.drivers.interpolant import Driver
from cubie.systems.drivers.traced import Argument
from cubie.systems.errors import (
    NeedsInteger,
    Refusal,
    RightHandSideError,
    TooManyPaths,
    Untraceable,
)
from cubie.systems.parameters import CONTAINERS, rebuild
from cubie.systems.references.kept_state import Watch
from cubie.systems.references.stateless import (
    check_independent,
    refusal,
    side_effects,
    writes_to_states,
    written_arrays,
)
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arrays import traced
from cubie.systems.tracing.exceptions import is_foreseen, mark_plain
from cubie.systems.tracing.expression import Graph
from cubie.systems.tracing.paths import Paths, join
from cubie.systems.tracing.rewiring import Rewiring


class Way(NamedTuple):
    """One way to follow conditions."""

    choosing: bool  # branches that only assign are choices: few paths, but the text is needed
    most_paths: int


# The first that few paths suffice for; the last one's failure is what the user is told.
WAYS = (Way(False, 64), Way(True, 1000), Way(False, 1000))

PRINTS = (
    "fun prints, for the few numbers that it is tried with before it is traced: nothing is printed "
    "while runs are solved, for they do not call it (backend='python' does not either)."
)


def trace_outputs(fun, n_states, args, leaves, baked, returned, changed=(), swept=None):
    """Return what `fun` returns as expressions, which leaves became constants, and a note.

    Parameters
    ----------
    returned : cubie.systems.tracing.returned.Returned
        What it must return.
    baked : frozenset of int
        Leaves known to be needed as plain ints.
    changed : list of (Record, key, value)
        What calls of `fun` on plain numbers changed.
    swept : set of path, optional
        Entries of args that differ between runs; others may become constants. None: nothing may.

    Raises
    ------
    NeedsConstants
        Where something must.
    Untraceable
        With the offending line of the user's code.
    RightHandSideError
        When what `fun` returns is not what it must.
    """
    integers = frozenset(i for i, leaf in enumerate(leaves) if leaf.numeric and leaf.integer)
    ways = iter(WAYS)
    way = next(ways)
    while True:
        try:
            outputs, note = _trace_once(
                fun, n_states, args, leaves, baked, returned, changed, way, swept
            )
            return outputs, baked, note
        except NeedsInteger as need:
            baked |= need.leaves
        except RightHandSideError:
            raise
        except (Exception, Untraceable) as error:
            following = next(ways, None) if way.choosing or type(error) is TooManyPaths else None
            if following is not None:
                way = following
                continue
            if integers <= baked:
                raise Untraceable(explain(error)) from error
            # An int may be wanted where it cannot tell us, as in the index of a plain array.
            baked |= integers


def _trace_once(fun, n_states, args, leaves, baked, returned, plainly_changed, way, swept):
    graph = Graph(catching=lambda: rewire.catches)
    graph.keeps_products = returned.keeps_products
    time = graph.leaf("t")
    states = [graph.leaf("y", i) for i in range(n_states)]
    watch = Watch(fun)
    # Copies are made once: a rewired function may be reached on every path.
    rewire = Rewiring(watch, written_arrays(plainly_changed), way.choosing)
    copy: Any = rewire(fun, getattr(fun, "__name__", "fun"))
    values = [_traced_leaf(graph, i, leaf, baked, rewire, swept) for i, leaf in enumerate(leaves)]
    given = rebuild(args, leaves, values)
    _watch_containers(watch, given, "args")
    changed, plain, written = [], frozenset(graph.plain), set()

    def outputs():
        def run():
            graph.plain.clear()
            graph.plain.update(plain)
            graph.of_numpy.clear()
            Refusal.latest.refusal = None
            y: Any = traced(np.array(states, dtype=object))
            try:
                result = copy(time, y, *given)
            except Exception as error:
                if is_foreseen(error):
                    return returned.nothing()
                raise
            written.update(i for i, state in enumerate(states) if y[i] is not state)
            if rewire.catches and Refusal.latest.refusal is not None:
                raise Refusal.latest.refusal
            return returned.entries(result)

        paths = Paths(way.most_paths)
        graph.decide = paths.decide
        return [ex.number(entry) for entry in join(paths.run_all(watch.watched(run, changed)))]

    result, first = outputs(), list(changed)
    if first:
        check_independent(result, outputs, first, graph)
    elif plainly_changed:
        raise refusal(plainly_changed)
    notes = (
        side_effects(first), writes_to_states(written), PRINTS if rewire.printed else "",
        "" if swept is None else choices(graph.most_choices),
    )  # fmt: skip
    return result, " ".join(filter(None, notes))


def choices(n):
    """Return a sentence about a table of `n` samples that is no table; none where there is none."""
    if not n:
        return ""
    return (
        f"np.interp takes {n} samples that are not the same numbers in all runs: each costs a "
        "choice, at every call. Samples of each run are looked up where args have an "
        "Interpolant(times, values) with a row of values for each, called as u(t)."
    )


def _watch_containers(watch, value, name):
    """Watch the containers and arrays in args, which were made anew."""
    if isinstance(value, np.ndarray):
        watch.add_alone(value, name)
    elif type(value) in CONTAINERS or type(value) is tuple:
        watch.add_alone(value, name)
        entries = value.items() if type(value) is dict else enumerate(value)
        for key, entry in entries:
            _watch_containers(watch, entry, f"{name}[{key!r}]")


def _traced_leaf(graph, i, leaf, baked, rewire, swept):
    if isinstance(leaf.value, Driver):
        return Argument(leaf.value, graph)
    if not leaf.numeric:
        return rewire(leaf.value)
    if i in baked:
        return leaf.value
    slots = []
    for slot in range(leaf.start, leaf.start + leaf.size):
        parameter = graph.leaf("p", slot)
        if leaf.integer:
            graph.integers[parameter.serial] = i
        if swept is not None and leaf.path not in swept:
            graph.fixed[parameter.serial] = leaf.path
        slots.append(parameter)
    if not leaf.shape and not isinstance(leaf.value, np.ndarray):
        return slots[0] if isinstance(leaf.value, np.generic) else mark_plain(slots[0])
    return traced(np.array(slots, dtype=object).reshape(leaf.shape))


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


# All of `cubie.systems`.
_OWN_DIRECTORY = __file__.rpartition("tracing")[0]
_NUMPY_DIRECTORY = np.__file__.rpartition("__init__.py")[0]


def _is_machinery(filename):
    return filename.startswith((_OWN_DIRECTORY, _NUMPY_DIRECTORY, "<__array_function__"))
