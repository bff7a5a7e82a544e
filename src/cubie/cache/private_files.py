"""Files where nobody but this user and the superuser can have put them.

What is loaded as machine code, or believed to be the answer to a question, must come from such
files: whoever can write them can do as this user. As `sshd` and `sudo` do with what they obey,
the directories are looked at and not only the file, and each is opened inside the one that was
looked at, so that nothing can be exchanged between the look and the use.

Where the system has no owners and modes like POSIX (Windows), nothing is looked at: there the
user's own directories are private unless they were shared.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

GUARDED = hasattr(os, "geteuid") and os.open in os.supports_dir_fd
SUPERUSER = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
DIRECTORY_MODE = 0o755  # the user's umask may take more away
FILE_MODE = 0o644
MOST_LINKS = 40
MOST_BYTES = 1 << 28  # of a file that is read
USED_AGAIN = 3600.0  # seconds; a file that is older and is read has its time set anew

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_CLOSED_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody writes to is no reason to wait


class Distrusted(OSError):
    """Others can decide what is in a file or directory; the message says which, and how."""


def read(root: Path, parts: Sequence[str], name: str) -> bytes | None:
    """Return the content of a file, None where there is none of this user's.

    Parameters
    ----------
    root : Path
        A directory that must be private, as those below it.
    parts : sequence of str
        Directories below it, one in the other.
    name : str

    Raises
    ------
    Distrusted
        Where others than this user could have put it there.
    """
    try:
        if not GUARDED:
            path = root.joinpath(*parts, name)
            content = path.read_bytes()
            _mark_used(path, path.stat())
            return content
        with _opened(root, parts) as directory:
            flags = os.O_RDONLY | _NO_LINK | _CLOSED_ON_EXEC | _AT_ONCE
            with os.fdopen(os.open(name, flags, dir_fd=directory), "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                    return None
                if not _is_private(status):
                    return None
                _mark_used(file.fileno(), status)
                return _all_of(file, status.st_size)
    except Distrusted:
        raise
    except (OSError, ValueError):
        return None


def _mark_used(file, status: os.stat_result) -> None:
    """Note the use of a file in its time of change, by which those unused for long are known."""
    if time.time() - status.st_mtime > USED_AGAIN:
        with contextlib.suppress(OSError, NotImplementedError):  # it is read-only
            os.utime(file)


def files(root: Path, parts: Sequence[str]) -> list[tuple[str, os.stat_result]]:
    """Return names and states of this user's files in a directory, which must be private.

    Raises
    ------
    OSError
        Distrusted, for example.
    """
    if not GUARDED:
        with os.scandir(root.joinpath(*parts)) as entries:
            return [(e.name, e.stat()) for e in entries if e.is_file(follow_symlinks=False)]
    found = []
    with _opened(root, parts) as directory:
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    found.append((name, status))
    return found


def remove(root: Path, parts: Sequence[str], names: Sequence[str]) -> None:
    """Remove files of a directory, which must be private; what cannot be removed stays.

    Raises
    ------
    OSError
        Distrusted, for example.
    """
    if not GUARDED:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(root.joinpath(*parts, name))
        return
    with _opened(root, parts) as directory:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _all_of(file, size: int) -> bytes | None:
    content = file.read(size + 1)
    return content if len(content) == size else None  # it is being written, by no one we know


def write(root: Path, parts: Sequence[str], name: str, content: bytes) -> None:
    """Write a file, whole or not at all; directories that are missing are made.

    Raises
    ------
    Distrusted
        Where others could exchange it.
    OSError
        Where it cannot be written.
    """
    _make(root, parts)
    temporary = f"{name}.{secrets.token_hex(4)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _CLOSED_ON_EXEC
    if not GUARDED:
        _write_in(root.joinpath(*parts), temporary, name, content)
        return
    with _opened(root, parts) as directory:
        try:
            with os.fdopen(os.open(temporary, flags, FILE_MODE, dir_fd=directory), "wb") as file:
                file.write(content)
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise


def _write_in(directory: Path, temporary: str, name: str, content: bytes) -> None:
    try:
        (directory / temporary).write_bytes(content)
        os.replace(directory / temporary, directory / name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(directory / temporary)
        raise


def _make(root: Path, parts: Sequence[str]) -> None:
    """Make the directories that are missing, writable by this user alone."""
    missing = root.joinpath(*parts)
    absent = []
    while not missing.is_dir():
        absent.append(missing)
        if missing == missing.parent:
            break
        missing = missing.parent
    for path in reversed(absent):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.mkdir(path, DIRECTORY_MODE)


@contextlib.contextmanager
def _opened(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open a directory, having looked at all that lead to it."""
    _require_safe_way(root)
    descriptor = os.open(root, _DIRECTORY)
    try:
        path = root
        _require_private(os.fstat(descriptor), path)
        for part in parts:
            path = path / part
            inner = os.open(part, _DIRECTORY | _NO_LINK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            _require_private(os.fstat(descriptor), path)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_private(status: os.stat_result) -> bool:
    """Tell whether this user or the superuser owns something, and nobody else can write it."""
    return status.st_uid in (SUPERUSER, os.geteuid()) and not status.st_mode & OTHERS_WRITE


def _require_private(status: os.stat_result, path: Path) -> None:
    """Refuse what another user owns, or can write."""
    if _is_private(status):
        return
    if status.st_uid not in (SUPERUSER, os.geteuid()):
        raise Distrusted(f"{path} belongs to another user ({_owner(status.st_uid)})")
    raise Distrusted(
        f"other users can write to {path}: if nobody did, `chmod -R go-w` it, else remove it"
    )


def _require_safe_way(root: Path) -> None:
    """Refuse a path on which others could exchange a directory for one of their choice.

    Each directory and link on it must belong to this user or the superuser. That a group can
    write above is accepted: its members can put nothing of their own there, see above. What all
    can write must be sticky, as /tmp is.
    """
    at, ahead, links = root.anchor, list(reversed(root.parts[1:])), 0
    trusted = (SUPERUSER, os.geteuid())
    while ahead:
        part = ahead.pop()
        if part == "..":
            at = os.path.dirname(at)  # which holds no links
            continue
        found = os.path.join(at, part)
        status = os.lstat(found)
        if status.st_uid not in trusted:
            raise Distrusted(f"{found} belongs to another user ({_owner(status.st_uid)})")
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise Distrusted(f"{root} leads through more than {MOST_LINKS} links")
            target = Path(os.readlink(found))
            if target.is_absolute():
                at = target.anchor
            ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            continue
        everyone = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if everyone and ahead:
            raise Distrusted(f"all users can write to {found}, and exchange what is in it")
        at = found


def _owner(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"number {number}"
