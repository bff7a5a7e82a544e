"""Files that a command is to write: refused before the work where they could not be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cubie.cli.errors import InputError


def require_writable(option: str, given: str | None, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file of another kind, in a folder that is not there, or that is a folder itself.

    Raises
    ------
    InputError
    """
    if not given:
        return
    path = Path(given)
    if suffixes and path.suffix not in suffixes:
        raise InputError(f"{option} {given}: must end in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {given}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{option} {given}: Is a directory")
