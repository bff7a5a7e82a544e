"""The tests that `-m quick` and `make test` leave out are named by names that exist."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LISTS = ("longer.txt", "longest.txt")


def functions_of(path):
    """Return the names of the tests in a file, those of classes after the class's."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else ()
        found |= {f"{node.name}::{f.name}" for f in inside if isinstance(f, ast.FunctionDef)}
        found |= {node.name} if isinstance(node, ast.FunctionDef) else set()
    return found


@pytest.mark.parametrize("which", LISTS)
def test_longer_tests_are_named_by_names_that_exist(which):
    """A test that is renamed takes its line along."""
    lines = (ROOT / "tests" / which).read_text().splitlines()
    names = [line.split()[0] for line in lines if line[0] != "#"]
    files = {name.split("::")[0] for name in names}
    there = {f"{file}::{name}" for file in files for name in functions_of(ROOT / file)}
    assert [name for name in names if name not in there] == []
    assert sorted(set(names)) == names
