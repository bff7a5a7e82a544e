"""What the tests of `cubie-plan` share: running it, and the sessions that its page shows.

``python -m tests.cubie.cli_running`` writes the outputs of the page anew.
"""

import contextlib
import re
import shlex
import tempfile
from pathlib import Path

import click
from click.testing import CliRunner, Result

from cubie.cli import main
from cubie.cli.sweep import main as sweep

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cubie-plan.md"
FILE = re.compile(r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
CONSOLE = re.compile(r"^```console\n\$ cubie-plan (?P<line>.*?)\n(?P<output>.*?)^```$", re.M | re.S)
TWO = "id,lower,upper,size\na,0,5,4096\nb,3,8,4096\n"


def write_page_files(folder: Path) -> None:
    """Write the files that the page shows the text of."""
    for found in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (folder / found["name"]).write_text(found["text"], encoding="utf-8")


def run(*args, status: int = 0, command: click.Command = main) -> Result:
    """Run the command and return its result, which has the status that is expected."""
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def run_sweep(*args, status: int = 0) -> Result:
    """Run `cubie-sweep`."""
    return run(*args, status=status, command=sweep)


def printed(line: str) -> str:
    """Return what a command of the page prints where it is the only thing to look at."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, shlex.split(line))
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.stdout if result.exit_code == 0 else result.stderr


def rewrite_page() -> None:
    """Run the sessions of the page in its order and put what they print below each."""

    def session(found: re.Match) -> str:
        output = printed(found["line"]).strip("\n")
        body = f"{output}\n" if output else ""
        return f"```console\n$ cubie-plan {found['line']}\n{body}```"

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_page_files(Path(folder))
        text = CONSOLE.sub(session, PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite_page()
