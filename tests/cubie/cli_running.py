"""What the tests of the commands share: running them, and the sessions that their pages show.

``python -m tests.cubie.cli_running`` writes the outputs of the pages anew.
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
SWEEP_PAGE = ROOT / "docs" / "cubie-sweep.md"
FILE = re.compile(r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
COMMANDS = {"cubie-plan": main, "cubie-sweep": sweep}
CONSOLE = re.compile(
    rf"^```console\n\$ (?P<name>{'|'.join(COMMANDS)}) (?P<line>.*?)\n(?P<output>.*?)^```$",
    re.M | re.S,
)
TWO = "id,lower,upper,size\na,0,5,4096\nb,3,8,4096\n"


def write_page_files(folder: Path, page: Path = PAGE) -> None:
    """Write the files that a page shows the text of."""
    for found in FILE.finditer(page.read_text(encoding="utf-8")):
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


def completed(line: str) -> list[str]:
    """Return what a shell offers behind what was typed: of each kind, text and help."""
    name, *words = line.split(" ")
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    environment = {
        variable: "zsh_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))
    }  # fmt: skip
    result = CliRunner().invoke(COMMANDS[name], prog_name=name, env=environment)
    return result.stdout.splitlines()


def printed(line: str, name: str = "cubie-plan") -> str:
    """Return what a command of a page prints where it is the only thing to look at."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(COMMANDS[name], shlex.split(line))
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.stdout if result.exit_code == 0 else result.stdout + result.stderr


def rewrite_page(page: Path) -> None:
    """Run the sessions of a page in its order and put what they print below each."""

    def session(found: re.Match) -> str:
        output = printed(found["line"], found["name"]).strip("\n")
        body = f"{output}\n" if output else ""
        return f"```console\n$ {found['name']} {found['line']}\n{body}```"

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_page_files(Path(folder), page)
        text = CONSOLE.sub(session, page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for one in (PAGE, SWEEP_PAGE):
        rewrite_page(one)
