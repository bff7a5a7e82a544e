"""The planner's tutorial is true: its code runs in the simulator and prints what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "planner-tutorial.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "--- end of block ---\n"


def test_the_tutorial_prints_what_it_says(tmp_path):
    """All blocks in order, as a reader would save them; each output is the text after it."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    codes = [body for kind, body in blocks if kind == "python"]
    script = tmp_path / "tutorial.py"
    script.write_text("".join(f"{code}\nprint({END!r}, end='')\n" for code in codes))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [body for kind, body in blocks if kind == "text"]
    assert done.stdout.split(END)[:-1] == said
    assert said[-1] == "True True\n"
