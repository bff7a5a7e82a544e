"""docs/verify.md is true: its table is that of the kept results, and one kernel compiles again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.documents import read_section
from benchmarks.verify import (
    DOCUMENT,
    METHODS,
    PLACEMENTS,
    RESULTS,
    STATES,
    Row,
    case,
    summary,
    table,
)

ROOT = Path(__file__).resolve().parents[2]


def kept() -> list[Row]:
    """Return the rows of the only kept results."""
    (path,) = RESULTS.glob("verify-*.json")
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def test_page_shows_the_kept_results():
    """The table and its summary are what the raw data gives, for every method and size."""
    shown = read_section(DOCUMENT, "table")
    rows = kept()
    assert table(rows) in shown
    assert summary(rows) in shown
    assert [(row.method, row.states, row.placement) for row in rows] == [
        (method, states, place) for method in METHODS for states in STATES for place in PLACEMENTS
    ]


def test_shared_bytes_are_predicted_exactly():
    """Of every kernel that was compiled the launch asks for the bytes that were planned."""
    assert all(row.shared == row.shared_modelled for row in kept())


def test_a_kernel_compiles_to_its_row_again():
    """The smallest kernel asks for the kept shared bytes; registers are the compiler's."""
    command = [sys.executable, "-m", "benchmarks.verify", "--one", "tsit5", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    again = [Row(**row) for row in json.loads(done.stdout)]
    before = [row for row in kept() if (row.method, row.states) == ("tsit5", 4)]
    figures = [(row.placement, row.shared_per_run, row.shared) for row in again]
    assert figures == [(row.placement, row.shared_per_run, row.shared) for row in before]
    assert all(row.registers > 0 for row in again)


@pytest.mark.parametrize("method", METHODS)
def test_plans_of_the_page_fit_and_can_be_looked_at(method):
    """At 40 states and 48 KiB every family has a plan within the limit, with map and table."""
    source, plan = case(method, 40)
    assert plan.shared_bytes_per_block <= 48 * 1024
    text = plan.report(name=method, phases=source.phases)
    assert all(name in text for name in plan.placements)
