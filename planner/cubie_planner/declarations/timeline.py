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
from typing import NamedTuple

from attrs import evolve, frozen

from cubie_planner.basics import nearest_hint
from cubie_planner.declarations.buffers import Buffer, Interval, Lifetime
from cubie_planner.declarations.components import (
    ANYWHERE,
    Call,
    Component,
    PhasedBuffer,
    PhaseSpan,
    TimelineError,
    named,
)


class PhaseInterval(NamedTuple):
    """When a phase of a timeline runs: program points, half-open, that are known to exist."""

    start: int
    end: int


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
    _occurrences: Mapping[tuple[str, str], tuple[PhaseInterval, ...]]

    def intervals(self, component_path: str, phase: str) -> tuple[PhaseInterval, ...]:
        """Return when `phase` of a component runs: one interval per time it is called."""
        try:
            return self._occurrences[component_path, phase]
        except KeyError:
            known = [f"{path}:{name}" for path, name in self._occurrences]
            raise TimelineError(
                f"no phase `{component_path}:{phase}`"
                f"{nearest_hint(f'{component_path}:{phase}', known)}"
            ) from None

    def point(self, component_path: str, phase: str) -> PhaseInterval:
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
        key: tuple(PhaseInterval(*interval) for interval in sorted(set(intervals)))
        for key, intervals in layout.occurrences.items()
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
        aliases.append(evolve(alias, parent=parent))
    lifetime = None
    if phased.phases is not None and not buffer.persistent:
        spans: list[Interval] = []
        for span in phased.phases:
            spans += _intervals(path, component, buffer.name, span, occurrences)
        if not spans:
            raise TimelineError(f"`{path}.{buffer.name}` lives in phases that nothing calls")
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
    if phase.startswith(f"{ANYWHERE}."):
        return _anywhere(path, *named(phase), occurrences)
    key = _qualified_phase(path, phase)
    if key not in occurrences:
        raise TimelineError(f"`{path}.{buffer}` lives in phase {phase!r}, which nothing calls")
    return occurrences[key]


def _anywhere(
    path: str, name: str, phase: str, occurrences: Mapping[tuple[str, str], Lifetime]
) -> Lifetime:
    """Return when a phase of components of a name runs, wherever they are below a path."""
    found = [
        interval
        for (where, own), lifetime in occurrences.items()
        if own == phase and where.startswith(f"{path}.") and where.endswith(f".{name}")
        for interval in lifetime
    ]
    return tuple(sorted(found))


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
