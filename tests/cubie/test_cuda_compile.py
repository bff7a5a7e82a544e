"""CUDA kernels compiled without a GPU: what they need, and that nothing needless is in them."""

import functools
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks import resources
from benchmarks.documents import read_section
from benchmarks.resources import CAPABILITIES, POLICIES, Spec, make_kernel, measure
from benchmarks.specs import lorenz96

from cubie import InvalidOption, Solver
from cubie.backend import make_backend
from cubie.backend.cuda.resources import _parse as parse_report
from cubie.backend.front_end.device_function import Unrolled
from cubie.launch.step_code import step_code
from cubie_planner.assembler.machine_code import MachineCode
from tests.cubie import ptx

needs_nvdisasm = pytest.mark.skipif(ptx.find_nvdisasm() is None, reason="needs nvdisasm")


@functools.cache
def kernel_of(spec: Spec):
    return make_kernel(spec)


@functools.cache
def needs(spec: Spec):
    """Return the plan and the assembler's report of a kernel."""
    kernel = kernel_of(spec)
    return kernel.plan, kernel.resources(spec.capability)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_small_systems_stay_in_registers(capability):
    """Ten states, everything local: no stack and no spills on any device."""
    kernel = kernel_of(Spec(10, "local", (9, 0)))
    found = kernel.resources(capability)
    assert found.capability == capability
    assert (found.stack_bytes, found.spill_store_bytes, found.spill_load_bytes) == (0, 0, 0)
    assert found.shared_bytes_per_block == 0
    assert found.registers <= 128


COMPILE_SOLVE_COMPILE = """
import re
from cubie import InvalidOption, Solver

def rhs(t, y):
    return [abs(y[0]) - 2.53125 * y[0]]

def solver():
    return Solver(rhs, backend="cpu", method="euler", first_step=0.125)

def code():
    compiling = solver()
    compiling.prepare([1.0])
    # A function's name has a number that counts what the process has compiled.
    return re.sub(r"_Z\\w+", "function", compiling.kernel.resources((9, 0)).ptx)

before = code()
assert solver().solve((0, 1), [1.0]).success
assert code() == before
"""


def test_a_solve_on_the_cpu_leaves_the_code_as_it_was():
    """A kernel compiles to the same code before and after the first solve on the CPU."""
    subprocess.run([sys.executable, "-c", COMPILE_SOLVE_COMPILE], check=True)


@needs_nvdisasm
@pytest.mark.parametrize("policy", ["local", "shared"])
def test_no_needless_instructions(policy):
    """No call is left, and no access through a pointer whose memory space got lost."""
    count = ptx.opcodes(ptx.sass(needs(Spec(10, policy, (9, 0)))[1].cubin))
    assert {op: count[op] for op in ("CALL", "LD", "ST", "LDL", "STL")} == dict.fromkeys(
        ("CALL", "LD", "ST", "LDL", "STL"), 0
    )


def test_shared_buffers_are_in_shared_memory():
    """With all buffers shared the code addresses the planned bytes of the run, and no others."""
    plan, found = needs(Spec(10, "shared", (9, 0)))
    accesses = ptx.accesses(found.ptx)
    assert {access.space for access in accesses} == {"shared"}
    offsets = [access.offset for access in accesses]
    assert min(offsets) >= 0
    assert max(offsets) < plan.shared_bytes_per_run
    assert found.shared_bytes_per_block == 64 * plan.run_stride_bytes


def test_double_precision():
    """Buffers of double precision take twice the bytes; the kernel compiles for them."""
    single, double = (needs(Spec(3, "shared", (9, 0), method="rk4", dtype=name)) for name in FLOATS)
    integers = 2 * 4  # the two counters stay 32 bits wide
    assert double[0].shared_bytes_per_run - integers == 2 * (
        single[0].shared_bytes_per_run - integers
    )
    assert double[1].registers > 0
    assert "st.shared.f64" in double[1].ptx


FLOATS = ("float32", "float64")


def test_fixed_step_method():
    """A method without error estimate has no error buffer, and its kernel compiles."""
    plan, found = needs(Spec(3, "shared", (9, 0), method="rk4"))
    assert plan.placements["loop.error"].size_bytes == 0
    assert found.registers > 0


def test_more_than_48_kilobytes():
    """A block may need more shared memory than a kernel has without asking for it."""
    plan, found = needs(Spec(10, "shared", (9, 0), block_size=256))
    assert found.shared_bytes_per_block == 256 * plan.run_stride_bytes > 48 * 1024
    # Only memory sized at the launch can be so large.
    assert ".extern .shared" in found.ptx


def test_loops_over_derivatives_are_unrolled_where_registers_hold_a_good_part():
    """One loop that is left puts all that it indexes into the stack: seven arrays of 60 states."""
    _, found = needs(Spec(60, "local", (9, 0)))
    assert "__local_depot" not in found.ptx
    assert found.stack_bytes < 5 * 60 * 4


@needs_nvdisasm
def test_iterations_stay_loops():
    """How often Newton's method goes round at most is known: on Blackwell all ten were code."""
    sizes = {}
    for most in (2, 10):
        solver = Solver(
            lorenz96, backend="cuda", method="radau_iia_5", lu_form="tables",
            max_newton_iterations=most, save="final",
        )  # fmt: skip
        solver.prepare([1.0] * 8, (8.0,), dtype="float32")
        code = MachineCode.of(solver.kernel.resources((12, 0)).cubin)
        sizes[most] = sum(len(block.instructions) for block in code.functions.all_blocks)
    assert sizes[10] < 1.05 * sizes[2]


def test_loops_over_more_shared_buffers_are_not_unrolled_for_registers():
    """Unrolled loops load what lies in shared memory early, into registers and then a stack."""
    _, found = needs(Spec(100, "shared", (7, 5)))
    assert found.stack_bytes == 0


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8)])
def test_loops_over_more_numbers_are_left_to_the_compiler(dtype, size):
    """Registers hold too few of them: those in shared memory, then those of the run alone."""
    backend = make_backend("cuda", np.dtype(dtype), True)
    own, never = Unrolled.IN_OWN_MEMORY, Unrolled.NEVER
    numbers, terms = (896, 904, 2800, 2808, 2000), (14_008, 14_000, 14_000, 14_000, 14_008)
    pairs = zip(numbers, terms, strict=True)
    found = [backend.unrolled(documented, n // size, t // size).unrolled for n, t in pairs]
    assert found == [Unrolled.ALWAYS, own, own, never, never]


@needs_nvdisasm
def test_loops_over_shared_buffers_are_unrolled_where_registers_hold_all():
    """What one has written the next ones need not load."""
    found = kernel_of(Spec(20, "shared", (9, 0))).resources((9, 0), lines=True)
    assert found.stack_bytes == 0
    assert step_code(found.cubin, 0).accepted.total < 1400


def documented() -> dict[str, str]:
    """Return the rows of the table in docs/resources.md, by their first three cells."""
    lines = read_section(resources.DOCUMENT, "table").splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    return {"|".join(line.split("|")[1:4]): line for line in rows}


def same_toolkit() -> bool:
    """Tell whether the compilers are those that the table was made with."""
    text = resources.DOCUMENT.read_text(encoding="utf-8")
    try:
        return all(f"{name} {version(name)}" in text for name in resources.COMPILERS)
    except PackageNotFoundError:
        return False


def test_documented_table_is_complete():
    """The table has every size, placement and device."""
    assert len(documented()) == len(resources.STATES) * len(POLICIES) * len(CAPABILITIES)


@pytest.mark.parametrize("policy", ["local", "shared"])
def test_documented_figures_are_true(policy):
    """Rows of the table come out again when measured again."""
    row = resources.table([measure(Spec(3, policy, (9, 0)))]).splitlines()[-1]
    stated = documented()["|".join(row.split("|")[1:4])]
    assert stated.split("|")[-2] == row.split("|")[-2]  # shared bytes are the plan's alone
    if not same_toolkit():
        pytest.skip("the table was made with other compilers; its registers may differ")
    assert stated == row


def test_fast_math_keeps_powers_of_negative_numbers_and_the_digits_of_tanh():
    """In single precision no instruction stands for tanh, and exponents are seen to be whole."""

    def rhs(t, y, p):
        return [math.tanh(y[0]), y[1] ** p, np.where(np.isnan(y[1] * p), 0.0, y[0])]

    solver = Solver(rhs, method="euler", first_step=0.1, backend="cuda", dtype="float32")
    solver.prepare(np.ones(3), args=(3.0,))
    code = solver.kernel.resources((9, 0)).ptx
    assert "tanh.approx" not in code
    assert "cvt.rzi" in code or "trunc" in code
    assert "setp.nan" in code or "setp.num" in code


def test_threads_that_read_resources_leave_numba_as_it_was(monkeypatch):
    """One after the other pretends a device, to itself alone, and the last puts numba's back."""
    from cubie.backend.cuda.pretended import cuda_dispatcher, pretended_device

    def present():
        return SimpleNamespace(compute_capability="of the device that is there")

    monkeypatch.setattr(cuda_dispatcher, "get_current_device", present)
    seen, started, entered, ended = {}, threading.Event(), threading.Event(), threading.Event()

    def ask(name):
        seen[name] = cuda_dispatcher.get_current_device().compute_capability

    def second():
        started.set()
        with pretended_device((8, 0)):
            entered.set()
            ask("second")
            ended.wait(10)

    other = threading.Thread(target=second)
    with pretended_device((9, 0)):
        other.start()
        started.wait(10)
        entered.wait(0.3)  # in vain, where they take turns
        ask("first")
        bystander = threading.Thread(target=ask, args=["bystander"])
        bystander.start()
        bystander.join()
    ended.set()
    other.join()
    assert cuda_dispatcher.get_current_device is present
    assert seen == {
        "first": (9, 0),
        "second": (8, 0),
        "bystander": "of the device that is there",
    }


def test_resources_from_several_threads_are_those_of_one():
    """Kernels that are compiled at the same time for different devices are those compiled alone."""
    solver = Solver(lambda t, y: [y[1], -y[0]], method="rk4", first_step=0.1)
    solver.prepare([1.0, 0.0])
    capabilities = [(8, 0), (9, 0), (8, 6)]
    with ThreadPoolExecutor(len(capabilities)) as pool:
        together = list(pool.map(solver.kernel.resources, capabilities))
    for capability, found in zip(capabilities, together, strict=True):
        alone = solver.kernel.resources(capability)
        assert found.capability == capability
        for name in ("registers", "stack_bytes", "spill_store_bytes"):
            assert getattr(found, name) == getattr(alone, name)


def test_a_capability_that_is_none_is_told_with_those_that_are():
    """Of another form, or of no device that the toolkit compiles for: an error names them."""
    solver = Solver(lambda t, y: [-y[0]], backend="cuda", method="euler", first_step=0.25)
    solver.prepare([1.0])
    for given in (9, (9,), (9, 0, 0), (9.5, 0), ("9", "0"), [None, 0]):
        with pytest.raises(InvalidOption, match=r"`cc` is .*\(major, minor\), such as \(9, 0\)"):
            solver.kernel.resources(given)
    for given in ((0, 0), (99, 0), (-9, 0)):
        with pytest.raises(InvalidOption, match=r"must be one of .*\(9, 0\)"):
            solver.kernel.resources(given)
    assert solver.kernel.resources([np.int64(9), 0]).registers > 0


REPORT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Function properties for loop
ptxas         .     5312 bytes stack frame, 10440 bytes spill stores, 22388 bytes spill loads
ptxas info    : Compiling entry function 'kernel' for 'sm_90'
ptxas info    : Function properties for kernel
ptxas         .     2896 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers
info    : 1464 bytes gmem
info    : Function properties for 'kernel':
info    : used 255 registers, used 3 barriers, 8208 stack, 1024 bytes smem, 1824 bytes cmem[0]
"""


def test_what_a_loop_needs_that_is_called_is_counted():
    """Registers are those of the kernel with its calls, the stack is of both, spills add up."""
    found = parse_report(REPORT, (9, 0), 0, "", b"")
    assert (found.registers, found.stack_bytes) == (255, 8208)
    assert (found.spill_store_bytes, found.spill_load_bytes) == (10448, 22404)
    alone = parse_report("\n".join(REPORT.splitlines()[3:7]), (9, 0), 0, "", b"")
    assert (alone.registers, alone.stack_bytes) == (30, 2896)
