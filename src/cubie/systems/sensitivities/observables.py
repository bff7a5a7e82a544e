"""Observables of states and sensitivities: themselves, and their derivatives by inputs."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import Any

from cubie.backend import package_digest
from cubie.systems.sensitivities.inputs import require_numbers, size_of
from cubie.systems.sensitivities.joint import names_of_all
from cubie.systems.store import Store
from cubie.systems.system import Joint, System
from cubie.systems.uncollected import uncollected


def joint_observables(states: System, observables: System) -> System:
    """Return observables g(t, y, p), and behind them ``g_y s + size g_p`` of each input.

    Parameters
    ----------
    states : System
        With sensitivities.
    observables : System
        Of the states alone, traced.
    """
    joint = states.joint
    assert joint is not None
    require_numbers(joint.inputs, observables, "A function of observables")
    store = Store.beside(observables.path)
    meant = [f"{one.is_initial} {one.number}" for one in joint.inputs]
    n_states = joint.base.n_states
    parts = ["joint observables", package_digest(), observables.digest, str(n_states), *meant]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    with uncollected():
        source, digest = store.found_or_written(key, lambda: _written(states, observables))
    names = names_of_all(observables.output_names, joint.inputs)
    return System(
        n_states=states.n_states,
        n_parameters=observables.n_parameters,
        kind="traced",
        source=source,
        path=store.module_path(digest),
        digest=digest,
        state_names=states.state_names,
        parameter_names=observables.parameter_names,
        note=observables.note,
        drivers=observables.drivers,
        joint=Joint(observables, joint.inputs),
        n_outputs=len(names),
        output_names=names,
    )


def _written(states: System, observables: System) -> str:
    # Imported late: what is known needs no expressions.
    from cubie.systems.derivatives.rules import tangents
    from cubie.systems.source import write_module
    from cubie.systems.symbolic.from_trace import expressions
    from cubie.systems.tracing.expression import Graph

    joint, graph = states.joint, Graph()
    assert joint is not None
    n, (_, outputs) = joint.base.n_states, expressions(observables, graph)
    rows = list(outputs)
    for block, one in enumerate(joint.inputs, 1):
        seeds: dict[Any, Any] = {
            graph.leaf("y", i): graph.leaf("y", n * block + i) for i in range(n)
        }
        if not one.is_initial:
            seeds[graph.leaf("p", one.number)] = size_of(graph, one)
        rows += tangents(outputs, seeds)
    title = f"Observables {observables.digest} and their derivatives by {len(joint.inputs)} inputs."
    names = states.state_names, states.parameter_names
    structures = MappingProxyType(dict(enumerate(observables.structures)))
    return write_module(rows, title, *names, in_place=False, structures=structures)
