"""Allocators cost nothing: the same instructions as code with hand-written offsets (A2)."""

import functools
import re
import shutil

import numpy as np
import pytest

from cubie import Solver
from cubie.backend import make_backend
from cubie.launch.inputs import make_inputs, sample_arguments
from tests.cubie import hand_written, ptx, stiff_systems
from tests.cubie.hand_written import BLOCK_SIZE, kernels

LOCATIONS = ("shared", "local", "local_persistent")
SIZES = (3, 10)
CAPABILITY = (9, 0)

# What a buffer can cost: arithmetic on its values, and traffic with memory.
WORK = ("FADD", "FMUL", "FFMA", "LDS", "STS", "LDL", "STL", "LD", "ST")


def places():
    """Yield all locations and sizes; more than three states where a loop is left, if asked for."""
    for location in LOCATIONS:
        for n in SIZES:
            marks = [pytest.mark.every_config] if n > 3 and location != "shared" else []
            yield pytest.param(location, n, marks=marks)


everywhere = pytest.mark.parametrize(("location", "n"), list(places()))

by_hand = pytest.mark.parametrize("way", ["pointers", "offsets"])


@pytest.fixture(scope="module", autouse=True)
def _fresh_code(tmp_path_factory):
    """Compile anew: the digest of a kernel does not cover the components of this test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBIE_CACHE_DIR", str(tmp_path_factory.mktemp("code")))
        yield


@functools.cache
def cuda_code(location: str, n: int) -> dict:
    """Return what the kernels need when compiled, by how they reach their buffers."""
    made = kernels(make_backend("cuda", np.float32, True), n, location)
    sample = sample_arguments("float32")
    return {way: kernel.resources(CAPABILITY, *sample, BLOCK_SIZE) for way, kernel in made.items()}


def plain_ptx(code: str) -> list[str]:
    """Return PTX instructions, without numba's names, registers numbered as they appear."""
    numbers: dict[str, str] = {}

    def renumbered(line: str) -> str:
        return re.sub(r"%\w+", lambda r: numbers.setdefault(r[0], f"%{len(numbers)}"), line)

    lines = (line.strip() for line in code.splitlines())
    return [
        renumbered(line if "_param_" not in line else line[: line.index("[")])
        for line in lines
        if line.endswith(";") and not line.startswith(".")
    ]


@everywhere
@by_hand
def test_same_ptx(location, n, way):
    """The PTX of both versions is the same but for the numbering of registers."""
    code = cuda_code(location, n)
    assert len(plain_ptx(code[way].ptx)) > 50
    assert plain_ptx(code["allocators"].ptx) == plain_ptx(code[way].ptx)


@pytest.mark.skipif(ptx.find_nvdisasm() is None, reason="needs nvdisasm")
@everywhere
@by_hand
def test_same_sass(location, n, way):
    """No machine instruction, register or immediate differs, nor the resources."""
    allocated, hand = cuda_code(location, n)["allocators"], cuda_code(location, n)[way]
    assert len(ptx.sass(allocated.cubin)) > 50
    assert ptx.sass(allocated.cubin) == ptx.sass(hand.cubin)
    for need in ("registers", "stack_bytes", "spill_store_bytes", "shared_bytes_per_block"):
        assert getattr(allocated, need) == getattr(hand, need), need


@pytest.mark.skipif(ptx.find_nvdisasm() is None, reason="needs nvdisasm")
@pytest.mark.parametrize(
    ("location", "n"), [case for case in places() if case.values[0] != "local_persistent"]
)
def test_same_work_as_plain_numba(location, n):
    """A kernel in plain numba-cuda does as much arithmetic and touches memory as often."""
    from numba import cuda, int64, typeof

    from cubie.backend.cuda.pretended import pretended_device
    from cubie.backend.cuda.resources import assemble

    allocated = cuda_code(location, n)["allocators"]
    plain = hand_written.in_plain_numba(n, location, hand_written.lay_out(n, location)[1])
    signature = (int64, *map(typeof, sample_arguments("float32")))
    with pretended_device(CAPABILITY):
        code, _ = cuda.compile_ptx(plain, signature, cc=CAPABILITY, fastmath=True, abi="numba")
    theirs = ptx.opcodes(ptx.sass(assemble(code, CAPABILITY, 0).cubin))
    ours = ptx.opcodes(ptx.sass(allocated.cubin))
    assert ours["FFMA"] > 0
    assert {name: ours[name] for name in WORK} == {name: theirs[name] for name in WORK}


def machine_code(kernel) -> list[str]:
    """Return the CPU instructions with their operands, without addresses and symbols."""
    lines = [line.split("\t") for line in kernel.assembly().splitlines() if "\t" in line]
    return [" ".join(line[1:]).split("<")[0].split("#")[0].strip() for line in lines]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
@everywhere
@pytest.mark.parametrize("lanes", [1, 16])
def test_same_machine_code(location, n, lanes):
    """On the CPU, too, no instruction differs, for single runs and for SIMD groups."""
    backend = make_backend("cpu", np.float32, True, lanes)
    made = kernels(backend, n, location, ("allocators", "pointers"))
    allocated, by_hand = map(machine_code, made.values())
    assert len(allocated) > 50
    assert allocated == by_hand


@pytest.mark.parametrize("location", LOCATIONS)
def test_versions_agree(location):
    """All versions integrate the same system: what is compared above is the same job."""
    n = 3
    rng = np.random.default_rng(1)
    runs, steps, h, forcing = 5, 40, 0.01, 8.0
    y = rng.normal(size=(n, runs)).astype(np.float32)
    inputs = make_inputs(
        y, np.full((1, 1), forcing), (0.0, 1.0), "float32", first_step=h, max_steps=steps
    )
    ends = []
    for kernel in kernels(make_backend("cpu", np.float32, False), n, location).values():
        outputs = sample_arguments("float32")[1]._replace(
            states=np.full(n * runs, np.nan, np.float32)
        )
        kernel(runs, inputs, outputs, BLOCK_SIZE)
        ends.append(outputs.states.reshape(n, runs))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])
    np.testing.assert_allclose(ends[0], integrate(y.astype(float), h, steps, forcing), rtol=1e-4)


def integrate(y, h, steps, forcing):
    """Return the same in NumPy."""

    def rhs(y):
        return (np.roll(y, -1, 0) - np.roll(y, 2, 0)) * np.roll(y, 1, 0) - y + forcing

    for _ in range(steps):
        k1 = rhs(y)
        k2 = rhs(y + h / 2 * k1)
        k3 = rhs(y + h / 2 * k2)
        k4 = rhs(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_choices_between_lanes_are_stored_whole():
    """LLVM's masked stores take AMD's processors an eighth of a solve of forty states."""
    solver = Solver(stiff_systems.lorenz96, backend="cpu", method="tsit5", lanes=4)
    solver.prepare(np.ones(40), (8.0,))
    code = solver.kernel.compiled.assembly()
    assert code.count("\n") > 1000
    assert "maskmov" not in code
