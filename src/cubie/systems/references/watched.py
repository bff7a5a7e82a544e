"""A fingerprint that is taken again only if something changed."""

from typing import Any

from cubie.systems.references.fingerprint import Unseen, Walk
from cubie.systems.references.watch import Watch


def fingerprint(*values: Any) -> str | None:
    """Return a hexadecimal digest of the values, or None when one cannot be seen."""
    return Watched(*values).current()


class Watched:
    """Values whose content is followed; looking again costs little where nothing changed.

    Attributes
    ----------
    unseen : str
        What could not be seen when last looked at, and why; empty where all was seen.
    """

    def __init__(self, *values: Any):
        self._values = values
        self._seen: tuple[str, Watch] | None = None
        self.unseen = ""

    def current(self) -> str | None:
        """Return the digest of the content as it is now, or None when it cannot be seen."""
        seen = self._seen
        if seen is not None and seen[1].holds():
            return seen[0]
        walk = Walk()
        try:
            for value in self._values:
                walk.value(value)
            walk.finish()
        except Unseen as error:
            self._seen, self.unseen = None, str(error)
            return None
        except RecursionError:
            self._seen, self.unseen = None, "what it refers to is nested too deeply"
            return None
        except RuntimeError:  # from looking through what another thread changes
            self._seen, self.unseen = None, "it changed while it was looked at"
            return None
        self.unseen = ""
        self._seen = walk.hexdigest(), walk.watch
        return self._seen[0]
