"""Runge-Kutta coefficients as data, checked when they are made."""

from cubie.tableaus.catalogue import TABLEAUS, UnknownTableau, get_tableau
from cubie.tableaus.kinds import DIRKTableau, ERKTableau, FIRKTableau, RosenbrockTableau
from cubie.tableaus.tableau import Stability, Tableau, TableauError

__all__ = [
    "TABLEAUS",
    "DIRKTableau",
    "ERKTableau",
    "FIRKTableau",
    "RosenbrockTableau",
    "Stability",
    "Tableau",
    "TableauError",
    "UnknownTableau",
    "get_tableau",
]
