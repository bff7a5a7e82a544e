"""A small problem in PEtab, written as files of both versions.

A turns into B and B is lost: solved by hand. Two experiments start with different amounts; B is
measured with an offset and normal noise, A on a logarithmic scale.
"""

from __future__ import annotations

from pathlib import Path

from tests.cubie.sbml_texts import compartment, listed, parameter, reaction, sbml, species

MODEL = listed(
    Compartments=compartment(),
    Species=species("A", "initialConcentration='1'") + species("B", "initialConcentration='0'"),
    Parameters=parameter("k1", 0.1) + parameter("k2", 0.2) + parameter("B0", 0.0)
    + parameter("total", None, False),
    InitialAssignments="<initialAssignment symbol='B'>[[B0 * 2]]</initialAssignment>",
    Rules="<assignmentRule variable='total'>[[A + B]]</assignmentRule>",
    Reactions=reaction("R1", "k1 * A * C", "A", "B") + reaction("R2", "k2 * B * C", "B", ""),
)  # fmt: skip
MEASURED = [
    # observable, condition, time, value, offset, noise
    ("obs_b", "low", 1.0, 0.9, "", "0.1"),
    ("obs_b", "low", 3.0, 1.1, "", "0.1"),
    ("obs_b", "high", 1.0, 2.0, "", "sd_b"),
    ("obs_a", "low", 2.0, 0.4, "", ""),
    ("obs_a", "high", 4.0, 0.8, "", ""),
    ("obs_t", "high", 3.0, 3.1, "1.5", ""),
]


def _table(*rows: tuple) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def version_1(folder: Path) -> Path:
    """Write the problem as one of version 1, and return its file."""
    (folder / "model.xml").write_text(sbml(MODEL))
    (folder / "parameters.tsv").write_text(_table(
        ("parameterId", "parameterScale", "lowerBound", "upperBound", "nominalValue", "estimate"),
        ("k1", "log10", 1e-2, 2, 0.5, 1), ("k2", "log", 1e-3, 10, 0.25, 1),
        ("B0", "lin", 0, 5, 0.3, 1), ("offset", "lin", -1, 1, 0.2, 1),
        ("sd_b", "log10", 1e-3, 1, 0.15, 1), ("high_a", "lin", 0, 9, 3.0, 0),
    ))  # fmt: skip
    (folder / "conditions.tsv").write_text(
        _table(("conditionId", "A"), ("low", 1.0), ("high", "high_a"))
    )
    (folder / "observables.tsv").write_text(_table(
        ("observableId", "observableFormula", "observableTransformation", "noiseFormula",
         "noiseDistribution"),
        ("obs_b", "B + offset", "lin", "noiseParameter1_obs_b", "normal"),
        ("obs_a", "A", "log10", "0.2", "normal"),
        ("obs_t", "observableParameter1_obs_t * total", "lin", "0.1 + 0.05 * total", "laplace"),
    ))  # fmt: skip
    (folder / "measurements.tsv").write_text(_table(
        ("observableId", "simulationConditionId", "time", "measurement", "observableParameters",
         "noiseParameters"), *MEASURED,
    ))  # fmt: skip
    (folder / "problem.yaml").write_text(
        "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n"
        "- sbml_files: [model.xml]\n  condition_files: [conditions.tsv]\n"
        "  observable_files: [observables.tsv]\n  measurement_files: [measurements.tsv]\n"
    )
    return folder / "problem.yaml"


def version_2(folder: Path) -> Path:
    """Write it as one of version 2, with natural logarithms in the place of decadic ones."""
    (folder / "model.xml").write_text(sbml(MODEL))
    (folder / "parameters.tsv").write_text(_table(
        ("parameterId", "lowerBound", "upperBound", "nominalValue", "estimate"),
        ("k1", 1e-2, 2, 0.5, "true"), ("k2", 1e-3, 10, 0.25, "true"), ("B0", 0, 5, 0.3, "true"),
        ("offset", -1, 1, 0.2, "true"), ("sd_b", 1e-3, 1, 0.15, "true"),
        ("high_a", 0, 9, 3.0, "false"),
    ))  # fmt: skip
    (folder / "conditions.tsv").write_text(_table(
        ("conditionId", "targetId", "targetValue"), ("c_low", "A", 1.0), ("c_high", "A", "high_a")
    ))  # fmt: skip
    (folder / "experiments.tsv").write_text(_table(
        ("experimentId", "time", "conditionId"), ("low", 0, "c_low"), ("high", 0, "c_high")
    ))  # fmt: skip
    (folder / "observables.tsv").write_text(_table(
        ("observableId", "observableFormula", "noiseFormula", "noiseDistribution",
         "observablePlaceholders", "noisePlaceholders"),
        ("obs_b", "B + offset", "sd", "normal", "", "sd"),
        ("obs_a", "A", "0.2", "log-normal", "", ""),
        ("obs_t", "times * total", "0.1 + 0.05 * total", "laplace", "times", ""),
    ))  # fmt: skip
    (folder / "measurements.tsv").write_text(_table(
        ("observableId", "experimentId", "time", "measurement", "observableParameters",
         "noiseParameters"), *MEASURED,
    ))  # fmt: skip
    (folder / "problem.yaml").write_text(
        "format_version: 2.0.0\nparameter_files: [parameters.tsv]\nmodel_files:\n  m:\n"
        "    location: model.xml\n    language: sbml\ncondition_files: [conditions.tsv]\n"
        "experiment_files: [experiments.tsv]\nobservable_files: [observables.tsv]\n"
        "measurement_files: [measurements.tsv]\n"
    )
    return folder / "problem.yaml"
