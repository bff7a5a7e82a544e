"""What an SBML file says, as values: nothing is computed yet."""

from __future__ import annotations

from attrs import frozen

from cubie.models.formulas import Formula


@frozen
class Compartment:
    """A place of some size."""

    id: str
    name: str
    size: float | None
    constant: bool
    dimensions: float
    units: str


@frozen
class Species:
    """Something that there is an amount of in a compartment."""

    id: str
    name: str
    compartment: str
    amount: float | None
    concentration: float | None
    only_substance: bool  # in formulas its name is the amount
    boundary: bool  # reactions do not change it
    constant: bool
    factor: str  # by which extents of reactions become amounts; empty for the model's
    units: str


@frozen
class Parameter:
    """A number with a name."""

    id: str
    name: str
    value: float | None
    constant: bool
    units: str


@frozen
class Participant:
    """A species in a reaction, with its stoichiometry as a number, or a formula of level 2."""

    id: str
    species: str
    stoichiometry: float | None
    formula: Formula | None
    constant: bool


@frozen
class Reaction:
    """What makes species of others, at a rate."""

    id: str
    name: str
    reactants: tuple[Participant, ...]
    products: tuple[Participant, ...]
    rate: Formula | None


@frozen
class Assignment:
    """An event's: what becomes of something."""

    variable: str
    value: Formula


@frozen
class Event:
    """See `cubie.models.description.EventDescription`."""

    id: str
    trigger: Formula | None
    assignments: tuple[Assignment, ...]
    delay: Formula | None
    priority: Formula | None
    persistent: bool
    true_before: bool
    at_trigger: bool


@frozen
class Document:
    """The model of a file.

    Attributes
    ----------
    initial, assigned, rates : tuple of (str, Formula)
        Initial assignments, assignment rules and rate rules.
    factor : str
        The conversion factor of species that name none; empty without.
    locals : tuple of (Parameter)
        Those of kinetic laws, by names of their own.
    """

    id: str
    level: int
    compartments: tuple[Compartment, ...]
    species: tuple[Species, ...]
    parameters: tuple[Parameter, ...]
    locals: tuple[Parameter, ...]
    reactions: tuple[Reaction, ...]
    initial: tuple[tuple[str, Formula], ...]
    assigned: tuple[tuple[str, Formula], ...]
    rates: tuple[tuple[str, Formula], ...]
    events: tuple[Event, ...]
    factor: str
