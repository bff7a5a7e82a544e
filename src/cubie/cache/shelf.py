"""The cache: generated text and machine code that later processes need not make again.

    <cache>/<shelf>/<digest><suffix>       an artefact, named by the hash of its content
    <cache>/<shelf>/index/<key>.json       what a key stands for: digests, and facts about them

It is a convenience and never a condition. What is missing, damaged or of another form counts as
not there and is made anew; what cannot be kept is not kept, and a `CacheWarning` says why, once.

It is believed as far as nobody else can have written it (see `cubie.cache.private_files`), and no
further: an artefact must have the digest it is asked by, an entry must be that of its key, and
no Python code is ever imported from it. What was not used for longest is removed where all of it
takes more than `cubie.cache.bound` allows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any, TypeGuard

from attrs import field, frozen

from cubie.cache import bound, private_files
from cubie.errors import level_of_caller

ENVIRONMENT_VARIABLE = "CUBIE_CACHE_DIR"
INDEX = "index"
SHELVES = ("systems", "kernels", "plans")

_DIGEST = re.compile(r"[0-9a-f]{32,64}")
_CHECK, _END = b'{"check": "', b'", '
_HEX = 64

_said: dict[object, object] = {}


class CacheWarning(UserWarning):
    """Generated code is not kept for later processes, and why; results are not affected."""


def cache_directory() -> Path | None:
    """Return where generated code is kept: $CUBIE_CACHE_DIR or the user's cache directory.

    None where there is neither: the user has no home directory.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        # Imported late: only a first use needs it.
        from platformdirs import user_cache_path

        path = user_cache_path("cubie")
    except (RuntimeError, OSError):  # no home directory, or none to count from
        return None
    return path if path.is_absolute() else None


def digest_of(content: bytes) -> str:
    """Return the name under which an artefact is stored."""
    return hashlib.sha256(content).hexdigest()[:32]


def is_digest(value: Any) -> TypeGuard[str]:
    """Tell whether a value read from an entry can be the name of an artefact."""
    return type(value) is str and _DIGEST.fullmatch(value) is not None


@frozen
class Shelf:
    """Artefacts of one kind.

    Attributes
    ----------
    root : Path or None
        The cache directory; None keeps nothing.
    name : str
        One of `SHELVES`: what else is in the directory is nobody's to remove.
    suffix : str
        Of the artefacts' files.
    """

    root: Path | None
    name: str
    suffix: str = field(repr=False)

    def path(self, digest: str) -> Path:
        """Return where an artefact is, or would be."""
        return (self.root or Path()) / self.name / f"{digest}{self.suffix}"

    def find(self, digest: str) -> bytes | None:
        """Return an artefact, or None where it is missing or not what it was."""
        content = self._read((self.name,), f"{digest}{self.suffix}")
        return content if content is not None and digest_of(content) == digest else None

    def keep(self, content: bytes) -> str:
        """Store an artefact where that can be done, and return its digest."""
        digest = digest_of(content)
        if self.find(digest) is None:
            self._write((self.name,), f"{digest}{self.suffix}", content)
        return digest

    def entry(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a key, None where that is nothing or not what was written."""
        content = self._read((self.name, INDEX), f"{key}.json")
        if content is None or not content.startswith(_CHECK):
            return None
        start = len(_CHECK) + _HEX
        check, rest = content[len(_CHECK) : start], content[start:]
        if not rest.startswith(_END) or check != _check_of(key, rest):
            return None
        try:
            entry = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return entry if type(entry) is dict else None

    def enter(self, key: str, entry: dict[str, Any]) -> None:
        """Store what is known of a key."""
        rest = _END + json.dumps(entry)[1:].encode()
        self._write((self.name, INDEX), f"{key}.json", _CHECK + _check_of(key, rest) + rest)

    def _limit(self, root: Path) -> int | None:
        try:
            return bound.limit_bytes()
        except bound.NotALimit as error:
            _warn((root, "limit"), f"{error}.")
            return bound.DEFAULT_BYTES

    def _read(self, parts: tuple[str, ...], name: str) -> bytes | None:
        if self.root is None:
            return None
        try:
            return private_files.read(self.root, parts, name)
        except private_files.Distrusted as error:
            _say(self.root, f"Nothing is read from or kept in the cache: {error}")
            return None

    def _write(self, parts: tuple[str, ...], name: str, content: bytes) -> None:
        if self.root is None:
            _say(None, "Nothing is kept in a cache: there is no home directory to hold it")
            return
        limit = self._limit(self.root)
        try:
            private_files.write(self.root, parts, name, content)
            if limit is not None and bound.is_time_to_look(len(content), limit):
                places = [(shelf, *below) for shelf in SHELVES for below in ((), (INDEX,))]
                bound.trim(self.root, places, limit)
        except private_files.Distrusted as error:
            _say(self.root, f"Nothing is read from or kept in the cache: {error}")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            _say(self.root, f"Nothing is kept in the cache {self.root}: {reason}")


def _check_of(key: str, rest: bytes) -> bytes:
    """Return the hash that tells an entry from a damaged one, and from that of another key."""
    return hashlib.sha256(key.encode() + rest).hexdigest().encode()


def _say(root: Path | None, reason: str) -> None:
    """Warn that nothing is kept, once a process for each directory."""
    _warn(
        root,
        f"{reason}. Solving goes on; each process generates and compiles anew. "
        f"{ENVIRONMENT_VARIABLE} can name a directory that only you can write.",
    )


def _warn(about: object, message: str) -> None:
    mine = object()
    if _said.setdefault(about, mine) is mine:  # one of several threads is the first
        warnings.warn(message, CacheWarning, stacklevel=level_of_caller())
