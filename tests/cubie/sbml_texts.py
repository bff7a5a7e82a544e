"""SBML models written in tests: formulas go as text, and become MathML by libSBML."""

import re

FORMULA = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


def math(formula: str) -> str:
    """Return a formula, such as "k1 * S1", as MathML."""
    import libsbml

    node = libsbml.parseL3Formula(formula)
    assert node is not None, libsbml.getLastParseL3Error()
    return re.sub(r"<\?xml.*?\?>\s*", "", libsbml.writeMathMLToString(node))


def sbml(body: str, level: int = 3, version: int = 2, attributes: str = "") -> str:
    """Return a model with this body, in which [[formula]] stands for its MathML."""
    space = f"http://www.sbml.org/sbml/level{level}/version{version}"
    space += "/core" if level == 3 else ""
    body = FORMULA.sub(lambda found: math(found.group(1)), body)
    return (
        f"<?xml version='1.0' encoding='UTF-8'?>\n<sbml xmlns='{space}' level='{level}' "
        f"version='{version}'><model id='m' {attributes}>{body}</model></sbml>"
    )


def compartment(id: str = "C", size: float | None = 1.0, constant: bool = True) -> str:
    """Return a compartment."""
    given = "" if size is None else f"size='{size}'"
    return (
        f"<compartment id='{id}' {given} spatialDimensions='3' constant='{str(constant).lower()}'/>"
    )


def species(id: str, more: str, only_substance: bool = False, boundary: bool = False) -> str:
    """Return a species in compartment C; `more` are attributes, such as its initial amount."""
    only, at_boundary = str(only_substance).lower(), str(boundary).lower()
    return (
        f"<species id='{id}' compartment='C' hasOnlySubstanceUnits='{only}' "
        f"boundaryCondition='{at_boundary}' constant='false' {more}/>"
    )


def parameter(id: str, value: float | None = None, constant: bool = True) -> str:
    """Return a parameter."""
    given = "" if value is None else f"value='{value}'"
    return f"<parameter id='{id}' {given} constant='{str(constant).lower()}'/>"


def reaction(id: str, rate: str, reactants: str = "", products: str = "", locals: str = "") -> str:
    """Return a reaction; participants are ids, "2 S1" with a stoichiometry."""

    def references(given: str) -> str:
        found = ""
        for one in filter(None, given.split(",")):
            number, _, name = one.strip().rpartition(" ")
            found += (
                f"<speciesReference species='{name}' stoichiometry='{number or 1}' "
                "constant='true'/>"
            )
        return found

    parts = {"Reactants": references(reactants), "Products": references(products)}
    listed = "".join(f"<listOf{n}>{p}</listOf{n}>" for n, p in parts.items() if p)
    return (
        f"<reaction id='{id}' reversible='false'>{listed}<kineticLaw>[[{rate}]]"
        f"{locals}</kineticLaw></reaction>"
    )


def listed(**parts: str) -> str:
    """Return lists of parts, in SBML's order: ``listed(Compartments=..., Species=...)``."""
    return "".join(f"<listOf{name}>{part}</listOf{name}>" for name, part in parts.items())


def event(
    id: str,
    trigger: str,
    sets: dict[str, str],
    delay: str = "",
    priority: str = "",
    persistent: bool = True,
    initial: bool = True,
    at_trigger: bool = True,
) -> str:
    """Return an event that sets names to formulas."""
    flags = f"persistent='{str(persistent).lower()}' initialValue='{str(initial).lower()}'"
    assignments = "".join(
        f"<eventAssignment variable='{name}'>[[{formula}]]</eventAssignment>"
        for name, formula in sets.items()
    )
    return (
        f"<event id='{id}' useValuesFromTriggerTime='{str(at_trigger).lower()}'>"
        f"<trigger {flags}>[[{trigger}]]</trigger>"
        + (f"<priority>[[{priority}]]</priority>" if priority else "")
        + (f"<delay>[[{delay}]]</delay>" if delay else "")
        + f"<listOfEventAssignments>{assignments}</listOfEventAssignments></event>"
    )


def with_events(*events: str, **values: float) -> str:
    """Return a model of numbers that events change, with x rising from zero at a rate of one."""
    given = parameter("x", 0.0, False)
    given += "".join(parameter(name, value, False) for name, value in values.items())
    rules = "<rateRule variable='x'>[[1]]</rateRule>"
    return sbml(listed(Parameters=given, Rules=rules, Events="".join(events)))
