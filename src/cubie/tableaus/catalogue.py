"""Every method by name."""

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from cubie.errors import CubieError, few
from cubie.tableaus.method import Method
from cubie.tableaus.tableau import Tableau

FAMILIES = {
    "explicit": "EXPLICIT_UP_TO_FIVE",
    "high_order": "EXPLICIT_OF_HIGH_ORDER",
    "low_storage": "LOW_STORAGE",
    "dirk": "DIAGONALLY_IMPLICIT",
    "firk": "FULLY_IMPLICIT",
    "rosenbrock": "ROSENBROCK",
    "multistep": "MULTISTEP",
    "switching": "SWITCHING",
}
"""Module of each family, and its tuple of methods there."""


INSTEAD: Mapping[str, str] = dict.fromkeys(
    ("vode", "cvode", "adams", "odeint"),
    "the method of several steps here is 'bdf'. For stiff systems also choose 'rodas5p' or "
    "'radau_iia_5', for others 'tsit5' or 'dop853'.",
)
"""What stands in for methods of other packages, by their names in lower case."""


@cache
def _family(module: str) -> tuple[Method, ...]:
    """Return the methods of one module; made on first use, since exact checks take time."""
    return getattr(import_module(f"cubie.tableaus.{module}"), FAMILIES[module])


@cache
def all_methods() -> Mapping[str, Method]:
    """Return every method under its name."""
    return MappingProxyType({m.name: m for module in FAMILIES for m in _family(module)})


@cache
def all_tableaus() -> Mapping[str, Tableau]:
    """Return every method that is made of stages, under its name."""
    found = all_methods().items()
    return MappingProxyType({name: m for name, m in found if isinstance(m, Tableau)})


class UnknownTableau(CubieError, ValueError):
    """A method's name that is neither one here nor an alias.

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
    """Map every accepted spelling, aliases included, to the method's name."""
    known: dict[str, str] = {}
    for method in all_methods().values():
        for name in (method.name, *method.aliases):
            other = known.setdefault(_spelling(name), method.name)
            if other != method.name:
                raise ValueError(f"`{name}` names both `{other}` and `{method.name}`")
    return known


def get_method(name: Any) -> Method:
    """Return the method with this name or alias, in any case; a method returns itself.

    A class of solvers of SciPy's, such as `scipy.integrate.RK45`, is taken by its name.

    Raises
    ------
    UnknownTableau
        Naming the nearest name and listing all of them.
    TypeError
        If `name` is neither text nor a method.
    """
    if isinstance(name, Method):
        return name
    name = _name_of_class(name)
    if not isinstance(name, str):
        hint = f"; write {name.__name__!r}" if isinstance(name, type) else ""
        raise TypeError(
            f"a method is a name or a Tableau, not {name!r} ({type(name).__name__}){hint}"
        )
    spelling = _spelling(name)
    for module in FAMILIES:
        for method in _family(module):
            if spelling in map(_spelling, (method.name, *method.aliases)):
                return method
    known = _known_names()
    nearest = difflib.get_close_matches(spelling, known, n=1, cutoff=0.0)[0]
    raise UnknownTableau(name, nearest, tuple(all_methods()))


def get_tableau(name: Any) -> Tableau:
    """Return the coefficients of a method that is made of stages; see `get_method`.

    Raises
    ------
    TypeError
        Also for a method that is not.
    """
    method = get_method(name)
    if not isinstance(method, Tableau):
        raise TypeError(f"`{method.name}` is no method of stages, and has no tableau")
    return method


def _name_of_class(given: Any) -> Any:
    """Return the name of one of SciPy's classes of solvers, and anything else as it is."""
    of_scipy = isinstance(given, type) and given.__module__.startswith("scipy.integrate.")
    return given.__name__ if of_scipy else given


def known_method(method: Method) -> Method:
    """Return the catalogue's own object for a copy of one that it has, else the method."""
    try:
        found = get_method(method.name)
    except UnknownTableau:
        return method
    return found if found == method else method
