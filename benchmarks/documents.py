"""Where figures go: raw data, and sections of pages between two comments that name them."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = Path(__file__).parent / "results"
"""Where raw data is kept, unless a command line says otherwise."""


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.

    Raises
    ------
    ValueError
        If the page has no such section.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page.name} has no section between {begin!r} and {end!r}.")
    page.write_text(
        f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8", newline="\n"
    )


def read_section(page: Path, name: str) -> str:
    """Return what stands in a section."""
    text = page.read_text(encoding="utf-8")
    return text.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0].strip()
