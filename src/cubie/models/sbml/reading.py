"""SBML files read by libSBML: the only place that knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cubie.models.errors import ModelError
from cubie.models.formulas import Formula, Name, replaced
from cubie.models.libraries import library as imported
from cubie.models.sbml.document import (
    Assignment,
    Compartment,
    Document,
    Event,
    Parameter,
    Participant,
    Reaction,
    Species,
)
from cubie.models.sbml.mathematics import Reader, read_definitions, types_of_nodes


def read_document(text: str, source: str) -> Document:
    """Return what an SBML text says.

    Parameters
    ----------
    source : str
        What messages call it.

    Raises
    ------
    ModelError
        For what is no SBML, and for features that are not here.
    """
    library = imported("SBML", "python-libsbml", "sbml", "libsbml")
    given = library.readSBMLFromString(text)
    for i in range(given.getNumErrors()):
        error = given.getError(i)
        if error.getSeverity() >= library.LIBSBML_SEV_ERROR:
            told = " ".join(error.getMessage().split())
            raise ModelError(f"{source} is no SBML, line {error.getLine()}: {told}")
    model = given.getModel()
    if model is None:
        raise ModelError(f"{source} holds no model.")
    _flatten(library, given, source)
    _require_no_packages(given, source)
    if given.getLevel() == 1 and not given.setLevelAndVersion(2, 4, False):
        raise ModelError(f"{source} is of level 1, and cannot be made level 2.", "level 1")
    return _Reading(library, given.getModel(), source).document()


COMPOSITION = "comp"


def _flatten(library: Any, given: Any, source: str) -> None:
    """Make one model of a model that is composed of others.

    Raises
    ------
    ModelError
        Where that cannot be done, as with models in other files.
    """
    if given.getPlugin(COMPOSITION) is None:
        return
    given.getErrorLog().clearLog()
    how = library.ConversionProperties()
    how.addOption("flatten comp", True)
    how.addOption("performValidation", False)
    if given.convert(how) != library.LIBSBML_OPERATION_SUCCESS:
        log = given.getErrorLog()
        told = [" ".join(log.getError(i).getMessage().split()) for i in range(log.getNumErrors())]
        raise ModelError(
            f"{source} is composed of models, by the SBML package `comp`, that libSBML cannot make "
            f"one of{': ' if told else '.'}{told[-1] if told else ''}",
            "models of the package `comp` that cannot be made one",
        )


# What level 3 version 2 has without a package.
KNOWN_PACKAGES = ("l3v2extendedmath",)


def _require_no_packages(given: Any, source: str) -> None:
    """Refuse packages without which a model means something else; level 2 has none."""
    if given.getLevel() < 3:
        return
    names = [given.getPlugin(i).getPackageName() for i in range(given.getNumPlugins())]
    names += [given.getUnknownPackagePrefix(i) for i in range(given.getNumUnknownPackages())]
    for name in names:
        if name not in KNOWN_PACKAGES and given.getPackageRequired(name):
            raise ModelError(
                f"{source} cannot be understood without the SBML package `{name}`, which is not "
                "here.",
                f"the package `{name}`",
            )


def _each(number: Any, get: Any) -> Iterator[Any]:
    return map(get, range(number()))


class _Reading:
    """One model on its way from libSBML's objects to values."""

    def __init__(self, library: Any, model: Any, source: str):
        self.model, self.source = model, source
        self.algebraic = library.SBML_ALGEBRAIC_RULE
        types = types_of_nodes(library)
        self.reader = Reader(types, read_definitions(model, types))
        self.locals: list[Parameter] = []

    def document(self) -> Document:
        model = self.model
        assigned, rates = self._rules()
        reactions = tuple(map(self._reaction, _each(model.getNumReactions, model.getReaction)))
        return Document(
            model.getId() or model.getName() or self.source,
            model.getLevel(),
            tuple(map(_compartment, _each(model.getNumCompartments, model.getCompartment))),
            tuple(map(_species, _each(model.getNumSpecies, model.getSpecies))),
            tuple(map(_parameter, _each(model.getNumParameters, model.getParameter))),
            tuple(self.locals),
            reactions,
            tuple(self._initial()),
            assigned,
            rates,
            tuple(map(self._event, _each(model.getNumEvents, model.getEvent))),
            model.getConversionFactor() if model.isSetConversionFactor() else "",
        )

    def _formula(self, owner: Any) -> Formula | None:
        """Return the formula of what may lack one, as level 3 version 2 allows."""
        math = None if owner is None else owner.getMath()
        return None if math is None else self.reader.read(math)

    def _initial(self) -> Iterator[tuple[str, Formula]]:
        model = self.model
        for one in _each(model.getNumInitialAssignments, model.getInitialAssignment):
            formula = self._formula(one)
            if formula is not None:
                yield one.getSymbol(), formula

    def _rules(self) -> tuple[tuple, tuple]:
        assigned, rates = [], []
        for rule in _each(self.model.getNumRules, self.model.getRule):
            formula = self._formula(rule)
            if formula is None:
                continue
            if rule.isAlgebraic():
                raise ModelError(
                    f"{self.source} has an algebraic rule, 0 = ..., which is not here: write it as "
                    "an assignment rule, solved for what it determines.",
                    "algebraic rules",
                )
            (assigned if rule.isAssignment() else rates).append((rule.getVariable(), formula))
        return tuple(assigned), tuple(rates)

    def _reaction(self, reaction: Any) -> Reaction:
        id = reaction.getId()
        if reaction.isSetFast() and reaction.getFast():
            raise ModelError(
                f"Reaction `{id}` of {self.source} is fast, in equilibrium at all times, which is "
                "not here: give it a large rate, and solve by an implicit method.",
                "fast reactions",
            )
        law = reaction.getKineticLaw() if reaction.isSetKineticLaw() else None
        rate = self._formula(law)
        if law is not None and rate is not None:
            given = law.getLocalParameter, law.getNumLocalParameters
            if not law.getNumLocalParameters():
                given = law.getParameter, law.getNumParameters
            rate = replaced(rate, self._locals(id, *given))
        return Reaction(
            id,
            reaction.getName(),
            tuple(map(self._participant, _each(reaction.getNumReactants, reaction.getReactant))),
            tuple(map(self._participant, _each(reaction.getNumProducts, reaction.getProduct))),
            rate,
        )

    def _locals(self, reaction: str, get: Any, number: Any) -> Mapping[str, Formula]:
        """Return the names that parameters of one kinetic law have here."""
        found = {}
        for one in _each(number, get):
            name = f"{reaction}_{one.getId()}"
            while self.model.getElementBySId(name) is not None:
                name += "_"
            value = one.getValue() if one.isSetValue() else None
            self.locals.append(Parameter(name, one.getName(), value, True, one.getUnits()))
            found[one.getId()] = Name(name)
        return found

    def _participant(self, one: Any) -> Participant:
        formula = None
        if one.isSetStoichiometryMath():
            formula = self._formula(one.getStoichiometryMath())
        # Level 2 has a usual value of one; level 3 has none.
        is_set = one.isSetStoichiometry() or self.model.getLevel() < 3
        number = one.getStoichiometry() / (one.getDenominator() or 1) if is_set else None
        constant = self.model.getLevel() < 3 or one.getConstant()
        id = one.getId() if self.model.getLevel() > 2 else ""
        return Participant(id, one.getSpecies(), number, formula, constant)

    def _event(self, event: Any) -> Event:
        trigger, level = event.getTrigger(), self.model.getLevel()
        assignments = [
            Assignment(one.getVariable(), formula)
            for one in _each(event.getNumEventAssignments, event.getEventAssignment)
            if (formula := self._formula(one)) is not None
        ]
        return Event(
            event.getId(),
            self._formula(trigger),
            tuple(assignments),
            self._formula(event.getDelay()),
            self._formula(event.getPriority()),
            level < 3 or trigger is None or trigger.getPersistent(),
            level < 3 or trigger is None or trigger.getInitialValue(),
            event.getUseValuesFromTriggerTime(),
        )


def _compartment(one: Any) -> Compartment:
    return Compartment(
        one.getId(),
        one.getName(),
        one.getSize() if one.isSetSize() else None,
        one.getConstant(),
        one.getSpatialDimensionsAsDouble(),
        one.getUnits(),
    )


def _species(one: Any) -> Species:
    return Species(
        one.getId(),
        one.getName(),
        one.getCompartment(),
        one.getInitialAmount() if one.isSetInitialAmount() else None,
        one.getInitialConcentration() if one.isSetInitialConcentration() else None,
        one.getHasOnlySubstanceUnits(),
        one.getBoundaryCondition(),
        one.getConstant(),
        one.getConversionFactor() if one.isSetConversionFactor() else "",
        one.getSubstanceUnits(),
    )


def _parameter(one: Any) -> Parameter:
    value = one.getValue() if one.isSetValue() else None
    return Parameter(one.getId(), one.getName(), value, one.getConstant(), one.getUnits())
