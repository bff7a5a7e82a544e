"""The tests that `-m quick` leaves out are named by names that exist."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = [line for line in (ROOT / "tests/longer.txt").read_text().splitlines() if line[0] != "#"]


def functions_of(path):
    """Return the names of the tests in a file, those of classes after the class's."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else ()
        found |= {f"{node.name}::{f.name}" for f in inside if isinstance(f, ast.FunctionDef)}
        found |= {node.name} if isinstance(node, ast.FunctionDef) else set()
    return found


def test_longer_tests_are_named_by_names_that_exist():
    """A test that is renamed takes its line along."""
    files = {name.split("::")[0] for name in NAMES}
    there = {f"{file}::{name}" for file in files for name in functions_of(ROOT / file)}
    assert [name for name in NAMES if name not in there] == []
    assert sorted(set(NAMES)) == NAMES
