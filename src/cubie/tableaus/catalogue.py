"""Every tableau by name."""

import difflib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from cubie.tableaus.tableau import Tableau


@cache
def all_tableaus() -> Mapping[str, Tableau]:
    """Return every tableau under its name."""
    # Made on first use: nodes and checks in exact arithmetic are too slow for an import.
    from cubie.tableaus.dirk import DIAGONALLY_IMPLICIT
    from cubie.tableaus.explicit import EXPLICIT_UP_TO_FIVE
    from cubie.tableaus.firk import FULLY_IMPLICIT
    from cubie.tableaus.high_order import EXPLICIT_OF_HIGH_ORDER
    from cubie.tableaus.rosenbrock import ROSENBROCK

    families = (
        EXPLICIT_UP_TO_FIVE,
        EXPLICIT_OF_HIGH_ORDER,
        DIAGONALLY_IMPLICIT,
        FULLY_IMPLICIT,
        ROSENBROCK,
    )
    return MappingProxyType({tableau.name: tableau for family in families for tableau in family})


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


@cache
def _known_names() -> dict[str, str]:
    """Map every accepted spelling, aliases included, to the tableau's name."""
    known: dict[str, str] = {}
    for tableau in all_tableaus().values():
        for name in (tableau.name, *tableau.aliases):
            other = known.setdefault(_spelling(name), tableau.name)
            if other != tableau.name:
                raise ValueError(f"`{name}` names both `{other}` and `{tableau.name}`")
    return known


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
    spelling, known = _spelling(name), _known_names()
    if spelling in known:
        return all_tableaus()[known[spelling]]
    nearest = difflib.get_close_matches(spelling, known, n=1, cutoff=0.0)[0]
    raise UnknownTableau(name, nearest, tuple(all_tableaus()))
