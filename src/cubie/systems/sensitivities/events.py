"""What events do to sensitivities: when they happen depends on inputs, and so do states behind.

At a root tau of h(t, y, p) with y' = f before and behind it, and c(t, y, p) the new state,

    dtau/dp = -(h_y s + h_p) / (h_y f + h_t)
    s_behind = c_y s + c_p + (c_y f + c_t - f_behind) dtau/dp

the second with the saltation matrix (Hiskens & Pai, IEEE Trans. Circuits Syst. I 47 (2000)
204-220; Bernardo, Budd, Champneys & Kowalczyk, Piecewise-smooth Dynamical Systems, 2.5).
"""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import Any, NoReturn

from cubie.backend import package_digest
from cubie.errors import InvalidOption
from cubie.systems.events.given import Rules
from cubie.systems.events.traced import EventSystems
from cubie.systems.sensitivities.inputs import require_numbers, size_of
from cubie.systems.store import Store
from cubie.systems.system import Joint, System
from cubie.systems.uncollected import uncollected


def joint_events(states: System, events: EventSystems, rules: Rules) -> EventSystems:
    """Return events that change sensitivities as well, and tell how their times depend on inputs.

    Raises
    ------
    InvalidOption
        For an event that changes the state and has no expressions, or happens where a step ends.
    """
    applied, timings = [], []
    for k, rule in enumerate(rules.each):
        value, place = _value_of(events, k)
        change = events.applied[k]
        for system in (value, change):
            if system is not None and states.joint is not None:
                require_numbers(states.joint.inputs, system, f"events[{k}]")
        if rule.repeats:
            _refuse_repeated(k)
        if rule.at_steps or value.kind != "traced":
            if change is not None:
                _refuse(k, rule.at_steps, value)
            applied.append(None)
            timings.append(None)
            continue
        if change is not None and change.kind != "traced":
            _refuse(k, False, change)
        if change is not None and states.kind != "traced":
            _refuse_untraced(k, states)
        timings.append(_made(states, value, place, None, k))
        applied.append(None if change is None else _made(states, value, place, change, k))
    return EventSystems(events.values, tuple(applied), tuple(timings))


def _refuse(k: int, at_steps: bool, system: System) -> None:
    if at_steps:
        why = (
            "happens where a step ends (on='accept'), a time that is no function of inputs: give a "
            "function whose root is found"
        )
    else:
        why = f"cannot be traced: {system.note.rstrip('.')}"
    advice = f"events[{k}] changes the state and {why}, or leave sensitivities out."
    raise InvalidOption("sensitivities", None, advice=advice)


def _refuse_repeated(k: int) -> NoReturn:
    advice = (
        f"events[{k}] is applied while its number is above zero (on='while'), perhaps several "
        "times at once, which is not differentiated yet: leave sensitivities out."
    )
    raise InvalidOption("sensitivities", None, advice=advice)


def _refuse_jump(k: int, joint: Joint) -> NoReturn:
    advice = (
        f"events[{k}] changes the state at a time that is to be differentiated, but its number "
        "jumps there and is constant elsewhere: give one that goes through zero, such as "
        "`t - when`, or leave sensitivities out."
    )
    raise InvalidOption("sensitivities", [one.name for one in joint.inputs], advice=advice)


def _refuse_untraced(k: int, states: System) -> NoReturn:
    assert states.joint is not None
    advice = (
        f"events[{k}] changes the state, and how sensitivities change with it takes equations that "
        f"can be traced: let `apply` be None, or leave sensitivities out. {states.joint.base.note}"
    )
    raise InvalidOption("sensitivities", [one.name for one in states.joint.inputs], advice=advice)


def _value_of(events: EventSystems, k: int) -> tuple[System, int]:
    """Return the system that computes the number of event `k`, and at which output."""
    together = len(events.values) == 1
    return (events.values[0], k) if together else (events.values[k], 0)


def _made(states: System, value: System, place: int, change: System | None, k: int) -> System:
    """Return the joint state behind a root of event `k`, or, without a change, rates of its time.

    These are times the sizes of inputs, one for each; the derivatives of the states come behind.
    Of equations that cannot be traced these are given, behind all states. Then come how fast the
    number rises along the solution, and how fast that changes (zero where equations cannot be
    traced), and the derivatives of the number by the states.
    """
    joint = states.joint
    assert joint is not None
    store = Store.beside(states.path)
    parts = [package_digest(), states.digest, value.digest, str(place)]
    parts += ["time of an event"] if change is None else ["change at an event", change.digest]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    drivers = _Drivers()
    traced = states.kind == "traced"
    for one in filter(None, (joint.base if traced else None, value, change)):
        drivers.add(one)
    entry = store.read_entry(key) or {}
    source, order = store.read_module(entry.get("digest")), entry.get("drivers")
    if source is None or not _is_order(order, drivers):
        with uncollected():
            source, order = _written(states, value, place, change, k, drivers)
        _, digest = store.write_module(source)
        entry = {"digest": digest, "drivers": order}
        store.write_entry(key, entry)
    names = *joint.names, *joint.base.state_names, "rise", "bend"
    names = (*names, *(f"d/d({name})" for name in joint.base.state_names))
    outputs = {} if change is not None else {"n_outputs": len(names), "output_names": names}
    return System(
        n_states=len(_names(states)),
        n_parameters=states.n_parameters,
        kind="traced",
        source=source,
        path=store.module_path(entry["digest"]),
        digest=entry["digest"],
        state_names=_names(states),
        parameter_names=states.parameter_names,
        drivers=tuple(drivers.sources[number] for number in order or ()),
        **outputs,
    )


def _names(states: System) -> tuple[str, ...]:
    """Return what there is in the place of states: behind them the slopes that are given."""
    names, joint = states.state_names, states.joint
    if states.kind == "traced" or joint is None:
        return names
    return (*names, *(f"slope of {name}" for name in joint.base.state_names))


class _Drivers:
    """The drivers that several systems call, numbered anew."""

    def __init__(self):
        self.sources: list[Any] = []
        self.structures: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}

    def add(self, system: System) -> list[int]:
        """Return what the drivers of a system are called here, in their order there."""
        found = []
        for source, structure in zip(system.drivers, system.structures, strict=True):
            key = source if isinstance(source, tuple) else id(source)
            number = self._numbers.setdefault(key, len(self._numbers))
            if number == len(self.sources):
                self.sources.append(source)
                self.structures[number] = structure
            found.append(number)
        return found


def _is_order(order: Any, drivers: _Drivers) -> bool:
    whole = type(order) is list and all(type(number) is int for number in order)
    return whole and all(0 <= number < len(drivers.sources) for number in order)


def _written(
    states: System, value: System, place: int, change: System | None, k: int, drivers: _Drivers
) -> tuple[str, list[int]]:
    """Return the text of the module, and the numbers of the drivers in the order of its own."""
    # Imported late: what is known needs no expressions.
    from cubie.systems.derivatives.rules import sparse_jacobian, tangents
    from cubie.systems.drivers.calls import drivers_called
    from cubie.systems.source import write_module
    from cubie.systems.symbolic.from_trace import expressions
    from cubie.systems.tracing.arithmetic import add, div, mul, neg, sub
    from cubie.systems.tracing.expression import Graph
    from cubie.systems.tracing.nodes import Node, reachable

    joint, graph = states.joint, Graph()
    assert joint is not None
    n, t = joint.base.n_states, graph.leaf("t")
    if states.kind == "traced":
        _, slopes = expressions(joint.base, graph, drivers.add(joint.base))
    else:
        slopes = [graph.leaf("y", states.n_states + i) for i in range(n)]
    number = expressions(value, graph, drivers.add(value))[1][place]
    here: list[Any] = [graph.leaf("y", i) for i in range(n)]
    along = dict(zip(here, slopes, strict=True)) | {t: 1.0}
    (rise,) = tangents([number], along)
    if change is not None and not isinstance(rise, Node) and rise == 0.0:
        _refuse_jump(k, joint)
    new: list[Any] = []
    behind: list[Any] = []
    drift: list[Any] = []
    if change is not None:
        _, new = expressions(change, graph, drivers.add(change))
        _, behind = expressions(joint.base, graph, drivers.add(joint.base), states=new)
        drift = tangents(new, along)
    rows, times = list(new), []
    for block, one in enumerate(joint.inputs, 1):
        seeds: dict[Any, Any] = {y: graph.leaf("y", n * block + i) for i, y in enumerate(here)}
        if not one.is_initial:
            seeds[graph.leaf("p", one.number)] = size_of(graph, one)
        (fall,) = tangents([number], seeds)
        time = neg(div(fall, rise))
        times.append(time)
        if change is not None:
            changes = tangents(new, seeds)
            pairs = zip(changes, drift, behind, strict=True)
            rows += [add(moved, mul(sub(slope, after), time)) for moved, slope, after in pairs]
    outputs = rows
    if change is None:
        (bend,) = tangents([rise], along) if states.kind == "traced" else (0.0,)
        by_state = sparse_jacobian([number], here)
        outputs = [*times, *slopes, rise, bend, *(by_state.get((0, i), 0.0) for i in range(n))]
    order = drivers_called(reachable(outputs))
    structures = MappingProxyType(drivers.structures)
    what = "Time of" if change is None else "Change at"
    title = f"{what} an event of {value.digest}, output {place}, in {states.digest}."
    names = _names(states), states.parameter_names
    return write_module(outputs, title, *names, change is not None, structures), order
