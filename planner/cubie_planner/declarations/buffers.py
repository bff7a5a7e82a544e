"""What a planner is told: buffers, the places they may live, and aliasing.

All intervals here are half-open ranges of *program points*: `(2, 5)` is alive at
points 2, 3 and 4.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie_planner.basics import PlannerError, is_integer, listed, nearest_hint

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


class Location(StrEnum):
    """Where a buffer lives.

    ``SHARED``: a slice of the block's shared memory. ``LOCAL``: an array of its own
    in registers or the thread's stack. ``LOCAL_PERSISTENT``: a slice of one
    thread-local arena that survives across calls. ``GLOBAL``: a slice of memory that a
    launch brings for every thread, which survives as well; elements of neighbouring threads
    lie side by side.
    """

    SHARED = "shared"
    LOCAL = "local"
    LOCAL_PERSISTENT = "local_persistent"
    GLOBAL = "global"

    @classmethod
    def parse(cls, text: str | Location) -> Location:
        """Return the member named by `text`; a typo is answered with the nearest word."""
        if isinstance(text, cls):
            return text
        words = [member.value for member in cls]
        if isinstance(text, str) and text in words:
            return cls(text)
        raise ValueError(
            f"location {text!r} is unknown{nearest_hint(text, words)}; "
            f"allowed: {', '.join(repr(word) for word in words)}"
        )


ARENAS = (Location.SHARED, Location.LOCAL_PERSISTENT, Location.GLOBAL)
"""The places that have offsets: many buffers in one range of bytes."""

OWN_PLACES = frozenset({Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT})
"""What a kernel has by itself; global memory is handed to it."""


def _optional_location(value: str | Location | None) -> Location | None:
    return None if value is None else Location.parse(value)


def _locations(value: Iterable[str | Location]) -> frozenset[Location]:
    names = [value] if isinstance(value, str) else listed(value)
    if names is None:
        raise ValueError(f"locations must be words such as 'shared', got {value!r}")
    return frozenset(Location.parse(name) for name in names)


@frozen
class Alias:
    """A place inside `parent` where a child may lie.

    Parameters
    ----------
    parent : str
        Name of the buffer whose bytes may be used.
    offset : int or None
        Byte offset inside the parent; None means anywhere it fits.
    """

    parent: str
    offset: int | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.parent, str) or not self.parent:
            raise ValueError(f"alias parent must be a buffer's name, got {self.parent!r}")
        if self.offset is not None and (not is_integer(self.offset) or self.offset < 0):
            raise ValueError(
                f"alias offset inside `{self.parent}` must be a byte count >= 0 or None, "
                f"got {self.offset!r}"
            )


def _aliases(value: Iterable[Alias | str]) -> tuple[Alias, ...]:
    items = [value] if isinstance(value, str | Alias) else listed(value)
    if items is None or not all(isinstance(item, str | Alias) for item in items):
        raise ValueError(f"aliases must be names or Alias objects, got {value!r}")
    return tuple(Alias(item) if isinstance(item, str) else item for item in items)


def _dtype(value: Any) -> np.dtype:
    if value is None:  # which NumPy takes for float64
        return value  # type: ignore[return-value]  # refused below
    try:
        return np.dtype(value)
    except (TypeError, ValueError, SyntaxError):
        return value  # refused below, where the buffer's name is known


def _alignment(value: int | None) -> int:
    return value  # type: ignore[return-value]  # None is replaced below by the item size


@frozen(kw_only=True)
class Buffer:
    """An array that one run (one thread) needs.

    Parameters
    ----------
    name : str
        Unique name.
    n_elements : int
        Number of elements; 0 is allowed and needs no bytes.
    dtype : dtype-like
        Element type.
    lifetime : intervals or None
        Sorted, disjoint, non-empty half-open ``(start, end)`` ranges of program
        points. None means always alive.
    persistent : bool
        True means always alive; a lifetime may not be given as well.
    locations : set of Location
        Where the buffer may live: by default in all places but global memory, for which a
        kernel has to be written.
    pin : Location or None
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
    """

    name: str = field(kw_only=False)
    n_elements: int = field(kw_only=False)
    dtype: np.dtype = field(kw_only=False, converter=_dtype)
    lifetime: Lifetime | None = None
    persistent: bool = False
    locations: frozenset[Location] = field(default=OWN_PLACES, converter=_locations)
    pin: Location | None = field(default=None, converter=_optional_location)
    offset: int | None = None
    aliases: tuple[Alias, ...] = field(default=(), converter=_aliases)
    alias_required: bool = False
    access_weight: float = 1.0
    alignment: int = field(default=None, converter=_alignment)
    enabled: bool = True

    def __attrs_post_init__(self) -> None:
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

    def resolve(self, location: str | Location) -> Location:
        """Return what asking for `location` means for this buffer.

        ``local`` means ``local_persistent`` for a buffer that may not be plainly local.

        Raises
        ------
        BufferError
            When the buffer may not live there.
        """
        wanted = Location.parse(location)
        if wanted in self.locations:
            return wanted
        if wanted is Location.LOCAL and Location.LOCAL_PERSISTENT in self.locations:
            return Location.LOCAL_PERSISTENT
        raise BufferError(self.name, f"may not be {wanted}; allowed: {_words(self.locations)}")


def _next_power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()


def _words(locations: Iterable[Location]) -> str:
    return ", ".join(member.value for member in Location if member in set(locations))


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
        object.__setattr__(buffer, "alignment", _next_power_of_two(buffer.itemsize))
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
    if buffer.pin is not None and buffer.pin not in buffer.locations:
        raise BufferError(
            buffer.name, f"is pinned to {buffer.pin}, but may only be {_words(buffer.locations)}"
        )
    if buffer.offset is None:
        return
    if not is_integer(buffer.offset) or not 0 <= buffer.offset <= MAX_BUFFER_BYTES:
        raise BufferError(
            buffer.name, f"offset must be a byte count >= 0 or None, got {buffer.offset!r}"
        )
    if buffer.pin not in ARENAS:
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


def _check_aliases(buffer: Buffer) -> None:
    parents = [alias.parent for alias in buffer.aliases]
    if buffer.name in parents:
        raise BufferError(buffer.name, "cannot be an alias of itself")
    repeated = sorted({parent for parent in parents if parents.count(parent) > 1})
    if repeated:
        raise BufferError(buffer.name, f"names the alias parent `{repeated[0]}` more than once")
    if buffer.alias_required and not parents:
        raise BufferError(
            buffer.name, "alias_required needs at least one candidate parent in `aliases`"
        )
