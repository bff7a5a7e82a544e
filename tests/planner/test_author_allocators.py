"""Allocators for kernel authors: tiles, pools, layouts, phases with poison, and the launch."""

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from test_allocators import fresh, pretended_device, ptx_of  # noqa: F401

from cubie_planner import (
    Buffer,
    Component,
    Limits,
    Padding,
    PhasedBuffer,
    Pool,
    Problem,
    compose,
    plan,
)
from cubie_planner.allocators import AllocatorError, Launch, allocators
from cubie_planner.allocators.launch import WITHOUT_ASKING
from cubie_planner.allocators.phases import Phases
from cubie_planner.declarations.places import TILE


def test_the_simulator_runs_them():
    """Results are NumPy's with poison and without, and what is declared too short reads NaN."""
    pytest.importorskip("numba.cuda.simulator")
    script = "from tests.planner.author_kernels import run_simulated as r; r()"
    said = fresh(script, NUMBA_ENABLE_CUDASIM="1").splitlines()
    assert "`b` belongs to another plan than shared memory that this kernel has" in said[0]
    assert said[1] == (
        "a block of 9 threads was asked for, but the plan has slices of shared memory for 8; plan "
        "with Limits(block_size=9)"
    )
    assert "starts at byte 28 of its array, no multiple of the 8 B" in said[2]
    assert "there are 24 B; hand over `pool_bytes` of its pool" in said[3]
    assert "there are 8 B; hand over what `arena()` of the same allocators returns" in said[4]


def test_tiles_and_slices_compile_to_their_offsets(pretended_device):  # noqa: F811
    """A tile's address is a constant, and a slice's starts above all tiles."""
    from numba.cuda import types
    from tests.planner.author_kernels import mixed, mixed_kernel

    made = mixed()
    arrays = allocators(made)
    assert arrays.recipes["tile"].thread_stride == arrays.recipes["sums"].thread_stride == 0
    assert arrays.recipes["mine"].offset == made.slices_start_bytes > 0
    assert arrays.recipes["mine"].thread_stride == made.run_stride_bytes
    assert arrays.needs_pool == ("close", "far")
    ptx = ptx_of(mixed_kernel(arrays), (types.float64[:, ::1], types.uint8[:, ::1]))
    assert len(re.findall(r"bar\.sync|barrier\.sync", ptx)) == 4


@pytest.mark.parametrize("layout", ["plain", "padded", "swizzled"])
def test_layouts_compile(pretended_device, layout):  # noqa: F811
    """A padded matrix has longer rows, and a swizzled one an exclusive or."""
    from numba.cuda import types
    from tests.planner.author_kernels import transposing, transposing_kernel

    from cubie_planner import Swizzle

    given = {"plain": None, "padded": Padding(1), "swizzled": Swizzle(4, unit=2)}[layout]
    ptx = ptx_of(transposing_kernel(allocators(transposing(given))), (types.float64[:, ::1],))
    assert ("xor.b64" in ptx) == (layout == "swizzled")
    found = accesses(ptx)
    assert (found["shared"], found["generic"]) == (2, 0)


def accesses(ptx):
    """Count loads and stores by the memory that their instructions name."""
    spaces = re.findall(r"\b(?:ld|st)\.(?:volatile\.)?(shared|global|local|param)?", ptx)
    return Counter(space or "generic" for space in spaces)


def test_padded_matrices_stay_in_the_memory_that_they_are_in(pretended_device):  # noqa: F811
    """By elements, rows and sums, in functions of their own, in shared, local and global memory."""
    from numba.cuda import types
    from tests.planner.author_kernels import rows_kernel, rows_of_matrices, viewing_kernel

    ptx = ptx_of(
        rows_kernel(allocators(rows_of_matrices())), (types.float64[::1], types.uint8[::1])
    )
    found = accesses(ptx)
    assert not found["generic"]
    assert min(found["shared"], found["global"]) > 0
    ptx_of(viewing_kernel(allocators(rows_of_matrices())), (types.float64[::1],))


@pytest.mark.parametrize("scope", ["thread", "block", "cluster", "grid"])
def test_copies_of_a_pool_follow_each_other_aligned(pretended_device, scope):  # noqa: F811
    """Whatever lies last in it; what is planned and limited stays what the arrays need."""
    pool = Pool("p", 28, scope)
    made = plan(
        Problem([Buffer("d", 2, "f8", locations=pool), Buffer("f", 3, "f4", locations=pool)])
    )
    arrays = allocators(made)
    assert (made.pool_bytes["p"], arrays.pool_bytes["p"]) == (28, 32)
    assert arrays.pool_alignment == {"p": 8}
    wide = plan(Problem([Buffer("w", 3, "f4", locations=pool, alignment=64)]))
    assert allocators(wide).pool_bytes["p"] == 64


@pytest.mark.parametrize("point", [99, -1, (0, 0), (2, 1), (-1, 1), 4, (9, 12), (0, 9)])
def test_no_phase_begins_where_there_is_no_point(point):
    """Below 0, empty, or typed by hand and going on where no buffer lives any more."""
    made = plan(Problem([Buffer("a", 4, "f4", locations="tile", lifetime=((0, 4),))]))
    with pytest.raises(AllocatorError, match="no phase begins at"):
        Phases(made, {}).point_of(point)


def test_a_timeline_may_go_on_after_the_last_life():
    """Intervals that a timeline returns are phases, also where nothing lives any more."""
    held = PhasedBuffer("a", 4, "f4", phases="load", locations="tile")
    line = compose(Component("kernel", ("load", "store"), [held]))
    phases = Phases(plan(Problem(line.buffers)), {})
    assert (phases.point_of(0), phases.point_of(line.point("kernel", "store"))) == (0, 1)
    with pytest.raises(AllocatorError, match=r"no phase begins at \(1, 2\).* `Timeline.point`"):
        phases.point_of((1, 2))
    always = Phases(plan(Problem([Buffer("a", 4, "f4", locations="tile")])), {})
    assert always.point_of(0) == 0


def test_the_allocators_of_two_plans_do_not_meet_in_a_kernel(pretended_device):  # noqa: F811
    """Both would begin at byte 0: the compiler refuses that, and so does the launch."""
    from numba.core.errors import NumbaError
    from numba.cuda import types
    from tests.planner.author_kernels import two_plans

    with pytest.raises((AllocatorError, NumbaError), match="belongs to another plan"):
        ptx_of(two_plans(), (types.float64[::1],))
    same = plan(Problem([Buffer("a", 4, "f4", locations="tile")]))
    assert allocators(same).recipes["a"].owner == allocators(same).recipes["a"].owner


class _Kernel:
    """A stand-in for a kernel of numba-cuda, and for what it compiles."""

    def __init__(self, llvm=""):
        self.calls = []
        self.configured = {}
        self.compiled = _Compiled(llvm)

    def compile(self, signature):
        """What numba's kernels have, and simulated ones do not."""

    def __getitem__(self, shape):
        return self.configured.setdefault(shape, _Configured(self, shape))


class _Compiled:
    def __init__(self, llvm):
        self.llvm, self.looked = llvm, 0

    def inspect_llvm(self):
        self.looked += 1
        return self.llvm


class _Configured:
    def __init__(self, kernel, shape):
        self.kernel, self.shape, self.pre_launch_callbacks = kernel, shape, []

    def __call__(self, *args):
        for callback in self.pre_launch_callbacks:
            callback(self.kernel.compiled, self)
        self.kernel.calls.append((self.shape, args))


def big(n_bytes):
    return allocators(plan(Problem([Buffer("a", n_bytes, "u1", locations="tile")], Limits(2**18))))


def test_a_launch_raises_the_limit_where_it_is_needed():
    """Above 48 KiB, once for each launch, before the kernel runs, with the bytes of the plan."""
    for n_bytes in (WITHOUT_ASKING, WITHOUT_ASKING + 1, 200_000):
        kernel, asked = _Kernel(), []
        arrays = big(n_bytes)
        launch = arrays.launch(kernel, (2, 3), (16, 16), stream=7)
        launch = Launch(
            *(launch.kernel, launch.blocks, launch.threads, launch.dynamic_shared_bytes),
            launch.stream,
            lambda compiled, n, asked=asked: asked.append((compiled, n)),
        )
        launch("x")
        launch("y")
        shape = (2, 3), (16, 16), 7, n_bytes
        assert kernel.calls == [(shape, ("x",)), (shape, ("y",))]
        assert asked == ([(kernel.compiled, n_bytes)] * 2 if n_bytes > WITHOUT_ASKING else [])


def test_a_launch_asks_the_driver(monkeypatch):
    """The attribute is set by number, bytes, kernel and device, as the driver's call takes them."""
    from cubie_planner.allocators import launch

    driver = pytest.importorskip("numba.cuda.cudadrv.driver")
    bindings = pytest.importorskip("cuda.bindings.driver")
    asked = []
    stand_in = SimpleNamespace(cuKernelSetAttribute=lambda *given: asked.append(given))
    monkeypatch.setattr(driver, "driver", stand_in)
    function = SimpleNamespace(handle=42, device=SimpleNamespace(id=3))
    library = SimpleNamespace(get_cufunc=lambda: function)
    launch.set_dynamic_shared_limit(SimpleNamespace(_codelibrary=library), 100_000)
    attribute = bindings.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    assert asked == [(attribute, 100_000, 42, 3)]


def test_a_launch_refuses_two_plans_in_functions_apart():
    """Functions that were compiled on their own meet when they are linked."""
    names = [f"@cubie_planner_dynamic_shared_{owner} = external" for owner in ("0a1b", "2c3d")]
    kernel = _Kernel(names[0] * 2)
    for _ in range(3):
        big(8).launch(kernel, 1, 1)("x")
    assert kernel.compiled.looked == 1
    with pytest.raises(AllocatorError, match="belongs to another plan"):
        big(8).launch(_Kernel("\n".join(names)), 1, 1)("x")


def test_shapes_are_those_of_the_buffers(pretended_device):  # noqa: F811
    """A shape that was declared needs not be told again, and another may be told of a plain one."""
    kernel = Component(
        "kernel",
        phases=("load", "use"),
        buffers=[
            PhasedBuffer("a", (4, 8), "f4", phases="load", locations="tile"),
            PhasedBuffer("b", (4, 8), "f4", locations="tile", layout=Padding(1)),
            PhasedBuffer("off", (4, 8), "f4", locations="tile", enabled=False),
        ],
    )
    made = plan(Problem(compose(kernel).buffers))
    arrays = allocators(made, {"kernel.a": (2, 16)})
    assert arrays.recipes["kernel.a"].shape == (2, 16)
    assert arrays.recipes["kernel.b"].steps == (36, 4)
    assert arrays.recipes["kernel.off"].shape == (0, 0)
    assert allocators(made).recipes["kernel.a"].shape == (4, 8)
    with pytest.raises(AllocatorError, match="has a layout"):
        allocators(made, {"kernel.b": (4, 8)})


def test_what_is_dead_is_what_does_not_live_on():
    """Forwards a gap ends a life; backwards, round a loop, all that lives at both goes on."""
    buffers = [
        Buffer("a", 4, "u1", pin="shared", offset=0, lifetime=((0, 2), (3, 4))),
        Buffer("b", 4, "u1", pin="shared", offset=4, lifetime=((1, 3),)),
        Buffer("c", 2, "u1", pin="shared", offset=10),
    ]
    made = plan(Problem(buffers))
    phases = Phases(made, {})
    shared = made.placements["a"].location
    assert phases.dead(shared, None, 0) == [(0, 12)]
    assert phases.dead(shared, 0, 1) == [(4, 10)]
    assert phases.dead(shared, 1, 2) == [(0, 4), (8, 10)]
    assert phases.dead(shared, 1, 3) == [(0, 10)]
    assert phases.dead(shared, 3, 0) == [(4, 10)]
    assert phases.dead(TILE, 0, 1) == []
    assert phases.point_of((2, 4)) == phases.point_of(np.int64(2)) == 2
    for odd in ("load", None, True, (1,)):
        with pytest.raises(AllocatorError, match="program point or an interval"):
            phases.point_of(odd)
