"""What users give of the derivatives of a function that cannot be traced: `jac` and `jac_p`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
from attrs import evolve

from cubie.backend import package_digest
from cubie.errors import Described, InvalidOption
from cubie.systems.derivatives.given_jacobian import dense
from cubie.systems.errors import RightHandSideError
from cubie.systems.from_function import trace
from cubie.systems.sensitivities.inputs import size_of
from cubie.systems.store import Store
from cubie.systems.system import Input, System
from cubie.systems.uncollected import uncollected

NOT_NEEDED = (
    "`jac_p` is not used: the right-hand side was traced, and its exact derivatives are known."
)
NOT_ASKED = "`jac_p` is not used: there are no sensitivities by parameters."


def check_jac_p(given: Any) -> None:
    """Refuse what is no function.

    Raises
    ------
    InvalidOption
    """
    if given is not None and not callable(given):
        allowed = (Described("a function jac_p(t, y, *args)"),)
        raise InvalidOption("jac_p", given, allowed)


def with_jac_p(
    system: System,
    jac_p: Callable,
    inputs: Sequence[Input],
    args: tuple = (),
    constants: Collection = (),
) -> System:
    """Return the system with derivatives by parameters that the user gave.

    Parameters
    ----------
    system : System
        Of a traced one they are exact: it gets a note that `jac_p` is not used.
    jac_p : callable
        ``jac_p(t, y, *args)`` returns n rows of m numbers, dense or sparse, one for each number in
        `args`, in their order.
    inputs : sequence of Input
    args : tuple
        What the system was traced with.

    Raises
    ------
    InvalidOption
        For a `jac_p` that raises, or returns something else.
    """
    named = sorted({one.number for one in inputs if not one.is_initial})
    if system.kind == "traced" or not named:
        note = NOT_NEEDED if system.kind == "traced" else NOT_ASKED
        return evolve(system, parameter_note=note)
    n, m = system.n_states, system.n_parameters
    directory = system.path.parents[1] if system.path.is_absolute() else None
    try:
        columns = {
            number: trace(
                partial(_column, jac_p, number, m), n, args, cache_dir=directory,
                constants=constants,
            )
            for number in named
        }  # fmt: skip
    except RightHandSideError as error:
        name = getattr(jac_p, "__name__", type(jac_p).__name__)
        told = str(error).replace("fun raises", "it raises")
        if told.startswith("fun returned"):
            told = told.replace("fun returned", "a column is").partition(";")[0].rstrip(".") + "."
        which = ", ".join(system.parameter_names)
        advice = f"It must return {n} rows of {m} numbers, one for each of {which}: {told}"
        raise InvalidOption("jac_p", name, advice=advice) from error
    untraced = next((one for one in columns.values() if one.kind != "traced"), None)
    if untraced is not None:
        note = f"`jac_p` is not used, because it cannot be traced: {untraced.note}"
        return evolve(system, parameter_note=note)
    if any(one.drivers for one in columns.values()):
        note = (
            "`jac_p` is not used, because it calls an interpolant, which only a traced `fun` can."
        )
        return evolve(system, parameter_note=note)
    return evolve(system, parameter_columns=tuple(columns.items()))


def _column(jac_p: Callable, number: int, width: int, t: Any, y: Any, *args: Any) -> list:
    rows = dense(jac_p(t, y, *args))
    wrong = next((row for row in rows if np.size(row) != width), None)
    if wrong is not None:
        raise ValueError(f"a row of {np.size(wrong)} numbers")
    return [row[number] for row in rows]


def given_rates(system: System, inputs: Sequence[Input]) -> System:
    """Return what is known of the right-hand sides of sensitivities, as a traced system.

    Its output ``n (1 + k) + i`` is what there is for state i and input k; the first n are zero.
    """
    columns = dict(system.parameter_columns)
    store = Store.beside(system.path)
    meant = [f"{one.is_initial} {one.number}" for one in inputs]
    given = [row.digest for row in system.jacobian_rows]
    given += [f"{number} {one.digest}" for number, one in columns.items()]
    parts = ["given rates", package_digest(), *given, *meant]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    with uncollected():
        source, digest = store.found_or_written(key, lambda: _written(system, inputs))
    n = system.n_states * (1 + len(inputs))
    return System(
        n_states=n,
        n_parameters=system.n_parameters,
        kind="traced",
        source=source,
        path=store.module_path(digest),
        digest=digest,
        state_names=tuple(f"y{i}" for i in range(n)),
        parameter_names=system.parameter_names,
    )


def _written(system: System, inputs: Sequence[Input]) -> str:
    # Imported late: what is known needs no expressions.
    from cubie.systems.source import write_module
    from cubie.systems.symbolic.from_trace import expressions
    from cubie.systems.tracing.arithmetic import add, mul
    from cubie.systems.tracing.expression import Graph

    graph, n = Graph(), system.n_states
    jacobian = [expressions(row, graph)[1] for row in system.jacobian_rows]
    columns = {number: expressions(one, graph)[1] for number, one in system.parameter_columns}
    rows: list[Any] = [0.0] * n
    for block, one in enumerate(inputs, 1):
        found: list[Any] = [0.0] * n
        for i, entries in enumerate(jacobian):
            for j, entry in enumerate(entries):
                found[i] = add(found[i], mul(entry, graph.leaf("y", n * block + j)))
        if not one.is_initial and one.number in columns:
            size = size_of(graph, one)
            found = [add(a, mul(size, b)) for a, b in zip(found, columns[one.number], strict=True)]
        rows += found
    title = f"Rates of sensitivities to {len(inputs)} inputs that are given for {system.digest}."
    names = tuple(f"y{i}" for i in range(len(rows))), system.parameter_names
    return write_module(rows, title, *names, in_place=False)
