"""Runge-Kutta coefficients as data, checked when they are made."""

from cubie.tableaus.catalogue import UnknownTableau, all_tableaus, get_tableau, known_tableau
from cubie.tableaus.kinds import DIRKTableau, ERKTableau, FIRKTableau, RosenbrockTableau
from cubie.tableaus.tableau import Stability, Tableau, TableauError

__all__ = [
    "DIRKTableau",
    "ERKTableau",
    "FIRKTableau",
    "RosenbrockTableau",
    "Stability",
    "Tableau",
    "TableauError",
    "UnknownTableau",
    "all_tableaus",
    "get_tableau",
    "known_tableau",
]
