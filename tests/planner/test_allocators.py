"""Allocators from a plan: in compiled kernels, in the simulator, and refusals."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cubie_planner import Buffer, BufferError, Limits, Problem, plan
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

    arrays = allocators(every_place(6), {"table": (6, 1), "later": (3, 1)})
    given = types.float64[:, ::1], types.uint8[::1]
    ptx = ptx_of(every_place_kernel(arrays), given)
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


@pytest.mark.parametrize("alignment", [4, 128, 256, 1024])
def test_shared_memory_is_as_aligned_as_its_buffers(pretended_device, alignment):
    """Beside an array of the kernel's own the shared memory still starts where the plan needs."""
    from numba import cuda
    from numba.cuda import types

    buffers = [Buffer("wide", 8, "f4", alignment=alignment), Buffer("tile", 3, "f4")]
    arrays = allocators(plan(Problem(buffers, Limits(), "shared")))
    wide, tile = arrays["wide"], arrays["tile"]

    @cuda.jit
    def kernel(out):
        own = cuda.shared.array(3, types.float32)
        mine, others = wide(), tile()
        own[cuda.threadIdx.x] = mine[cuda.threadIdx.x] = others[cuda.threadIdx.x] = out[0]
        cuda.syncthreads()
        out[1] = own[1] + mine[2] + others[0]

    ptx = ptx_of(kernel, (types.float32[::1],))
    assert f".extern .shared .align {max(128, alignment)} .b8" in ptx


@pytest.mark.parametrize("alignment", [2048, 4096])
def test_alignments_that_no_shared_memory_has_are_refused(alignment):
    """From 9.0 on a block's memory starts a kilobyte in; other places have what is asked for."""
    buffers = [Buffer("wide", 8, "f4", alignment=alignment)]
    with pytest.raises(AllocatorError) as caught:
        allocators(plan(Problem(buffers, Limits(), "shared")))
    assert str(caught.value) == (
        f"`wide` is aligned to {alignment} B and shared, but the shared memory of a block starts "
        "at a multiple of 1024 B; lower its alignment, or place it elsewhere"
    )
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        assert allocators(plan(Problem(buffers, Limits(), "local")))["wide"]


def test_every_type_that_can_be_declared_compiles(pretended_device):
    """What a buffer may be declared as, a kernel can be compiled with."""
    from numba.cuda import types

    names = [char for char in np.typecodes["All"] if _is_declared(char)]
    assert set("?bhilqBHILQefdFD") <= set(names)
    for name in names:
        make = allocators(plan(Problem([Buffer("array", 2, name)], Limits(), "shared")))["array"]
        assert "shared" in ptx_of(copying(make), (types.float32[::1],))


def copying(make):
    """A kernel that copies within an array."""
    from numba import cuda

    @cuda.jit
    def kernel(out):
        array = make()
        array[0] = array[1]
        out[0] = len(array)

    return kernel


def _is_declared(char):
    try:
        return Buffer("array", 2, char)
    except BufferError:
        return False


def test_arrays_are_not_filled_where_they_are_made(pretended_device):
    """A local array and the arena are only places: nothing is stored that the kernel does not."""
    from numba import cuda
    from numba.cuda import types

    buffers = [Buffer("own", 40, "f4", pin="local"), Buffer("kept", 40, "f4")]
    arrays = allocators(plan(Problem(buffers, Limits(), {"kept": "local_persistent"})))
    own, kept, arena = arrays["own"], arrays["kept"], arrays.arena

    @cuda.jit
    def kernel(out):
        out[0] = own()[int(out[1])] + kept(arena())[int(out[1])]

    assert "st.local" not in ptx_of(kernel, (types.float32[::1],))


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
    assert set(arrays.needs_global_memory) == {"far", "later", "beside"}
    assert arrays.global_bytes == made.global_bytes == 52
    assert arrays.global_memory_bytes(33) == 64 * 52
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
