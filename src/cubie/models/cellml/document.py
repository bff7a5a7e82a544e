"""What a CellML model says, with its components joined: one variable for all that are connected."""

from __future__ import annotations

from attrs import frozen

from cubie.models.formulas import Formula


@frozen
class Variable:
    """A variable, by the name and in the units of the component that it belongs to.

    Attributes
    ----------
    name : str
        As "membrane_V": the component and the variable.
    units : str
    start : Formula or None
        What it begins with, or always is; None for what equations determine at all times.
    """

    name: str
    units: str
    start: Formula | None = None


@frozen
class Document:
    """The model of a file.

    Attributes
    ----------
    time : Variable or None
        The variable of integration.
    rates : tuple of (Variable, Formula)
        Each state with its derivative, in its own units per those of `time`.
    constants : tuple of Variable
        What does not change, computed of others or not.
    computed : tuple of (Variable, Formula)
        What other variables determine at all times.
    """

    name: str
    time: Variable | None
    rates: tuple[tuple[Variable, Formula], ...]
    constants: tuple[Variable, ...]
    computed: tuple[tuple[Variable, Formula], ...]
