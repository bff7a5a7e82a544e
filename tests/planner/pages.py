"""Pages about the planner: their blocks in order, what these print, and what is written by tests.

``python -m tests.planner.pages`` writes the outputs and the table of resources anew.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("first-kernel.md", "planner-tutorial.md", "planner-kernels.md", "planner-places.md")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "--- end of block ---\n"


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the blocks of a page: each python block, and the text that it prints."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run(codes: list[str], folder: Path, **environment: str) -> str:
    """Run blocks as a reader would save them, in a process of its own; return what they print."""
    script = folder / "page.py"
    script.write_text("".join(f"{code}\nprint({END!r}, end='')\n" for code in codes))
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs(page: str, folder: Path) -> list[str]:
    """Return what the python blocks of a page print, in the simulator."""
    codes = [body for kind, body in blocks(page) if kind == "python"]
    return run(codes, folder, NUMBA_ENABLE_CUDASIM="1").split(END)[:-1]


def write(page: str) -> None:
    """Write what a page's blocks print into it."""
    with tempfile.TemporaryDirectory() as folder:
        printed = iter(outputs(page, Path(folder)))
    path = DOCS / page
    text = path.read_text(encoding="utf-8")

    def filled(found: re.Match) -> str:
        return found[0] if found[1] == "python" else f"```text\n{next(printed)}```"

    path.write_text(BLOCK.sub(filled, text), encoding="utf-8")


# --- resources --------------------------------------------------------------------------

KERNELS = {
    "matrix product": (
        "product",
        "float32[:, ::1], float32[:, ::1], float32[::1], float32[:, ::1]",
    ),
    "filter": ("fir", "float32[::1], float32[::1], float32[::1], float64[::1]"),
    "histogram": ("histogram", "uint8[::1], int32[:, ::1]"),
    "scan": ("scan", "int32[::1], float32[::1], float64[::1]"),
}
BEGIN, STOP = "<!-- resources: begin -->\n", "<!-- resources: end -->"
COMPILED = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""The block of the page that compiles a kernel, which the simulator cannot."""
COMPILE = """
for name, (prefix, signature) in {kernels!r}.items():
    arrays, kernel = globals()[prefix + "_arrays"], globals()[prefix + "_kernel"]
    given = eval("(" + signature + ",)", vars(types) | {{"float32": types.float32}})
    found = compiled(kernel, arrays, given)
    held = arrays.phases.plan.problem.buffers
    by_hand = sum(b.size_bytes for b in held if str(b.scope) == "block")
    spills = found.spill_store_bytes + found.spill_load_bytes
    print(name, arrays.shared_bytes, by_hand, found.registers, found.stack_bytes, spills, sep="|")
"""


def resources(folder: Path) -> list[list[str]]:
    """Compile the kernels of the page for sm_90, without a GPU; a row for each."""
    codes = [body for kind, body in blocks("planner-kernels.md") if kind == "python"]
    codes = [code for code in codes if ".launch(" not in code]  # those define; the others run
    codes += [compiling_block(), COMPILE.format(kernels=KERNELS)]
    printed = run(codes, folder, NUMBA_ENABLE_CUDASIM="0")
    said = compiling_block().rpartition("# ")[2]
    assert printed.split(END)[-3] == said, "what the page says that its block prints"
    return [line.split("|") for line in printed.split(END)[-2].splitlines()]


def compiling_block() -> str:
    """Return the block of the page that compiles a kernel."""
    return COMPILED.findall((DOCS / "planner-kernels.md").read_text(encoding="utf-8"))[0]


def table(rows: list[list[str]]) -> str:
    """Return the rows as the page's table."""
    head = "| kernel | shared bytes of a block | by hand | registers | stack | spills |\n"
    lines = [f"| {name} | {' | '.join(numbers)} |\n" for name, *numbers in rows]
    return head + "|---|---|---|---|---|---|\n" + "".join(lines)


def written_table() -> str:
    """Return the table that the page has."""
    text = (DOCS / "planner-kernels.md").read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(STOP)[0]


def write_table() -> None:
    """Write the table of resources anew."""
    path = DOCS / "planner-kernels.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, stop, after = rest.partition(STOP)
    with tempfile.TemporaryDirectory() as folder:
        made = table(resources(Path(folder)))
    path.write_text(before + begin + made + stop + after, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        write(name)
    if not sys.argv[1:] or "planner-kernels.md" in sys.argv[1:]:
        write_table()
