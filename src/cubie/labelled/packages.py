"""Packages that labelled results need, imported where they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cubie.distribution import NAME


def xarray() -> Any:
    """Return the package.

    Raises
    ------
    ImportError
        Saying how to install it, as of those below.
    """
    return _imported("xarray", "Labelled results need xarray", "sweep")


def pandas() -> Any:
    """Return the package."""
    return _imported("pandas", "Tables need pandas", "sweep")


def matplotlib(module: str) -> Any:
    """Return a module of the package, such as "pyplot"."""
    return _imported(f"matplotlib.{module}", "Pictures need matplotlib", "plot")


def _imported(module: str, needed: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and lacks something of its own
        raise ImportError(f"{needed}: pip install '{NAME}[{extra}]'.") from error
