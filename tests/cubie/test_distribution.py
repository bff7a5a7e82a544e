"""The distribution: its name and version in every place, the namesake, and what is told of both."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cubie
from cubie import NamesakeWarning, __main__, versions
from cubie.backend import targets_here
from cubie.distribution import NAME, VERSION, namesake, warn_of_namesake
from cubie.versions import EXTRA, NEEDED, self_check

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def installed(folder: Path, name: str, command: str) -> Path:
    """Pretend that a distribution with a command is installed in a folder."""
    metadata = folder / f"{name}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text(f"[console_scripts]\n{command} = x:y\n")
    return folder


def text_of(name: str) -> str:
    """Read a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_name_and_version_are_the_same_everywhere():
    """In the build's settings, the citation, the changelog's first heading and the package."""
    read = re.search(
        PROJECT["tool"]["hatch"]["version"]["pattern"], text_of("src/cubie/distribution.py")
    )
    assert read is not None
    assert read["version"] == VERSION == cubie.__version__
    assert PROJECT["project"]["name"] == NAME
    assert f"\nversion: {VERSION}\n" in text_of("CITATION.cff")
    heading = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert heading is not None
    assert heading[1] == VERSION.partition(".dev")[0]


def test_nobody_is_told_to_install_the_other_project():
    """What messages and pages give to pip is this distribution, its extras or the checkout."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    wrong = re.compile(r"(?:pip install|pip download)[^\n]*?[ '\"]cubie(?![-\w])|\bcubie\[[a-z]")
    told = {file.name: file.read_text(encoding="utf-8") for file in files}
    # Pages that say what this command installs.
    texts = {name: text.replace("`pip install cubie`", "") for name, text in told.items()}
    assert [name for name, text in texts.items() if wrong.search(text)] == []


def test_packages_that_are_told_are_those_that_are_asked_for():
    """All that cubie needs, and of the extras what is no tool of tests, checks and pages."""
    project = PROJECT["project"]
    names = {re.split(r"[\[<>=~! ]", text)[0] for text in project["dependencies"]}
    assert set(NEEDED) == names
    extras = ("plot", "sweep", "sbml", "antimony", "cu13")
    asked = {
        re.split(r"[\[<>=~! ]", text)[0]
        for extra in extras
        for text in project["optional-dependencies"][extra]
    }
    assert set(EXTRA) == asked - names


def test_the_namesake_is_told_from_what_is_ours(tmp_path):
    """By name and command: an old `cubie` of this project is none, and other names are none."""
    ours = installed(tmp_path / "ours", "cubie-0.1.0", "cubie-plan")
    new = installed(tmp_path / "new", "cubie_ode-0.2.0", "cubie-plan")
    similar = installed(tmp_path / "similar", "cubie-tools-1.0", "tools")
    theirs = installed(tmp_path / "theirs", "cubie-0.17.0", "something")
    missing = tmp_path / "missing"
    assert namesake(map(str, (ours, new, similar, missing))) is None
    assert namesake(map(str, (ours, theirs))) == "0.17.0"
    with pytest.warns(NamesakeWarning, match="pip uninstall cubie cubie-ode, then pip install"):
        warn_of_namesake([str(theirs)])


def test_an_import_beside_the_namesake_warns(tmp_path):
    """Once, and points at the line that imports."""
    theirs = installed(tmp_path, "cubie-0.17.0", "something")
    script = tmp_path / "script.py"
    script.write_text("import cubie\nimport cubie\n")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "planner"), str(theirs)])
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr.count("NamesakeWarning") == 1
    assert f"{script}:1: NamesakeWarning: The distribution `cubie` 0.17.0" in done.stderr


def test_the_command_tells_all_and_checks_each_target(capsys):
    """Versions, targets and cache, and a right answer of every target that there is."""
    assert __main__.main() == 0
    told = capsys.readouterr().out
    heads = [line.split()[0] for line in told.splitlines()]
    assert heads[:4] == ["cubie", "Python", "needed", "extras"]
    assert heads.count("solve") == len(targets_here())
    assert f"{VERSION} ({NAME})" in told
    assert "MISSING" not in told
    cubie.show_versions()
    assert capsys.readouterr().out.splitlines()[:4] == told.splitlines()[:4]


def test_a_target_that_is_wrong_or_fails_is_told(capsys, monkeypatch):
    """With status 1, the error or what was raised, and the others checked all the same."""
    assert "is above 1.0e-30" in self_check("python", max_error=1e-30).failure

    def broken(*args, **options):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(versions, "solve_ivp", broken)
    assert __main__.main() == 1
    told = capsys.readouterr().out
    assert told.count("RuntimeError: no compiler here") == len(targets_here())
