"""What an object holds: its content as a built-in, its attributes, what it says of itself."""

import collections
import datetime
import decimal
import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

# Once made, they never change; for the others made of them, see `Watch.hidden`.
IMMUTABLE = frozenset({object, int, float, complex, str, bytes, tuple, frozenset}) | {
    *(decimal.Decimal, datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    *(range, slice, re.Pattern, types.GenericAlias),
    type(vars(collections.namedtuple("Pair", "first"))["first"]),
}

# Dunder names of a class that its code follows from, or that tell where it is written.
DERIVED_NAMES = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__"}
) | {
    *("__annotate__", "__annotate_func__", "__annotations_cache__", "__firstlineno__"),
    *("__static_attributes__", "__abstractmethods__", "_abc_impl", "__slotnames__"),
    *("__dataclass_fields__", "__dataclass_params__", "__match_args__", "__orig_bases__"),
    *("__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__", "__parameters__"),
}

# How the content of a built-in is taken from one of a class derived from it.
_CONTENTS: dict[type, Any] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: bytes.__bytes__,
    bytearray: lambda value: bytes(memoryview(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: list(dict.items(value)),
    set: lambda value: frozenset(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    np.ndarray: lambda value: value.view(np.ndarray),
}
_POINTER_BYTES = np.dtype(np.intp).itemsize
_MANAGED_DICTIONARY = 1 << 4  # of a type's flags: the dictionary is not part of its size


def plain_content(value: Any) -> tuple[Any, type]:
    """Return what an object holds as a built-in, and the built-in; (None, object) if none."""
    for root, content in _CONTENTS.items():
        if issubclass(type(value), root):
            return content(value), root
    return None, object


def state_is_hidden(kind: type, root: type) -> bool:
    """Tell whether objects have memory beyond attributes and what they hold as a `root`.

    The same reckoning by which `pickle` refuses objects of compiled code.
    """
    size = root.__basicsize__
    if kind.__dictoffset__ and not root.__dictoffset__:
        size += 0 if kind.__flags__ & _MANAGED_DICTIONARY else _POINTER_BYTES
    if kind.__weakrefoffset__ > 0 and not root.__weakrefoffset__:
        size += _POINTER_BYTES
    size += _POINTER_BYTES * sum(1 for _ in slots_of(kind))
    return kind.__basicsize__ > size


def slots_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield name and descriptor of the slots of a class written in Python."""
    for base in kind.__mro__:
        if "__slots__" in vars(base):
            for name, entry in vars(base).items():
                if isinstance(entry, types.MemberDescriptorType):
                    yield name, entry


def reduced(value: Any) -> list[Any]:
    """Return what an object says of its content for copies and pickles.

    Raises
    ------
    Exception
        Of any kind, where it says nothing.
    """
    parts = value.__reduce_ex__(4)
    if not isinstance(parts, tuple):
        raise TypeError(f"{type(value)} tells a name only")
    # State that is not attributes, then entries as of a list, and as of a dictionary.
    return [list(part) if i > 2 and part is not None else part for i, part in enumerate(parts)]
