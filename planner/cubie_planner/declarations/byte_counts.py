"""Byte counts as people write them: numbers, or text with a unit."""

import re
from typing import Any

UNITS = {
    "": 1,
    "b": 1,
    **dict.fromkeys(("k", "kb", "kib"), 2**10),
    **dict.fromkeys(("m", "mb", "mib"), 2**20),
    **dict.fromkeys(("g", "gb", "gib"), 2**30),
}
"""What each unit counts; all are powers of two, as sizes of memory are."""

_WRITTEN = re.compile(r"\s*([0-9]{1,30})\s*([a-zA-Z]*)\s*")

BYTE_LIMITS = ("max_shared_bytes", "max_local_bytes")
"""Limits that count bytes."""


def bytes_of_text(text: str) -> int | None:
    """Return the bytes that ``"49152"``, ``"48k"`` or ``"48 KiB"`` name; None for other text."""
    found = _WRITTEN.fullmatch(text)
    if found is None or found[2].lower() not in UNITS:
        return None
    return int(found[1]) * UNITS[found[2].lower()]


def as_bytes(value: Any) -> Any:
    """Return text with a unit as a number; all else as it is, to be refused by name."""
    found = bytes_of_text(value) if isinstance(value, str) else None
    return value if found is None else found


def told(value: Any) -> str:
    """Return what is wrong with a byte count, with a way to say it where it is text."""
    if not isinstance(value, str):
        return f"got {value!r}"
    return (
        f"got {value!r}: text is a number with a unit, such as '48k' or '99KiB'; the limits of a "
        "device are those of gpu.cards.Target.find('sm_90').limits()"
    )
