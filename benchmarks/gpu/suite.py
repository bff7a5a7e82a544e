"""Step ``tests``: the tests that need a GPU, a row for each as it ends."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.rows import Rows, run_as_step

ROOT = Path(__file__).parents[2]
MARK = "mark.gpu"
TAIL = 1500  # characters of a failure that are kept


def files_with_gpu_tests(folder: Path) -> list[Path]:
    """Return the test files that use the marker: only those are collected."""
    found = sorted(folder.rglob("test_*.py"))
    return [path for path in found if MARK in path.read_text(encoding="utf-8")]


class Recorder:
    """A plugin that adds a row when a test is over."""

    def __init__(self, rows: Rows):
        self._rows = rows

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take the test's own phase, and others only where they decide."""
        if report.when == "call" or (report.when == "setup" and not report.passed) or report.failed:
            said = report.longreprtext
            if report.skipped and isinstance(report.longrepr, tuple):
                said = report.longrepr[2]
            self._rows.add(
                "test",
                test=report.nodeid,
                outcome=report.outcome,
                seconds=round(report.duration, 2),
                message=said[-TAIL:],
            )


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Run them; failures are rows, and what pytest cannot do ends the step as failed."""
    # Plugins of the machine's own might not fit the pytest that was brought.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest

    files = files_with_gpu_tests(ROOT / "tests")
    if not files:
        sys.exit(f"No tests that need a GPU were found in {ROOT / 'tests'}.")
    arguments = ["-m", "gpu", "-v", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    code = pytest.main([*arguments, *map(str, files)], plugins=[Recorder(rows)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.exit(int(code))


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
