"""Functions of users' files and modules: the only input that runs code."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cubie.cli.errors import InputError, meant, one_line


def names_a_function(target: str) -> bool:
    """Tell whether something is written as ``file.py:function`` or ``module:function``."""
    place, colon, name = target.rpartition(":")
    return bool(colon and place) and all(part.isidentifier() for part in name.split("."))


def load_function(place: str, name: str) -> Callable:
    """Import ``file.py`` or a module, which runs its code, and return one of its functions."""
    where = f"{place}:{name}"
    # What the user's code prints must not mix with the plan.
    with contextlib.redirect_stdout(sys.stderr):
        module = _import(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            hint = meant(part, [word for word in vars(found) if not word.startswith("_")])
            raise InputError(f"{where}: has no `{part}`{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{where}: is no function but a {type(found).__name__}")
    return found


def _import(place: str) -> ModuleType:
    is_file = place.endswith(".py")
    path = Path(place)
    if is_file and not path.is_file():
        raise InputError(f"{place}: No such file")
    sys.path.insert(0, str(path.resolve().parent) if is_file else str(Path.cwd()))
    try:
        if not is_file:
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:
        raise InputError(f"{place}{_line(error, path)}: {_told(error)}") from error
    finally:
        del sys.path[0]


def _line(error: BaseException, path: Path) -> str:
    """Return ``, line n`` of the user's file, where the error comes from it."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename) == path.resolve()]
    return f", line {lines[-1]}" if lines else ""


def _told(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
