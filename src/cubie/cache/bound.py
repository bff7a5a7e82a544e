"""The bound on the cache's size: what was not used for longest goes first.

Files carry their time of use themselves, as their time of change, so that no index of all of them
is needed that processes would have to agree on. The directory is looked through after few writes
only: at random, more likely the more was written, so that many short processes look as often as a
long one, and pass the bound by little.

Whoever reads a file that is removed meanwhile has it or does not have it, as with any other.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

from cubie.cache import private_files

ENVIRONMENT_VARIABLE = "CUBIE_CACHE_LIMIT"
DEFAULT_BYTES = 1 << 30
# Of the bound: what is written between two looks, on average; and what a look leaves.
BETWEEN_LOOKS, LEFT = 1 / 32, 3 / 4
BLOCK = 4096  # files take whole blocks
ABANDONED = 3600.0  # seconds after which nobody is writing a temporary file any more

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20}
_UNITS["gib"] = 2**30
_chance = random.Random()  # of its own: those of a user's program do not depend on it
_OURS = re.compile(r"[0-9a-f]{32,64}\.[a-z]{1,4}(\.[0-9a-f]{8}\.tmp)?")


class NotALimit(ValueError):
    """A bound that is none."""

    def __init__(self, given: str):
        super().__init__(
            f"{ENVIRONMENT_VARIABLE} is {given!r}, which is no size: it takes bytes, a number with "
            f'a unit ("500 MB", "2GiB"), or "none" for no bound; the default, '
            f"{DEFAULT_BYTES >> 20} MiB, is used"
        )


def limit_bytes() -> int | None:
    """Return how many bytes the cache may take, None for any number.

    Raises
    ------
    NotALimit
    """
    given = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not given:
        return DEFAULT_BYTES
    if given.lower() == "none":
        return None
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", given)
    if match is None or match[2].lower() not in _UNITS:
        raise NotALimit(given)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def is_time_to_look(written: int, limit: int) -> bool:
    """Tell whether to look at the whole cache after so many bytes were written."""
    return _chance.random() * BETWEEN_LOOKS * limit < _blocks(written)


def trim(root: Path, places: Sequence[tuple[str, ...]], limit: int) -> None:
    """Remove files of this user that were not used for longest, until enough is free.

    Parameters
    ----------
    root : Path
        The cache.
    places : sequence of tuple of str
        Directories below it that hold files of the cache.
    limit : int
        Nothing is removed where all take no more bytes. Files of other names do not count, and are
        left alone.
    """
    found, total, now = [], 0, time.time()
    for place in places:
        with contextlib.suppress(OSError):
            for name, status in private_files.files(root, place):
                if _OURS.fullmatch(name) is None:
                    continue
                is_left = name.endswith(".tmp") and now - status.st_mtime > ABANDONED
                size = _blocks(status.st_size)
                total += size
                found.append((0.0 if is_left else status.st_mtime, size, place, name))
    if total <= limit:
        return
    oldest: dict[tuple[str, ...], list[str]] = {}
    for _, size, place, name in sorted(found):
        oldest.setdefault(place, []).append(name)
        total -= size
        if total <= LEFT * limit:
            break
    for place, names in oldest.items():
        with contextlib.suppress(OSError):
            private_files.remove(root, place, names)


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
