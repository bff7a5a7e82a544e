"""Buffers in global memory: which, how they lie there, and what a launch brings."""

import re

import numpy as np
import pytest

from cubie import Solver
from cubie.backend.device.global_memory import bytes_of_threads
from cubie.backend.device.host import HostDriver
from cubie.backend.device.sizing import Sizing
from cubie.backend.device.workspace import Workspace
from cubie_planner import Location
from tests.cubie.pretended import PretendedDriver

RHO = np.linspace(2.0, 12.0, 9)


def lorenz(t, y, rho):
    """The Lorenz system."""
    return 10 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]


def in_rows(t, y, rho):
    """As a function that is not traced."""
    while t < -1.0:
        t = t + 1.0
    return lorenz(t, y, rho)


def ring(t, y, force):
    """Lorenz's system of 1996."""
    return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + force


def outside(plan):
    """The buffers of a plan that lie in global memory."""
    return {n for n, p in plan.placements.items() if p.location is Location.GLOBAL and p.size_bytes}


@pytest.mark.parametrize(("method", "lanes"), [("tsit5", 8), ("kvaerno5", 1), ("bdf", 8)])
def test_results_do_not_depend_on_it(method, lanes):
    """Everything in global memory, or what a limit sends there: the same bits."""
    options = {"method": method, "backend": "cpu", "lanes": lanes, "fastmath": False}

    def solved(**more):
        result = Solver(lorenz, **options, **more).solve((0, 1), [1, 1, 1], args=(RHO,))
        return result.y, result.plan.global_bytes

    expected, none = solved(locations="local")
    assert none == 0
    for more in ({"locations": "global"}, {"max_local": "160"}):
        found, n_bytes = solved(**more)
        assert n_bytes > 0
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_functions_that_are_not_traced_read_it():
    """They take the elements where they lie."""
    runs = [
        Solver(in_rows, backend=backend, fastmath=False, locations=locations, **lanes)
        .solve((0, 1), [1, 1, 1], args=(RHO[:3],))
        .y
        for backend, lanes in (("cpu", {"lanes": 1}), ("python", {}))
        for locations in ("local", "global")
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[2], runs[3])


@pytest.fixture(scope="module")
def small():
    """A solver for a GPU with a limit of local memory, and its plan."""
    solver = Solver(ring, method="rodas5p", device="sm_90", dtype="float32", verify=False,
                    max_local=640)  # fmt: skip
    return solver, solver.prepare(np.arange(12) / 12, args=(8.0,))


def test_what_is_beyond_the_limit_of_local_memory_goes_there(small):
    """Large buffers that are seldom read leave; what is left keeps the limit."""
    _, plan = small
    assert plan.local_bytes + plan.persistent_bytes <= 640
    moved = outside(plan)
    assert "loop.algorithm.lu.lu_factors" in moved or any("lu" in name for name in moved)
    small_ones = {n for n, p in plan.placements.items() if 0 < p.size_bytes <= 8}
    assert not moved & small_ones
    assert plan.limits.max_local_bytes == 640
    told = (
        f"Global memory: {plan.global_bytes:,} B of a run, which has at most 640 B of local memory."
    )
    assert small[0].choices[-1] == told
    again = Solver(ring, method="rodas5p", device="sm_90", dtype="float32", verify=False,
                   locations=plan)  # fmt: skip
    assert again.prepare(np.arange(12) / 12, args=(8.0,)).placements == plan.placements


def test_its_elements_lie_side_by_side():
    """Code for sm_90: neighbouring elements of a thread are 32 elements apart, no stack is left."""
    solver = Solver(ring, device="sm_90", dtype="float32", verify=False, locations="global")
    plan = solver.prepare(np.arange(5) / 5, args=(8.0,))
    assert plan.local_bytes + plan.persistent_bytes == 0
    needs = solver.resources()
    pattern = r"(?:ld|st)\.global\.f32\s.*\[%rd\d+\+(\d+)\]"
    offsets = [int(offset) for offset in re.findall(pattern, needs.ptx)]
    assert len(offsets) > 50
    assert sum(offset % 128 == 0 for offset in offsets) > 0.9 * len(offsets)
    assert max(offsets) == 32 * (plan.global_bytes - 4)
    assert needs.stack_bytes == 0
    assert "local_depot" not in needs.ptx


def test_a_launch_brings_whole_warps():
    """Of 32 threads, elements of which lie side by side."""
    assert bytes_of_threads(1, 100) == 3200
    assert bytes_of_threads(33, 100) == 6400
    assert bytes_of_threads(64, 0) == 0


class FewBytes:
    """A batch of runs with 8 bytes each."""

    n_runs, total_bytes, fixed_bytes, run_bytes, divisible = 10_000, 80_000, 0, 8, True


def test_portions_are_as_large_as_memory_allows():
    """What each thread has in global memory counts, and nothing of it is copied."""
    driver = PretendedDriver()
    driver.pretend(total_bytes=200 * 2**20)
    workspace = Workspace(driver)
    alone = Sizing(driver, workspace, FewBytes, 64).n_runs()
    assert alone == 10_000
    together = Sizing(driver, workspace, FewBytes, 64, None, 100 * 1024).n_runs()
    assert 64 <= together <= 0.9 * 200 * 2**20 / 2 / (100 * 1024 + 8)
    assert together % 64 == 0


def test_nothing_of_it_is_copied():
    """A workspace holds it for its threads; neither up nor down."""
    driver = HostDriver()
    workspace = Workspace(driver)
    slot = workspace.slots[0]
    slot.in_global.reserve(2**20)
    assert slot.in_global in workspace.blocks
    assert workspace.held_bytes >= 2**20
    workspace.shrink(0)
    assert workspace.held_bytes == 0


def test_a_run_that_local_memory_cannot_hold_is_planned_in_global_memory():
    """512 KiB a thread, by default: what is beyond leaves, before anything is compiled."""
    solver = Solver(ring, method="radau_iia_5", device="sm_90", verify=False, lu_form="dense")
    plan = solver.prepare(np.arange(150) / 150, args=(8.0,))
    assert plan.global_bytes > 0
    assert plan.local_bytes + plan.persistent_bytes <= 512 * 1024
    local = Solver(ring, method="radau_iia_5", device="sm_90", locations="local", lu_form="dense")
    local.prepare(np.arange(150) / 150, args=(8.0,))
    with pytest.raises(Exception, match="Let locations='auto' put the rest into global memory"):
        local.resources()
