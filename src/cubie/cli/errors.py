"""What is wrong with what the command was given, in one line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cubie.errors import nearest


class InputError(Exception):
    """A file, a key or an option that cannot be used; the message is one line."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever reading foreign data raises into an `InputError` that names its source.

    A file may hold anything, so every error of a wrong type, value or key counts.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise InputError(f"{name}: is nested too deeply") from error
    except KeyError as error:
        raise InputError(f"{name}: lacks {error}") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        csv.Error,
    ) as error:
        raise InputError(f"{name}: {one_line(error)}") from error


def one_line(error: object) -> str:
    """Return a message without its line breaks, and without what steers a terminal."""
    return printable(" ".join(str(error).split()))


def printable(text: str) -> str:
    """Return text with what cannot be printed, or is no character at all, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def meant(given: str, known: Iterable[str]) -> str:
    """Return `` (did you mean `x`?)`` for the word nearest to what was given, or nothing."""
    close = nearest(given, known)
    return f" (did you mean `{close}`?)" if close else ""


def require_keys(where: str, given: Iterable[str], known: tuple[str, ...], whose: str) -> None:
    """Refuse a table that has other keys than those known.

    Raises
    ------
    InputError
        With the nearest one, and all that there are; `whose` says of what: "a model has".
    """
    for key in given:
        if key not in known:
            raise InputError(
                f"{where} unknown key `{key}`{meant(key, known)}; {whose} {', '.join(known)}"
            )
