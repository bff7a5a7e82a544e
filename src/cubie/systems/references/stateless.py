"""Is a function one of its arguments only? What to do about one that changes something else."""

import contextlib
import dis
import functools
import types

from cubie.systems.errors import RightHandSideError
from cubie.systems.references.records import ATOMS, GONE, Record, is_same

MOST_LEFT = 4  # of the values left in one place that are tried


@contextlib.contextmanager
def supposing(values):
    """Have records hold other values; changes are then counted from these.

    Parameters
    ----------
    values : list of (Record, key, value)
        The value may be GONE.
    """
    before = {}
    for record, key, value in values:
        before.setdefault(id(record), (record, record.saved))
        record.saved = {**record.saved, key: value}
    records = [record for record, _ in before.values()]
    try:
        for record in records:
            record.saved = {k: v for k, v in record.saved.items() if v is not GONE}
            record.write(record.saved)
        yield
    finally:
        for record, saved in before.values():
            record.saved = saved
            record.write(saved)


def check_independent(result, outputs, changed, graph):
    """Refuse a function whose derivatives depend on what an earlier call left behind.

    Attributes and arrays that are written before they are read are only places to work in, and a
    log is not read at all. So what was changed is replaced, by values of which nothing is known
    and by those that were left, and the derivatives must come out as the same expressions.

    Parameters
    ----------
    result : list of Expr or float
        The derivatives.
    outputs : callable
        Computes them anew.
    changed : list of (Record, key, value)
        What computing them changed.

    Raises
    ------
    RightHandSideError
    """
    places = _by_place(changed)
    unknown = [
        (record, key, _unknown(record, key, values, graph.leaf("kept", i)))
        for i, (record, key, values) in enumerate(places)
    ]
    most = min(MOST_LEFT, max(len(values) for *_, values in places))
    left = [[(r, k, values[i % len(values)]) for r, k, values in places] for i in range(most)]
    for values in (unknown, *left):
        try:
            with supposing(values):
                again = outputs()
        except Exception as error:
            raise refusal(changed) from error
        if not all(a is b or is_same(a, b) for a, b in zip(again, result, strict=True)):
            raise refusal(changed)


def _by_place(changed):
    """Return [(record, key, different values)] of what was changed."""
    found = {}
    for record, key, value in changed:
        values = found.setdefault((id(record), key), (record, key, []))[2]
        if not any(is_same(value, other) for other in values):
            values.append(value)
    return list(found.values())


def _unknown(record, key, values, leaf):
    """Return what to suppose in place of a value that calls change."""
    is_computed_once = key not in record.saved and not record.grows and _is_constant(values)
    if record.opaque or is_computed_once or any(value is GONE for value in values):
        return values[-1]
    return leaf


def _is_constant(values):
    return len(values) == 1 and isinstance(values[0], ATOMS)


def written_arrays(changed):
    """Return the ids of the arrays of numbers among what was changed."""
    return frozenset(id(record.target) for record, *_ in changed if record.target is not None)


def side_effects(changed):
    """Return the note about a traced function that leaves something behind, or ""."""
    kept = [
        (record, key, value)
        for record, key, value in changed
        if key in record.saved or record.grows or not _is_constant([value])
    ]
    if not kept:
        return ""
    return (
        f"fun changes {_listed(kept)} when it is called. The derivatives do not depend on it, "
        "so it was traced; nothing is written there while runs are solved."
    )


def writes_to_states(written):
    """Return the note about a function that writes to these states of its array, or ""."""
    if not written:
        return ""
    some = ", ".join(map(str, sorted(written)[:3])) + (", ..." if len(written) > 3 else "")
    return (
        f"fun writes to y[{some}]: to a copy of its own, which its derivatives are made of. The "
        "state of a run does not change by it; where a solver hands out its own array, as SciPy's "
        "do, it may."
    )


def check_stateless(fun, changed):
    """Refuse a function, to be compiled as it stands, that changes what outlives a call.

    Parameters
    ----------
    changed : list of (Record, key, value)
        What calls of it changed. Assignments to variables outside are looked for as well.
    """
    if changed:
        raise refusal(changed)
    while isinstance(fun, functools.partial):
        fun = fun.func
    functions, seen = [fun], set()
    for function in functions:
        function = getattr(function, "py_func", function)
        if isinstance(function, types.FunctionType) and function.__code__ not in seen:
            code = function.__code__
            seen.add(code)
            _check_assignments(code)
            functions += [
                function.__globals__[name]
                for name in code.co_names
                if callable(function.__globals__.get(name))
            ]


def _check_assignments(code):
    for instruction in dis.get_instructions(code):
        outside = instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars
        if instruction.opname == "STORE_GLOBAL" or outside:
            record = Record("the variable `{}`", dict, dict.update)
            raise refusal([(record, instruction.argval, None)])


def refusal(changed):
    """Return the error for a function that changes something.

    Parameters
    ----------
    changed : list
        As `Watch.restore` returns it.
    """
    return RightHandSideError(
        f"fun keeps a state of its own: calling it changes {_listed(changed)}. A right-hand side "
        "must depend on t, y and args only, because it is also called for steps that are "
        "rejected, and for many runs in any order. What switches with hysteresis can be a state "
        "of the system that is driven to 0 or 1, or the runs can be solved piece by piece, from "
        "switch to switch, with the mode in args; what is looked up later (a log, a count) is in "
        "the result: y at t_eval, nfev. An array to work in is made inside fun."
    )


def _listed(changed):
    places = list(dict.fromkeys(record.name(key) for record, key, _ in changed))
    return ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
