"""CellML files read by libCellML: the only place that knows it.

libCellML parses, imports, joins components, and tells which variable each equation determines.
Units are converted here: its own conversion (0.7.2) has the factor of a derivative the wrong way
round where the derivative stands on the right, and time has other units there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cubie.models.cellml.document import Document, Variable
from cubie.models.cellml.mathematics import Reader, in_derivative
from cubie.models.cellml.plain import plain_text
from cubie.models.errors import ModelError
from cubie.models.formulas import RATE_OF, TIME, Formula, Name, apply
from cubie.models.libraries import library as imported

IMPLICIT = ("nla", "dae")  # libCellML's types of models with equations that must be solved
UNDETERMINED = re.compile(r"The type of variable '(.*)' in component '(.*)' is unknown")
SOLVABLE = ("ode", "algebraic")


def read_document(text: str, source: str, folder: Path | None = None) -> Document:
    """Return what a CellML text says.

    Parameters
    ----------
    source : str
        What messages call it.
    folder : Path, optional
        Where files lie that it imports.

    Raises
    ------
    ModelError
        For what is no CellML, and for features that are not here.
    """
    library = imported("CellML", "libcellml", "cellml", "libcellml")
    model = _parsed(library, text, source)
    if model.hasImports():
        model = _with_imports(library, model, source, folder)
    for component in _components(model):
        if component.resetCount():
            raise ModelError(
                f"Component `{component.name()}` of {source} has resets, which are not here: solve "
                "the equations with `events`.",
                "resets",
            )
    return _Reading(library, model, source).document()


def _parsed(library: Any, text: str, source: str) -> Any:
    parser = library.Parser(False)
    model = parser.parseModel(plain_text(text, source))
    _require_none(parser, source)
    return model


def _require_none(told: Any, source: str) -> None:
    """Refuse a model of which the library tells errors."""
    if told.errorCount():
        first = " ".join(told.error(0).description().split())
        more = f" ({told.errorCount() - 1} more)" if told.errorCount() > 1 else ""
        raise ModelError(f"{source} is no valid CellML: {first}{more}")


def _with_imports(library: Any, model: Any, source: str, folder: Path | None) -> Any:
    """Return a model that has in it what it imports."""
    parts: dict[str, Any] = {}
    _read_imports(library, parts, model, source, folder or Path(), "")
    importer = library.Importer(False)
    for key, part in parts.items():
        importer.addModel(part, key)
    importer.resolveImports(model, "")
    _require_none(importer, source)
    flat = importer.flattenModel(model)
    _require_none(importer, source)
    return flat


def _read_imports(
    library: Any, parts: dict[str, Any], model: Any, source: str, folder: Path, under: str
) -> None:
    """Read the files that a model imports, and those that these import, by where they stand."""
    for url in _urls(model):
        key = under + url
        if key in parts:
            continue
        path = folder / url
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"{source} imports {url!r}, which cannot be read at {str(path)!r}: {error}."
            ) from error
        parts[key] = part = _parsed(library, text, path.name)
        beside = f"{key.rpartition('/')[0]}/" if "/" in key else ""
        _read_imports(library, parts, part, path.name, path.parent, beside)


def _urls(model: Any) -> set[str]:
    """Return where what a model imports stands."""
    units = [model.units(i) for i in range(model.unitsCount())]
    return {one.importSource().url() for one in (*units, *_components(model)) if one.isImport()}


def _components(of: Any) -> Iterator[Any]:
    """Yield the components of a model, and those within others."""
    for i in range(of.componentCount()):
        yield of.component(i)
        yield from _components(of.component(i))


def _key(variable: Any) -> tuple[str, str]:
    return variable.parent().name(), variable.name()


def _scaled(formula: Formula, factor: float) -> Formula:
    return formula if factor == 1.0 else apply("times", factor, formula)


class _Reading:
    """One model on its way from libCellML's objects to values."""

    def __init__(self, library: Any, model: Any, source: str):
        self.libcellml, self.model, self.source = library, model, source
        self.units = {
            _key(one): one.units()
            for component in _components(model)
            for one in map(component.variable, range(component.variableCount()))
        }
        self.names = _names(self.units)
        self._require_convertible()
        self.analysed = self._analysed()
        self.reader = Reader(self._value, self._rate)
        self.time = self.analysed.voi() and self.analysed.voi().variable()

    def _analysed(self) -> Any:
        """Return the model as libCellML analyses it, all units being one: none is converted."""
        for component in _components(self.model):
            for i in range(component.variableCount()):
                component.variable(i).setUnits("dimensionless")
        analyser = self.libcellml.Analyser()
        analyser.analyseModel(self.model)
        self._require_determined(analyser)
        found = analyser.analyserModel()
        kind = found.typeAsString(found.type())
        if kind in IMPLICIT:
            names = ", ".join(f"`{name}`" for name in self._implicit(found))
            raise ModelError(
                f"{self.source} has equations that are not solved for what they determine, or that "
                f"determine it twice: {names}. Write each with one variable alone on one side.",
                "implicit equations",
            )
        if kind not in SOLVABLE:
            raise ModelError(f"{self.source} has no equations to solve: libCellML calls it {kind}.")
        return found

    def _require_determined(self, analyser: Any) -> None:
        for i in range(analyser.errorCount()):
            told = UNDETERMINED.match(analyser.error(i).description())
            if told is not None:
                variable, component = told.groups()
                raise ModelError(
                    f"{self.source} has no equation for `{component}.{variable}`, and gives no "
                    "initial value: give it one, or leave it out."
                )
        _require_none(analyser, self.source)

    def _implicit(self, found: Any) -> list[str]:
        equations = filter(lambda one: one.typeAsString(one.type()) == "nla", _equations(found))
        names = {
            ".".join(_key(variable.variable()))
            for equation in equations
            for variable in map(
                equation.algebraicVariable, range(equation.algebraicVariableCount())
            )
        }
        return sorted(names)

    # ---- units

    def _require_convertible(self) -> None:
        """Refuse connections between variables of which the units cannot be converted."""
        for component in _components(self.model):
            for i in range(component.variableCount()):
                variable = component.variable(i)
                for j in range(variable.equivalentVariableCount()):
                    self._factor(variable, variable.equivalentVariable(j))

    def _factor(self, of: Any, to: Any) -> float:
        """Return by what a value in the units of one variable is multiplied in those of another."""
        a, b = self.units[_key(of)], self.units[_key(to)]
        if not self.libcellml.Units.compatible(a, b):
            raise ModelError(
                f"`{'.'.join(_key(of))}` of {self.source} is in {a.name()}, and "
                f"`{'.'.join(_key(to))}`, to which it goes, in {b.name()}: these cannot be "
                "converted."
            )
        return self.libcellml.Units.scalingFactor(b, a)

    def _own(self, variable: Any) -> Any:
        """Return the variable that stands for all that one is connected with."""
        return self.analysed.analyserVariable(variable).variable()

    def _value(self, variable: Any) -> Formula:
        """Return a variable, in the units that it has in its component."""
        own = self._own(variable)
        is_time = self.time is not None and _key(own) == _key(self.time)
        return _scaled(
            apply(TIME) if is_time else Name(self._name(own)), self._factor(own, variable)
        )

    def _rate(self, variable: Any, time: Any) -> Formula:
        """Return a derivative, in the units that both variables have in their component."""
        own = self._own(variable)
        factor = self._factor(own, variable) / self._factor(self._own(time), time)
        return _scaled(apply(RATE_OF, Name(self._name(own))), factor)

    # ---- what the model says

    def document(self) -> Document:
        rates, computed = {}, {}
        for equation in _equations(self.analysed):
            left = equation.ast().leftChild()
            formula = self.reader.read(equation.ast().rightChild())
            if left.typeAsString(left.type()) == "diff":
                variable, time = in_derivative(left)
                own = self._own(variable)
                factor = self._factor(variable, own) * self._factor(self._own(time), time)
                rates[self._name(own)] = _scaled(formula, factor)
            else:
                own = self._own(left.variable())
                computed[self._name(own)] = _scaled(formula, self._factor(left.variable(), own))
        found = self.analysed
        states = self._ordered(found.state, found.stateCount())
        constants = self._ordered(found.constant, found.constantCount())
        numbers = self._ordered(found.computedConstant, found.computedConstantCount())
        others = self._ordered(found.algebraicVariable, found.algebraicVariableCount())
        return Document(
            self.model.name(),
            None if self.time is None else Variable(self._name(self.time), self._units(self.time)),
            tuple((one, rates[one.name]) for one in map(self._variable, states)),
            (
                *map(self._variable, constants),
                *(self._variable(one, computed[self._name(one.variable())]) for one in numbers),
            ),
            tuple((one, computed[one.name]) for one in map(self._variable, others)),
        )

    def _name(self, variable: Any) -> str:
        return self.names[_key(variable)]

    def _ordered(self, get: Any, number: int) -> list[Any]:
        """Return variables of the analysed model as they follow in the file."""
        places = {key: i for i, key in enumerate(self.units)}
        return sorted(map(get, range(number)), key=lambda one: places[_key(one.variable())])

    def _units(self, variable: Any) -> str:
        return self.units[_key(variable)].name()

    def _variable(self, given: Any, start: Formula | None = None) -> Variable:
        own, first = given.variable(), given.initialisingVariable()
        if first is not None:
            start = _scaled(self._start(first), self._factor(first, own))
        return Variable(self._name(own), self._units(own), start)

    def _start(self, first: Any) -> Formula:
        """Return an initial value, a number or that of a variable beside, in its own units."""
        try:
            return float(first.initialValue())
        except ValueError:
            beside = first.parent().variable(first.initialValue())
            return _scaled(self._value(beside), self._factor(beside, first))


def _names(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a name for each variable of each component, that equations can have, too."""
    found: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for key in keys:
        name = "_".join(key)
        while name in taken:
            name += "_"
        taken.add(name)
        found[key] = name
    return found


def _equations(found: Any) -> Iterator[Any]:
    return map(found.analyserEquation, range(found.analyserEquationCount()))
