"""The equations of states and sensitivities together, derived from traced ones.

With s_k the derivative of the states by input k, times the size of that input,

    s_k' = J(t, y, p) s_k + size_k df/dp_k,    s_k(t0) = size_k dy(t0)/dp_k

(Hairer, Norsett & Wanner I, I.14). Sizes make all sensitivities numbers of the unit of the state,
so that tolerances of states mean for them what they mean for states: the size of a parameter is
its absolute value, or 1 where that is zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from cubie.backend import package_digest
from cubie.errors import InvalidOption
from cubie.systems.mass import digest_with_mass, is_singular, mass_entries
from cubie.systems.sensitivities.inputs import size_of
from cubie.systems.store import Store
from cubie.systems.system import Input, Joint, System
from cubie.systems.uncollected import uncollected

# Products with a Jacobian of more entries, times inputs, are not formed beside its entries.
MOST_COMPARED = 5000
# How much longer they may be than sums of entries times sensitivities.
MOST_LONGER = 1.1


def joint_system(system: System, inputs: Sequence[Input]) -> System:
    """Return the system of states and of their sensitivities to inputs.

    Raises
    ------
    InvalidOption
        For algebraic equations, and see `joint_untraced`.
    """
    mass = _joint_mass(system, inputs)
    if system.kind != "traced":
        # Imported late: few systems are so.
        from cubie.systems.sensitivities.untraced import joint_untraced

        return joint_untraced(system, inputs, mass, names_of_all(system.state_names, inputs))
    n = system.n_states
    store = Store.beside(system.path)
    meant = [f"{one.is_initial} {one.number}" for one in inputs]
    parts = ["joint", package_digest(), system.digest, *meant]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    entry = store.read_entry(key) or {}
    digest, jumps = entry.get("digest"), entry.get("jumps")
    source = store.read_module(digest)
    if source is None or type(jumps) is not bool:
        with uncollected():
            source, jumps = _written(system, inputs)
        _, digest = store.write_module(source)
        store.write_entry(key, {"digest": digest, "jumps": jumps})
    assert type(digest) is str
    return System(
        n_states=n * (1 + len(inputs)),
        n_parameters=system.n_parameters,
        kind="traced",
        source=source,
        path=store.module_path(digest),
        digest=digest_with_mass(digest, mass),
        state_names=names_of_all(system.state_names, inputs),
        parameter_names=system.parameter_names,
        note=system.note,
        mass=mass,
        jacobian_note=system.jacobian_note,
        parameter_note=system.parameter_note,
        drivers=system.drivers,
        joint=Joint(system, tuple(inputs), jumps),
    )


def names_of_all(names: Sequence[str], inputs: Sequence[Input]) -> tuple[str, ...]:
    """Return the names of quantities and of their derivatives by inputs."""
    return (*names, *(f"d({name})/d({one.name})" for one in inputs for name in names))


def _joint_mass(system: System, inputs: Sequence[Input]) -> Any:
    if system.mass is None:
        return None
    n, blocks = system.n_states, 1 + len(inputs)
    if is_singular(mass_entries(n, system.mass), n):
        advice = (
            "The mass matrix is singular, and sensitivities of algebraic equations are not here "
            "yet: solve the equations for their algebraic states, or take differences of runs."
        )
        raise InvalidOption("sensitivities", [one.name for one in inputs], advice=advice)
    before = [tuple([0.0] * (n * block)) for block in range(blocks)]
    return tuple(
        before[block] + tuple(row) + before[blocks - 1 - block]
        for block in range(blocks)
        for row in system.mass
    )


def _written(system: System, inputs: Sequence[Input]) -> tuple[str, bool]:
    """Return the text of the module, and whether equations may jump where inputs decide."""
    # Imported late: a system that is known needs no expressions.
    from cubie.systems.derivatives.blocks import Blocks, write_blocks
    from cubie.systems.derivatives.rules import sparse_jacobian, tangents
    from cubie.systems.sensitivities.jumps import may_jump
    from cubie.systems.source import write_module
    from cubie.systems.symbolic.from_trace import expressions
    from cubie.systems.tracing.expression import Graph
    from cubie.systems.tracing.nodes import reachable

    n, graph = system.n_states, Graph()
    graph.keeps_products = True
    _, outputs = expressions(system, graph)
    states = [graph.leaf("y", i) for i in range(n)]
    # Entries of the Jacobian are computed once for all inputs; where there are a million, products
    # with it are taken instead.
    jacobian = None if graph.matrices else sparse_jacobian(outputs, states)
    by_input = [_seeds(graph, one) for one in inputs]
    along = [[graph.leaf("y", n * k + i) for i in range(n)] for k in range(1, 1 + len(inputs))]
    blocks: Any = None
    rows: list[Any] = []
    if jacobian is not None:
        rest = [tangents(outputs, seeds) for seeds in by_input]
        blocks = Blocks(outputs, jacobian, rest)
        rows = _by_entries(blocks, along)
    if jacobian is None or _compares(blocks):
        products = list(outputs)
        for direction, seeds in zip(along, by_input, strict=True):
            products += tangents(outputs, dict(zip(states, direction, strict=True)) | seeds)
        # They go with the equations as they are written: what cancels there, as totals that are
        # kept do, cancels in derivatives to the last bit. A sum of entries times sensitivities does
        # so to rounding of its largest term.
        if jacobian is None or len(reachable(products)) <= MOST_LONGER * len(reachable(rows)):
            rows = products
    structures = MappingProxyType(dict(enumerate(system.structures)))
    jumps = may_jump(outputs, inputs)
    title = f"States of {system.digest} and sensitivities to {len(inputs)} inputs."
    names = names_of_all(system.state_names, inputs), system.parameter_names
    write = None
    if blocks is not None and blocks.pays:
        write = partial(write_blocks, blocks=blocks, n=n)
    return write_module(rows, title, *names, structures=structures, write=write), jumps


def _seeds(graph: Any, one: Input) -> dict[Any, Any]:
    """Return how fast a parameter changes with an input; nothing does with an initial state."""
    return {} if one.is_initial else {graph.leaf("p", one.number): size_of(graph, one)}


def _compares(blocks: Any) -> bool:
    """Tell whether products are formed beside sums of entries: those are text, and not long."""
    return not blocks.pays and len(blocks.rest) * len(blocks.matrix) <= MOST_COMPARED


def _by_entries(blocks: Any, along: Sequence[Sequence[Any]]) -> list[Any]:
    """Return all rows, those of inputs as sums of entries of the matrix times sensitivities."""
    from cubie.systems.tracing.arithmetic import add, mul

    rows = list(blocks.first)
    for direction, rest in zip(along, blocks.rest, strict=True):
        found = list(rest)
        for (row, column), entry in blocks.matrix.items():
            found[row] = add(found[row], mul(entry, direction[column]))
        rows += found
    return rows
