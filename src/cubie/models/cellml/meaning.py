"""What a CellML model means, as a `Description`."""

from __future__ import annotations

from cubie.models.cellml.document import Document, Variable
from cubie.models.description import Description, View
from cubie.models.formulas import TIME, Formula, Name, apply


def description_of(document: Document) -> Description:
    """Return what a document means: states, constants, and quantities that follow from these."""
    initial: dict[str, Formula] = {}
    views: dict[str, View] = {}
    kinds: dict[str, str] = {}
    units: dict[str, str] = {}

    def add(variable: Variable, kind: str) -> None:
        views[variable.name], kinds[variable.name] = View(Name(variable.name)), kind
        units[variable.name] = variable.units
        if variable.start is not None:
            initial[variable.name] = variable.start

    for variable, _ in document.rates:
        add(variable, "state")
    for variable, _ in document.computed:
        add(variable, "variable")
    for variable in document.constants:
        add(variable, "parameter")
    if document.time is not None:
        add(document.time, "time")
        views[document.time.name] = View(apply(TIME))
    return Description(
        document.name,
        {variable.name: rate for variable, rate in document.rates},
        {variable.name: formula for variable, formula in document.computed},
        initial,
        views,
        kinds,
        units,
    )
