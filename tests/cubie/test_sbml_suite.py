"""The SBML semantic test suite, where it is there; and that its rules are applied."""

import json
import os
from pathlib import Path

import pytest
from benchmarks import sbml as benchmark
from benchmarks.documents import DOCS, read_section

from tests.cubie.sbml_texts import listed, parameter, sbml

pytest.importorskip("libsbml")
SUITE = os.environ.get("CUBIE_SBML_SUITE", "")
EVERY = 25  # a sample of the cases

SETTINGS = """start: 0
duration: 2
steps: 2
variables: time, x
absolute: 1e-6
relative: 1e-4
amount:
concentration:
"""


def a_case(folder, results):
    """Write a case in which x rises from one, and a parameter is called as the time is."""
    given = parameter("x", 1.0, False) + parameter("time", 5.0)
    rules = "<rateRule variable='x'>[[1]]</rateRule>"
    folder.mkdir()
    (folder / "model.xml").write_text(sbml(listed(Parameters=given, Rules=rules)))
    (folder / "settings.txt").write_text(SETTINGS)
    (folder / "results.csv").write_text(results)


def test_cases_are_judged_by_the_rules_of_the_suite(tmp_path):
    """Within both tolerances is passed; what is not there, and what is refused, is told of."""
    a_case(tmp_path / "00001", "time,time,x\n0,5,1\n1,5,2.0001\n2,5,3\n")
    a_case(tmp_path / "00002", "time,time,x\n0,5,1\n1,5,2.001\n2,5,3\n")
    a_case(tmp_path / "00003", "time,time,x\n0,5,1\n")
    rules = "<algebraicRule>[[1]]</algebraicRule>"
    (tmp_path / "00003" / "model.xml").write_text(sbml(listed(Rules=rules)))
    data = benchmark.run(benchmark.cases_in(tmp_path), ["tsit5"], "python", 1)
    found = data["methods"]["tsit5"]
    assert [found[one] for one in ("passed", "refused", "failed")] == [1, 1, 1]
    assert found["failures"] == {"00002": "x is 2 at 1, and not 2.001"}
    assert found["refused for"] == {"algebraic rules": 1}


def test_the_page_tells_what_was_found():
    """Its table is that of the kept results, and nothing failed."""
    data = json.loads(benchmark.KEPT.read_text(encoding="utf-8"))
    assert read_section(DOCS / "sbml.md", "conformance") == benchmark.table(data)
    assert {of["failures"] == {} for of in data["methods"].values()} == {True}


@pytest.mark.skipif(not SUITE, reason="CUBIE_SBML_SUITE names no folder of cases")
def test_a_sample_of_the_suite():
    """Every so many cases pass, by an explicit and an implicit method."""
    folders = benchmark.cases_in(Path(SUITE))[::EVERY]
    data = benchmark.run(folders, benchmark.METHODS, "python", 1)
    for of in data["methods"].values():
        assert of.get("failures") == {}
