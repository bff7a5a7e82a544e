"""Generated modules, and the index that finds them again; see `cubie.cache`.

<cache>/systems/<digest>.py        a module, named by the hash of its text
<cache>/systems/index/<key>.json   what tracing the function of this fingerprint gave
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cubie.cache import Shelf, cache_directory, digest_of, is_digest
from cubie.systems.generated import is_arithmetic

__all__ = ["Store", "digest_of_text", "is_digest"]


def digest_of_text(source: str) -> str:
    """Return the name under which a module's text is stored."""
    return digest_of(source.encode())


class Store:
    """The modules in one cache directory.

    Parameters
    ----------
    directory : path, optional
        By default that of `cubie.cache.cache_directory`.
    """

    def __init__(self, directory: Any = None):
        root = cache_directory() if directory is None else Path(directory).absolute()
        self._shelf = Shelf(root, "systems", ".py")

    @classmethod
    def beside(cls, path: Path) -> Store:
        """Return the store in which a module is."""
        return cls(path.parents[1] if path.is_absolute() else None)

    def module_path(self, digest: str) -> Path:
        """Return where the module of this digest is, or would be."""
        return self._shelf.path(digest)

    def write_module(self, source: str) -> tuple[Path, str]:
        """Store a module where that can be done, and return (path, digest)."""
        digest = self._shelf.keep(source.encode())
        return self.module_path(digest), digest

    def read_module(self, digest: Any) -> str | None:
        """Return the text of a module; None where it is missing, damaged or not generated."""
        content = self._shelf.find(digest) if is_digest(digest) else None
        if content is None:
            return None
        try:
            source = content.decode()
        except UnicodeDecodeError:
            return None
        return source if is_arithmetic(source) else None

    def found_or_written(self, key: str, write: Callable[[], str]) -> tuple[str, str]:
        """Return the text and the digest of the module of a key; written where there is none."""
        digest = (self.read_entry(key) or {}).get("digest")
        source = self.read_module(digest)
        if source is None:
            source = write()
            _, digest = self.write_module(source)
            self.write_entry(key, {"digest": digest})
        return source, str(digest)

    def write_entry(self, key: str, entry: dict[str, Any]) -> None:
        """Store what is known about a fingerprint."""
        self._shelf.enter(key, entry)

    def read_entry(self, key: str) -> dict[str, Any] | None:
        """Return what is known about a fingerprint, or None."""
        return self._shelf.entry(key)
