"""Every tableau by name."""

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from cubie.errors import CubieError, few
from cubie.tableaus.tableau import Tableau

FAMILIES = {
    "explicit": "EXPLICIT_UP_TO_FIVE",
    "high_order": "EXPLICIT_OF_HIGH_ORDER",
    "dirk": "DIAGONALLY_IMPLICIT",
    "firk": "FULLY_IMPLICIT",
    "rosenbrock": "ROSENBROCK",
}
"""Module of each family, and its tuple of tableaus there."""


INSTEAD: Mapping[str, str] = dict.fromkeys(
    ("lsoda", "bdf", "vode", "cvode", "adams", "odeint"),
    "methods of several steps are not here. For stiff systems choose 'rodas5p' or "
    "'radau_iia_5', for others 'tsit5' or 'dop853'.",
)
"""What stands in for methods of other packages, by their names in lower case."""


@cache
def _family(module: str) -> tuple[Tableau, ...]:
    """Return the tableaus of one module; made on first use, since exact checks take time."""
    return getattr(import_module(f"cubie.tableaus.{module}"), FAMILIES[module])


@cache
def all_tableaus() -> Mapping[str, Tableau]:
    """Return every tableau under its name."""
    return MappingProxyType({t.name: t for module in FAMILIES for t in _family(module)})


class UnknownTableau(CubieError, ValueError):
    """A method name that is neither a tableau's name nor an alias.

    Of methods that SciPy has and this package has not, it says what takes their place.

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
        instead = INSTEAD.get(_spelling(given))
        told = instead or f"did you mean {nearest!r}?"
        listed, more = few(_spelling(given), names)
        which = "The methods are" if not more else f"Of {len(names)} methods the nearest are"
        names_told = "" if instead else f" {which}: {', '.join(listed)}"
        super().__init__(f"no method is called {given!r}; {told}{names_told}")
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


def get_tableau(name: Any) -> Tableau:
    """Return the tableau with this name or alias, in any case; a tableau returns itself.

    A class of solvers of SciPy's, such as `scipy.integrate.RK45`, is taken by its name.

    Raises
    ------
    UnknownTableau
        Naming the nearest name and listing all of them.
    TypeError
        If `name` is neither text nor a tableau.
    """
    if isinstance(name, Tableau):
        return name
    name = _name_of_class(name)
    if not isinstance(name, str):
        hint = f"; write {name.__name__!r}" if isinstance(name, type) else ""
        raise TypeError(
            f"a method is a name or a Tableau, not {name!r} ({type(name).__name__}){hint}"
        )
    spelling = _spelling(name)
    for module in FAMILIES:
        for tableau in _family(module):
            if spelling in map(_spelling, (tableau.name, *tableau.aliases)):
                return tableau
    known = _known_names()
    nearest = difflib.get_close_matches(spelling, known, n=1, cutoff=0.0)[0]
    raise UnknownTableau(name, nearest, tuple(all_tableaus()))


def _name_of_class(given: Any) -> Any:
    """Return the name of one of SciPy's classes of solvers, and anything else as it is."""
    of_scipy = isinstance(given, type) and given.__module__.startswith("scipy.integrate.")
    return given.__name__ if of_scipy else given


def known_tableau(tableau: Tableau) -> Tableau:
    """Return the catalogue's own object for a copy of one that it has, else the tableau."""
    try:
        found = get_tableau(tableau.name)
    except UnknownTableau:
        return tableau
    return found if found == tableau else tableau
