"""PEtab problems read by the package petab: the only place that knows it."""

from __future__ import annotations

import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from cubie.models.errors import ModelError
from cubie.petab.document import (
    Document,
    Experiment,
    Measurement,
    Noise,
    Observable,
    Parameter,
    Scale,
)

AS_MODEL = ""  # the experiment of measurements that name none


def petab() -> ModuleType:
    """Return the library, or say how to get it.

    Raises
    ------
    ModelError
    """
    try:
        import petab.v1
        import petab.v2
    except ImportError as error:
        raise ModelError(
            "PEtab is read by the package `petab`, which is not here: "
            "pip install 'cubie-ode[petab]'."
        ) from error
    return petab


def read_problem(source: Any) -> Document:
    """Return what a problem says.

    Parameters
    ----------
    source : path
        The YAML file of a problem of version 1 or 2, or a problem of the package.

    Raises
    ------
    ModelError
        For what cannot be read, and for features that are not here, by name.
    """
    library = petab()
    if isinstance(source, (library.v1.Problem, library.v2.Problem)):
        name, problem = "the problem", source
    else:
        name = Path(source).name
        problem = _from_file(library, Path(source), name)
    reader = _Version1 if isinstance(problem, library.v1.Problem) else _Version2
    if problem.model is None or problem.model.type_id != "sbml":
        told = "none" if problem.model is None else problem.model.type_id
        raise ModelError(f"{name} has a model that is no SBML, but {told}.", "models beside SBML")
    return reader(library, problem, name).document()


def _from_file(library: Any, path: Path, name: str) -> Any:
    if not path.is_file():
        raise ModelError(f"{str(path)!r} cannot be read: there is no such file.")
    try:
        # What the package asks of pandas is not for users to change.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            version = library.versions.get_major_version(str(path))
            of_version = library.v1 if version == 1 else library.v2
            return of_version.Problem.from_yaml(str(path))
    except Exception as error:
        # The package raises what pandas, pydantic, jsonschema and libSBML do.
        first = " ".join(str(error).split())[:300]
        raise ModelError(f"{name} is no PEtab problem: {first}") from error


class _Reader(ABC):
    """What both versions have in common."""

    def __init__(self, library: Any, problem: Any, name: str):
        self.petab, self.problem, self.name = library, problem, name

    def document(self) -> Document:
        import libsbml

        model = self.problem.model.sbml_document or self.problem.model.sbml_model.getSBMLDocument()
        measurements = tuple(self.measurements())
        for one in measurements:
            if not math.isfinite(one.time):
                raise ModelError(
                    f"{self.name} has measurements of `{one.observable}` at the time {one.time}, "
                    "in a steady state, which is not here: give them a late time.",
                    "measurements in a steady state",
                )
        used = {one.experiment for one in measurements}
        experiments = tuple(one for one in self.experiments() if one.id in used)
        return Document(
            self.name,
            libsbml.writeSBMLToString(model),
            tuple(self.parameters()),
            experiments,
            tuple(self.observables()),
            measurements,
            tuple(self.priors()),
        )

    @abstractmethod
    def parameters(self) -> Iterator[Parameter]: ...

    @abstractmethod
    def priors(self) -> Iterator[str]: ...

    @abstractmethod
    def experiments(self) -> Iterator[Experiment]: ...

    @abstractmethod
    def observables(self) -> Iterator[Observable]: ...

    @abstractmethod
    def measurements(self) -> Iterator[Measurement]: ...

    def refuse(self, what: str) -> None:
        raise ModelError(f"{self.name} has {what}, which is not here.", what)


class _Version1(_Reader):
    """A problem of version 1: tables of pandas."""

    def parameters(self):
        table = self.problem.parameter_df
        for id, row in table.iterrows():
            scale = Scale(_or(row.get("parameterScale"), "lin"))
            yield Parameter(
                str(id), scale, float(_or(row.get("lowerBound"), -math.inf)),
                float(_or(row.get("upperBound"), math.inf)),
                float(_or(row.get("nominalValue"), math.nan)), bool(int(row["estimate"])),
            )  # fmt: skip

    def priors(self):
        table = self.problem.parameter_df
        if "objectivePriorType" in table:
            yield from map(str, table.index[table["objectivePriorType"].notna()])

    def experiments(self):
        for id, row in self.problem.condition_df.iterrows():
            changes = {
                str(target): self.formula(value)
                for target, value in row.items()
                if target != "conditionName" and not _is_empty(value)
            }
            yield Experiment(str(id), 0.0, changes)

    def formula(self, value: Any) -> Any:
        return self.petab.v1.math.sympify_petab(value)

    def observables(self):
        for id, row in self.problem.observable_df.iterrows():
            formula = self.formula(row["observableFormula"])
            noise = self.formula(_or(row.get("noiseFormula"), 1.0))
            found = {str(one) for part in (formula, noise) for one in part.free_symbols}
            placeholder = re.compile(rf"(observable|noise)Parameter\d+_{re.escape(str(id))}")
            yield Observable(
                str(id), formula, noise,
                Noise(_or(row.get("noiseDistribution"), "normal")),
                Scale(_or(row.get("observableTransformation"), "lin")),
                tuple(sorted(filter(placeholder.fullmatch, found))),
            )  # fmt: skip

    def measurements(self):
        for _, row in self.problem.measurement_df.iterrows():
            if not _is_empty(row.get("preequilibrationConditionId")):
                self.refuse("preequilibration")
            id = str(row["observableId"])
            given = {}
            for kind in ("observable", "noise"):
                values = row.get(f"{kind}Parameters")
                parts = [] if _is_empty(values) else str(values).split(";")
                for i, part in enumerate(parts):
                    given[f"{kind}Parameter{i + 1}_{id}"] = self.formula(part)
            yield Measurement(
                id, str(row["simulationConditionId"]), float(row["time"]),
                float(row["measurement"]), given,
            )  # fmt: skip


class _Version2(_Reader):
    """A problem of version 2: objects, with formulas read."""

    def parameters(self):
        for one in self.problem.parameters:
            lower, upper = (_or(one.lb, -math.inf), _or(one.ub, math.inf))
            nominal = float(_or(one.nominal_value, math.nan))
            yield Parameter(one.id, Scale.LIN, lower, upper, nominal, bool(one.estimate))

    def priors(self):
        return (one.id for one in self.problem.parameters if one.prior_distribution is not None)

    def experiments(self):
        if self.problem.mappings:
            self.refuse("a mapping table")
        yield Experiment(AS_MODEL, 0.0, {})
        for one in self.problem.experiments:
            if one.has_preequilibration:
                self.refuse("preequilibration")
            if len(one.periods) > 1:
                self.refuse("several periods in an experiment")
            changes = self.problem.get_changes_for_period(one.periods[0]) if one.periods else []
            start = float(one.periods[0].time) if one.periods else 0.0
            yield Experiment(one.id, start, {c.target_id: c.target_value for c in changes})

    def observables(self):
        for one in self.problem.observables:
            scale, _, noise = str(one.noise_distribution.value).rpartition("-")
            yield Observable(
                one.id, one.formula, one.noise_formula, Noise(noise), Scale(scale or "lin"),
                tuple(str(s) for s in (*one.observable_placeholders, *one.noise_placeholders)),
            )  # fmt: skip

    def measurements(self):
        by_id = {one.id: one for one in self.problem.observables}
        for one in self.problem.measurements:
            observable = by_id[one.observable_id]
            given = {}
            for names, values in (
                (observable.observable_placeholders, one.observable_parameters),
                (observable.noise_placeholders, one.noise_parameters),
            ):
                given |= {str(name): value for name, value in zip(names, values, strict=True)}
            yield Measurement(
                one.observable_id, one.experiment_id or AS_MODEL, float(one.time),
                float(one.measurement), given,
            )  # fmt: skip


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if _is_empty(value) else value
