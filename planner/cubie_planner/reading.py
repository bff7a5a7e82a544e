"""Reading what others wrote: files of a sane kind and size, JSON without surprises.

What is read may be anything. Here it becomes plain values, or an error that says what is
wrong; nothing is guessed and nothing is left out silently.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from cubie_planner.basics import PlannerError

MAX_BYTES = 256 * 1024**2
INTEGER = re.compile(r"[+-]?[0-9]+")
MOST_DIGITS = 30
SHOWN = 60


class FormatError(PlannerError, ValueError):
    """A file is not what it should be; the message says where."""


def read_text(path: str | Path) -> str:
    """Return the text of a regular file in UTF-8, with or without a byte order mark.

    Raises
    ------
    OSError, FormatError
        As `read_bytes`.
    UnicodeDecodeError
        When it is not UTF-8.
    """
    text = read_bytes(path).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: str | Path) -> bytes:
    """Return all bytes of a regular file.

    Raises
    ------
    OSError
        When it cannot be read, or is a folder, a pipe or a device: those may never end.
    FormatError
        When it is larger than `MAX_BYTES`.
    """
    _require_regular(os.stat(path).st_mode, path)
    # Between the two looks the name may have come to mean a pipe, which must not block.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor).st_mode, path)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"is larger than {MAX_BYTES} B")
    return data


def _require_regular(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file but a pipe or a device", str(path))


def parse_json(text: str) -> Any:
    """Return the values of a JSON text; a key that stands twice, and NaN, are errors.

    Raises
    ------
    ValueError
        FormatError, or what `json` raises.
    RecursionError
    """
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)


def _no_constant(word: str) -> Any:
    raise FormatError(f"{word} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise FormatError(f"the key {shown(twice)} stands twice in one object")
    return found


def shown(value: object) -> str:
    """Return a value as an error shows it: printable and short."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def parse_integer(text: str, where: str) -> int:
    """Return the integer that a cell holds: ASCII digits and a sign, nothing else."""
    if INTEGER.fullmatch(text) and len(text) <= MOST_DIGITS:
        return int(text)
    raise FormatError(f"{where}: {shown(text)} is not an integer")


def expect_fields(
    data: Any, where: str, required: Set[str] = frozenset(), optional: Set[str] = frozenset()
) -> None:
    """Refuse anything but an object with these fields."""
    if not isinstance(data, Mapping):
        raise FormatError(f"{where} must be an object, got {type(data).__name__}")
    missing = sorted(required - set(data))
    unknown = sorted(str(key) for key in set(data) - required - optional)
    if missing:
        raise FormatError(f"{where} lacks {missing[0]!r}")
    if unknown:
        raise FormatError(
            f"{where} has an unknown field {shown(unknown[0])}; known: "
            f"{', '.join(sorted(required | optional))}"
        )


def expect_list(value: Any, where: str) -> list[Any]:
    """Return a list, or refuse what is none."""
    if not isinstance(value, list | tuple):
        raise FormatError(f"{where} must be a list, got {type(value).__name__}")
    return list(value)


def expect_text(value: Any, where: str) -> str:
    """Return text that can be printed on one line, or refuse what is none."""
    if not isinstance(value, str):
        raise FormatError(f"{where} must be text, got {shown(value)}")
    if not value.isprintable():
        raise FormatError(f"{where} holds characters that cannot be printed: {shown(value)}")
    return value


def expect_integer(value: Any, where: str) -> int:
    """Return an integer, or refuse what is none; true and 1.0 are none."""
    if type(value) is not int:
        raise FormatError(f"{where} must be an integer, got {shown(value)}")
    return value
