"""Lifetimes from structure: components with phases, calling each other.

A component names its phases in order, says in which of them each buffer lives, and
during which phase it calls a child. Composing the tree lays everything on one line of
program points::

    loop      | start |  step: before   . . . . . . . . .   after | commit |
    algorithm |       |                 stage   |  solve          |        |

The phase `step` of `loop` covers a point of its own, then the phases of what it calls,
then a second point of its own. A buffer of `loop` that lives in `step` therefore lives
together with everything inside `algorithm`; children called in different phases never
live together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from cubie_planner.basics import PlannerError, nearest_hint
from cubie_planner.declarations.buffers import Alias, Buffer, Interval, Lifetime

DEFAULT_ENTRY = "call"


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
        As for Buffer; the name is unique within the component.
    phases : sequence of (str or (first, last)) or None
        Phases in which it is alive; a pair means all phases from the first to the last,
        both included, and everything that runs between them. A phase of a component
        called from here is written ``child.phase``. In a pair None stands for the
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
        n_elements: int,
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
    child = next((c.child for c in component.calls if c.child.name == child_name), None)
    if buffer is not None and child is not None:
        _known_phase(child, rest, buffer)
        return
    whose = f"buffer `{buffer}` of " if buffer else ""
    raise TimelineError(
        f"{whose}`{component.name}`: phase {phase!r} does not exist"
        f"{nearest_hint(phase, component.phases)}; phases: {', '.join(component.phases)}"
    )


@frozen
class Timeline:
    """All buffers of a tree on one line of program points.

    Attributes
    ----------
    buffers : tuple of Buffer
        With qualified names and lifetimes in program points.
    points : tuple of str
        Name of every program point, in order.
    """

    buffers: tuple[Buffer, ...]
    points: tuple[str, ...]
    _occurrences: Mapping[tuple[str, str], Lifetime]

    def intervals(self, component_path: str, phase: str) -> Lifetime:
        """Return when `phase` of a component runs: one interval per time it is called."""
        try:
            return self._occurrences[component_path, phase]
        except KeyError:
            known = [f"{path}:{name}" for path, name in self._occurrences]
            raise TimelineError(
                f"no phase `{component_path}:{phase}`"
                f"{nearest_hint(f'{component_path}:{phase}', known)}"
            ) from None

    def point(self, component_path: str, phase: str) -> Interval:
        """Return when `phase` of a component runs, where it runs once."""
        found = self.intervals(component_path, phase)
        if len(found) != 1:
            raise TimelineError(
                f"`{component_path}:{phase}` runs {len(found)} times; use intervals()"
            )
        return found[0]


class _Layout:
    """Lays components on the line, remembering when each phase runs."""

    def __init__(self) -> None:
        self.points: list[str] = []
        self.occurrences: dict[tuple[str, str], list[Interval]] = {}
        self.components: dict[str, Component] = {}

    def lay(self, component: Component, path: str, phases: Iterable[str]) -> None:
        self.components.setdefault(path, component)
        for phase in phases:
            start = len(self.points)
            calls = [
                (call, entry)
                for call in component.calls
                for entry, during in call.during.items()
                if phase in during
            ]
            self.points.append(f"{path}:{phase}")
            if calls:
                self._lay_calls(path, calls)
                self.points.append(f"{path}:{phase} (after)")
            self.occurrences.setdefault((path, phase), []).append((start, len(self.points)))

    def _lay_calls(self, path: str, calls: list[tuple[Call, str]]) -> None:
        together = [pair for pair in calls if pair[0].concurrent]
        for call, entry in calls:
            if not call.concurrent:
                self.lay(call.child, f"{path}.{call.child.name}", call.child.entries[entry])
        if not together:
            return
        start = len(self.points)
        roots = [f"{path}.{call.child.name}" for call, _ in together]
        for (call, entry), root in zip(together, roots, strict=True):
            self.lay(call.child, root, call.child.entries[entry])
        self._widen(roots, (start, len(self.points)))

    def _widen(self, roots: list[str], whole: Interval) -> None:
        """Let every phase inside a concurrent group last as long as the group."""
        for (path, _), intervals in self.occurrences.items():
            if any(path == root or path.startswith(f"{root}.") for root in roots):
                intervals[:] = [
                    whole if start >= whole[0] else (start, end) for start, end in intervals
                ]


def compose(root: Component) -> Timeline:
    """Lay the tree under `root` on one line of program points.

    Raises
    ------
    TimelineError
        When a phase, a child's entry or an alias parent does not exist, or when a
        buffer would live across the end of what it belongs to.
    """
    layout = _Layout()
    layout.lay(root, root.name, root.phases)
    occurrences = {
        key: tuple(sorted(set(intervals))) for key, intervals in layout.occurrences.items()
    }
    names = [
        f"{path}.{phased.buffer.name}"
        for path, component in layout.components.items()
        for phased in component.buffers
    ]
    known = set(names)
    if len(known) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TimelineError(f"two buffers are named `{twice}`")
    buffers = []
    for path, component in layout.components.items():
        for phased in component.buffers:
            buffers.append(_qualify(path, component, phased, occurrences, known, root.name))
    return Timeline(tuple(buffers), tuple(layout.points), occurrences)


def _qualify(
    path: str,
    component: Component,
    phased: PhasedBuffer,
    occurrences: Mapping[tuple[str, str], Lifetime],
    known: set[str],
    root: str,
) -> Buffer:
    buffer = phased.buffer
    aliases = []
    for alias in buffer.aliases:
        options = (f"{path}.{alias.parent}", alias.parent, f"{root}.{alias.parent}")
        parent = next((name for name in options if name in known), None)
        if parent is None:
            raise TimelineError(
                f"`{path}.{buffer.name}` is an alias of `{alias.parent}`, which is neither a "
                f"buffer of `{path}` nor a qualified name{nearest_hint(options[0], known)}"
            )
        aliases.append(Alias(parent, alias.offset))
    lifetime = None
    if phased.phases is not None and not buffer.persistent:
        spans: list[Interval] = []
        for span in phased.phases:
            spans += _intervals(path, component, buffer.name, span, occurrences)
        lifetime = _merged(spans)
    return evolve(buffer, name=f"{path}.{buffer.name}", aliases=tuple(aliases), lifetime=lifetime)


def _intervals(
    path: str,
    component: Component,
    buffer: str,
    span: PhaseSpan,
    occurrences: Mapping[tuple[str, str], Lifetime],
) -> list[Interval]:
    """Return when a phase, or everything from one phase to another, runs."""
    if isinstance(span, str):
        return list(_occurrences_of(path, buffer, span, occurrences))
    pair = span
    found = [_occurrences_of(path, buffer, phase, occurrences) for phase in pair]
    first, last = pair
    if first is None or last is None:
        end = max(end for lifetime in occurrences.values() for _, end in lifetime)
        start = 0 if first is None else found[0][0][0]
        return [(start, end if last is None else found[1][-1][1])]
    firsts, lasts = found
    if _same_call(component, first, last):
        if component.phases.index(first) > component.phases.index(last):
            raise _backwards(path, buffer, (first, last))
        return [(a[0], b[1]) for a, b in zip(firsts, lasts, strict=True)]
    if firsts[0][0] >= lasts[-1][1]:
        raise _backwards(path, buffer, (first, last))
    return [(firsts[0][0], lasts[-1][1])]


def _occurrences_of(
    path: str,
    buffer: str,
    phase: str | None,
    occurrences: Mapping[tuple[str, str], Lifetime],
) -> Lifetime:
    """Return when a phase runs, as named by the owner of a buffer; nothing for None."""
    if phase is None:
        return ()
    key = _qualified_phase(path, phase)
    if key not in occurrences:
        raise TimelineError(f"`{path}.{buffer}` lives in phase {phase!r}, which nothing calls")
    return occurrences[key]


def _qualified_phase(path: str, phase: str) -> tuple[str, str]:
    """Return the component and the phase that ``phase`` or ``child.phase`` names."""
    *children, own = phase.split(".")
    return ".".join((path, *children)), own


def _same_call(component: Component, first: str, last: str) -> bool:
    return any(first in run and last in run for run in component.entries.values())


def _backwards(path: str, buffer: str, pair: tuple[str, str]) -> TimelineError:
    return TimelineError(
        f"`{path}.{buffer}` lives from {pair[0]!r} to {pair[1]!r}, which runs earlier; a value "
        "carried round a loop lives through the whole loop: declare phases=None"
    )


def _merged(spans: Iterable[Interval]) -> Lifetime:
    merged: list[Interval] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
