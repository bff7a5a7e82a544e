"""CUDA device functions are lowered here: to the machine code that numba-cuda's passes give."""

import re

import attrs
import numpy as np
import pytest

from cubie import Solver
from cubie.backend.cuda import compilation, kernel
from cubie.backend.front_end.known import Remembered
from cubie_planner.assembler.disassembly import disassemble, find_nvdisasm
from cubie_planner.assembler.instructions import read_code
from tests.cubie.numba_passes import NumbaPasses

needs_nvdisasm = pytest.mark.skipif(find_nvdisasm() is None, reason="needs nvdisasm")

SM_90, SM_75 = (9, 0), (7, 5)
Y0 = [1.0, 0.0]


def decay(t, y, k):
    return [-k * y[0], k * y[0] - y[1] ** 2]


def oscillator(t, y, k):
    return [y[1], -k * y[0] + 0.1 * np.sin(t)]


@pytest.fixture
def nothing_known(monkeypatch):
    """Nothing was lowered before."""
    monkeypatch.setattr(compilation, "KNOWN", Remembered())


def prepared(method, system=decay, **options):
    """Return a kernel; `locations` may be those of another plan."""
    solver = Solver(system, method=method, backend="cuda", **{"locations": "local", **options})
    solver.prepare(Y0, (1.0,))
    return solver.kernel


def text_of(found) -> str:
    """Return PTX without the number that numba gives a kernel's function."""
    return re.sub(r"\bv\d+(?=B)|B\d+v\d+", "", found.ptx)


def opcodes(found) -> list[str]:
    """Return the instructions of a kernel, in order, without registers."""
    codes = read_code(disassemble(found.cubin)).values()
    longest = max(codes, key=lambda code: len(code.instructions))
    return [instruction.name for instruction in longest.instructions]


CASES = [
    ("tsit5", {}),
    ("rk4", {"first_step": 0.1, "dtype": "float64", "save": "final"}),
    ("kvaerno5", {"locations": "shared"}),
    ("rodas5p", {"fastmath": False, "dtype": "float64"}),
    ("radau_iia_5", {"refill": True}),
]


@needs_nvdisasm
@pytest.mark.parametrize(("method", "options"), CASES, ids=[method for method, _ in CASES])
def test_machine_code_is_what_numbas_passes_give(method, options, monkeypatch):
    """The same instructions in the same order, as many registers, and no more on the stack."""
    here = prepared(method, **options).resources(SM_90)

    def called_by_numba(function, fastmath, lines):
        return NumbaPasses(fastmath).of(function)

    monkeypatch.setattr(kernel, "called_by_numba", called_by_numba)
    there = prepared(method, **options).resources(SM_90)
    assert opcodes(here) == opcodes(there)
    assert (here.registers, here.stack_bytes) == (there.registers, there.stack_bytes)


@pytest.mark.parametrize(("method", "options"), CASES[:3], ids=[name for name, _ in CASES[:3]])
def test_a_kernel_is_the_same_whatever_was_lowered_before(method, options, nothing_known):
    """For another system, places, device; each function was lowered once and linked again."""
    anew = text_of(prepared(method, **options).resources(SM_90))
    compilation.KNOWN.clear()
    prepared(method, oscillator, **options).resources(SM_90)
    prepared(method, **{**options, "locations": "auto"}).resources(SM_75)
    n_known = len(compilation.KNOWN)
    assert text_of(prepared(method, **options).resources(SM_90)) == anew
    assert n_known > 60
    n_known_then = len(compilation.KNOWN)
    assert n_known_then - n_known < n_known // 3
    # Every one is found again: none holds what cannot be looked at.
    prepared(method, **options).resources(SM_90)
    assert len(compilation.KNOWN) == n_known_then


def test_a_second_device_lowers_nothing_anew(nothing_known):
    """Functions depend on no architecture: what NVVM is given is the same for all."""
    found = prepared("tsit5")
    found.resources(SM_75)
    n_known = len(compilation.KNOWN)
    again = found.resources(SM_90)
    assert len(compilation.KNOWN) == n_known
    compilation.KNOWN.clear()
    assert text_of(prepared("tsit5").resources(SM_90)) == text_of(again)


@needs_nvdisasm
@pytest.mark.parametrize("method", ["tsit5", "radau_iia_5"])
def test_source_lines_change_no_instruction(method):
    """What is counted with lines is what is launched without them."""
    found = prepared(method)
    plain, lined = found.resources(SM_90), found.resources(SM_90, lines=True)
    assert opcodes(plain) == opcodes(lined)
    assert plain.registers == lined.registers
    sources = [
        instruction.source
        for code in read_code(disassemble(lined.cubin)).values()
        for instruction in code.instructions
    ]
    files = {frame.file.rpartition("/")[2] for source in sources for frame in source}
    assert {"attempt.py", "loop.py", "adaptive.py"} <= files


@needs_nvdisasm
@pytest.mark.parametrize("candidates", [0, 2])
def test_candidates_are_compiled_once_and_the_winner_is_launched(candidates, monkeypatch, tmp_path):
    """The winner, here with everything local, is not compiled again to be launched."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    compiled = []
    assemble = kernel.assemble

    def noted(ptx, *arguments):
        compiled.append(ptx)
        return attrs.evolve(assemble(ptx, *arguments), stack_bytes=8 * bool(candidates))

    monkeypatch.setattr(kernel, "assemble", noted)
    found = prepared("tsit5", locations="auto", device="sm_90", effort=2)
    assert len(found.verdict.candidates) == 1 + candidates
    assert found.verdict.winner == 0
    launched = found.compiled._code_for(SM_90, found.config.block_size)
    # Everything local once more with lines, where it takes a stack and is counted.
    assert len(compiled) == 1 + bool(candidates) + candidates
    assert launched.image == found.resources(SM_90).cubin
