"""Methods: their coefficients as data, checked when they are made."""

from cubie.tableaus.catalogue import (
    UnknownTableau,
    all_methods,
    all_tableaus,
    get_method,
    get_tableau,
    known_method,
)
from cubie.tableaus.kinds import DIRKTableau, ERKTableau, FIRKTableau, RosenbrockTableau
from cubie.tableaus.method import Method, Stability, TableauError
from cubie.tableaus.multistep import MultistepMethod
from cubie.tableaus.tableau import Tableau
from cubie.tableaus.two_methods import SwitchingMethod

__all__ = [
    "DIRKTableau",
    "ERKTableau",
    "FIRKTableau",
    "Method",
    "MultistepMethod",
    "RosenbrockTableau",
    "Stability",
    "SwitchingMethod",
    "Tableau",
    "TableauError",
    "UnknownTableau",
    "all_methods",
    "all_tableaus",
    "get_method",
    "get_tableau",
    "known_method",
]
