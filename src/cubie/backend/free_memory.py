"""How much memory a process can still have, as far as the system tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = 2**60  # and more are written where there is none
# Of a group's memory, what the system gives back when it is needed (`memory.stat`).
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")


def free_bytes() -> int | None:
    """Return the bytes that this process can have beyond what it has; None where nobody tells.

    That is what the machine has left, swap included, or what is left of the limit of a group of
    processes (of a container, a batch job), whichever is less.
    """
    found = [value for value in (_of_machine(), *_of_groups()) if value is not None]
    return max(0, min(found)) if found else None


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_groups() -> Iterator[int]:
    """Yield what is left of each limit on the groups that this process is in."""
    try:
        memberships = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        old = controllers == "memory"
        root = _GROUPS / controllers
        names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if old
            else ("memory.max", "memory.current")
        )
        group = root / path.lstrip("/")
        # Within a container the path is the host's, and only the root is there.
        for place in dict.fromkeys((group, *group.parents, root)):
            if place == root or root in place.parents:
                yield from _left_of(place, *names)


def _left_of(group: Path, limit: str, used: str) -> Iterator[int]:
    try:
        most = int((group / limit).read_text())
        if most >= _NO_LIMIT:
            return
        now = int((group / used).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # there is no limit, or it is told to nobody
        return
    yield most - now + sum(int(stat.get(name, 0)) for name in _RECLAIMABLE)
