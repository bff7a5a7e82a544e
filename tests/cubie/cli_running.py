"""What the tests of `cubie-plan` share: running it, and the files that its page lists."""

import re
from pathlib import Path

from click.testing import CliRunner, Result

from cubie.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cubie-plan.md"
FILE = re.compile(r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
TWO = "id,lower,upper,size\na,0,5,4096\nb,3,8,4096\n"


def write_page_files(folder: Path) -> None:
    """Write the files that the page shows the text of."""
    for found in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (folder / found["name"]).write_text(found["text"], encoding="utf-8")


def run(*args, status: int = 0) -> Result:
    """Run the command and return its result, which has the status that is expected."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result
