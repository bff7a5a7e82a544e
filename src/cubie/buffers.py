"""What components declare: their buffers, and the registry that composes them along the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from attrs import converters, field, frozen, validators

from cubie_planner import (
    Alias,
    Call,
    Component,
    Limits,
    PhasedBuffer,
    Plan,
    Problem,
    Timeline,
    compose,
    plan,
)
from cubie_planner import Location as BufferLocation
from cubie_planner.declarations.buffers import OWN_PLACES

__all__ = ["BufferLocation", "BufferRegistry", "CUDABuffer", "Layout"]

LOCATION_SUFFIX = "_location"
# Where buffers may be in global memory, one of elements of another size than the run's shares no
# bytes if it takes more of them: it is what would have to go there.
MOST_SHARED_BYTES = 64 * 1024

During = str | tuple[str, ...] | Mapping[str, str] | Mapping[str, tuple[str, ...]]
"""The phase or phases that call a component, or for each of its entries the calling phase."""

Phases = tuple[str | tuple[str, str], ...]


@frozen(kw_only=True)
class CUDABuffer:
    """Everything there is to know about one small array of a run.

    Parameters
    ----------
    name : str
        Unique in the tree of components; `{name}_location` is its option.
    size : int or callable
        Elements; a callable is evaluated when the layout is made, so that it may
        depend on other settings.
    dtype : dtype
    phases : tuple, optional
        When it is alive: phases of its component, "child.phase" for a phase of a
        component it calls, ``"*.name.phase"`` for one of all components of a name below, or
        (first, last) for a range of phases. None: always.
    persistent : bool
        Its contents survive from one call of its component to the next, so it
        cannot live in the frame of a device function: asked to be local, it is
        local_persistent.
    location : BufferLocation or str, optional
        Where it must live; None leaves it to the plan.
    aliases : tuple of Alias
        Buffers of the same component it may lie inside, with byte offsets.
    view : bool
        It is a part of its alias parent, and must lie inside.
    enabled : bool or callable
        Evaluated when the layout is made; a disabled buffer needs no bytes.
    access_weight : float
        Reads and writes per element and step.
    """

    name: str = field(validator=validators.matches_re(r"[a-z][a-z0-9_]*"))
    size: int | Callable[[], int]
    dtype: np.dtype = field(converter=np.dtype)
    phases: Phases | None = None
    persistent: bool = False
    location: BufferLocation | None = field(
        default=None, converter=converters.optional(BufferLocation.parse)
    )
    aliases: tuple[Alias, ...] = ()
    view: bool = False
    enabled: bool | Callable[[], bool] = True
    access_weight: float = 1.0

    @property
    def option(self) -> str:
        """Name of the keyword argument that pins this buffer."""
        return self.name + LOCATION_SUFFIX

    def declared(self, global_itemsize: int | None = None) -> PhasedBuffer:
        """Evaluate what is deferred and return what the planner is told.

        With a `global_itemsize` it may be in global memory as well, which a launch has to bring.
        There only elements of that size may share bytes.
        """
        enabled = self.enabled() if callable(self.enabled) else self.enabled
        size = self.size() if callable(self.size) else self.size
        allowed = OWN_PLACES - ({BufferLocation.LOCAL} if self.persistent else set())
        pin, phases = self.location, self.phases
        other = global_itemsize is not None and self.dtype.itemsize != global_itemsize
        large = int(size) * self.dtype.itemsize > MOST_SHARED_BYTES
        if other and (pin is BufferLocation.GLOBAL or large):
            phases = None
        alone = phases is None and not self.aliases
        if global_itemsize is not None and (alone or self.dtype.itemsize == global_itemsize):
            allowed |= {BufferLocation.GLOBAL}
        if pin is BufferLocation.LOCAL and self.persistent:
            pin = BufferLocation.LOCAL_PERSISTENT
        return PhasedBuffer(
            self.name,
            int(size) if enabled else 0,
            self.dtype,
            phases=phases,
            locations=allowed,
            pin=pin,
            aliases=self.aliases,
            alias_required=self.view,
            access_weight=self.access_weight,
            enabled=bool(enabled),
        )


@frozen
class Layout:
    """A plan for a tree of components, and what it was made from."""

    plan: Plan
    timeline: Timeline


class BufferRegistry:
    """The buffers of one component, and the registries of the components it calls.

    Parameters
    ----------
    component : str
        Name of the component in the tree.
    phases : tuple of str
        What the component does, in order.
    entries : mapping, optional
        For a component called at several points: entry -> its phases.
    dtype : dtype
        What "elements" count in the totals.
    """

    def __init__(
        self,
        component: str,
        phases: tuple[str, ...],
        dtype,
        entries: Mapping[str, tuple[str, ...]] | None = None,
    ):
        self.component = component
        self.phases = phases
        self.entries = dict(entries or {})
        self.dtype = np.dtype(dtype)
        self._buffers: dict[str, CUDABuffer] = {}
        self._children: list[tuple[BufferRegistry, During]] = []

    @property
    def buffers(self) -> Mapping[str, CUDABuffer]:
        """The component's own buffers by name."""
        return dict(self._buffers)

    @property
    def children(self) -> tuple[BufferRegistry, ...]:
        return tuple(child for child, _ in self._children)

    def register(self, buffer: CUDABuffer) -> None:
        """Add a buffer.

        Raises
        ------
        ValueError
            If the component has a buffer of that name.
        """
        if buffer.name in self._buffers:
            raise ValueError(f"{self.component} already has a buffer named `{buffer.name}`")
        self._buffers[buffer.name] = buffer

    def add_child(self, registry: BufferRegistry, during: During) -> None:
        """Compose a called component's buffers; `during` names the calling phase(s).

        Raises
        ------
        ValueError
            If a buffer's name occurs twice in the tree, which would make its
            location option ambiguous.
        """
        mine = {name for name, _ in self.walk()}
        for name, owner in registry.walk():
            if name in mine:
                raise ValueError(f"`{owner.component}.{name}`: another buffer has that name")
        self._children.append((registry, during))

    def walk(self) -> Iterator[tuple[str, BufferRegistry]]:
        """Yield (buffer name, owning registry) over the whole tree."""
        for name in self._buffers:
            yield name, self
        for child, _ in self._children:
            yield from child.walk()

    @property
    def pins_to_global(self) -> bool:
        """Whether a buffer of the tree must live in global memory."""
        return any(
            owner.buffers[name].location is BufferLocation.GLOBAL for name, owner in self.walk()
        )

    def tree(self, everywhere: bool | None = None) -> Component:
        """Return the planner's description of this component and all it calls.

        `everywhere`: buffers may be in global memory, too; by default if one of them must.
        """
        if everywhere is None:
            everywhere = self.pins_to_global
        itemsize = self.dtype.itemsize if everywhere else None
        calls = tuple(
            Call(child.tree(everywhere), during=during) for child, during in self._children
        )
        return Component(
            self.component,
            phases=self.phases,
            entries=self.entries,
            buffers=tuple(buffer.declared(itemsize) for buffer in self._buffers.values()),
            calls=calls,
        )

    def lay_out(self, policy: Any = "local", limits: Limits | None = None) -> Layout:
        """Plan the whole tree below this component.

        Parameters
        ----------
        policy : "auto", "local", "shared", "global" or mapping
            What decides for buffers without a pin; see `cubie_planner.Problem`.
        limits : Limits, optional
            Shared memory per block, local memory per run and runs per block; none by default.

        Raises
        ------
        cubie_planner.PlanInfeasible
            If the pins and the limit cannot hold together.
        """
        named = policy.values() if isinstance(policy, Mapping) else [policy]
        asked = BufferLocation.GLOBAL in named
        limited = limits is not None and limits.max_local_bytes is not None
        timeline = compose(self.tree(everywhere=asked or limited or self.pins_to_global))
        problem = Problem(timeline.buffers, limits=limits or Limits(), policy=policy)
        return Layout(plan(problem), timeline)

    # Totals of the tree with unpinned buffers local. A solver's own totals come
    # from its plan, through `elements`.

    @property
    def shared_memory_elements(self) -> int:
        """Elements of shared memory a run needs."""
        return self.elements(self.lay_out().plan.shared_bytes_per_run)

    @property
    def local_memory_elements(self) -> int:
        """Elements in local arrays that do not survive a call."""
        return self.elements(self.lay_out().plan.local_bytes)

    @property
    def persistent_local_elements(self) -> int:
        """Elements of local memory kept across calls."""
        return self.elements(self.lay_out().plan.persistent_bytes)

    def elements(self, size_bytes: int) -> int:
        """Return how many elements of the run's dtype hold so many bytes."""
        return -(-size_bytes // self.dtype.itemsize)
