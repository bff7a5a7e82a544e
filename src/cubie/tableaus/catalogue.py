"""Every tableau by name."""

import difflib

from cubie.tableaus.dirk import DIAGONALLY_IMPLICIT
from cubie.tableaus.explicit import EXPLICIT_UP_TO_FIVE
from cubie.tableaus.firk import FULLY_IMPLICIT
from cubie.tableaus.high_order import EXPLICIT_OF_HIGH_ORDER
from cubie.tableaus.rosenbrock import ROSENBROCK
from cubie.tableaus.tableau import Tableau

TABLEAUS: dict[str, Tableau] = {
    tableau.name: tableau
    for tableau in (
        *EXPLICIT_UP_TO_FIVE,
        *EXPLICIT_OF_HIGH_ORDER,
        *DIAGONALLY_IMPLICIT,
        *FULLY_IMPLICIT,
        *ROSENBROCK,
    )
}


class UnknownTableau(ValueError):
    """A method name that is neither a tableau's name nor an alias.

    Attributes
    ----------
    given : str
        What was asked for.
    nearest : str
        The known name most like it.
    names : tuple of str
        All names, without aliases.
    """

    def __init__(self, given: str, nearest: str, names: tuple[str, ...]) -> None:
        super().__init__(
            f"no method is called {given!r}; did you mean {nearest!r}? "
            f"The methods are: {', '.join(names)}"
        )
        self.given = given
        self.nearest = nearest
        self.names = names


def _spelling(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _known_names() -> dict[str, str]:
    """Map every accepted spelling, aliases included, to the tableau's name."""
    known: dict[str, str] = {}
    for tableau in TABLEAUS.values():
        for name in (tableau.name, *tableau.aliases):
            other = known.setdefault(_spelling(name), tableau.name)
            if other != tableau.name:
                raise ValueError(f"`{name}` names both `{other}` and `{tableau.name}`")
    return known


_KNOWN = _known_names()


def get_tableau(name: str | Tableau) -> Tableau:
    """Return the tableau with this name or alias, in any case; a tableau returns itself.

    Raises
    ------
    UnknownTableau
        Naming the nearest name and listing all of them.
    TypeError
        If `name` is neither text nor a tableau.
    """
    if isinstance(name, Tableau):
        return name
    if not isinstance(name, str):
        raise TypeError(f"a method is a name or a Tableau, not {name!r} ({type(name).__name__})")
    spelling = _spelling(name)
    if spelling in _KNOWN:
        return TABLEAUS[_KNOWN[spelling]]
    nearest = difflib.get_close_matches(spelling, _KNOWN, n=1, cutoff=0.0)[0]
    raise UnknownTableau(name, nearest, tuple(TABLEAUS))
