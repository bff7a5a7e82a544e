"""Systems that come from elsewhere, as text: believed where the text is arithmetic and no more."""

from __future__ import annotations

from typing import Any

from cubie.systems.generated import is_arithmetic
from cubie.systems.mass import digest_with_mass
from cubie.systems.store import Store
from cubie.systems.system import System


def system_of_text(digest: str, source: str, kind: str, **fields: Any) -> System:
    """Return a traced system, whose text is kept here under the hash of its own.

    Machine code is found by that hash: with another one a system could have what others find
    replaced by what it computes.

    Parameters
    ----------
    digest, source, kind, **fields
        Those of a `System`, but for its path.

    Raises
    ------
    ValueError
        For a text that is more than arithmetic, or no text of this digest, and for functions.
    """
    if kind != "traced" or fields.get("function") is not None:
        raise ValueError("it is of a function, and not of its trace.")
    if not isinstance(source, str) or not is_arithmetic(source):
        raise ValueError("its code is more than arithmetic.")
    path, found = Store().write_module(source)
    if digest != digest_with_mass(found, fields.get("mass")):
        raise ValueError("its code is not what it was found by.")
    return System(digest=digest, source=source, kind=kind, path=path, **fields)
