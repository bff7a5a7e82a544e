"""Libraries that read files of one format, imported where they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cubie.models.errors import ModelError


def library(format: str, package: str, extra: str, module: str) -> Any:
    """Return a module, or say how to get the package that it is in.

    Raises
    ------
    ModelError
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(
            f"{format} is read by the package `{package}`, which is not here: "
            f"pip install 'cubie-ode[{extra}]'."
        ) from error
