"""Aliases across locations, in kernels compiled for every target (A4), and those of ERK (A5)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie import solve_ivp
from cubie.backend import make_backend
from cubie_planner import PlanInfeasible
from tests.cubie import ptx
from tests.cubie.alias_pair import (
    PARENT_ELEMENTS,
    Case,
    arrays,
    compile_pair,
    expected,
    lay_out,
    run_pair,
    to_json,
)

ROOT = Path(__file__).parents[2]
LOCATIONS = ("shared", "local", "local_persistent")
FITS, TOO_LARGE = PARENT_ELEMENTS // 2, PARENT_ELEMENTS + 4

MAY = [Case(p, c, n) for p in LOCATIONS for c in LOCATIONS for n in (FITS, TOO_LARGE)]
VIEWS = [Case(p, c, FITS, view=True) for p in LOCATIONS for c in (p, None)]
PLACED = [
    Case(where, where, FITS, view=view, offset=offset, parent_dtype=dtype)
    for where in LOCATIONS
    for view, offset, dtype in (
        (False, 12, "float32"),
        (False, 20, "float32"),
        (True, 8, "float64"),
    )
]
CASES = MAY + VIEWS + PLACED


def start_inside(case: Case) -> int | None:
    """Return the element of the parent at which the child must begin; None: it lies apart."""
    parent_words = PARENT_ELEMENTS * np.dtype(case.parent_dtype).itemsize // 4
    start = (case.offset or 0) // 4
    together = case.child is None or case.parent == case.child
    return start if together and start + case.elements <= parent_words else None


def executable(case: Case) -> bool:
    """Tell whether the parent's values stay floats of its own when the child writes into it."""
    return case.parent_dtype == "float32"


def label(case: Case) -> str:
    place = "" if case.offset is None else f"@{case.offset}"
    kind = "view" if case.view else "may"
    return f"{case.parent}-{case.child}-{kind}{case.elements}{place}-{case.parent_dtype}"


@pytest.fixture(scope="module", autouse=True)
def _fresh_code(tmp_path_factory):
    """Compile anew: the digest of a kernel does not cover the components of this test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBIE_CACHE_DIR", str(tmp_path_factory.mktemp("code")))
        yield


@pytest.mark.parametrize("case", CASES, ids=label)
def test_plan_of_pair(case):
    """A child with space in a parent at the same location is a slice of it; else it is apart."""
    plan = lay_out(case).plan
    parent, child = plan.placements["outer.parent"], plan.placements["outer.inner.child"]
    start = start_inside(case)
    if start is None:
        assert child.parent is None
    else:
        assert (child.parent, child.location) == ("outer.parent", parent.location)
        assert child.parent_offset == 4 * start
    sizes = [p.size_bytes for p in (parent, child) if p.parent is None]
    # Nothing is lost between the buffers, and each byte is counted once.
    assert plan.shared_bytes_per_run + plan.local_bytes + plan.persistent_bytes == sum(sizes)


@pytest.mark.parametrize("target", ["python", "cpu"])
@pytest.mark.parametrize("case", [c for c in CASES if executable(c)], ids=label)
def test_pair_runs(case, target):
    """The parent sees what the child wrote exactly where the child lies inside it."""
    np.testing.assert_array_equal(run_pair(case, target), expected(case, start_inside(case)))


def test_pair_runs_in_the_simulator(tmp_path):
    """All executable cases give the same under the CUDA simulator, in a process of its own."""
    cases = [case for case in CASES if executable(case)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cubie.alias_pair"],
        input=to_json(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "CUBIE_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    for case, rows in zip(cases, json.loads(done.stdout), strict=True):
        np.testing.assert_array_equal(
            np.float32(rows), expected(case, start_inside(case)), err_msg=label(case)
        )


@pytest.mark.parametrize("case", CASES, ids=label)
def test_pair_in_cuda_code(case):
    """In CUDA code the addresses of the buffers, and the bytes reserved, are the plan's."""
    layout = lay_out(case)
    plan = layout.plan
    kernel = compile_pair(case, layout, make_backend("cuda", np.float32, False))
    resources = kernel.resources((9, 0), *arrays(case), 32)
    assert resources.shared_bytes_per_block == 32 * plan.run_stride_bytes
    assert ptx.frame_bytes(resources.ptx) == plan.local_bytes + plan.persistent_bytes
    # Each component reads one element through an index of run time: child first.
    child, parent = [a for a in ptx.accesses(resources.ptx) if a.kind == "ld"]
    places = plan.placements["outer.inner.child"], plan.placements["outer.parent"]
    for access, place in zip((child, parent), places, strict=True):
        assert access.space == ("shared" if place.location == "shared" else "local")
        if access.space == "shared":
            assert access.offset == place.offset
    start = start_inside(case)
    if start is not None:
        assert child.offset - parent.offset == 4 * start
    elif child.space == parent.space:
        child_end = child.offset + places[0].size_bytes
        assert child_end <= parent.offset or parent.offset + places[1].size_bytes <= child.offset


@pytest.mark.parametrize(
    "case",
    [Case(p, c, FITS, view=True) for p in LOCATIONS for c in LOCATIONS if p != c]
    + [Case(p, p, TOO_LARGE, view=True) for p in LOCATIONS],
    ids=label,
)
def test_impossible_view(case):
    """A required view that cannot lie inside its parent is an error that names the buffers."""
    with pytest.raises(PlanInfeasible, match="child") as error:
        lay_out(case)
    assert "outer.inner.child" in error.value.core


PINS = {
    "on stage_rhs": {"stage_rhs": "shared", "stage_cache": "shared"},
    "on stage_rhs, persistent": {
        "stage_rhs": "local_persistent",
        "stage_cache": "local_persistent",
    },
    "on stage_accumulator": {
        "stage_rhs": "local",
        "stage_accumulator": "shared",
        "stage_cache": "shared",
    },
    "apart": {"stage_rhs": "shared", "stage_accumulator": "shared", "stage_cache": "local"},
}


def lorenz(t, y, rho):
    return [10 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]


def solve_pinned(pins, backend, runs, t_end):
    options = {f"{name}_location": place for name, place in pins.items()}
    return solve_ivp(
        lorenz, (0.0, t_end), [1.0, 1.0, 1.0], "tsit5", args=(np.linspace(0.5, 28, runs),),
        rtol=1e-5, backend=backend, fastmath=False, locations="local", **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", PINS)
def test_stage_cache(name):
    """`stage_cache` lies on the bytes of whichever buffer of the step can hold it (A5)."""
    result = solve_pinned(PINS[name], "cpu", runs=20, t_end=1.0)
    places = {key.rsplit(".", 1)[1]: place for key, place in result.plan.placements.items()}
    cache = places["stage_cache"]
    if name == "apart":
        assert cache.location == "local_persistent"
        assert cache.parent is None
    else:
        host = places["stage_accumulator" if name == "on stage_accumulator" else "stage_rhs"]
        assert cache.location == host.location
        assert host.offset <= cache.offset
        assert cache.end <= host.end
    reference = solve_pinned({}, "cpu", runs=20, t_end=1.0)
    np.testing.assert_array_equal(result.y, reference.y)
    assert result.success.all()
    # With unowned bytes poisoned, a wrong lifetime would be NaN.
    poisoned = solve_pinned(PINS[name], "python", runs=2, t_end=0.2)
    assert np.isfinite(poisoned.y).all()
