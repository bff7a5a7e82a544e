"""The worked changes of docs/extending.md apply, take as many lines as told, and do as it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from tests.page_code import BLOCK, words_and_numbers

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
CHANGES = sorted(path.stem for path in (ROOT / "docs" / "extending").glob("*.diff"))
MOST_FUZZ = 2  # lines of context at either end of a hunk that may have changed

each_change = pytest.mark.parametrize("change", CHANGES)


@frozen
class Hunk:
    """Lines of a file that become others; each begins with " ", "-" or "+"."""

    file: str
    lines: tuple[str, ...]

    def side(self, left_out: str, fuzz: int) -> str:
        """Return the text before or after, without some lines of context at the ends."""
        own = list(self.lines)
        for at in (0, -1):
            for _ in range(fuzz):
                if own[at].startswith(" "):
                    del own[at]
        return "".join(line[1:] for line in own if line[0] != left_out)


def hunks_of(change: str) -> list[Hunk]:
    """Read a unified diff."""
    found: list[tuple[str, list[str]]] = []
    file = ""
    for line in diff_of(change).read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/").strip()
        elif line.startswith("@@ "):
            found.append((file, []))
        elif not line.startswith(("diff ", "--- ")):
            found[-1][1].append(line)
    return [Hunk(name, tuple(lines)) for name, lines in found]


def diff_of(change: str) -> Path:
    """Return the file of a change."""
    return ROOT / "docs" / "extending" / f"{change}.diff"


def applied(text: str, hunk: Hunk) -> str | None:
    """Return a text after a change, wherever the lines stand by now; None if they are gone."""
    for fuzz in range(MOST_FUZZ + 1):
        before = hunk.side("+", fuzz)
        if text.count(before) == 1:
            return text.replace(before, hunk.side("-", fuzz))
    return None


def apply(change: str, folder: Path) -> None:
    """Change the files below a folder.

    In Python, for neither `patch` nor `git` is on every machine that runs the tests.
    """
    for hunk in hunks_of(change):
        path = folder / hunk.file
        text = applied(path.read_text(encoding="utf-8"), hunk)
        if text is None:
            pytest.fail(
                f"docs/extending/{change}.diff does not apply to {hunk.file} any more. Make the "
                f"change anew, write `git diff` there, and count its lines on the page:\n"
                f"{''.join(hunk.lines)}"
            )
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def changed(change, tmp_path):
    """A copy of the sources, the tests and the page of options, with the change in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "planner", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "docs").mkdir()
    for file in ("docs/options.md", "pyproject.toml"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    apply(change, tmp_path)
    return tmp_path


def section_of(change: str) -> str:
    """Return the part of the page that shows a change."""
    shown = f"```{{literalinclude}} extending/{change}.diff\n"
    (section,) = (part for part in text_of_page().split("\n## ") if shown in part)
    return section


def text_of_page() -> str:
    """Read the page."""
    return PAGE.read_text(encoding="utf-8")


def run(folder: Path, *command: str) -> str:
    """Run Python on changed sources, without a GPU, and return what it prints."""
    path = os.pathsep.join(str(folder / part) for part in ("src", "planner", "."))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_change
def test_the_page_says_what_a_change_takes(change):
    """Its row counts files, lines that are new and lines that go, as the diff has them."""
    hunks = hunks_of(change)
    lines = [(hunk.file, line[0]) for hunk in hunks for line in hunk.lines]
    sources = [sign for file, sign in lines if file.startswith("src/")]
    counted = [
        len({hunk.file for hunk in hunks if hunk.file.startswith("src/")}),
        sources.count("+"),
        sources.count("-"),
        len({hunk.file for hunk in hunks if not hunk.file.startswith("src/")}),
        sum(sign == "+" for file, sign in lines if not file.startswith("src/")),
    ]
    rows = re.findall(rf"^\| \[?{change}\b.*$", text_of_page(), re.MULTILINE)
    assert [[int(cell) for cell in re.findall(r"\| (\d+) ", row)] for row in rows] == [counted]


@each_change
def test_a_change_does_what_the_page_says(change, changed):
    """Its code, run on sources with the change in them, prints what the page shows."""
    blocks = BLOCK.findall(section_of(change))
    (code,) = (body for language, body in blocks if language == "python")
    (want,) = (body for language, body in blocks if language == "text")
    script = changed / "page.py"
    script.write_text(code, encoding="utf-8")
    got = run(changed, str(script))
    words, numbers = words_and_numbers(got)
    assert words == words_and_numbers(want)[0], got
    assert numbers == pytest.approx(words_and_numbers(want)[1], rel=1e-4, abs=1e-6), got


# Of the tests that the page names, those of the change itself.
OWN_TESTS = {
    "tableau": ("tests/cubie/test_tableaus.py", "zonneveld43 and not mistyped"),
    "controller": ("tests/cubie/test_controllers.py", "every_step and h211b and tsit5"),
    "output": ("tests/cubie/test_results.py", "next_steps"),
}


@pytest.mark.parametrize("change", OWN_TESTS)
def test_the_tests_of_a_change_pass(change, changed):
    """A tableau meets its order conditions, a controller takes the oracle's steps."""
    file, words = OWN_TESTS[change]
    said = run(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "-k", words)
    assert re.search(r"^[1-9]\d* passed, \d+ deselected", said, re.MULTILINE), said


@pytest.mark.parametrize("change", ["buffer"])
def test_the_command_plans_a_new_buffer(changed):
    """`cubie-plan` has a row for it, and takes a pin of it."""
    (changed / "model.py").write_text("def f(t, y):\n    return [y[1], -y[0]]\n")
    pin = ("--pin", "start_weights=shared")
    table = run(changed, "-m", "cubie.cli", "model.py:f", "--states", "2", *pin)
    (row,) = (line for line in table.splitlines() if "start_weights" in line)
    assert re.search(r"loop\.initial_step\.start_weights +2 +float64 +16 +shared", row), table


def test_a_change_that_does_not_apply_says_so(tmp_path, monkeypatch):
    """Lines that are gone are named, with the file and what to do."""
    monkeypatch.setattr(f"{__name__}.hunks_of", lambda change: [Hunk("a.py", (" x\n", "-y\n"))])
    (tmp_path / "a.py").write_text("x\nz\n")
    with pytest.raises(pytest.fail.Exception, match=r"b\.diff does not apply to a\.py any more"):
        apply("b", tmp_path)


def test_unrelated_edits_leave_a_change_as_it_is():
    """Lines that moved, and context that is another, do no harm; an unclear place is refused."""
    hunk = Hunk("", (" a\n", " b\n", "-c\n", "+d\n", " e\n", " f\n"))
    assert applied("new\na\nb\nc\ne\nf\n", hunk) == "new\na\nb\nd\ne\nf\n"
    assert applied("other\nb\nc\ne\nother\n", hunk) == "other\nb\nd\ne\nother\n"
    assert applied("c\nc\n", hunk) is None
    assert applied("a\nb\nx\ne\nf\n", hunk) is None


def test_there_is_a_change_of_every_kind():
    """A method, a controller, a buffer and an output."""
    assert CHANGES == ["buffer", "controller", "output", "tableau"]
