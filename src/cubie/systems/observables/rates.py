"""How fast observables change along a solution: dg/dt = g_t + g_y . dy, beside their values.

Forward accumulation on the expressions of the observables themselves, so that what values and
rates have in common is computed once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from cubie.backend import package_digest
from cubie.systems.generated import load_module
from cubie.systems.store import Store
from cubie.systems.system import System

_NAME = "observe_with_rate"
_DOCSTRING = "out[i] = g_i(t, y, p), rate[i] = dg_i/dt where y changes by dy."


def rates_of(system: System) -> tuple[Callable, int]:
    """Return ``observe_with_rate(t, y, dy, p, out, rate)`` of observables, and its lines."""
    module, lines = module_of_rates(system)
    return module.observe_with_rate, lines


def module_of_rates(system: System) -> tuple[ModuleType, int]:
    """Return the module of ``observe_with_rate(t, y, dy, p, out, rate)``, and its lines.

    Where drivers are called there is a `d` behind the `p`, see `cubie.systems.drivers.calls`.
    """
    source, path = source_of_rates(system)
    return load_module(source, path), source.count("\n")


def source_of_rates(system: System) -> tuple[str, Path]:
    """Return the text of `module_of_rates`, and where it is kept if it can be.

    From the cache where it was generated before.
    """
    store = Store.beside(system.path)
    parts = ("rates of observables", package_digest(), system.digest)
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
    source, digest = store.found_or_written(key, lambda: _written(system))
    return source, store.module_path(digest)


def _written(system: System) -> str:
    # Imported late: what is known needs no expressions.
    from cubie.systems.derivatives.rules import tangents
    from cubie.systems.drivers.calls import calls_of
    from cubie.systems.source import Writer, argument_functions, import_lines
    from cubie.systems.symbolic.from_trace import expressions
    from cubie.systems.tracing.nodes import reachable

    graph, values = expressions(system)
    n_states, n = system.n_states, system.n_outputs
    seeds = {graph.leaf("y", i): graph.leaf("dy", i) for i in range(n_states)}
    rates = tangents(values, seeds | {graph.leaf("t"): 1.0})
    names = system.state_names, system.parameter_names
    arguments = {"dy": [f"dy[{i}]" for i in range(n_states)]}
    outputs = [*values, *rates]
    calls = calls_of(reachable(outputs), {k: k for k in range(len(system.drivers))})
    writer = Writer(*names, target="out", arguments=arguments, reserved=("dy", "rate"), calls=calls)
    places = [f"out[{i}]" for i in range(n)] + [f"rate[{i}]" for i in range(n)]
    writer.write(outputs, places=places)
    facts, before, modules, slots = "", "", writer.modules, ""
    if system.drivers:
        facts, before, more = argument_functions(_NAME, calls, *names)
        facts, modules, slots = f"\n{facts}", modules | more, "d, "
    body = "\n".join(f"    {line}" for line in writer.lines)
    return (
        f'"""Observables {system.digest} with their rates.\n\n'
        f'Written by cubie: changes are overwritten.\n"""\n{import_lines(modules)}{facts}\n'
        f"{before}\ndef {_NAME}(t, y, dy, p, {slots}out, rate):\n"
        f'    """{_DOCSTRING}"""\n{body}\n'
    )
