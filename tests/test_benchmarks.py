"""What the benchmark command does with names, and with results that were kept."""

import json

import pytest
from benchmarks import (
    instructions,
    large_resources,
    placement,
    planner,
    published,
    pypi_cubie,
    sensitivities,
    stiff,
)
from benchmarks.contender import CONTENDERS
from benchmarks.documents import read_section
from benchmarks.registry import by_name, chosen
from benchmarks.specs import LORENZ, WORKS, Work
from benchmarks.stiff_specs import STIFF_CONTENDERS, STIFF_WORKS

from cubie_planner.assembler.disassembly import find_nvdisasm
from tests.cubie.test_cuda_compile import same_toolkit

RAW = {"facts": {"scale": 1.0}, "seconds": [0.25, 0.5], "error": 1e-7}


def test_names_are_chosen_from_a_list():
    """A list of names keeps its order; without a list nothing is chosen."""
    assert chosen("work", "W5, W1", WORKS) == ["W5", "W1"]
    assert chosen("work", None, WORKS) is None


@pytest.mark.parametrize("names", ["W9", "W1,W9", "W1,"])
def test_an_unknown_name_is_refused(names):
    """The message tells which name there is not, and which there are."""
    with pytest.raises(SystemExit, match=r"There is no work '(W9)?'; there are W1, W1-100, "):
        chosen("work", names, WORKS)


def test_a_registry_finds_entries_by_name():
    """Every entry stands under its own name."""
    work = Work("short", LORENZ, 2, t_end=1.0)
    assert by_name(work) == {"short": work}
    for registry in (WORKS, CONTENDERS, STIFF_WORKS, STIFF_CONTENDERS):
        assert all(entry.name == name for name, entry in registry.items())


def test_results_of_what_was_not_run_again_are_kept():
    """A run of one work by one contender replaces that result and no other."""
    before = {"works": {"W3": {"SciPy LSODA": RAW, "cubie rodas5p": RAW}}}
    again = RAW | {"seconds": [0.125]}
    after = stiff.merged(before, {"works": {"W3": {"cubie rodas5p": again}}})
    assert after["works"] == {"W3": {"cubie rodas5p": again, "SciPy LSODA": RAW}}


def test_only_works_that_were_asked_for_are_printed():
    """A work that was not run leaves no table."""
    both = {"works": {name: {"cubie rodas5p": RAW} for name in STIFF_WORKS}}
    assert "van der Pol" not in stiff.report(both, ["W3"])
    table = stiff.report(both, ["W4"])
    assert "van der Pol" in table
    assert "Robertson" not in table
    assert "| 250 " in table
    assert "| 375 " in table


def test_published_instances_may_be_missing(tmp_path, monkeypatch, capsys):
    """Parts that need them are left out with a word, and refused where they were asked for."""
    ran = []
    parts = {name: lambda folder, name=name: ran.append(name) or [] for name in planner.PARTS}
    monkeypatch.setattr(planner, "PARTS", parts)
    monkeypatch.setattr(planner, "INSTANCES", tmp_path)
    monkeypatch.setattr(planner, "_warm_up", lambda: None)
    planner.run([])
    assert ran == ["graphs", "hard_graphs", "kernels", "joint", "fresh"]
    assert f"no CSV files in {tmp_path}; give the folder" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        planner.run(["capacity"])
    assert f"no CSV files in {tmp_path}; give the folder" in capsys.readouterr().err


@pytest.mark.parametrize("suite", [instructions, placement], ids=lambda suite: suite.__name__)
def test_tables_of_gpu_kernels_are_those_of_the_kept_results(suite):
    """The page shows every kernel that was compiled, and no other figures."""
    rows = list(json.loads(suite.KEPT.read_text(encoding="utf-8"))["rows"].values())
    assert read_section(suite.DOCUMENT, "table").startswith(suite.table(rows))


MORE_THAN_CUBIE = {
    ("rodas5p, 3 states, float64", "registers"),
    ("kvaerno5, 20 states, float32", "stack"),
}


def test_resources_of_large_systems_are_those_of_the_kept_results():
    """The table of the page is written from the file, and no stack is beyond what there is."""
    rows, tools = large_resources.stored()
    shown = read_section(large_resources.DOCUMENT, "resources")
    assert shown.startswith(large_resources.table(rows))
    assert all(f"{name} {found}" in shown for name, found in tools.items())
    kinds = {(row.method, row.states) for row in rows if row.lu_form == "auto"}
    assert kinds == {(m, n) for m in large_resources.METHODS for n in large_resources.STATES}
    assert all(row.stack <= 512 * 1024 for row in rows)
    assert any(row.global_planned > 512 * 1024 for row in rows)


def test_kernels_take_no_more_than_those_of_cubie_on_pypi():
    """But for those that the page names."""
    pairs = pypi_cubie.kept()
    assert read_section(instructions.DOCUMENT, "beside") == pypi_cubie.table(pairs)
    assert pypi_cubie.more_than_theirs(pairs) == MORE_THAN_CUBIE


def test_published_placements_are_those_of_the_kept_results():
    """The page shows every published outcome, and compiled kernels agree with all of them."""
    kept = json.loads(published.KEPT.read_text(encoding="utf-8"))["rows"]
    rows = [kept[outcome.row] for outcome in published.OUTCOMES]
    assert read_section(published.DOCUMENT, "published").startswith(published.table(rows))
    assert [row["row"] for row in rows if not published.agrees(row)] == []


@pytest.mark.skipif(find_nvdisasm() is None, reason="needs nvdisasm")
@pytest.mark.skipif(not same_toolkit(), reason="other compilers, other instructions")
def test_published_placements_come_out_again():
    """Where a table says where stages are, few of them gain in shared memory, as was measured."""
    outcome = next(o for o in published.OUTCOMES if o.row == "explicit stages, 448 B")
    kept = json.loads(published.KEPT.read_text(encoding="utf-8"))["rows"][outcome.row]
    found = published.measure(outcome)
    assert {**found, "seconds": kept["seconds"]} == kept


def test_checked_plans_of_the_kept_results_are_the_best():
    """No placement that was compiled costs clearly less than the checked plan."""
    rows = list(json.loads(placement.KEPT.read_text(encoding="utf-8"))["rows"].values())
    for row in rows:
        places = row["placements"]
        local, best = places["local"], places["checked"]
        if row.get("untold"):
            assert best is None
            continue
        allowed = [
            place["cycles"]
            for place in places.values()
            if place and place["cycles"]
            if place["instructions"] <= local["instructions"] or place["local"] <= local["local"]
        ]
        assert best["cycles"] <= min(allowed) * 1.05, placement.key(row)
    assert placement.told(rows) in read_section(placement.DOCUMENT, "table")


def test_kept_placements_are_of_every_method_size_and_device():
    """Not every kernel is there, but none of them is missing altogether."""
    rows = json.loads(placement.KEPT.read_text(encoding="utf-8"))["rows"].values()
    assert {row["method"] for row in rows} == set(placement.METHODS)
    assert {row["states"] for row in rows} == set(placement.STATES)
    assert {tuple(row["capability"]) for row in rows} == set(placement.CAPABILITIES)


def test_a_checked_plan_never_has_more_of_both():
    """None that was kept executes more instructions and has more local traffic than all local."""
    for row in json.loads(placement.KEPT.read_text(encoding="utf-8"))["rows"].values():
        local, checked = row["placements"]["local"], row["placements"]["checked"]
        if checked is None:
            continue
        more = checked["instructions"] > local["instructions"]
        assert not (more and checked["local"] > local["local"]), placement.key(row)


def test_what_sensitivities_cost_is_that_of_the_kept_results():
    """The table of the page is written from the file, and derivatives are as exact as was asked."""
    [kept] = sensitivities.RESULTS.glob("sensitivities-*.json")
    data = json.loads(kept.read_text(encoding="utf-8"))
    assert read_section(sensitivities.PAGE, sensitivities.SECTION) == sensitivities.table(data)
    errors = [row["error"] for key, row in data["rows"].items() if key.endswith(", cubie")]
    assert len(errors) >= 6
    assert max(errors) < 1e-4
