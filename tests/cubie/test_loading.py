"""Machine code finds its constants and what it calls wherever the process has room for it."""

import os
import subprocess
import sys

import pytest

HOLES = """
import ctypes, math, re
import numpy as np
from cubie import solve_ivp
from cubie.backend.cpu import object_code

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PRIVATE_ANONYMOUS, NO_RESERVE, NO_REPLACE = 0x22, 0x4000, 0x100000
GIB = 1 << 30


def taken(at, size, flags=0):
    return libc.mmap(at, size, 0, PRIVATE_ANONYMOUS | NO_RESERVE | flags, -1, 0)


def fill_gaps():
    line = re.compile("([0-9a-f]+)-([0-9a-f]+)")
    lines = open("/proc/self/maps").read().splitlines()
    ranges = [tuple(int(end, 16) for end in line.match(each).groups()) for each in lines]
    for (_, end), (start, _) in zip(ranges, ranges[1:]):
        if end > 0x7E0000000000 and 0 < start - end < 64 * GIB:
            taken(end, start - end, NO_REPLACE)


def leave_holes():
    # Of {hole} KiB, two and a half GiB apart: a piece of code takes the highest that it fits into.
    top = taken(None, 64 * GIB) + 64 * GIB
    fill_gaps()
    for n in range(1, 25):
        libc.munmap(top - n * 5 * GIB // 2, {hole} << 10)


load = object_code.ObjectCode.__init__


def load_into_holes(self, code, from_cache):
    leave_holes()
    load(self, code, from_cache)


def pendulum(t, y):
    return [y[1], -math.sin(y[0]) - 0.1 * y[1] * math.exp(-y[0])]


solve_ivp(lambda t, y: [-y[0]], (0, 1), [1.0])
object_code.ObjectCode.__init__ = load_into_holes
result = solve_ivp(pendulum, (0, 10), [1.0, 0.3], rtol=1e-9, atol=1e-9)
assert result.success
np.testing.assert_allclose(result.y[:, -1], [-0.6022738, -0.09018298], atol=1e-6)
print("solved", *result.y[:, -1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc/self/maps")
@pytest.mark.parametrize("hole", [8, 16])
def test_code_is_sound_where_free_memory_lies_in_pieces_far_apart(hole, tmp_path):
    """Some gigabytes of arrays may lie between two holes: LLVM's loader then ended the process."""
    ran = subprocess.run(
        [sys.executable, "-c", HOLES.replace("{hole}", str(hole))],
        env={**os.environ, "CUBIE_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("solved")
