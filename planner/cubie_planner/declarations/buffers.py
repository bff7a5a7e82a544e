"""What a planner is told: buffers, the places they may live, and aliasing.

All intervals here are half-open ranges of *program points*: `(2, 5)` is alive at
points 2, 3 and 4.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from attrs import Converter, field, frozen

from cubie_planner.basics import PlannerError, is_integer, listed
from cubie_planner.declarations.aliases import Alias as Alias
from cubie_planner.declarations.aliases import as_aliases
from cubie_planner.declarations.layouts import Layout, LayoutError, shape_of
from cubie_planner.declarations.places import ARENAS as ARENAS
from cubie_planner.declarations.places import OWN_PLACES as OWN_PLACES
from cubie_planner.declarations.places import (
    TILE,
    Location,
    Place,
    Pool,
    Scope,
    has_offsets,
    parse_place,
    words,
)

Interval = tuple[int, int]
Lifetime = tuple[Interval, ...]

MAX_BUFFER_BYTES = 2**40
MAX_POINT = 2**31
FOREVER = 2**62
"""Beyond every program point and every byte."""


class BufferError(PlannerError, ValueError):
    """A buffer was declared with values that cannot mean anything.

    Attributes
    ----------
    buffer : str
        Name of the buffer, or what was given in its place.
    """

    def __init__(self, buffer: str, message: str):
        super().__init__(f"buffer `{buffer}`: {message}")
        self.buffer = buffer


def _optional_place(value: str | Place | None, buffer: Any) -> Place | None:
    """Return a place; a pool among the locations may be called by its name."""
    for place in buffer.locations:
        if isinstance(place, Pool) and value == place.name:
            return place
    return None if value is None else parse_place(value)


def _locations(value: Iterable[str | Place]) -> frozenset[Place]:
    names = [value] if isinstance(value, str | Pool) else listed(value)
    if names is None:
        raise ValueError(f"locations must be words such as 'shared', got {value!r}")
    return frozenset(parse_place(name) for name in names)


def _dtype(value: Any) -> np.dtype:
    if value is None:  # which NumPy takes for float64
        return value  # type: ignore[return-value]  # refused below
    try:
        return np.dtype(value)
    except (TypeError, ValueError, SyntaxError):
        return value  # refused below, where the buffer's name is known


def _elements(value: int | Iterable[int]) -> int:
    return value  # type: ignore[return-value]  # a shape is replaced below by its elements


def _alignment(value: int | None) -> int:
    return value  # type: ignore[return-value]  # None is replaced below by the item size


@frozen(kw_only=True)
class Buffer:
    """An array that one run (one thread) needs, or one block: where it may live decides.

    Parameters
    ----------
    name : str
        Unique name.
    n_elements : int or tuple of int
        Number of elements; 0 is allowed and needs no bytes. A tuple is the shape of an array in
        C order: of a number it becomes what is stored, with what a layout adds.
    dtype : dtype-like
        Element type.
    lifetime : intervals or None
        Sorted, disjoint, non-empty half-open ``(start, end)`` ranges of program
        points. None means always alive.
    persistent : bool
        True means always alive; a lifetime may not be given as well.
    locations : set of Location, Pool or words
        Where the buffer may live: by default in all places of a thread but global memory, for
        which a kernel has to be written. ``"tile"`` is shared memory that the whole block uses
        together. All must have one scope: a buffer is one for each thread, or one for the block.
    pin : Location, Pool, word or None
        Where the buffer must live; wins over every policy.
    offset : int or None
        Byte offset it must have in that place; needs a `pin` to a place that has
        offsets (all but local).
    aliases : sequence of Alias or str
        Candidate parents.
    alias_required : bool
        False: the buffer *may* lie inside one of its candidates and share its
        bytes although both are alive. True: it is a view and *must*.
    access_weight : float
        How often it is read or written, relative to the others.
    alignment : int or None
        Power of two in bytes; None means the item size (rounded up to a power of two).
    enabled : bool
        A disabled buffer needs no bytes anywhere.
    shape : tuple of int or None
        What `n_elements` was given as, where that was a shape.
    layout : Padding, Swizzle or None
        How the rows of a matrix lie in memory.
    """

    name: str = field(kw_only=False)
    n_elements: int = field(kw_only=False, converter=_elements)
    dtype: np.dtype = field(kw_only=False, converter=_dtype)
    lifetime: Lifetime | None = None
    persistent: bool = False
    locations: frozenset[Place] = field(default=OWN_PLACES, converter=_locations)
    pin: Place | None = field(default=None, converter=Converter(_optional_place, takes_self=True))
    offset: int | None = None
    aliases: tuple[Alias, ...] = field(default=(), converter=as_aliases)
    alias_required: bool = False
    access_weight: float = 1.0
    alignment: int = field(default=None, converter=_alignment)
    enabled: bool = True
    shape: tuple[int, ...] | None = None
    layout: Layout | None = None

    def __attrs_post_init__(self) -> None:
        _resolve_shape(self)
        _check_size(self)
        _check_flags(self)
        _check_lifetime(self)
        _check_location(self)
        _check_aliases(self)
        if not _is_weight(self.access_weight):
            raise BufferError(
                self.name, f"access_weight must be a finite number >= 0, got {self.access_weight!r}"
            )

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @cached_property  # asked for thousands of times per plan
    def size_bytes(self) -> int:
        """Bytes needed; 0 when disabled."""
        return self.n_elements * self.itemsize if self.enabled else 0

    @property
    def always_alive(self) -> bool:
        """True when it conflicts in time with every other buffer."""
        return self.persistent or self.lifetime is None

    @property
    def hull(self) -> Interval:
        """The program points from the first to the last at which it lives, gaps included."""
        if self.always_alive or self.lifetime is None:
            return -FOREVER, FOREVER
        return self.lifetime[0][0], self.lifetime[-1][1]

    @cached_property
    def scope(self) -> Scope:
        """What has one copy of it: each thread, or the block, as its places say."""
        return next(iter(self.locations)).scope

    def resolve(self, location: str | Place) -> Place:
        """Return what asking for `location` means for this buffer.

        ``local`` means ``local_persistent`` for a buffer that may not be plainly local.

        Raises
        ------
        BufferError
            When the buffer may not live there.
        """
        wanted = parse_place(location)
        if wanted in self.locations:
            return wanted
        if wanted is Location.LOCAL and Location.LOCAL_PERSISTENT in self.locations:
            return Location.LOCAL_PERSISTENT
        raise BufferError(self.name, f"may not be {wanted}; allowed: {words(self.locations)}")


def _next_power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()


def natural_alignment(dtype: np.dtype) -> int:
    """Return the alignment of a buffer that asks for none."""
    return _next_power_of_two(dtype.itemsize)


def _is_weight(value: object) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and float(value) >= 0
    except OverflowError:  # an integer beyond every float
        return False


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise BufferError(repr(name), "the name must be a non-empty string")
    if not name.isprintable():
        raise BufferError(
            ascii(name),
            "the name holds a control character, a lone surrogate or another character that "
            "cannot be printed; use letters, digits and punctuation",
        )


def _resolve_shape(buffer: Buffer) -> None:
    try:
        stored, shape = shape_of(buffer.n_elements, buffer.shape, buffer.layout)
    except LayoutError as error:
        raise BufferError(str(buffer.name), str(error)) from error
    object.__setattr__(buffer, "n_elements", stored)
    object.__setattr__(buffer, "shape", shape)


def _check_size(buffer: Buffer) -> None:
    name = buffer.name
    _check_name(name)
    if not is_integer(buffer.n_elements) or buffer.n_elements < 0:
        raise BufferError(name, f"n_elements must be an integer >= 0, got {buffer.n_elements!r}")
    object.__setattr__(buffer, "n_elements", int(buffer.n_elements))
    if isinstance(buffer.dtype, np.dtype) and buffer.dtype.char in "gG":
        narrower = "float64" if buffer.dtype.char == "g" else "complex128"
        raise BufferError(name, f"dtype {buffer.dtype} is known to no GPU; give {narrower}")
    if not isinstance(buffer.dtype, np.dtype) or buffer.dtype.kind not in "biufc":
        raise BufferError(name, f"dtype {buffer.dtype} is not a number or bool of fixed size")
    if not buffer.dtype.isnative:
        native = buffer.dtype.newbyteorder("=").str
        raise BufferError(
            name, f"dtype {buffer.dtype.str} has the byte order of other machines; give {native}"
        )
    if int(buffer.n_elements) * buffer.itemsize > MAX_BUFFER_BYTES:
        raise BufferError(
            name,
            f"{buffer.n_elements} elements of {buffer.itemsize} B exceed the largest buffer, "
            f"{MAX_BUFFER_BYTES} B",
        )
    if buffer.alignment is None:
        object.__setattr__(buffer, "alignment", natural_alignment(buffer.dtype))
    alignment = buffer.alignment
    if not is_integer(alignment) or not 0 < alignment <= 4096 or alignment & (alignment - 1):
        raise BufferError(
            name, f"alignment must be a power of two between 1 and 4096 bytes, got {alignment!r}"
        )


def _check_flags(buffer: Buffer) -> None:
    for flag in ("persistent", "alias_required", "enabled"):
        value = getattr(buffer, flag)
        if not isinstance(value, bool | np.bool_):
            raise BufferError(buffer.name, f"{flag} must be True or False, got {value!r}")


def _check_lifetime(buffer: Buffer) -> None:
    if buffer.lifetime is None:
        return
    if buffer.persistent:
        raise BufferError(buffer.name, "is persistent (always alive): give no lifetime as well")
    try:
        intervals = tuple((start, end) for start, end in buffer.lifetime)
    except (TypeError, ValueError):
        intervals = None
    if not intervals:
        raise BufferError(
            buffer.name,
            "lifetime must be a non-empty sequence of (start, end) ranges, or None for always; "
            f"got {buffer.lifetime!r}",
        )
    previous_end = -MAX_POINT
    for start, end in intervals:
        if not (is_integer(start) and is_integer(end)) or max(abs(start), abs(end)) > MAX_POINT:
            raise BufferError(
                buffer.name, f"lifetime ({start!r}, {end!r}) must be integers within 2**31"
            )
        if start >= end:
            raise BufferError(buffer.name, f"lifetime ({start}, {end}) is empty: end must be later")
        if start < previous_end:
            raise BufferError(
                buffer.name,
                f"lifetime ({start}, {end}) overlaps or precedes the range before it, which ends "
                f"at {previous_end}; give sorted, disjoint ranges",
            )
        previous_end = end
    object.__setattr__(buffer, "lifetime", tuple((int(a), int(b)) for a, b in intervals))


def _check_location(buffer: Buffer) -> None:
    if not buffer.locations:
        raise BufferError(buffer.name, "locations is empty: it must be allowed to live somewhere")
    scopes = sorted({place.scope for place in buffer.locations})
    if len(scopes) > 1:
        raise BufferError(
            buffer.name,
            f"may be in {words(buffer.locations)}, but a buffer is one for each thread or one for "
            f"the block: these have one for each {' and for each '.join(scopes)}",
        )
    if buffer.n_elements and buffer.enabled and not _is_aligned(buffer):
        raise BufferError(
            buffer.name,
            f"alignment {buffer.alignment} is more than a pool of it has: lower it, or give the "
            "pool's memory a wider one",
        )
    if buffer.pin is not None and buffer.pin not in buffer.locations:
        raise BufferError(
            buffer.name, f"is pinned to {buffer.pin}, but may only be {words(buffer.locations)}"
        )
    if buffer.offset is None:
        return
    if not is_integer(buffer.offset) or not 0 <= buffer.offset <= MAX_BUFFER_BYTES:
        raise BufferError(
            buffer.name, f"offset must be a byte count >= 0 or None, got {buffer.offset!r}"
        )
    if buffer.pin is None or not has_offsets(buffer.pin):
        raise BufferError(
            buffer.name,
            f"offset {buffer.offset} needs a pin to shared, local_persistent or global: a local "
            "array has no offset",
        )
    if buffer.offset % buffer.alignment:
        raise BufferError(
            buffer.name,
            f"offset {buffer.offset} is not a multiple of its alignment {buffer.alignment}",
        )


def _is_aligned(buffer: Buffer) -> bool:
    pools = [place for place in buffer.locations if isinstance(place, Pool) and place != TILE]
    return all(buffer.alignment <= pool.alignment for pool in pools)


def _check_aliases(buffer: Buffer) -> None:
    parents = [alias.parent for alias in buffer.aliases]
    if buffer.name in parents:
        raise BufferError(buffer.name, "cannot be an alias of itself")
    repeated = sorted({parent for parent in parents if parents.count(parent) > 1})
    if repeated:
        raise BufferError(buffer.name, f"names the alias parent `{repeated[0]}` more than once")
    if buffer.alias_required and any(alias.across_frames for alias in buffer.aliases):
        raise BufferError(
            buffer.name,
            "alias_required: what another function allocates is out of reach; leave across_frames "
            "out, or let the buffer lie apart",
        )
    if buffer.alias_required and not parents:
        raise BufferError(
            buffer.name, "alias_required needs at least one candidate parent in `aliases`"
        )
