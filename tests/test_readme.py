"""The README is true: its code runs, and prints what the README says it prints."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
END = "--- end of block ---"


def code_and_outputs(path: Path) -> tuple[list[str], list[str]]:
    """Return the Python blocks of a page and the text block that follows each."""
    codes, outputs = [], []
    for language, body in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            assert len(codes) == len(outputs), f"no output between two code blocks of {path.name}"
            codes.append(body)
        elif language == "text" and len(outputs) < len(codes):
            outputs.append(body)
    assert len(codes) == len(outputs), f"the last code block of {path.name} has no output"
    return codes, outputs


def words_and_numbers(text: str) -> tuple[list[str], list[float]]:
    """Split text into what must be the same and what must be close."""
    words = re.split(r"\s+", NUMBER.sub(" # ", text).strip())
    return words, [float(number) for number in NUMBER.findall(text)]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/quickstart.md",
        "docs/guide.md",
        "docs/from-scipy.md",
        "docs/trust.md",
        "docs/summaries.md",
        "docs/measured-input.md",
        "docs/dosing.md",
        "docs/dense-output.md",
        "docs/events.md",
        "docs/sbml.md",
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
    ],
)
def test_code_blocks_print_what_the_page_says(page, tmp_path):
    """Run the blocks of a page one after the other, as a reader would, without a GPU."""
    codes, expected = code_and_outputs(ROOT / page)
    assert codes
    script = tmp_path / "page.py"
    script.write_text("".join(f"{code}\nprint({END!r})\n" for code in codes), encoding="utf-8")
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
