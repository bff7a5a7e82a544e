"""Pieces of a kernel: phases in order, what lives in which of them, and what calls what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from cubie_planner.basics import PlannerError, nearest_hint
from cubie_planner.declarations.buffers import Buffer

DEFAULT_ENTRY = "call"
ANYWHERE = "*"


class TimelineError(PlannerError, ValueError):
    """The components do not fit together."""


PhaseSpan = str | tuple[str | None, str | None]
"""One phase, or all phases from a first to a last, both included; None: from or to the very end."""


@frozen(init=False)
class PhasedBuffer:
    """A buffer whose lifetime is told in phases of the component that owns it.

    Parameters
    ----------
    name, n_elements, dtype
        As for Buffer: elements, or a shape; the name is unique within the component.
    phases : sequence of (str or (first, last)) or None
        Phases in which it is alive; a pair means all phases from the first to the last,
        both included, and everything that runs between them. A phase of a component
        called from here is written ``child.phase``; ``*.name.phase`` is that of every
        component of a name below, however deep. In a pair None stands for the
        beginning or the end of the whole timeline: what is carried round an outer loop
        from phase b to phase a lives in ``(None, a)`` and ``(b, None)``. None instead of
        all phases means always.
    **options
        The remaining options of Buffer, except `lifetime`. Parents in `aliases` are
        names of the same component or qualified names (``outer.inner.scratch``,
        with or without the name of the root).
    """

    buffer: Buffer
    phases: tuple[PhaseSpan, ...] | None

    def __init__(
        self,
        name: str,
        n_elements: int | tuple[int, ...],
        dtype: Any,
        *,
        phases: str | Iterable[PhaseSpan] | None = None,
        **options: Any,
    ):
        if "lifetime" in options:
            raise TimelineError(f"`{name}`: give phases, not a lifetime")
        spans = (phases,) if isinstance(phases, str) else phases
        if spans is not None:
            spans = tuple(span if isinstance(span, str) else (span[0], span[1]) for span in spans)
            if not spans:
                raise TimelineError(f"`{name}` lives in no phase; give None for always")
        self.__attrs_init__(Buffer(name, n_elements, dtype, **options), spans)  # type: ignore[attr-defined]


def _during(value: Any) -> dict[str, tuple[str, ...]]:
    entries = value if isinstance(value, Mapping) else {DEFAULT_ENTRY: value}
    return {
        entry: (phases,) if isinstance(phases, str) else tuple(phases)
        for entry, phases in entries.items()
    }


@frozen
class Call:
    """A child that a component calls.

    Parameters
    ----------
    child : Component
    during : str, sequence of str, or mapping of entry to those
        The phase (or phases) of the caller in which the child runs. For a child with
        several entries: which entry runs in which phase.
    concurrent : bool
        Children called concurrently in one phase live together: each of their buffers
        alive in that call is taken as alive throughout it.
    """

    child: Component
    during: Mapping[str, tuple[str, ...]] = field(converter=_during)
    concurrent: bool = False


@frozen
class Component:
    """A piece of a kernel: phases in order, its buffers, and what it calls.

    Parameters
    ----------
    name : str
        Without dots; unique among the children of one caller.
    phases : tuple of str
        In the order in which they run.
    buffers : tuple of PhasedBuffer
    calls : tuple of Call
    entries : mapping of str to tuple of str
        Entry points, each a run of consecutive phases. By default one, ``call``, which
        runs all phases.
    """

    name: str
    phases: tuple[str, ...] = field(converter=tuple)
    buffers: tuple[PhasedBuffer, ...] = field(default=(), converter=tuple)
    calls: tuple[Call, ...] = field(default=(), converter=tuple)
    entries: Mapping[str, tuple[str, ...]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.entries:
            object.__setattr__(self, "entries", {DEFAULT_ENTRY: self.phases})
        _check_component(self)


def _check_component(component: Component) -> None:
    _check_phases(component)
    _check_entries(component)
    _check_names(component)
    _check_calls(component)
    _check_buffers(component)


def _check_phases(component: Component) -> None:
    name, phases = component.name, component.phases
    if not name or "." in name:
        raise TimelineError(f"component name {name!r} must be non-empty and without dots")
    if not phases or len(set(phases)) < len(phases):
        raise TimelineError(f"`{name}` needs distinct phases, at least one; got {phases}")


def _check_entries(component: Component) -> None:
    """Refuse an entry that is not a run of phases."""
    phases = component.phases
    for entry, run in component.entries.items():
        first = phases.index(run[0]) if run and run[0] in phases else -1
        if first < 0 or tuple(run) != phases[first : first + len(run)]:
            raise TimelineError(
                f"entry `{entry}` of `{component.name}` must be consecutive phases of {phases}, "
                f"got {run}"
            )


def _check_names(component: Component) -> None:
    owned = [phased.buffer.name for phased in component.buffers]
    children = [call.child.name for call in component.calls]
    for kind, names in (("buffers", owned), ("children", children)):
        if len(set(names)) < len(names):
            raise TimelineError(
                f"two {kind} of `{component.name}` have the same name: {sorted(names)}"
            )


def _check_calls(component: Component) -> None:
    """Refuse a call of an entry that the child lacks, or in a phase that the caller lacks."""
    for call in component.calls:
        for entry, during in call.during.items():
            if entry not in call.child.entries:
                raise TimelineError(
                    f"`{component.name}` calls the entry `{entry}` of `{call.child.name}`, which "
                    f"has {sorted(call.child.entries)}"
                )
            for phase in during:
                _known_phase(component, phase)


def _check_buffers(component: Component) -> None:
    """Refuse a buffer that lives in a phase that does not exist."""
    for phased in component.buffers:
        for span in phased.phases or ():
            for phase in (span,) if isinstance(span, str) else span:
                if phase is not None:
                    _known_phase(component, phase, phased.buffer.name)


def _known_phase(component: Component, phase: str, buffer: str | None = None) -> None:
    if phase in component.phases:
        return
    child_name, _, rest = phase.partition(".")
    if buffer is not None and child_name == ANYWHERE and _is_below(component, *named(phase)):
        return
    child = next((c.child for c in component.calls if c.child.name == child_name), None)
    if buffer is not None and child is not None:
        _known_phase(child, rest, buffer)
        return
    whose = f"buffer `{buffer}` of " if buffer else ""
    raise TimelineError(
        f"{whose}`{component.name}`: phase {phase!r} does not exist"
        f"{nearest_hint(phase, component.phases)}; phases: {', '.join(component.phases)}"
    )


def named(phase: str) -> tuple[str, str]:
    """Return the component and the phase that ``*.name.phase`` means."""
    name, _, own = phase.removeprefix(f"{ANYWHERE}.").partition(".")
    return name, own


def _is_below(component: Component, name: str, phase: str) -> bool:
    """Tell whether a component of a name, with a phase, is called from here at any depth."""
    below = (call.child for call in component.calls)
    return any(
        (child.name == name and phase in child.phases) or _is_below(child, name, phase)
        for child in below
    )
