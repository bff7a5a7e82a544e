"""Exceptions and warnings of the kernel builder: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word most like the given one, or None if none is close."""
    by_lower = {str(a).lower(): str(a) for a in allowed}
    matches = difflib.get_close_matches(str(given).lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else None


MOST_LISTED = 12  # of what is allowed, in a message
FEW = 6


def few(given: Any, allowed: Iterable[str]) -> tuple[list[str], int]:
    """Return what a message lists of what is allowed, and how many more there are.

    All of a short list; of a long one the few that are most like what was given.
    """
    names = [str(name) for name in allowed]
    if len(names) <= MOST_LISTED:
        return names, 0
    near = difflib.get_close_matches(str(given), names, n=FEW, cutoff=0.5)
    near = near or difflib.get_close_matches(str(given), names, n=FEW, cutoff=0.0)
    return near, len(names) - len(near)


LONGEST_SHOWN = 80


def shown(given: Any) -> str:
    """Return the `repr` of something for a message, cut short where it is long."""
    if isinstance(given, int) and given.bit_length() > 4 * LONGEST_SHOWN:
        return f"an int of {given.bit_length()} bits"  # Python may refuse to write its digits
    try:
        text = " ".join(repr(given).split())
    except Exception:  # of the user's own
        text = f"a {type(given).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def level_of_caller() -> int:
    """Return the `stacklevel` with which a warning of the calling function points out of here."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and _is_between(frame):
        level, frame = level + 1, frame.f_back
    return level


def _is_between(frame: Any) -> bool:
    """Tell whether a frame is this package's, or of a decorator that it uses."""
    root = (frame.f_globals.get("__package__") or "").partition(".")[0]
    return root == "cubie" or frame.f_globals.get("__name__") in ("functools", "contextlib")


class CubieError(Exception):
    """Base of the exceptions that this package raises."""


class OutOfMemory(CubieError, MemoryError):
    """A solve needs more memory than can be had; nothing of it was kept."""


class Described(str):
    """What was given, or what is allowed, in words: it stands in a message without quotes."""

    __slots__ = ()


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
        message = f"`{option}` is {given if isinstance(given, Described) else shown(given)}"
        if self.allowed:
            message += ", but must be one of " + ", ".join(
                a if isinstance(a, Described) else repr(a) for a in self.allowed
            )
            close = nearest(given, self.allowed) if type(given) is str and not advice else None
            if close:
                meant = next(a for a in self.allowed if str(a) == close)
                message += f" (did you mean {meant!r}?)"
        super().__init__(f"{message}. {advice}".strip() if advice else f"{message}.")


class UnknownOption(CubieError, TypeError):
    """A keyword argument that no component recognises.

    Attributes
    ----------
    given : str
    allowed : tuple of str
    nearest : str or None
    elsewhere : dict of str to str
        Options that another choice of method, controller or linear solver has, and which.
    """

    def __init__(
        self,
        given: str,
        allowed: Iterable[str],
        instead: str = "",
        elsewhere: Mapping[str, str] | None = None,
        what: str = "an option of any component of this solver",
    ):
        self.given = given
        self.allowed = tuple(sorted(allowed))
        self.elsewhere = dict(elsewhere or {})
        self.nearest = None if instead else nearest(given, [*self.allowed, *self.elsewhere])
        if instead:  # known elsewhere: what takes its place says more than a list
            super().__init__(f"`{given}` is not supported. {instead}")
            return
        hint = f" Did you mean `{self.nearest}`?" if self.nearest else ""
        if given in self.elsewhere:
            self.nearest, hint = None, f" It is one {self.elsewhere[given]}."
        elif self.nearest in self.elsewhere:
            hint = f"{hint[:-1]}, which is one {self.elsewhere[self.nearest]}?"
        listed, more = few(given, self.allowed)
        told = f"Known options{f', the nearest of {more + len(listed)}' if more else ''}"
        super().__init__(f"`{given}` is not {what}.{hint} {told}: {', '.join(listed)}.")


class NoDevice(CubieError, RuntimeError):
    """A GPU is needed, and there is none, or not the one that was named."""


class DeviceFault(CubieError, RuntimeError):
    """A device, or its driver, reports a fault."""


class DeviceLost(DeviceFault):
    """A device can no longer be used by this process."""


class LaunchTimedOut(DeviceLost):
    """The watchdog of a display ended a launch."""


class LaunchTooLarge(DeviceFault):
    """A kernel needs more of a device for each thread or block than it has at all."""


class DeviceOutOfMemory(OutOfMemory):
    """A solve needs more of a device's memory than can be had, though it was divided.

    Attributes
    ----------
    n_bytes : int
        What the least that can be solved together needs, without the stacks of its threads.
    free_bytes : int
        What there is.
    """

    def __init__(self, message: str, n_bytes: int = 0, free_bytes: int = 0):
        self.n_bytes, self.free_bytes = n_bytes, free_bytes
        super().__init__(message)


class OutputsTooLarge(OutOfMemory):
    """What a solve is asked to keep, or an array of it, takes more memory than can be had.

    Attributes
    ----------
    n_runs : int
    n_points : int
        Of each run; of the longest where they differ.
    n_bytes : int
        What is needed.
    free_bytes : int or None
        What there is; None where the system only said that it is too little.
    longest_run : int or None
        The run that has most points, where they differ.
    """

    def __init__(
        self,
        message: str,
        n_runs: int = 0,
        n_points: int = 0,
        n_bytes: int = 0,
        free_bytes: int | None = None,
        longest_run: int | None = None,
    ):
        self.n_runs, self.n_points = n_runs, n_points
        self.n_bytes, self.free_bytes = n_bytes, free_bytes
        self.longest_run = longest_run
        super().__init__(message)


class NotCompiled(CubieError, RuntimeError):
    """What a compiled kernel needs cannot be read in this process."""


class NoToolkit(CubieError, ImportError):
    """CUDA kernels are to be compiled, and the CUDA toolkit is not installed."""


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
