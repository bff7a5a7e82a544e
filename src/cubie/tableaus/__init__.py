"""Runge-Kutta coefficients as data, checked when they are made."""

from cubie.tableaus.catalogue import TABLEAUS, UnknownTableau, get_tableau
from cubie.tableaus.kinds import ERKTableau
from cubie.tableaus.tableau import Stability, Tableau, TableauError

__all__ = [
    "TABLEAUS",
    "ERKTableau",
    "Stability",
    "Tableau",
    "TableauError",
    "UnknownTableau",
    "get_tableau",
]
