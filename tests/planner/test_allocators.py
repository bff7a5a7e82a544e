"""Allocators from a plan: in compiled kernels, in the simulator, and refusals."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cubie_planner import Buffer, Limits, Problem, plan
from cubie_planner.allocators import AllocatorError, Source, allocators

ROOT = Path(__file__).resolve().parents[2]


def fresh(script, **environment):
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pretended_device(monkeypatch):
    """Device functions that are not inlined ask for a device only to learn its capability."""
    dispatcher = pytest.importorskip("numba.cuda.dispatcher")
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        pytest.skip("the simulator compiles nothing")
    device = SimpleNamespace(compute_capability=(9, 0))
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)


def ptx_of(kernel, signature):
    """Compile a kernel for compute capability 9.0."""
    from numba import cuda

    return cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0), abi="numba")[0]


def test_every_place_compiles_without_a_gpu(pretended_device):
    """Shared, local, nested and persistent arrays type, lower and become PTX."""
    from numba.cuda import types
    from tests.planner.allocator_kernels import every_place, every_place_kernel

    arrays = allocators(every_place(6), {"table": (6, 1)})
    ptx = ptx_of(every_place_kernel(arrays), (types.float64[:, ::1],))
    stride = every_place(6).run_stride_bytes
    assert str(stride) in ptx
    assert ".extern .shared .align 128" in ptx
    assert "dynamic_smem_size" not in ptx


def test_a_plan_for_a_block_does_not_ask_for_the_thread(pretended_device):
    """With a block size of one the address is a constant, and accesses are shared ones."""
    from numba import cuda
    from numba.cuda import types
    from tests.planner.allocator_kernels import whole_block

    tile = allocators(whole_block())["tile"]

    @cuda.jit
    def kernel(out):
        values = tile()
        values[3] = out[0]
        cuda.syncthreads()
        out[1] = values[3]

    ptx = ptx_of(kernel, (types.float32[::1],))
    assert "%tid" not in ptx
    assert "st.shared" in ptx
    assert "ld.shared" in ptx


def test_the_simulator_runs_them():
    """Results in the simulator are NumPy's; a launch with too little memory is refused."""
    pytest.importorskip("numba.cuda.simulator")
    script = "from tests.planner.allocator_kernels import run_simulated as r; r()"
    said = fresh(script, NUMBA_ENABLE_CUDASIM="1")
    assert "`tile` ends at byte 36 of the shared memory, but there are 8 B" in said


def test_importing_the_module_loads_no_numba():
    """Numba is loaded by the call, not by the import."""
    fresh("import sys, cubie_planner.allocators; assert 'numba' not in sys.modules")


def test_the_recipes_are_the_plan(pretended_device):
    """Offsets, strides and sources follow the placements; nested local arrays share the arena."""
    from tests.planner.allocator_kernels import every_place

    made = every_place(6)
    arrays = allocators(made)
    assert set(arrays) == set(made.placements)
    assert len(arrays) == len(made.placements)
    assert set(arrays.needs_arena) == {"host", "guest", "kept"}
    assert arrays.shared_bytes == made.shared_bytes_per_block
    for name, placement in made.placements.items():
        recipe = arrays.recipes[name]
        if recipe.source is Source.SHARED and placement.size_bytes:
            assert (recipe.offset, recipe.thread_stride) == (
                placement.offset,
                made.run_stride_bytes,
            )
    host, guest = arrays.recipes["host"], arrays.recipes["guest"]
    assert guest.offset == host.offset + made.placements["guest"].parent_offset
    assert made.persistent_bytes <= host.offset < arrays.arena_bytes


def test_wrong_shapes_and_names_are_refused():
    """A shape must hold what the plan holds; a name that is none gets the nearest one."""
    made = plan(Problem([Buffer("tile", 9, "f4")], Limits(), "shared"))
    with pytest.raises(AllocatorError, match=r"shape \(3, 4\) of `tile` has 12 elements.* 9"):
        allocators(made, {"tile": (3, 4)})
    with pytest.raises(AllocatorError, match="did you mean 'tile'"):
        allocators(made, {"tiel": (3, 3)})


def test_an_unknown_name_gets_the_nearest(pretended_device):
    """Indexing with a typo says what was meant, and stays a KeyError."""
    made = plan(Problem([Buffer("tile", 9, "f4")], Limits(), "shared"))
    with pytest.raises(KeyError, match="did you mean 'tile'"):
        allocators(made)["tyle"]
