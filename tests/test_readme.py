"""The README is true: its code runs, and prints what the README says it prints."""

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page_code import ROOT, code_and_outputs, words_and_numbers
from tests.page_pictures import DRAWN, PLOTTED, require_same

END = "--- end of block ---"
# What is left of a page once its code has run: its pictures, of the names that it has.
DRAW = """
import sys
sys.path.insert(0, {root!r})
from tests.page_pictures import draw
draw({page!r}, globals(), {folder!r})
"""


PAGES = [
    "README.md",
    "docs/quickstart.md",
    "docs/how-to.md",
    "docs/reference.md",
    "docs/guide.md",
    "docs/from-scipy.md",
    "docs/trust.md",
    "docs/summaries.md",
    "docs/measured-input.md",
    "docs/dosing.md",
    "docs/dense-output.md",
    "docs/events.md",
    "docs/sbml.md",
    "docs/cellml.md",
    "docs/fit-a-model.md",
    "docs/sensitivities.md",
    "docs/fitting.md",
    "docs/lyapunov.md",
    "docs/large-systems.md",
    "docs/low-storage.md",
    "docs/mixed-precision.md",
    "docs/lifetimes.md",
    "docs/gpu.md",
    "docs/sweeps.md",
    "docs/sweep-designs.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_print_what_the_page_says(page, tmp_path):
    """Run the blocks of a page one after the other, as a reader would, without a GPU.

    Pictures of what it solves are drawn again, and are the same.
    """
    codes, expected = code_and_outputs(ROOT / page)
    assert codes
    name, pictures = Path(page).stem, tmp_path / "pictures"
    pictures.mkdir()
    shutil.copytree(ROOT / "docs" / "models", tmp_path / "models")
    text = "".join(f"{code}\nprint({END!r})\n" for code in codes)
    if name in {*DRAWN, *PLOTTED}:
        text += DRAW.format(root=str(ROOT), page=name, folder=str(pictures))
    script = tmp_path / "page.py"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(END + "\n")[:-1]
    for code, want, got in zip(codes, expected, printed, strict=True):
        want_words, want_numbers = words_and_numbers(want)
        got_words, got_numbers = words_and_numbers(got)
        assert got_words == want_words, f"{code}printed\n{got}"
        for one, other in zip(want_numbers, got_numbers, strict=True):
            assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6), f"{code}printed\n{got}"
    if name in {*DRAWN, *PLOTTED}:
        require_same(name, pictures)


def test_every_page_with_a_picture_is_run():
    """Otherwise nobody would look at it."""
    assert {*DRAWN, *PLOTTED} <= {Path(page).stem for page in PAGES}


def test_links_of_the_readme_lead_somewhere():
    """Every relative link names a file that exists."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_first_sweep_takes_ten_lines():
    """The first sweep stays as short as it claims to be."""
    codes, _ = code_and_outputs(ROOT / "README.md")
    assert len([line for line in codes[0].splitlines() if line.strip()]) <= 10
