"""Functions of no component that several components build: made once, compiled once a kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable)

REMEMBERED = 8  # targets: a kernel is built with one or two


def shared_function(build: F) -> F:
    """Let ``build(backend, ...)`` return the same function when it is asked the same again."""
    return functools.lru_cache(maxsize=REMEMBERED)(build)  # pyright: ignore[reportReturnType]
