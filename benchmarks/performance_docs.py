"""Writes docs/performance.md's figures from the kept results, so that they are one run's.

``python -m benchmarks.performance_docs`` after ``python -m benchmarks cpu startup planning``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import cpu, planning, startup
from benchmarks.documents import DOCS, RESULTS, write_section
from benchmarks.table import figures, markdown_table

PAGE = DOCS / "performance.md"
MACHINE = "epyc-2cpu-avx2"
"""The machine whose results the page shows."""


def write(page: Path = PAGE, results: Path = RESULTS, machine: str = MACHINE) -> None:
    """Replace every section of the page."""
    for name, text in sections(results, machine).items():
        write_section(page, name, text)


def sections(results: Path = RESULTS, machine: str = MACHINE) -> dict[str, str]:
    """Return the text of every section, made from the kept results of one machine."""
    timings, starts, plans = (
        json.loads((results / f"{suite}-{machine}.json").read_text(encoding="utf-8"))
        for suite in ("cpu", "startup", "planning")
    )
    return {
        "conditions": conditions(timings["works"]),
        "summary": summary(timings["works"]),
        "cpu": cpu.report(timings),
        "startup": startup.report(starts),
        "planning": planning.report(plans),
    }


def conditions(works: dict[str, Any]) -> str:
    """Return when, where and of which commit the timings were taken."""
    told = [_conditions(work["environment"]) for work in works.values()]
    if len(set(told)) == 1:
        return told[0]
    lines = [f"- {name}: {text}" for name, text in zip(works, told, strict=True)]
    return "\n".join(["Not all works were measured in one run:", "", *lines])


def _conditions(environment: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(environment["versions"].items())
    )
    return (
        f"Measured on {environment['time'][:10]} at {_commit(environment)}: "
        f"{environment['cpu']}, {environment['cpus']} CPUs, {environment['vector_extension']}, "
        f"{environment['threads']} threads, Python {environment['python']}, {versions}."
    )


def _commit(environment: dict[str, Any]) -> str:
    commit = environment.get("commit")
    return f"commit {commit}" if commit else "a commit that was not recorded"


def summary(works: dict[str, Any]) -> str:
    """Return the least wall time of every contender on every work, in milliseconds."""
    names = list(dict.fromkeys(name for work in works.values() for name in work["contenders"]))
    rows = []
    for name in names:
        cells = [_cell(work["contenders"].get(name)) for work in works.values()]
        rows.append([name, *cells])
    return markdown_table(["wall ms (min)", *works], rows)


def _cell(raw: dict[str, Any] | None) -> str:
    found = None if raw is None else cpu.summarise(raw)
    return "-" if found is None else figures(found["wall"][0])


if __name__ == "__main__":
    write()
