"""What all tests share: a cache of generated and compiled code that lives as long as the session.

It is never the user's: nothing compiled by an earlier state of the sources is met, and
nothing is left behind. Set before anything is imported, so that subprocesses and the
workers of pytest-xdist inherit it.
"""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

PLANNER = Path(__file__).with_name("planner")
LONGER = Path(__file__).with_name("longer.txt")
LONGEST = Path(__file__).with_name("longest.txt")
CACHE_VARIABLE = "CUBIE_CACHE_DIR"


def pytest_configure(config):
    """Point the cache at a directory of this session."""
    if hasattr(config, "workerinput"):
        return
    directory = tempfile.mkdtemp(prefix="cubie-tests-")
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = directory

    def restore():
        shutil.rmtree(directory, ignore_errors=True)
        os.environ.pop(CACHE_VARIABLE)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before

    config.add_cleanup(restore)


def pytest_collection_finish(session):
    """Look for garbage less often, and not among the thousands of tests themselves.

    Compiling makes objects by the hundred thousand: a tenth of its time went there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(300_000, 20, 20)


def pytest_collection_modifyitems(config, items):
    """Leave out the tests of whole products, which take minutes to hours, unless asked for.

    Of the others, all are quick that `longer.txt` does not name. Of the tests that `longest.txt`
    names, all cases are long but the first.
    """
    mark_long(items)
    longer = set(LONGER.read_text().splitlines())
    for item in items:
        if item.nodeid.split("[")[0] not in longer and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.quick)
    asked = config.getoption("markexpr")
    large = [
        item
        for item in items
        if any(
            mark.name.startswith("every_") and mark.name not in asked
            for mark in item.iter_markers()
        )
    ]
    if large:
        config.hook.pytest_deselected(items=large)
        left_out = set(large)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=place)


def place(item) -> int:
    """Return which tests go first: half a minute at the end would leave the other workers idle.

    Whole programs, then kernels, and thousands of short ones of the planner last.
    """
    if PLANNER in item.path.parents:
        return 3 if item.get_closest_marker("quick") else 2
    return 1 if item.path.parent != PLANNER.parent else 0


def mark_long(items):
    """Mark all cases but one of the tests that take longest, and those with a star whole.

    Of those with a number so many cases are long at most, spread over all of them; the others are
    run with the whole products.
    """
    lines = [line.split() for line in LONGEST.read_text().splitlines() if line[0] != "#"]
    told = {name: marks for name, *marks in lines}
    cases: dict[str, list] = {}
    for item in items:
        name = item.nodeid.split("[")[0]
        if name in told and not any(m.name.startswith("every_") for m in item.iter_markers()):
            cases.setdefault(name, []).append(item)
    for name, of_test in cases.items():
        others = of_test if "*" in told[name] else of_test[1:]
        most = next((int(mark) for mark in told[name] if mark != "*"), len(others))
        chosen = {k * len(others) // most for k in range(most)} if most else set()
        for number, item in enumerate(others):
            is_long = number in chosen
            item.add_marker(pytest.mark.long if is_long else pytest.mark.every_config)


PROCESS_STATUS = Path("/proc/self/status")


@pytest.fixture(autouse=True)
def sigint_stays_pythons():
    """A test after which Ctrl-C would end the interpreter fails itself, not one that runs later.

    Libraries in machine code can put the system's action in the place of Python's handler, which
    `signal.getsignal` does not show.
    """
    yield
    if not callable(signal.getsignal(signal.SIGINT)) or not PROCESS_STATUS.exists():
        return
    status = PROCESS_STATUS.read_text()
    caught = int(status.partition("SigCgt:")[2].split(maxsplit=1)[0], 16)
    assert caught & 1 << signal.SIGINT - 1, "the system's action has replaced Python's for SIGINT"
