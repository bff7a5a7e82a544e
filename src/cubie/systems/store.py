"""Generated modules on disk, and the index that finds them again.

    <cache>/systems/<digest>.py        a module, named by the hash of its text
    <cache>/systems/index/<key>.json   what tracing the function of this fingerprint gave

A module whose text does not match its name, or an index entry that cannot be read, counts as not
there. Both are written to a temporary file and renamed, so processes may share the directory.
"""

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

from attrs import field, frozen

ENVIRONMENT_VARIABLE = "CUBIE_CACHE_DIR"


def default_directory():
    """Return the cache directory of this user: $CUBIE_CACHE_DIR, or the platform's."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named).expanduser()
    # Imported late: only a first use needs it.
    from platformdirs import user_cache_path

    return user_cache_path("cubie")


def digest_of(source):
    """Return the name under which a module's text is stored."""
    return hashlib.sha256(source.encode()).hexdigest()[:32]


@frozen
class Store:
    """One cache directory."""

    directory: Path = field(converter=Path)

    def module_path(self, digest):
        """Return where the module of this digest is, or would be."""
        return self.directory / "systems" / f"{digest}.py"

    def write_module(self, source):
        """Store a module and return (path, digest)."""
        digest = digest_of(source)
        path = self.module_path(digest)
        if self.read_module(digest) is None:
            _write(path, source)
        return path, digest

    def read_module(self, digest):
        """Return the text of a module, or None if it is missing or damaged."""
        try:
            source = self.module_path(digest).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return source if digest_of(source) == digest else None

    def write_entry(self, key, entry):
        """Store what is known about a fingerprint."""
        _write(self._entry_path(key), json.dumps(entry, indent=1))

    def read_entry(self, key):
        """Return what is known about a fingerprint, or None."""
        try:
            entry = json.loads(self._entry_path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return entry if isinstance(entry, dict) else None

    def _entry_path(self, key):
        return self.directory / "systems" / "index" / f"{key}.json"


def _write(path, text):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    except OSError as error:
        raise OSError(
            f"cubie cannot write generated code to {path.parent} ({error}). Set the environment "
            f"variable {ENVIRONMENT_VARIABLE} to a directory that is writable."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_module(path):
    """Import a generated module; the same text gives the same module."""
    name = f"cubie_system_{path.stem}"
    module = sys.modules.get(name)
    if module is not None:
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
