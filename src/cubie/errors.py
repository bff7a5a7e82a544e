"""Exceptions and warnings of the kernel builder: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word most like the given one, or None if none is close."""
    matches = difflib.get_close_matches(str(given), [str(a) for a in allowed], n=1, cutoff=0.5)
    return matches[0] if matches else None


def level_of_caller() -> int:
    """Return the `stacklevel` with which a warning of the calling function points out of here."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and _package_of(frame) == "cubie":
        level, frame = level + 1, frame.f_back
    return level


def _package_of(frame: Any) -> str:
    return (frame.f_globals.get("__package__") or "").partition(".")[0]


class CubieError(Exception):
    """Base of the exceptions that this package raises."""


class OutOfMemory(CubieError, MemoryError):
    """A solve needs more memory than can be had; nothing of it was kept."""


class InvalidOption(CubieError, ValueError):
    """An option has a value that is not allowed.

    Attributes
    ----------
    option : str
    given : object
    allowed : tuple
    """

    def __init__(self, option: str, given: Any, allowed: Iterable[Any] = (), advice: str = ""):
        self.option = option
        self.given = given
        self.allowed = tuple(allowed)
        message = f"`{option}` is {given!r}"
        if self.allowed:
            message += ", but must be one of " + ", ".join(repr(a) for a in self.allowed)
            close = nearest(given, self.allowed) if isinstance(given, str) else None
            if close:
                message += f" (did you mean {close!r}?)"
        super().__init__(f"{message}. {advice}".strip() if advice else f"{message}.")


class UnknownOption(CubieError, TypeError):
    """A keyword argument that no component recognises.

    Attributes
    ----------
    given : str
    allowed : tuple of str
    nearest : str or None
    """

    def __init__(self, given: str, allowed: Iterable[str]):
        self.given = given
        self.allowed = tuple(sorted(allowed))
        self.nearest = nearest(given, self.allowed)
        hint = f" Did you mean `{self.nearest}`?" if self.nearest else ""
        super().__init__(
            f"`{given}` is not an option of any component of this solver.{hint} "
            f"Known options: {', '.join(self.allowed)}."
        )


class NoDevice(CubieError, RuntimeError):
    """A GPU is needed and there is none."""


class InvalidProblem(CubieError, ValueError):
    """An initial value problem that cannot be solved as stated.

    Attributes
    ----------
    argument : str
        Name of the offending argument.
    """

    def __init__(self, argument: str, message: str):
        self.argument = argument
        super().__init__(f"`{argument}` {message}")
