"""What is installed: `cubie-ode`, which another project's distribution `cubie` can overwrite.

Both install a package that is imported as `cubie`. Installers do not notice: the files of the one
that comes last lie over those of the other.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

NAME = "cubie-ode"
# The build reads it here: `[tool.hatch.version]` in pyproject.toml.
VERSION = "0.2.0.dev0"

_NAMESAKE = re.compile(r"cubie-([^-]+)\.dist-info", re.IGNORECASE)
# Distributions of this project were called `cubie` before 0.2; they are known by their command.
_OUR_COMMAND = "cubie-plan"


class NamesakeWarning(UserWarning):
    """Another project's distribution is installed whose package is imported as `cubie`, too."""


def namesake(folders: Iterable[str]) -> str | None:
    """Return the version of the other project that is installed in one of these folders.

    Parameters
    ----------
    folders : iterable of str
        As in ``sys.path``. Names are looked at alone: nothing else costs a millisecond.
    """
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:  # an archive, or nothing that is there
            continue
        for name in names:
            found = _NAMESAKE.fullmatch(name)
            if found and not _is_ours(Path(folder) / name):
                return found[1]
    return None


def _is_ours(metadata: Path) -> bool:
    try:
        return _OUR_COMMAND in (metadata / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def warn_of_namesake(folders: Iterable[str] | None = None) -> None:
    """Warn where the other project's distribution is installed beside this one."""
    version = namesake(sys.path if folders is None else folders)
    if version is None:
        return
    home = Path(__file__).parent
    warnings.warn(
        f"The distribution `cubie` {version} is installed as well: another project, which installs "
        f"a package `cubie` of its own. This one, `{NAME}` {VERSION}, was imported from {home}; "
        "files of the other may lie over it, and either may be imported in place of the other. "
        "Keep one in an environment: pip uninstall cubie "
        f"{NAME}, then pip install {NAME}.",
        NamesakeWarning,
        stacklevel=3,
    )
