"""The scripts of docs/gallery are whole: the build of the documentation runs all of them."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*/*.py"))
MOST_LINES = 130
# Runs scripts as the build does, with warnings of the library as errors.
RUN = [sys.executable, "-W", "error::UserWarning", "-W", "ignore:FigureCanvasAgg:UserWarning"]


def name_of(script: Path) -> str:
    """Return what a script is called in the gallery."""
    return script.relative_to(GALLERY).as_posix()


def missing_names(tree: ast.Module) -> list[str]:
    """Return what a script takes of our packages, and they do not have."""
    missing = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cubie"):
            module = importlib.import_module(str(node.module))
            missing += [one.name for one in node.names if not hasattr(module, one.name)]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = node.value.id
            if module in ("cubie", "cubie_planner"):
                there = hasattr(importlib.import_module(module), node.attr)
                missing += [] if there else [f"{module}.{node.attr}"]
    return missing


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_an_example_is_one_page_and_holds_a_known_number(script):
    """It has a title, prose between its blocks, names that exist, one picture, and a check."""
    text = script.read_text(encoding="utf-8")
    tree = compile(text, name_of(script), "exec", ast.PyCF_ONLY_AST)
    title, line, empty, *prose = str(ast.get_docstring(tree)).splitlines()
    assert line == "=" * len(title)
    assert not empty
    assert prose
    assert missing_names(tree) == []
    assert text.count("plt.show()") == 1, "one picture, which is the thumbnail"
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "what is it held against?"
    assert len(text.splitlines()) <= MOST_LINES


def test_topics_are_those_of_the_configuration():
    """A folder of examples has a heading, and a place among the others."""
    conf = (GALLERY.parent / "conf.py").read_text(encoding="utf-8")
    topics = sorted({script.parent.name for script in SCRIPTS})
    assert [topic for topic in topics if f'"{topic}"' not in conf] == []
    assert [t for t in topics if not (GALLERY / t / "GALLERY_HEADER.rst").is_file()] == []


@pytest.mark.parametrize(
    "name", ["inference/pinene", "mechanics/bouncing_ball", "planner/tiled_product"]
)
def test_an_example_runs(name):
    """Of all examples some, without a GPU: their own checks hold, and nothing is warned of."""
    done = subprocess.run(
        [*RUN, f"{GALLERY / name}.py"],
        cwd=(GALLERY / name).parent,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
