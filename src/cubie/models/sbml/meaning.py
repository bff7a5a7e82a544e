"""What an SBML model means: amounts and concentrations, reactions and rules as a `Description`.

In formulas the name of a species is its concentration, or its amount where it has only substance
units (level 3 version 2, section 4.6.5). A species that reactions change is a state: as its
concentration where the size of its compartment does not change, and else as its amount.
"""

from __future__ import annotations

import math

from cubie.models.description import (
    AFTER,
    BEFORE,
    Change,
    Description,
    EventDescription,
    View,
)
from cubie.models.errors import ModelError
from cubie.models.formulas import Formula, Name, apply
from cubie.models.sbml.document import Compartment, Document, Event, Participant, Species


def description_of(document: Document) -> Description:
    """Return what a document means.

    Raises
    ------
    ModelError
        For names that nothing has.
    """
    return _Meaning(document).description()


class _Meaning:
    """A document on its way to a description."""

    def __init__(self, document: Document):
        self.document = document
        self.assigned, self.given = dict(document.assigned), dict(document.initial)
        self.compartments = {one.id: one for one in document.compartments}
        self.species = {one.id: one for one in document.species}
        self.targets = {one.variable for event in document.events for one in event.assignments}
        changing = {*self.assigned, *dict(document.rates), *self.targets}
        self.varying = {name for name in self.compartments if name in changing}
        self.rates: dict[str, Formula] = dict(document.rates)
        self.formulas: dict[str, Formula] = dict(self.assigned)
        self.initial: dict[str, Formula] = {}
        self.views: dict[str, View] = {}
        self.kinds: dict[str, str] = {}
        self.units: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        self.amounts = {
            name: self._own_name(f"{name}_amount")
            for name, one in self.species.items()
            if self._is_counted_apart(one)
        }

    def _own_name(self, name: str) -> str:
        document = self.document
        taken = {one.id for group in (document.species, document.parameters, document.locals,
                                      document.compartments, document.reactions)
                 for one in group}  # fmt: skip
        while name in taken:
            name += "_"
        return name

    def _is_counted_apart(self, one: Species) -> bool:
        """Tell whether an amount is kept of a species that formulas know the concentration of."""
        follows_a_rule = one.id in self.assigned or one.id in self.rates
        return not (one.only_substance or follows_a_rule) and one.compartment in self.varying

    def description(self) -> Description:
        document = self.document
        for one in document.compartments:
            # Points have no size, and what is in them no concentration but its amount.
            size = 1.0 if one.size is None and one.dimensions == 0.0 else one.size
            self._add(one.id, "compartment", size, one.name, one.units)
        for one in (*document.parameters, *document.locals):
            self._add(one.id, "parameter", one.value, one.name, one.units)
        for reaction in document.reactions:
            self.formulas[reaction.id] = math.nan if reaction.rate is None else reaction.rate
            self.views[reaction.id] = View(Name(reaction.id))
            self.kinds[reaction.id] = "reaction"
            self.titles[reaction.id] = reaction.name
            for participant in (*reaction.reactants, *reaction.products):
                self._add_participant(participant)
        extents = self._extents()
        for one in document.species:
            self._add_species(one, extents.get(one.id, []))
        for name in self.targets:
            if name not in self.rates and name in self.initial:
                self.rates[name] = 0.0
        events = tuple(
            self._event(event, i)
            for i, event in enumerate(document.events)
            if event.trigger is not None
        )
        made = Description(
            document.id, self.rates, self.formulas, self.initial, self.views, self.kinds,
            self.units, self.titles, events,
        )  # fmt: skip
        return made

    def _add(self, name: str, kind: str, value: float | None, title: str, units: str) -> None:
        """Add what is a number with a name."""
        self.views[name], self.kinds[name] = View(Name(name)), kind
        self.titles[name], self.units[name] = title, units
        if name not in self.assigned:
            self.initial[name] = self.given.get(name, math.nan if value is None else value)

    def _add_participant(self, one: Participant) -> None:
        if one.id:
            self._add(one.id, "stoichiometry", one.stoichiometry, "", "")

    def _extents(self) -> dict[str, list[Formula]]:
        """Return of each species that reactions change what they add to its amount, in time."""
        found: dict[str, list[Formula]] = {}
        for reaction in self.document.reactions:
            for sign, several in (("negative", reaction.reactants), ("", reaction.products)):
                for one in several:
                    extent: Formula = Name(reaction.id)
                    if one.formula is not None:
                        extent = apply("times", one.formula, extent)
                    elif one.id:
                        extent = apply("times", Name(one.id), extent)
                    elif one.stoichiometry != 1.0:
                        number = math.nan if one.stoichiometry is None else one.stoichiometry
                        extent = apply("times", number, extent)
                    extent = apply(sign, extent) if sign else extent
                    found.setdefault(one.species, []).append(extent)
        return found

    def _add_species(self, one: Species, extents: list[Formula]) -> None:
        name, apart = one.id, self.amounts.get(one.id)
        self.kinds[name], self.titles[name] = "species", one.name
        self.units[name] = one.units
        size: Formula = self._size(one)
        if apart is not None:
            self.formulas[name] = apply("divide", Name(apart), size)
            view = View(Name(name), Name(apart), Name(name))
        elif one.only_substance:
            view = View(Name(name), Name(name), apply("divide", Name(name), size))
        else:
            view = View(Name(name), apply("times", Name(name), size), Name(name))
        self.views[name] = view
        if name in self.assigned:
            return
        state = apart or name
        self.initial[state] = self._start(one, size)
        if name in self.rates:
            return
        if extents and not (one.boundary or one.constant):
            rate = extents[0] if len(extents) == 1 else apply("plus", *extents)
            factor = one.factor or self.document.factor
            rate = apply("times", Name(factor), rate) if factor else rate
            per_size = not one.only_substance and apart is None
            self.rates[state] = apply("divide", rate, size) if per_size else rate
        elif name in self.targets:
            self.rates[state] = 0.0

    def _size(self, one: Species) -> Formula:
        """Return the size of the compartment of a species; points have none."""
        place: Compartment | None = self.compartments.get(one.compartment)
        if place is None:
            raise ModelError(f"Species `{one.id}` is in `{one.compartment}`, which there is not.")
        return Name(place.id)

    def _start(self, one: Species, size: Formula) -> Formula:
        """Return what the state of a species begins with."""
        apart = one.id in self.amounts
        if one.id in self.given:
            given = self.given[one.id]
            return apply("times", given, size) if apart else given
        as_amount = one.only_substance or apart
        if one.amount is not None:
            return one.amount if as_amount else apply("divide", one.amount, size)
        if one.concentration is not None:
            return apply("times", one.concentration, size) if as_amount else one.concentration
        return math.nan

    def _event(self, event: Event, i: int) -> EventDescription:
        assert event.trigger is not None
        resized = {one.variable for one in event.assignments} & self.varying
        changes, set_here = [], {one.variable for one in event.assignments}
        for one in event.assignments:
            apart, factor = self.amounts.get(one.variable), 1.0
            if apart is not None:
                # What is set is an amount, by the size before: others may change that size.
                factor = self._size(self.species[one.variable])
            elif one.variable in self.species:
                factor = self._shrinking(self.species[one.variable], resized)
            changes.append(Change(apart or one.variable, one.value, factor))
        kept = tuple(
            (name, factor)
            for name, one in self.species.items()
            if name not in set_here and (factor := self._shrinking(one, resized)) != 1.0
        )
        return EventDescription(
            event.id or f"event {i + 1}", event.trigger, tuple(changes), kept, event.delay,
            event.priority, event.persistent, event.true_before, event.at_trigger,
        )  # fmt: skip

    def _shrinking(self, one: Species, resized: set[str]) -> Formula:
        """Return by what a concentration that is a state is multiplied where its place changes.

        Amounts stay where an event changes the size of a compartment.
        """
        is_state = one.id in self.rates and one.id not in self.amounts and not one.only_substance
        if not is_state or one.compartment not in resized:
            return 1.0
        return apply("divide", Name(one.compartment + BEFORE), Name(one.compartment + AFTER))
