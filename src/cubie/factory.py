"""The base of every component: settings, buffers, children, and a cached build."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import attrs
from attrs import frozen

from cubie.backend import Backend
from cubie.buffers import (
    LOCATION_SUFFIX,
    BufferLocation,
    BufferRegistry,
    CUDABuffer,
    During,
    Layout,
)
from cubie.errors import InvalidOption, UnknownOption
from cubie.other_packages import instead_of
from cubie.recent import Recent

MAX_BUILT = 64  # of one component, and kernels, are found again

LOCATIONS = tuple(location.value for location in BufferLocation)


@frozen
class Nothing:
    """Settings of a component that has none."""


class BuildCache:
    """Device functions and kernels by the digest of all they depend on, those used last.

    Attributes
    ----------
    made : Counter
        How often something was made, by the component's name.
    """

    def __init__(self) -> None:
        self._made_before: dict[str, Recent[Any]] = {}  # by the component's name
        self.made: Counter[str] = Counter()

    def get_or_make(self, key: str, name: str, make: Callable[[], Any]) -> Any:
        """Return what was made for this digest before, or make it."""
        made_before = self._made_before.setdefault(name, Recent(MAX_BUILT))
        found = made_before.get(key)
        if found is None:
            found = made_before.put(key, make())
            self.made[name] += 1
        return found


@frozen
class BuildContext:
    """What device functions are built for: a target, and a place for every buffer."""

    backend: Backend
    layout: Layout
    path: str  # qualified name of the component being built
    built: BuildCache
    prefix: str = ""  # of the names of its buffers

    def within(self, child: str) -> BuildContext:
        """Return the context of a component called by this one."""
        return attrs.evolve(self, path=f"{self.path}.{child}", prefix="")

    def allocator(self, name: str) -> Callable:
        """Return ``allocate(memory, parent)`` of one of the component's buffers."""
        placements = self.layout.plan.placements
        return self.backend.allocator(placements[f"{self.path}.{self.prefix}{name}"])

    def phase(self, name: str) -> Callable:
        """Return ``enter(memory)``, to be called where a phase begins."""
        points = tuple(start for start, _ in self.layout.timeline.intervals(self.path, name))
        return self.backend.phase(points, self.layout.plan.placements)


class CUDAFactory(ABC):
    """A component: builds device functions from settings, and declares their buffers.

    A subclass names itself and its phases, registers its buffers in `__init__`
    with one line each, adds the components it calls, and implements `build`.
    Its options are the fields of `Settings` and `{buffer}_location` of every
    registered buffer; nothing else lists them.
    """

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]] = ("call",)
    entries: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Before the names of its buffers, where it stands beside a component that has the same ones.
    prefix: ClassVar[str] = ""
    Settings: ClassVar[type] = Nothing

    def __init__(self, dtype, options: Mapping[str, Any]):
        known = {field.name for field in attrs.fields(self.Settings)}
        self.settings = self.Settings(**{k: v for k, v in options.items() if k in known})
        self._registry = BufferRegistry(self.name, self.phases, dtype, self.entries)
        self._options = dict(options)
        self._children: dict[str, CUDAFactory] = {}

    @property
    def buffer_registry(self) -> BufferRegistry:
        """The component's buffers, composed with those of the components it calls."""
        return self._registry

    @property
    def children(self) -> Mapping[str, CUDAFactory]:
        return dict(self._children)

    def register_buffer(self, name: str, size, **declaration) -> None:
        """Declare a buffer; see `CUDABuffer`. The dtype is the run's unless given."""
        declaration.setdefault("dtype", self._registry.dtype)
        if self.prefix:
            name, aliases = self.prefix + name, declaration.get("aliases", ())
            declaration["aliases"] = tuple(
                attrs.evolve(alias, parent=self.prefix + alias.parent) for alias in aliases
            )
        location = self._options.get(name + LOCATION_SUFFIX)
        if location is not None and location not in LOCATIONS:
            raise InvalidOption(name + LOCATION_SUFFIX, location, LOCATIONS)
        self._registry.register(CUDABuffer(name=name, size=size, location=location, **declaration))

    def add_child(self, child: CUDAFactory, during: During) -> None:
        """Compose a component that this one calls during a phase."""
        self._registry.add_child(child.buffer_registry, during)
        self._children[child.name] = child

    def walk(self) -> Iterator[CUDAFactory]:
        """Yield this component and all below it."""
        yield self
        for child in self._children.values():
            yield from child.walk()

    def own_options(self) -> set[str]:
        """Return the names of the options that this component itself understands."""
        settings = {field.name for field in attrs.fields(self.Settings)}
        return settings | {b.option for b in self._registry.buffers.values()}

    def options(self) -> set[str]:
        """Return the names of the options understood in this component's tree."""
        return set().union(*(component.own_options() for component in self.walk()))

    def facts(self) -> tuple:
        """Return what else the built code depends on, beyond settings and placements."""
        return ()

    def told(self) -> str:
        """Return what was chosen in it and why, for people; nothing where nothing was."""
        return ""

    def build_key(self, context: BuildContext) -> str:
        """Return the digest of all that the device functions of this tree depend on."""
        placements = context.layout.plan.placements
        prefix = context.path + "."
        own = [placements[prefix + name] for name in self._registry.buffers]
        parts = [
            type(self).__qualname__,
            repr(self.settings),
            repr(self.facts()),
            repr(context.backend.key),
            repr([_fixed_by(placement) for placement in own]),
        ]
        if context.backend.watches_phases:
            parts.append(context.layout.plan.digest + repr(sorted(placements.items())))
        parts += [c.build_key(context.within(c.name)) for c in self._children.values()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def device_functions(self, context: BuildContext) -> Any:
        """Return the component's device functions, built anew only if something changed."""
        key = self.build_key(context)
        own = self.own_context(context)
        return context.built.get_or_make(key, self.name, lambda: self.build(own))

    def own_context(self, context: BuildContext) -> BuildContext:
        """Return a context in which its buffers are found by the names without prefix."""
        return attrs.evolve(context, prefix=self.prefix) if self.prefix else context

    def child_functions(self, context: BuildContext, name: str) -> Any:
        """Return the device functions of a component that this one calls."""
        child, below = self._children[name], context.within(name)
        return context.backend.called(below.path, child.phases, child.device_functions(below))

    @abstractmethod
    def build(self, context: BuildContext) -> Any:
        """Make the device functions for a target and a plan."""


def _fixed_by(placement) -> tuple:
    """Return what an allocator bakes in."""
    return (
        placement.location.value,
        placement.offset,
        placement.n_elements,
        placement.dtype.str,
        placement.parent,
        placement.parent_offset,
    )


def require_known(
    given: Mapping[str, Any],
    known: Collection[str],
    elsewhere: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Raise `UnknownOption` for the first keyword that nothing understands.

    `elsewhere` tells, where it comes to that, which options other choices have.
    """
    for name in given:
        if name not in known:
            # What another package calls so is not what is spelled alike here.
            there = elsewhere()
            instead = "" if name in there else instead_of(name)
            raise UnknownOption(name, known, instead, there)
