"""Limits per compute capability and occupancy arithmetic."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from cubie_planner.gpu.device import (
    Device,
    DeviceError,
    Resource,
    best_block_size,
    known_devices,
    occupancy,
)

KIB = 1024
CAPABILITIES = [
    (7, 0), (7, 2), (7, 5), (8, 0), (8, 6), (8, 7), (8, 9),
    (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1),
]  # fmt: skip

# CUDA Programming Guide 13, appendix 5.1, tables 30 to 32:
# resident blocks, warps and threads; shared KiB per SM and per block; unified cache KiB.
GUIDE = {
    (7, 5): (16, 32, 1024, 64, 64, 96),
    (8, 0): (32, 64, 2048, 164, 163, 192),
    (8, 6): (16, 48, 1536, 100, 99, 128),
    (8, 7): (16, 48, 1536, 164, 163, 192),
    (8, 9): (24, 48, 1536, 100, 99, 128),
    (9, 0): (32, 64, 2048, 228, 227, 256),
    (10, 0): (32, 64, 2048, 228, 227, 256),
    (10, 3): (32, 64, 2048, 228, 227, 256),
    (11, 0): (24, 48, 1536, 228, 227, 256),
    (12, 0): (24, 48, 1536, 100, 99, 128),
    (12, 1): (24, 48, 1536, 100, 99, 128),
}

# Answers of NVIDIA's occupancy calculator header (cuda_occupancy.h, CUDA 13):
# capability, threads, registers, shared bytes -> resident blocks, limits as its bit mask.
WARPS, REGISTERS, SHARED, BLOCKS = 1, 2, 4, 8
RESOURCE_BITS = {
    WARPS: Resource.WARPS,
    REGISTERS: Resource.REGISTERS,
    SHARED: Resource.SHARED,
    BLOCKS: Resource.BLOCKS,
}
CALCULATOR = [
    ((7, 0), 128, 37, 0, 12, REGISTERS),
    ((7, 0), 320, 37, 0, 4, REGISTERS),
    ((7, 0), 256, 64, 49152, 2, SHARED),
    ((7, 2), 256, 32, 24576, 4, SHARED),
    ((7, 2), 96, 255, 1000, 2, REGISTERS),
    ((7, 5), 256, 32, 0, 4, WARPS),
    ((7, 5), 1024, 64, 65536, 1, WARPS | REGISTERS | SHARED),
    ((8, 0), 256, 128, 41984, 2, REGISTERS),
    ((8, 0), 512, 40, 166912, 1, SHARED),
    ((8, 6), 64, 32, 0, 16, BLOCKS),
    ((8, 6), 256, 40, 25000, 3, SHARED),
    ((8, 7), 192, 48, 20000, 6, REGISTERS),
    ((8, 9), 128, 37, 16384, 5, SHARED),
    ((8, 9), 64, 24, 3000, 24, WARPS | BLOCKS),
    ((8, 9), 1024, 33, 100, 1, WARPS | REGISTERS),
    ((9, 0), 256, 64, 232448, 1, SHARED),
    ((9, 0), 128, 32, 0, 16, WARPS | REGISTERS),
    ((9, 0), 1024, 65, 0, 0, REGISTERS),
    ((9, 0), 256, 255, 0, 1, REGISTERS),
    ((10, 0), 96, 80, 70000, 3, SHARED),
    ((10, 3), 64, 168, 10240, 6, REGISTERS),
    ((11, 0), 64, 16, 0, 24, WARPS | BLOCKS),
    ((11, 0), 768, 42, 116000, 1, REGISTERS | SHARED),
    ((12, 0), 32, 16, 0, 24, BLOCKS),
    ((12, 0), 384, 56, 50688, 1, SHARED),
    ((12, 1), 128, 96, 33792, 2, SHARED),
]


def resources(mask: int) -> set[Resource]:
    """The resources of a bit mask of NVIDIA's calculator."""
    return {resource for bit, resource in RESOURCE_BITS.items() if mask & bit}


def test_table_covers_the_documented_capabilities():
    """Every capability from 7.0 to 12.1 that the guide lists is known, in order."""
    assert list(known_devices()) == CAPABILITIES


@pytest.mark.parametrize("capability", GUIDE, ids=str)
def test_figures_equal_the_programming_guide(capability):
    """Blocks, warps, threads, shared memory and cache are those of NVIDIA's tables."""
    device = Device.for_capability(capability)
    found = (
        device.blocks_per_sm,
        device.warps_per_sm,
        device.threads_per_sm,
        device.shared_per_sm // KIB,
        device.shared_per_block_optin // KIB,
        device.unified_cache // KIB,
    )
    assert found == GUIDE[capability]


@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
def test_rows_are_consistent(capability):
    """The largest carve-out is the SM's shared memory and holds a block with its reserve."""
    device = Device.for_capability(capability)
    assert device.carveouts[-1] == device.shared_per_sm
    assert list(device.carveouts) == sorted(set(device.carveouts))
    needed = device.shared_per_block_optin + device.shared_reserved_per_block
    assert needed <= device.shared_per_sm < device.unified_cache
    assert device.shared_per_block_static == 48 * KIB
    assert device.shared_reserved_per_block == (KIB if capability >= (8, 0) else 0)
    assert device.source


@pytest.mark.parametrize("text", ["sm_90", "SM90", "compute_90", "9.0", "90", "sm_90a", " cc90 "])
def test_parse_accepts_the_usual_spellings(text):
    """Compiler names, dotted and plain numbers mean the same device."""
    assert Device.parse(text).capability == (9, 0)


def test_parse_reads_two_digit_generations():
    """The last digit is the minor number."""
    assert Device.parse("sm_121").capability == (12, 1)
    assert Device.parse("sm_103").name == "sm_103"


@pytest.mark.parametrize("text", ["", "hopper", "sm_", "9", "sm_9.0.0"])
def test_parse_refuses_what_names_no_capability(text):
    """Text of another form is answered with the form that is expected."""
    with pytest.raises(DeviceError, match=r"write it like 'sm_90', '9\.0' or '90'"):
        Device.parse(text)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ((9, 1), (9, 0)),
        ((8, 8), (8, 7)),
        ((13, 0), (12, 0)),
        ((10, 1), (10, 0)),
        ((19, 3), (12, 1)),
    ],
)
def test_an_unlisted_capability_has_the_figures_of_the_nearest(given, nearest):
    """What a driver reports is a device: it has its own name, and a note says whose figures."""
    device, near = Device.for_capability(given), Device.for_capability(nearest)
    assert device.capability == given
    assert device.name == f"sm_{given[0]}{given[1]}"
    told = f"of {given[0]}.{given[1]} are not listed: those of {nearest[0]}.{nearest[1]} are taken"
    assert told.removeprefix("of ") in device.note
    assert evolve(device, capability=nearest, note="") == near
    assert near.note == ""


def test_a_capability_older_than_all_names_the_nearest():
    """Nothing is known of what they allow, and no toolkit of today compiles for them."""
    with pytest.raises(DeviceError, match=r"6\.1 is not known; the nearest is 7\.0") as caught:
        Device.for_capability((6, 1))
    assert caught.value.given == (6, 1)
    assert caught.value.allowed == tuple(CAPABILITIES)


def test_a_mistyped_capability_is_of_no_generation():
    """Text is typed by people: sm_900 is no device of the future."""
    assert Device.parse("sm_130").note
    with pytest.raises(DeviceError, match=r"90\.0 is of no generation that is near"):
        Device.parse("sm_900")


def test_malformed_capability_is_refused():
    """Something that is no pair of numbers is an error that shows the form."""
    with pytest.raises(DeviceError, match=r"not a pair \(major, minor\)"):
        Device.for_capability(9.0)


def test_l1_is_what_the_smallest_sufficient_carveout_leaves():
    """More shared memory leaves less L1, in the documented steps."""
    device = Device.for_capability((8, 9))
    assert [device.l1_bytes(kib * KIB) // KIB for kib in (0, 1, 8, 33, 65, 100)] == [
        128, 120, 120, 64, 28, 28,
    ]  # fmt: skip
    with pytest.raises(DeviceError, match="let fewer blocks be resident"):
        device.l1_bytes(101 * KIB)


def test_published_occupancy_example():
    """CUDA C++ Best Practices Guide, 'Calculating Occupancy': 37 registers on 7.0.

    "a kernel with 128-thread blocks using 37 registers per thread results in an
    occupancy of 75% with 12 active 128-thread blocks per multi-processor, whereas a
    kernel with 320-thread blocks using the same 37 registers per thread results in
    an occupancy of 63% because only four 320-thread blocks can reside"
    """
    volta = Device.for_capability((7, 0))
    small, large = occupancy(volta, 128, 37), occupancy(volta, 320, 37)
    assert (small.blocks_per_sm, small.fraction) == (12, 0.75)
    assert (large.blocks_per_sm, round(large.fraction, 2)) == (4, 0.62)
    assert occupancy(volta, 128, 32).fraction == 1.0


@pytest.mark.parametrize("case", CALCULATOR, ids=lambda case: "-".join(map(str, case[:4])))
def test_occupancy_equals_recorded_calculator_answers(case):
    """Blocks and limiting resources equal those of NVIDIA's calculator."""
    capability, threads, registers, shared, blocks, mask = case
    found = occupancy(Device.for_capability(capability), threads, registers, shared)
    assert found.blocks_per_sm == blocks
    assert set(found.limited_by) == resources(mask)
    assert found.warps == blocks * -(-threads // 32)


CALCULATOR_PROGRAM = r"""
#include <stdio.h>
#include "cuda_occupancy.h"
int main(void) {
    cudaOccDeviceProp p; cudaOccFuncAttributes f; cudaOccDeviceState s; cudaOccResult r;
    memset(&p, 0, sizeof p); memset(&f, 0, sizeof f); memset(&s, 0, sizeof s);
    p.maxThreadsPerBlock = 1024; p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32; p.sharedMemPerBlock = 49152; p.numSms = 1;
    f.maxThreadsPerBlock = INT_MAX; f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    s.carveoutConfig = SHAREDMEM_CARVEOUT_DEFAULT;
    int threads; size_t shared;
    while (scanf("%d %d %d %zu %zu %zu %d %d %zu", &p.computeMajor, &p.computeMinor,
                 &p.maxThreadsPerMultiprocessor, &p.sharedMemPerMultiprocessor,
                 &p.sharedMemPerBlockOptin, &p.reservedSharedMemPerBlock, &threads,
                 &f.numRegs, &shared) == 9) {
        f.maxDynamicSharedSizeBytes = p.sharedMemPerBlockOptin;
        cudaOccError e = cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &f, &s, threads, shared);
        printf("%d %d %u\n", e, r.activeBlocksPerMultiprocessor, r.limitingFactors);
    }
    return 0;
}
"""


def calculator_header() -> Path | None:
    """NVIDIA's calculator header, where a CUDA toolkit is installed as a package."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for header in sorted(Path(root).glob("*/include/cuda_occupancy.h")):
            return header
    return None


@pytest.mark.skipif(
    shutil.which("cc") is None or calculator_header() is None,
    reason="needs a C compiler and NVIDIA's cuda_occupancy.h",
)
def test_occupancy_equals_nvidias_calculator_on_random_launches(tmp_path):
    """On random launches of every capability NVIDIA's own program gives the same answer."""
    source, program = tmp_path / "calculator.c", tmp_path / "calculator"
    source.write_text(CALCULATOR_PROGRAM)
    header = calculator_header()
    assert header is not None
    subprocess.run(["cc", "-w", "-I", header.parent, "-o", program, source], check=True)
    rng = random.Random(20240)
    launches = []
    for _ in range(4000):
        device = rng.choice(list(known_devices().values()))
        threads = rng.choice([rng.randint(1, 1024), 32 * rng.randint(1, 32)])
        shared = rng.choice(
            [0, rng.randint(0, 4096), rng.randint(0, device.shared_per_block_optin)]
        )
        launches.append((device, threads, rng.randint(1, 255), shared))
    lines = [
        f"{d.capability[0]} {d.capability[1]} {d.threads_per_sm} {d.shared_per_sm} "
        f"{d.shared_per_block_optin} {d.shared_reserved_per_block} {threads} {registers} {shared}"
        for d, threads, registers, shared in launches
    ]
    answer = subprocess.run(
        [program], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = answer.stdout.splitlines()
    assert len(answers) == len(launches)
    for (device, threads, registers, shared), line in zip(launches, answers, strict=True):
        error, blocks, mask = map(int, line.split())
        found = occupancy(device, threads, registers, shared)
        assert (error, blocks, resources(mask)) == (
            0,
            found.blocks_per_sm,
            set(found.limited_by),
        ), (device.name, threads, registers, shared)


def test_a_block_beyond_the_limits_is_not_resident():
    """Too much shared memory or too many registers give zero blocks and name the cause."""
    device = Device.for_capability((8, 9))
    assert occupancy(device, 32, 32, 99 * KIB).blocks_per_sm == 1
    assert occupancy(device, 32, 32, 99 * KIB + 1).limited_by == (Resource.SHARED,)
    assert occupancy(device, 32, 256).limited_by == (Resource.REGISTERS,)
    assert occupancy(device, 1024, 65).blocks_per_sm == 0


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ((0, 32, 0), "threads_per_block=0 is outside 1..1024"),
        ((1025, 32, 0), "threads_per_block=1025 is outside 1..1024"),
        ((32, -1, 0), "registers_per_thread=-1 is negative"),
        ((32, 32, -4), "shared_bytes_per_block=-4 is negative"),
    ],
)
def test_impossible_launches_are_refused(launch, message):
    """A launch that means nothing is an error, not an occupancy of zero."""
    with pytest.raises(DeviceError, match=message):
        occupancy(Device.for_capability((9, 0)), *launch)


def test_best_block_size_keeps_the_most_threads_resident():
    """No other block size keeps more threads resident, and smaller ones keep fewer."""
    device = Device.for_capability((8, 9))
    choice = best_block_size(device, 40, lambda threads: 132 * threads)
    every = {n: occupancy(device, n, 40, 132 * n).threads for n in range(32, 1025, 32)}
    assert choice.occupancy.threads == max(every.values())
    assert all(
        threads < choice.occupancy.threads
        for n, threads in every.items()
        if n < choice.threads_per_block
    )
    assert choice.shared_bytes_per_block == 132 * choice.threads_per_block


def test_best_block_size_honours_the_limit_and_the_candidates():
    """Blocks above the shared limit and outside the candidates are not chosen."""
    device = Device.for_capability((9, 0))
    choice = best_block_size(
        device, 32, lambda threads: 400 * threads, max_shared_bytes=48 * KIB, candidates=(64, 128)
    )
    assert choice.threads_per_block == 64
    assert best_block_size(device, 32, 1000).shared_bytes_per_block == 1000


def test_best_block_size_says_why_none_works():
    """If even the smallest block is too large the error gives its bytes and the limit."""
    device = Device.for_capability((8, 6))
    with pytest.raises(DeviceError, match=r"needs 131072 B of shared memory \(limit 101376 B\)"):
        best_block_size(device, 32, lambda threads: 4096 * threads)
